"""`fhir-server petitions`: what people ask about their data, and by when it must be answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import uvloop

from fhir_server.cli.database import database
from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.cli.settings import without_secrets
from fhir_server.config import Settings
from fhir_server.errors import FhirError
from fhir_server.model.dates import TICKS_PER_SECOND, offset_of
from fhir_server.security.petitions import Petitions, is_late
from fhir_server.store.contract import StartError
from fhir_server.store.mongo import open_store

T = TypeVar("T")


def add(settings: Settings, kind: str, patient: str, by: str) -> str:
    """A line of JSON with the id and the dates. Raises CannotRun."""
    id = str(uuid4())
    entry = _in_store(settings, lambda petitions: petitions.add(id, kind, patient, by, today(settings)))
    return _shown(id, entry, today(settings))


def step(settings: Settings, id: str, done: str, by: str, note: str) -> str:
    """Raises CannotRun when there is no such open petition."""
    entry = _in_store(settings, lambda petitions: petitions.step(id, done, by, note, today(settings)))
    if entry is None:
        raise CannotRun(f"{id} is no open petition; `fhir-server petitions list` tells all.", WRONG_USE)
    return _shown(id, entry, today(settings))


def every(settings: Settings, late: bool) -> list[str]:
    """A line of JSON each; late: only those that are overdue."""
    found = _in_store(settings, Petitions.all)
    on = today(settings)
    return [_shown(id, entry, on) for id, entry in found.items() if not late or is_late(entry, on)]


def today(settings: Settings) -> date:
    seconds = offset_of(settings.zone) // TICKS_PER_SECOND
    return (datetime.now(UTC) + timedelta(seconds=seconds)).date()


def _shown(id: str, entry: dict[str, Any], on: date) -> str:
    return json.dumps({"id": id, **entry, "late": is_late(entry, on)}, ensure_ascii=False)


def _in_store(settings: Settings, work: Callable[[Petitions], Awaitable[T]]) -> T:
    async def run(running: Settings) -> T:
        try:
            store = await open_store(running.mongodb_uri or "", running)
        except StartError as fault:
            raise CannotRun(without_secrets(str(fault))) from None
        try:
            return await work(Petitions(store))
        except FhirError as fault:
            raise CannotRun(without_secrets(str(fault))) from None
        finally:
            await store.close()

    with database(settings, share=True) as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(running))
