"""`fhir-server terminology`: code systems that an operator loads as tables, and what of them there is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from fhir_server.cli.database import context
from fhir_server.cli.faults import DONE, INCOMPLETE, INTERRUPTED, WRONG_USE, CannotRun
from fhir_server.cli.person import act, on_record
from fhir_server.cli.progress import progress
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.operations.load_table import Loaded, load_table, remove_table
from fhir_server.operations.publish import publish
from fhir_server.terminology.code_systems import Period, period_of
from fhir_server.terminology.table_files import Form, TableFile


def publish_shipped(settings: Settings, say: Callable[[str], None] = print) -> None:
    """Stores what came with the program as resources, where that has not been done. Raises CannotRun."""
    started = time.monotonic()
    stored = asyncio.run(_publish(settings))
    if stored:
        took = time.monotonic() - started
        say(f"Definitions: {stored} of terminology and profiles stored as resources ({took:.1f} s)")


async def _publish(settings: Settings) -> int:
    async with context(settings) as opened:
        with progress("Storing shipped definitions", "definitions") as report:
            return await publish(opened, report)


def load(settings: Settings, file: TableFile) -> int:
    """Loads a file and says what it was. Gives the exit code; raises CannotRun."""

    async def work(opened: Context) -> Loaded:
        await on_record(opened, "configure", (("table", file.path.name),))
        with progress(file.path.name, "rows") as report:
            return await load_table(opened, file, lambda _, done, total: report(done, total))

    try:
        loaded = act(settings, "terminology load", work)
    except KeyboardInterrupt:
        raise CannotRun("interrupted; loading the same file again goes on from here", INTERRUPTED) from None
    except OSError as fault:
        raise CannotRun(f"{file.path}: {fault.strerror}", WRONG_USE) from None
    for line in _summary(loaded):
        print(line)
    return INCOMPLETE if loaded.told.skipped else DONE


def _summary(loaded: Loaded) -> Iterator[str]:
    done = f"{loaded.written:,} written now" if loaded.written else "nothing to do: the same file is loaded"
    yield f"{_named(loaded.head)}: {loaded.codes:,} codes ({done})"
    if loaded.told.skipped:
        yield f"{loaded.told.skipped:,} {'row holds' if loaded.told.skipped == 1 else 'rows hold'} no code:"
        yield from (f"  {example}" for example in loaded.told.examples)


def show(settings: Settings) -> None:
    """Lists the tables: URL, version, codes, days of validity. Raises CannotRun."""
    tables = act(settings, "terminology list", lambda opened: opened.store.tables.ready())
    for table in tables:
        print(f"{_named(table.head)}: {table.count:,} codes{_valid(period_of(table.head))}")
    if not tables:
        print("No table is loaded; the lists that came with the program are always there.")


def remove(settings: Settings, canonical: str) -> int:
    """Removes the table of a `URL|version`, or of a URL that has only one. Gives the exit code; raises CannotRun."""

    async def work(opened: Context) -> None:
        tables = await opened.store.tables.ready()
        found = [one for one in tables if canonical in (_named(one.head), one.head["url"])]
        if len(found) != 1:
            known = "\n".join(f"  {_named(one.head)}" for one in tables) or "  none"
            many = "names several tables" if found else "names no table"
            raise CannotRun(f"{canonical} {many}; there are:\n{known}", WRONG_USE)
        await on_record(opened, "configure", (("removed table", _named(found[0].head)),))
        await remove_table(opened, found[0])
        print(f"{_named(found[0].head)} is removed.")

    act(settings, "terminology remove", work)
    return DONE


def _named(head: Mapping[str, Any]) -> str:
    return f"{head['url']}|{head['version']}"


def _valid(period: Period) -> str:
    start = f" from {period.start}" if period.start else ""
    end = f" to {period.end}" if period.end else ""
    return f", in force{start}{end}" if start or end else ""


def table_file(
    path: Path,
    form: Form | None,
    version: str | None,
    system: str | None,
    title: str | None,
    days: tuple[str | None, str | None],
    columns: list[str],
) -> TableFile:
    """What the options say. Raises CannotRun for a day or a column that is none."""
    for day in days:
        if day is not None:
            try:
                date.fromisoformat(day)
            except ValueError:
                raise CannotRun(f"{day!r} is no day; a day is written as 2026-07-01", WRONG_USE) from None
    return TableFile(path, form, version, system, title, *days, columns=_columns(columns))


def _columns(given: list[str]) -> dict[str, int]:
    found = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in ("code", "vi", "en") or not number.isdecimal() or int(number) < 1:
            raise CannotRun(f"--column is code=, vi= or en= and a number from 1, not {text!r}", WRONG_USE)
        found[name] = int(number)
    return found
