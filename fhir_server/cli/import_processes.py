"""One import by several processes: each reads the files, takes its share of the records, and tells what became of them.

The process that began it opens the store, puts off the indexes of a first load, adds up the reports and builds the
indexes. A worker that fails ends the import; importing again completes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import uvloop

from fhir_server.cli.faults import CannotRun
from fhir_server.cli.logs import places
from fhir_server.cli.parents import end_with_the_parent
from fhir_server.cli.person import acting
from fhir_server.config import DATA_ROOT, Settings
from fhir_server.definitions.load import Definitions
from fhir_server.interactions.exchange import Context
from fhir_server.model.rare_collections import collect_rarely
from fhir_server.records.files import STDIN, find_files, size_of
from fhir_server.records.importing import OnRecord, Part, Progress
from fhir_server.records.report import ImportReport, RecordOutcome
from fhir_server.records.source import Share
from fhir_server.terminology.load import Terminology
from fhir_server.validation.validate import Validator

# Below this size of all files the start of further processes takes longer than they save.
WORTH_SHARING = 6 << 20
MOST_PROCESSES = 8
TELL_SECONDS = 0.25
UNDO_SECONDS = 5.0


def processes_for(paths: Iterable[Path], wanted: int | None) -> int:
    """How many processes an import is worth. wanted: what the user says. Raises FileNotFoundError."""
    files = list(find_files(paths))
    if STDIN in files:
        return 1
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_PROCESSES) if size_of(files) >= WORTH_SHARING else 1


@dataclass(slots=True)
class _Told:
    """What a worker tells. outcomes: since the last time. done: records so far; total: about how many it will have.
    report: when it has ended. fault: why it has ended before."""

    outcomes: list[RecordOutcome] = field(default_factory=list)
    done: int = 0
    total: int = 0
    report: ImportReport | None = None
    fault: str = ""


class Workers:
    """Processes that wait to be told their work. Forked from a program that has imported and compiled what they need,
    they begin at once and share its memory; that is before there is an event loop or a connection, and the thread that
    waits for the embedded mongod holds no lock meanwhile."""

    def __init__(self, count: int) -> None:
        """count: 0 for an import that this process does itself."""
        if sys.platform == "linux":
            started = multiprocessing.get_context("fork")
        else:
            started = multiprocessing.get_context("spawn")
        self.pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        for _ in range(count):
            mine, theirs = started.Pipe()
            process: BaseProcess = started.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(mine)
            self._processes.append(process)

    def begin(self, settings: Settings, paths: Sequence[Path], puts_off: bool) -> None:
        """Gives each its share. Each has opened the store before any begins to write. Raises CannotRun."""
        for number, pipe in enumerate(self.pipes):
            pipe.send(_Work(settings, tuple(paths), Share(number, len(self.pipes)), puts_off))
        for pipe in self.pipes:
            news = _received(pipe)
            if news.fault:
                raise CannotRun(f"{news.fault}.")
        for pipe in self.pipes:
            pipe.send(True)

    def join(self) -> None:
        """Waits for those that have told their report: they still close the store."""
        for process in self._processes:
            process.join()

    def end(self) -> None:
        """At once, whatever they do; a transaction under way is undone, if the database answers."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(UNDO_SECONDS)
            process.kill()
        self.join()


@contextlib.contextmanager
def workers(count: int) -> Iterator[Workers]:
    """As many as an import is worth, until the end of the block; none for one that this process does itself."""
    if count > 1:
        import fhir_server.app  # noqa: F401  what each needs, imported once for all

        Validator(Definitions.load(DATA_ROOT))  # makes the largest of it, the schema of all types, which is kept
        Terminology.load(DATA_ROOT).read()
    crew = Workers(count if count > 1 else 0)
    try:
        yield crew
    finally:
        crew.end()


async def import_by_processes(
    opened: Context, paths: Sequence[Path], crew: Workers, on_progress: Progress, on_record: OnRecord
) -> ImportReport:
    """The report of the whole. Raises CannotRun when a worker fails."""
    async with opened.store.bulk_load() as puts_off:
        try:
            return await asyncio.to_thread(_run, opened.settings, paths, crew, puts_off, on_progress, on_record)
        finally:
            crew.end()  # also when this is cancelled: then the thread ends, too


def _run(
    settings: Settings,
    paths: Sequence[Path],
    crew: Workers,
    puts_off: bool,
    on_progress: Progress,
    on_record: OnRecord,
) -> ImportReport:
    whole = ImportReport()
    crew.begin(settings, paths, puts_off)
    told = {pipe: _Told() for pipe in crew.pipes}
    waiting = set(crew.pipes)
    while waiting:
        for pipe in wait(list(waiting)):
            assert isinstance(pipe, Connection)
            told[pipe] = news = _received(pipe)
            if news.fault:
                raise CannotRun(f"{news.fault}; importing again completes what is missing.")
            for outcome in news.outcomes:
                on_record(outcome)
            if news.report is not None:
                whole.join(news.report)
                waiting.discard(pipe)
        on_progress(sum(one.done for one in told.values()), sum(one.total for one in told.values()) or None)
    crew.join()
    return whole


def _received(pipe: Connection) -> _Told:
    try:
        news = pipe.recv()
    except EOFError:
        return _Told(fault="a process of the import ended without a word")
    assert isinstance(news, _Told)
    return news


# --- in a worker -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Work:
    settings: Settings
    paths: tuple[Path, ...]
    share: Share
    puts_off: bool


def _work(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    end_with_the_parent(signal.SIGKILL)
    collect_rarely()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_import(pipe.recv(), pipe))
    except asyncio.CancelledError:  # by the parent, which knows why
        return
    except CannotRun as fault:
        pipe.send(_Told(fault=str(fault).rstrip(".")))
    except Exception as fault:  # the parent tells it; there is nobody else who could
        # Without its message, which may repeat what a record says of somebody.
        pipe.send(_Told(fault="a process of the import failed:\n" + "\n".join(places(fault))))


async def _import(work: _Work, pipe: Connection) -> None:
    from fhir_server.cli.database import context
    from fhir_server.records.importing import import_records

    importing = asyncio.current_task()
    assert importing is not None
    # Left open, a transaction would hold up the building of indexes until MongoDB ends it after a minute.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, importing.cancel)
    async with context(work.settings) as opened:
        teller = _Teller(pipe)
        pipe.send(_Told())
        pipe.recv()
        part = Part(work.share, work.puts_off)
        acts = acting(opened, "records import")
        report = await import_records(acts, work.paths, teller.progress, teller.outcome, part=part)
        teller.end(report)


class _Teller:
    """Tells the parent several outcomes at a time."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._news = _Told()
        self._last = time.monotonic()

    def outcome(self, outcome: RecordOutcome) -> None:
        self._news.outcomes.append(outcome)

    def progress(self, done: int, total: int | None) -> None:
        self._news.done, self._news.total = done, total or done
        if time.monotonic() - self._last > TELL_SECONDS:
            self._tell()

    def end(self, report: ImportReport) -> None:
        self._news.report = report
        self._news.total = self._news.done
        self._tell()

    def _tell(self) -> None:
        self._pipe.send(self._news)
        self._news = _Told([], self._news.done, self._news.total)
        self._last = time.monotonic()
