"""`fhir-server erase`: a person's whole record taken away for good, by two people."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import uuid4

from fhir_server.cli.desk import Desk, at_desk
from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.config import Settings
from fhir_server.model.ids import now
from fhir_server.security.erasure import Erasures, NotErased

T = TypeVar("T")


def ask(settings: Settings, patient: str, by: str, reason: str) -> str:
    """The id by which a second person confirms. Raises CannotRun."""
    id = str(uuid4())
    _act(settings, "erase ask", lambda erasures, now: erasures.ask(id, patient, by, reason, now))
    return id


def confirm(settings: Settings, id: str, by: str, despite_retention: str | None) -> str:
    """A line of JSON that tells what was done. Raises CannotRun."""
    done = _act(settings, "erase confirm", lambda erasures, now: erasures.confirm(id, by, despite_retention, now))
    return json.dumps({"id": id, **done}, ensure_ascii=False)


def _act(settings: Settings, command: str, work: Callable[[Erasures, int], Awaitable[T]]) -> T:
    async def run(desk: Desk) -> T:
        try:
            return await work(Erasures(desk.store), now())
        except NotErased as fault:
            raise CannotRun(f"Nothing was erased: {fault}.", WRONG_USE) from None

    return at_desk(settings, command, run)
