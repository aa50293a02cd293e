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
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.model.rare_collections import collect_rarely
from fhir_server.records.files import STDIN, find_files, size_of
from fhir_server.records.importing import OnRecord, Part, Progress
from fhir_server.records.report import ImportReport, RecordOutcome
from fhir_server.records.source import Share

# Below this size of all files the start of further processes takes longer than they save.
WORTH_SHARING = 6 << 20
MOST_PROCESSES = 8
TELL_SECONDS = 0.25


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


async def import_by_processes(
    opened: Context, paths: Sequence[Path], count: int, on_progress: Progress, on_record: OnRecord
) -> ImportReport:
    """The report of the whole. Raises CannotRun when a worker fails."""
    async with opened.store.bulk_load() as puts_off:
        return await asyncio.to_thread(_run, opened.settings, paths, count, puts_off, on_progress, on_record)


def _run(
    settings: Settings,
    paths: Sequence[Path],
    count: int,
    puts_off: bool,
    on_progress: Progress,
    on_record: OnRecord,
) -> ImportReport:
    whole = ImportReport()
    with _workers(settings, paths, count, puts_off) as pipes:
        told = {pipe: _Told() for pipe in pipes}
        waiting = set(pipes)
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
    return whole


def _received(pipe: Connection) -> _Told:
    try:
        news = pipe.recv()
    except EOFError:
        return _Told(fault="a process of the import ended without a word")
    assert isinstance(news, _Told)
    return news


@contextlib.contextmanager
def _workers(settings: Settings, paths: Sequence[Path], count: int, puts_off: bool) -> Iterator[list[Connection]]:
    """The pipes of workers that are all ready: each has opened the store before any begins to write."""
    started = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    workers: list[BaseProcess] = []
    try:
        for number in range(count):
            mine, theirs = started.Pipe()
            work = _Work(settings, tuple(paths), Share(number, count), puts_off)
            worker: BaseProcess = started.Process(target=_work, args=(work, theirs), daemon=True)
            worker.start()
            theirs.close()
            pipes.append(mine)
            workers.append(worker)
        for pipe in pipes:
            news = _received(pipe)
            if news.fault:
                raise CannotRun(f"{news.fault}.")
        for pipe in pipes:
            pipe.send(True)
        yield pipes
        _end(workers, at_once=False)
    finally:
        _end(workers, at_once=True)


def _end(workers: Iterable[BaseProcess], at_once: bool) -> None:
    for worker in workers:
        if at_once:
            worker.terminate()
    for worker in workers:
        worker.join()


# --- in a worker -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Work:
    settings: Settings
    paths: tuple[Path, ...]
    share: Share
    puts_off: bool


def _work(work: _Work, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    end_with_the_parent(signal.SIGKILL)
    collect_rarely()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_import(work, pipe))
    except CannotRun as fault:
        pipe.send(_Told(fault=str(fault).rstrip(".")))
    except Exception as fault:  # the parent tells it; there is nobody else who could
        # Without its message, which may repeat what a record says of somebody.
        pipe.send(_Told(fault="a process of the import failed:\n" + "\n".join(places(fault))))


async def _import(work: _Work, pipe: Connection) -> None:
    from fhir_server.cli.database import context
    from fhir_server.records.importing import import_records

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
