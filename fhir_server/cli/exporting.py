"""`fhir-server records export`: people as files of a Vietnamese format, as many as the format puts into one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from fhir_server.cli.database import context, database
from fhir_server.cli.faults import DONE, INCOMPLETE, WRONG_USE, CannotRun
from fhir_server.cli.person import acting, on_record
from fhir_server.cli.progress import progress
from fhir_server.cli.records import known_formats
from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.records.changed import changed_people
from fhir_server.records.export import Export, export_of
from fhir_server.records.export_files import body, forms, together
from fhir_server.records.export_people import PEOPLE_AT_ONCE, PersonRecord, became, records_of, today, types_of
from fhir_server.store.values import EVERYTHING

RECORDS_A_FILE = {"xml": 200, "json": 1_000, "ndjson": 50_000, "csv": 50_000}
FILES_A_FOLDER = 1_000
ALL = "all"
# A server that numbers the changes has told those of a moment before this is over.
PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. patients: ids, () for everybody. since: a token, an instant, `all`, or None for no delta."""

    format: str
    form: str | None
    out: Path
    patients: tuple[str, ...]
    facility: str
    since: str | None


@dataclass(slots=True)
class _Told:
    missing: list[str]
    token: str = ""


def export_files(settings: Settings, wanted: Wanted) -> int:
    """Writes the files and tells how many. Gives the exit code; raises CannotRun."""
    known = known_formats(settings).writable
    if wanted.format not in known:
        raise CannotRun(f"No records are written as {wanted.format!r}, only as {', '.join(known)}.", WRONG_USE)
    export = export_of(known[wanted.format])
    form = wanted.form or forms(export)[0]
    if form not in forms(export):
        raise CannotRun(f"{wanted.format} is written as {', '.join(forms(export))}, not as {form}.", WRONG_USE)
    if wanted.since is not None and wanted.patients:
        raise CannotRun("--since is for everybody who changed; leave --patient out.", WRONG_USE)
    with database(settings, share=True) as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        writer = _Files(export, form, wanted.out)
        told = runner.run(_export(running, export, writer, wanted))
    for line in told.missing:
        print(line, file=sys.stderr)
    print(f"{writer.records} records in {writer.files} files; {writer.left} resources found no place in them")
    if told.token:
        print(f"next time: --since {told.token}")
    return INCOMPLETE if told.missing and wanted.since is None else DONE


async def _export(settings: Settings, export: Export, writer: _Files, wanted: Wanted) -> _Told:
    told = _Told([])
    async with context(settings) as found:
        opened = acting(found, "records export")
        people = _people(opened, wanted.patients) if wanted.since is None else _changed(opened, export, wanted, told)
        with progress("Exporting", "records") as on_progress:
            async for some in people:
                await on_record(opened, "export", (("format", wanted.format),), some)
                missing = set(some)
                async for record in records_of(opened, export, some, wanted.facility):
                    missing.discard(record.patient)
                    writer.add(record, opened)
                    on_progress(writer.records, None)
                if missing and (wanted.patients or wanted.since):
                    told.missing += await _missing(opened, sorted(missing), wanted)
            writer.end(opened)
    return told


async def _missing(opened: Context, patients: Sequence[str], wanted: Wanted) -> list[str]:
    """What is to be told of people without a record: of all who were asked for, else of who is no more."""
    no_more = await became(opened, patients)
    lines = []
    for id in patients:
        if id in no_more:
            into = no_more[id]
            lines.append(f"Patient/{id} " + ("is gone" if into is None else f"was joined into Patient/{into}"))
        elif wanted.patients:
            lines.append(f"Patient/{id} is not there, or has nothing that a record of {wanted.format} is made of")
    return lines


async def _people(opened: Context, patients: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    """Ids, some at a time."""
    if patients:
        yield patients
        return
    some: list[str] = []
    async for stored in opened.store.walk("Patient", EVERYTHING, raw=False):
        some.append(stored.id)
        if len(some) == PEOPLE_AT_ONCE:
            yield some
            some = []
    if some:
        yield some


async def _changed(opened: Context, export: Export, wanted: Wanted, told: _Told) -> AsyncIterator[Sequence[str]]:
    """Those who changed, and where to go on next time. Raises CannotRun for what is no moment and no token."""
    if not await opened.store.catch_up_changes(opened.new_id()):
        await asyncio.sleep(PATIENCE_SECONDS)
    types, _ = types_of(export)
    since = "" if wanted.since in (None, ALL) else str(wanted.since)
    while True:
        try:
            page = await changed_people(opened, since, PEOPLE_AT_ONCE, types)
        except FhirError as fault:
            if fault.kind not in (Kind.VALUE, Kind.DELETED):
                raise
            raise CannotRun(f"--since {since}: {fault.diagnostics}.", WRONG_USE) from None
        told.token = since = page.token
        yield page.people
        if not page.more:
            return


class _Files:
    """Collects records until a file is full; one of a sender each where the envelope names it."""

    def __init__(self, export: Export, form: str, out: Path) -> None:
        self._export = export
        self._form = form
        self._out = out
        self._most = RECORDS_A_FILE[form] if together(export) else 1
        self._waiting: dict[str, list[PersonRecord]] = {}
        self.records = self.files = self.left = 0

    def add(self, record: PersonRecord, opened: Context) -> None:
        self.records += 1
        self.left += len(record.left)
        sender = record.facility if self._form == "xml" else ""
        held = self._waiting.setdefault(sender, [])
        held.append(record)
        if len(held) == self._most:
            self._write(self._waiting.pop(sender), opened)

    def end(self, opened: Context) -> None:
        for held in self._waiting.values():
            self._write(held, opened)
        self._waiting.clear()

    def _write(self, held: list[PersonRecord], opened: Context) -> None:
        folder = self._out / f"{self.files // FILES_A_FOLDER:04d}" if self._most == 1 else self._out
        name = held[0].patient if self._most == 1 else f"{self._export.format.name}-{self.files + 1:06d}"
        contents = [one.content for one in held]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            made = body(self._export, contents, self._form, held[0].facility, today(opened))
            (folder / f"{name}.{self._form}").write_bytes(made)
        except OSError as fault:
            raise CannotRun(f"{folder} cannot be written: {fault.strerror}.") from None
        self.files += 1
