"""`fhir-server records export`: people as files of a Vietnamese format, as many as the format puts into one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from fhir_server.cli.database import context, database
from fhir_server.cli.faults import DONE, INCOMPLETE, WRONG_USE, CannotRun
from fhir_server.cli.progress import progress
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.records.export import Export, export_of
from fhir_server.records.export_files import body, forms, together
from fhir_server.records.export_people import PEOPLE_AT_ONCE, PersonRecord, records_of, today
from fhir_server.records.importing import formats_of
from fhir_server.store.contract import EVERYTHING

RECORDS_A_FILE = {"xml": 200, "json": 1_000, "ndjson": 50_000, "csv": 50_000}
FILES_A_FOLDER = 1_000


def export_files(
    settings: Settings, format: str, form: str | None, out: Path, patients: list[str], facility: str
) -> int:
    """Writes the files and tells how many. Gives the exit code; raises CannotRun.

    patients: ids; nobody named is everybody.
    """
    known = formats_of(settings).by_name
    if format not in known:
        raise CannotRun(f"There is no format {format!r}; known are {', '.join(known)}.", WRONG_USE)
    export = export_of(known[format])
    wanted = form or forms(export)[0]
    if wanted not in forms(export):
        raise CannotRun(f"{format} is written as {', '.join(forms(export))}, not as {wanted}.", WRONG_USE)
    with database(settings, share=True) as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        writer = _Files(export, wanted, out)
        missing = runner.run(_export(running, export, writer, patients, facility))
    for id in missing:
        print(f"Patient/{id} is not there", file=sys.stderr)
    print(f"{writer.records} records in {writer.files} files; {writer.left} resources found no place in them")
    return INCOMPLETE if missing else DONE


async def _export(settings: Settings, export: Export, writer: _Files, patients: list[str], facility: str) -> list[str]:
    async with context(settings) as opened:
        missing = set(patients)
        with progress("Exporting", "records") as on_progress:
            async for some in _people(opened, patients):
                async for record in records_of(opened, export, some, facility):
                    missing.discard(record.patient)
                    writer.add(record, opened)
                    on_progress(writer.records, None)
            writer.end(opened)
        return sorted(missing)


async def _people(opened: Context, patients: list[str]) -> AsyncIterator[list[str]]:
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
