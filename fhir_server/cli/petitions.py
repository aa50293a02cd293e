"""`fhir-server petitions`: what people ask about their data, and by when it must be answered."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

from fhir_server.cli.desk import Desk, at_desk
from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.config import Settings
from fhir_server.model.dates import TICKS_PER_SECOND, offset_of
from fhir_server.model.resources import encode
from fhir_server.security.petitions import Petitions, is_late


def add(settings: Settings, kind: str, patient: str, by: str) -> str:
    """A line of JSON with the id and the dates. Raises CannotRun."""
    id, on = str(uuid4()), today(settings)

    async def work(desk: Desk) -> dict[str, Any]:
        entry = await Petitions(desk.store).add(id, kind, patient, by, on)
        await _on_record(desk, id, entry, "entered")
        return entry

    return _shown(id, at_desk(settings, "petitions add", work), on)


def step(settings: Settings, id: str, done: str, by: str, note: str) -> str:
    """Raises CannotRun when there is no such open petition."""
    on = today(settings)

    async def work(desk: Desk) -> dict[str, Any]:
        entry = await Petitions(desk.store).step(id, done, by, note, on)
        if entry is None:
            raise CannotRun(f"{id} is no open petition; `fhir-server petitions list` tells all.", WRONG_USE)
        await _on_record(desk, id, entry, done)
        return entry

    return _shown(id, at_desk(settings, "petitions note", work), on)


def every(settings: Settings, late: bool) -> list[str]:
    """A line of JSON each; late: only those that are overdue."""
    on = today(settings)

    async def work(desk: Desk) -> dict[str, dict[str, Any]]:
        found = await Petitions(desk.store).all()
        shown = {id: entry for id, entry in found.items() if not late or is_late(entry, on)}
        await desk.note("petitions-read", patients={entry["patient"] for entry in shown.values()})
        return shown

    return [_shown(id, entry, on) for id, entry in at_desk(settings, "petitions list", work).items()]


async def _on_record(desk: Desk, id: str, entry: dict[str, Any], step: str) -> None:
    """The sealed record has the digest of the entry, so that nobody can say later that it was another."""
    digest = hashlib.sha256(encode(entry)).hexdigest()
    details = (("petition", id), ("kind", entry["kind"]), ("step", step), ("due", entry["due"]), ("sha256", digest))
    await desk.note("petition", details, (entry["patient"],))


def today(settings: Settings) -> date:
    seconds = offset_of(settings.zone) // TICKS_PER_SECOND
    return (datetime.now(UTC) + timedelta(seconds=seconds)).date()


def _shown(id: str, entry: dict[str, Any], on: date) -> str:
    return json.dumps({"id": id, **entry, "late": is_late(entry, on)}, ensure_ascii=False)
