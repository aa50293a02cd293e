"""`fhir-server audit`: prove the record of accesses, hand it out, look up a number in it, let go of what is old."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from fhir_server.cli.database import context, database
from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.model.dates import instant, range_of
from fhir_server.model.resources import encode
from fhir_server.security.emergency import REGISTER
from fhir_server.security.events import Events
from fhir_server.security.seals import TYPE, verify
from fhir_server.store.contract import EVERYTHING

T = TypeVar("T")
_YEAR_MS = 365.25 * 24 * 3600 * 1000
MOST_TOLD = 50


def verify_record(settings: Settings) -> bool:
    """Walks every seal and every event; True when nothing was changed or taken away. Raises CannotRun."""

    async def work(opened: Context) -> bool:
        now = opened.clock()
        found = await verify(opened.store, now, int(now - settings.audit_years * _YEAR_MS))
        print(f"{found.events} events in {found.blocks} blocks; {found.unsealed} are not sealed yet.")
        if found.head is not None:
            print(f"Head: block {found.head[0]}, {found.head[1]}")
        for fault in found.faults[:MOST_TOLD]:
            print(f"FAULT  {fault}")
        print(f"{len(found.faults)} faults" if found.faults else "No faults.")
        return not found.faults

    return _run(settings, work)


def export(settings: Settings, since: str | None, until: str | None) -> int:
    """Writes the events of a time to stdout, a line each. Gives how many. Raises CannotRun."""
    low, high = _moment(settings, since), _moment(settings, until)

    async def work(opened: Context) -> int:
        count = 0
        async for event in opened.store.walk(TYPE, EVERYTHING):
            if (low is None or event.updated >= low) and (high is None or event.updated < high):
                sys.stdout.buffer.write(event.raw + b"\n")
                count += 1
        return count

    return _run(settings, work)


def emergencies(settings: Settings) -> list[str]:
    """Every time that the glass was broken, a line of JSON each, the oldest first. Raises CannotRun."""

    async def work(opened: Context) -> list[str]:
        found = (await opened.store.entries(REGISTER)).values()
        ordered = sorted(found, key=lambda entry: int(entry["at"]))
        return [encode({**entry, "at": instant(entry["at"])}).decode() for entry in ordered]

    return _run(settings, work)


def prune(settings: Settings) -> int:
    """Takes away the events whose time is over. Gives how many; raises CannotRun."""

    async def work(opened: Context) -> int:
        return await opened.store.expire(TYPE, int(opened.clock() - settings.audit_years * _YEAR_MS))

    return _run(settings, work)


def hashed(settings: Settings, number: str) -> str:
    """What stands for a personal number on record. Raises CannotRun."""

    async def work(opened: Context) -> str:
        return (await Events.open(opened)).hashed(number)

    return _run(settings, work)


def _moment(settings: Settings, text: str | None) -> int | None:
    if text is None:
        return None
    span = range_of(text, settings.zone)
    if span is None:
        raise CannotRun(f"{text!r} is no date.", WRONG_USE)
    return span[0]


def _run(settings: Settings, work: Callable[[Context], Awaitable[T]]) -> T:
    async def run(running: Settings) -> T:
        async with context(running) as opened:
            return await work(opened)

    with database(settings, share=True) as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(running))
