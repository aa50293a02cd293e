"""`fhir-server records watch`: a folder into which others put files, each imported once it is whole.

A file lies in working/ while it is imported, then in done/, or in refused/ when a record of it was refused or it has
none; its report lies beside it as a page and as JSON. What a killed process left in working/ is imported first.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import uvloop

from fhir_server.cli.database import context, database
from fhir_server.cli.faults import CannotRun
from fhir_server.cli.person import acting
from fhir_server.config import Settings
from fhir_server.errors import FhirError
from fhir_server.interactions.exchange import Context
from fhir_server.model.resources import encode
from fhir_server.records.files import SUFFIXES, ZIP
from fhir_server.records.importing import formats_of, import_records
from fhir_server.records.report import ImportReport
from fhir_server.records.report_page import page

WORKING, DONE, REFUSED = "working", "done", "refused"
LOOK_SECONDS = 1.0
PAUSE_SECONDS = 10.0  # after the database was away


def watch(settings: Settings, folder: Path, once: bool) -> None:
    """Imports until a signal; with `once` only what is there. Raises CannotRun."""
    try:
        for name in (WORKING, DONE, REFUSED):
            (folder / name).mkdir(exist_ok=True)
    except OSError as fault:
        raise CannotRun(f"{folder} cannot be used: {fault.strerror}.") from None
    with database(settings, share=True) as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_watch(running, folder, once))


async def _watch(settings: Settings, folder: Path, once: bool) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with context(settings) as opened:
        acts = acting(opened, "records watch")
        for path in sorted((folder / WORKING).iterdir()):
            await _take_in(acts, folder, path)
        sizes: dict[Path, tuple[int, int]] = {}
        while not stopped.is_set():
            ready = list(_ready(folder, sizes, once))
            for path in ready:
                moved = folder / WORKING / path.name
                path.rename(moved)
                await _take_in(acts, folder, moved)
                if stopped.is_set():
                    return
            if once and not ready:
                return
            await _pause(stopped, LOOK_SECONDS)


async def _pause(stopped: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopped.wait(), seconds)
    except TimeoutError:
        return


def _ready(folder: Path, sizes: dict[Path, tuple[int, int]], at_once: bool) -> Iterator[Path]:
    """Files that have not grown since the last look: nobody writes to them any more."""
    seen = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in (*SUFFIXES, ZIP) or not path.is_file():
            continue
        told = path.stat()
        seen[path] = (told.st_size, told.st_mtime_ns)
        if at_once or sizes.get(path) == seen[path]:
            yield path
    sizes.clear()
    sizes.update(seen)


async def _take_in(acts: Context, folder: Path, path: Path) -> None:
    """Imports one file and puts it where it belongs; it stays in working/ until the database answers."""
    while True:
        try:
            report = await import_records(acts, [path])
            break
        except FhirError as fault:
            print(f"{path.name}: {fault.diagnostics}; trying again", flush=True)
            await asyncio.sleep(PAUSE_SECONDS)
    report.name_files()
    print(_put_away(acts, report, folder, path), flush=True)


def _put_away(acts: Context, report: ImportReport, folder: Path, path: Path) -> str:
    """The report first, so that a file that has come to its end always has one. Gives a line for people."""
    place = _free(folder / (REFUSED if report.refused or not report.read else DONE), path.name)
    _write(acts, report, place)
    path.rename(place)
    counts = f"{report.stored} stored, {report.unchanged} unchanged, {report.refused} refused"
    return f"{path.name}: {counts} of {report.read} records; {place.relative_to(folder)}"


def _free(folder: Path, name: str) -> Path:
    """A name that no file of the folder has: files of one name may come every day."""
    place, number = folder / name, 1
    while place.exists():
        number += 1
        place = folder / f"{Path(name).stem}.{number}{Path(name).suffix}"
    return place


def _write(acts: Context, report: ImportReport, place: Path) -> None:
    formats = formats_of(acts.settings)
    for suffix, body in ((".report.json", encode(report.as_json(formats))), (".report.html", page(report, formats))):
        part = place.with_name(f".{place.name}{suffix}.{os.getpid()}")
        part.write_bytes(body)
        part.rename(place.with_name(f"{place.name}{suffix}"))
