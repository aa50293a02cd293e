"""`fhir-server erase`: a person's whole record taken away for good, by two people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from time import time_ns
from typing import TypeVar
from uuid import uuid4

import uvloop

from fhir_server.cli.database import database
from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.cli.settings import without_secrets
from fhir_server.config import Settings
from fhir_server.errors import FhirError
from fhir_server.security.erasure import Erasures, NotErased
from fhir_server.store.contract import StartError
from fhir_server.store.mongo import open_store

T = TypeVar("T")


def ask(settings: Settings, patient: str, by: str, reason: str) -> str:
    """The id by which a second person confirms. Raises CannotRun."""
    id = str(uuid4())
    _in_store(settings, lambda erasures: erasures.ask(id, patient, by, reason, _now()))
    return id


def confirm(settings: Settings, id: str, by: str, despite_retention: str | None) -> str:
    """A line of JSON that tells what was done. Raises CannotRun."""
    done = _in_store(settings, lambda erasures: erasures.confirm(id, by, despite_retention, _now()))
    return json.dumps({"id": id, **done}, ensure_ascii=False)


def _now() -> int:
    return time_ns() // 1_000_000


def _in_store(settings: Settings, work: Callable[[Erasures], Awaitable[T]]) -> T:
    async def run(running: Settings) -> T:
        try:
            store = await open_store(running.mongodb_uri or "", running)
        except StartError as fault:
            raise CannotRun(without_secrets(str(fault))) from None
        try:
            return await work(Erasures(store))
        except NotErased as fault:
            raise CannotRun(f"Nothing was erased: {fault}.", WRONG_USE) from None
        except FhirError as fault:
            raise CannotRun(without_secrets(str(fault))) from None
        finally:
            await store.close()

    with database(settings, share=True) as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(running))
