"""`fhir-server records doubts|different|merge|unmerge`: who is who, where only a human can tell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import orjson
import uvloop

from fhir_server.cli.database import context, database
from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.cli.person import acting
from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.model.resources import Resource
from fhir_server.records import doubts
from fhir_server.records.patient_joins import Merged
from fhir_server.records.patient_merge import merge_patients
from fhir_server.records.patient_unmerge import unmerge_patients

MOST = 10_000
T = TypeVar("T")


def list_doubts(settings: Settings) -> None:
    found = _in_store(settings, "records doubts", lambda opened: doubts.open_doubts(opened, MOST))
    for one in found:
        print(orjson.dumps(shown(one)).decode())
    if len(found) == MOST:
        print(f"only the oldest {MOST} are told", file=sys.stderr)


def settle_as_different(settings: Settings, id: str) -> None:
    """Raises CannotRun."""
    settled = _in_store(settings, "records different", lambda opened: doubts.settle_as_different(opened, id))
    print(orjson.dumps(shown(settled)).decode())


def merge(settings: Settings, source: str, into: str, preview: bool) -> None:
    """Raises CannotRun."""
    merged = _in_store(settings, "records merge", lambda opened: merge_patients(opened, source, into, preview=preview))
    _tell(f"Patient/{source} {'would be' if preview else 'was'} joined into Patient/{into}", merged)


def unmerge(settings: Settings, source: str) -> None:
    """Raises CannotRun."""
    _tell(
        f"Patient/{source} stands alone again",
        _in_store(settings, "records unmerge", lambda opened: unmerge_patients(opened, source)),
    )


def shown(doubt: Resource) -> dict[str, str]:
    """A doubt in a line: its id, which two, why, since when."""
    return {
        "id": doubt["id"],
        "about": doubt["for"]["reference"],
        "other": doubt["focus"]["reference"],
        "reason": doubt["reasonCode"]["coding"][0]["code"],
        "text": doubt["description"],
        "since": doubt["authoredOn"],
        "status": doubt["status"],
    }


def _tell(done: str, merged: Merged) -> None:
    counts = ", ".join(f"{count} {type}" for type, count in merged.rewritten.items())
    print(f"{done}; references in {counts or 'no other resource'}")
    for text in merged.told:
        print(f"  note  {text}")


def _in_store(settings: Settings, command: str, work: Callable[[Context], Awaitable[T]]) -> T:
    """Raises CannotRun, as wrong use for what cannot be done with these people."""

    async def run(running: Settings) -> T:
        async with context(running) as opened:
            try:
                return await work(acting(opened, command))
            except FhirError as fault:
                if fault.kind is Kind.UNAVAILABLE:
                    raise
                raise CannotRun(f"{fault.diagnostics}.", WRONG_USE) from None

    with database(settings, share=True) as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(running))
