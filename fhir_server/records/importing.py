"""Records of files into the store: each whole or not at all, in groups that share a transaction while all goes well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO

import structlog

from fhir_server.config import DATA_ROOT, Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.recording import import_ended, imported
from fhir_server.model.dates import day_at
from fhir_server.model.rare_collections import rare_collections
from fhir_server.model.resources import Resource
from fhir_server.records.bundle import prepare, transaction
from fhir_server.records.files import Reading, find_files, format_of, read_files, size_of
from fhir_server.records.formats import Formats
from fhir_server.records.groups import Group
from fhir_server.records.heads import is_stored
from fhir_server.records.masking import Masks
from fhir_server.records.misread import refuse_misread_names
from fhir_server.records.received import keep_received
from fhir_server.records.record import Identity, Record, identify, map_record
from fhir_server.records.report import ImportReport, RecordOutcome, Status
from fhir_server.records.requests import REGISTER, request_name, used_otherwise, uses_of
from fhir_server.records.signatures import NO_SIGNERS, signature_notes
from fhir_server.records.signers import CertificateFault, signers_of
from fhir_server.records.source import ALL_OF_IT, Place, Problem, Share, SourceRecord
from fhir_server.records.storing import Stores
from fhir_server.records.unlisted import warn_of_unlisted
from fhir_server.store.cancellation import heed_cancellation
from fhir_server.store.contract import Transaction
from fhir_server.store.ledger_contract import Event
from fhir_server.store.values import EVERYTHING, Written

# Resources that share a transaction, at most; a record with more has one of its own.
GROUP_RESOURCES = 1_000
GROUPS_AT_ONCE = 3
TRIES = 4
# Faults of the store that are about some record of a group, so that the others are stored without it.
_OF_ONE_RECORD = (Kind.CONFLICT, Kind.PRECONDITION, Kind.TOO_LONG, Kind.VALUE, Kind.INVALID, Kind.FORBIDDEN)
# More than the lists, dicts and the like that groups under way hold: none is garbage before its group is stored.
CONTAINERS = 1_000_000
# Records whose heads are looked up together, to pass over what is stored already before it is mapped.
LOOKED_UP = 100

log = structlog.get_logger("fhir_server.records")
Progress = Callable[[int, int | None], None]
OnRecord = Callable[[RecordOutcome], None]


@lru_cache(maxsize=4)
def formats_for(guide: str, zone: str, restricted: str = "", more: Path | None = None) -> Formats:
    """The formats of this installation, read and compiled once. Raises MappingFault."""
    return Formats.load(DATA_ROOT, guide, zone, restricted, more)


def formats_of(settings: Settings) -> Formats:
    """The formats as the settings want them. Raises MappingFault."""
    return formats_for(settings.guide, settings.zone, settings.restricted_tables, settings.mappings)


def map_records(
    paths: Iterable[Path], formats: Formats, checks: str = "warn"
) -> Iterator[tuple[RecordOutcome, Resource | None]]:
    """Each record with its transaction Bundle, None for a refused one. Needs no server; knows no stored person.

    checks: what a breach of the format's checks does, as the setting `record_checks`.
    """
    today = day_at(time.time_ns() // 1_000_000, formats.tools.zone)
    for source in read_files(find_files(paths), formats):
        record = _map(source, formats, checks, today)
        if record is None or record.refused:
            yield _outcome(source, record, "refused"), None
            continue
        bundle = transaction(record, formats.tools.naming)
        yield _outcome(source, record, "stored", written=len(bundle["entry"])), bundle


def _map(
    source: SourceRecord, formats: Formats, checks: str, today: date, identity: Identity | None = None
) -> Record | None:
    if source.content is None or source.format not in formats.by_name:
        return None
    record = map_record(formats.by_name[source.format], source, identity)
    prepare(record, formats.tools.naming)
    refuse_misread_names(record)
    if checks != "off":
        _check(record, "error" if checks == "refuse" else "warning", today)
    return record


def _check(record: Record, severity: str, today: date) -> None:
    """Tells what the format's checks find, except of values about which the mapping has said the same."""
    checks = record.format.checks
    if checks is None or record.source.content is None:
        return
    problems = record.mapped.problems
    told = {(one.field.rpartition("/")[2], one.found) for one in problems if one.found}
    day = today.isoformat()
    written = min(record.written[:10], day) if len(record.written) >= 10 else day
    for found in checks.run(record.source.content, record.moment, written, severity):
        if not found.found or (found.field.rpartition("/")[2], found.found) not in told:
            problems.append(found)


def _outcome(source: SourceRecord, record: Record | None, status: Status, written: int = 0) -> RecordOutcome:
    if record is None:
        failed = any(problem.severity == "error" for problem in source.problems)
        problems = tuple(map(Masks().problem, source.problems))
        return RecordOutcome(source.place, source.format, "refused" if failed else "unchanged", problems)
    patient = record.patient.id if status != "refused" else None
    problems = tuple(map(record.format.masks.problem, record.mapped.problems))
    return RecordOutcome(
        record.place, source.format, status, problems, patient or None, len(record.mapped.made), written
    )


async def import_records(
    context: Context,
    paths: Iterable[Path],
    on_progress: Progress | None = None,
    on_record: OnRecord | None = None,
    formats: Formats | None = None,
    part: Part | None = None,
) -> ImportReport:
    """Stores the records of files and folders. Sending them again changes nothing.

    on_progress: told how many records are done and about how many there are (None: not known). on_record: told each
    outcome in no particular order. part: for one of several processes of one import. Raises FileNotFoundError for a
    path that is not there, and FhirError when the store fails; what was told as stored is stored then, and importing
    again completes the rest.
    """
    known = formats or formats_of(context.settings)
    run = _Run(context, known, on_progress or (lambda done, total: None), on_record or (lambda outcome: None))
    files = list(find_files(paths))
    run.report.files = len(files)
    run.reading.total = size_of(files)
    with rare_collections(CONTAINERS):
        if context.settings.keep_files:
            writes = part is None or part.share.number == 0
            run.stores.received = await keep_received(context, files, writes)
        async with context.store.bulk_load(part.puts_off_indexes if part else None):
            await run.all(read_files(files, known, part.share if part else ALL_OF_IT, run.reading, run.look))
    told = {"files": run.report.files, "read": run.report.read, "refused": run.report.refused}
    await context.trail.note(import_ended(context, {name: str(count) for name, count in told.items()}))
    return run.report


@dataclass(frozen=True, slots=True)
class Part:
    """What one process of an import does. share: which records. puts_off_indexes: as the process that began it."""

    share: Share
    puts_off_indexes: bool


@dataclass(slots=True)
class _Run:
    context: Context
    formats: Formats
    on_progress: Progress
    on_record: OnRecord
    report: ImportReport = field(default_factory=ImportReport)
    busy: dict[asyncio.Task[None], frozenset[object]] = field(default_factory=dict)
    stores: Stores = field(init=False)
    reading: Reading = field(default_factory=Reading)
    done: int = 0
    keys_of: str = ""  # the file whose keys are held
    keys: dict[str, tuple[str, int]] = field(default_factory=dict)  # id of a record -> its digest and its number
    gathered: set[str] = field(default_factory=set)  # ids of records and names of messages in the group to come

    def __post_init__(self) -> None:
        self.stores = Stores(self.context, self.formats)

    def look(self, stream: IO[bytes], size: int, name: str) -> list[Problem]:
        """What is to be told of a file itself: of its signatures."""
        format = format_of(stream, self.formats)
        if format is None or format.xml is None or not format.xml.signature:
            return []
        try:
            signers = signers_of(self.context.settings)
        except CertificateFault as fault:  # of a file that was put there since the start
            log.warning("trusted_certificates", fault=str(fault))
            return [NO_SIGNERS]
        return signature_notes(stream, size, format.xml, signers)

    async def all(self, sources: Iterable[SourceRecord]) -> None:
        try:
            async for group in self._groups(sources):
                await self._start(group)
            await self._wait_for(list(self.busy))
        except BaseException:
            for task in self.busy:
                task.cancel()
            await asyncio.gather(*self.busy, return_exceptions=True)
            raise

    async def _groups(self, sources: Iterable[SourceRecord]) -> AsyncIterator[list[Record]]:
        """Mapped records in groups, refused ones told at once."""
        group: list[Record] = []
        size = 0
        async for source, identity in self._news(sources):
            today = day_at(self.context.clock(), self.context.settings.zone)
            record = _map(source, self.formats, self.context.settings.record_checks, today, identity)
            if record is not None:
                self._count_left_out(record)
                await warn_of_unlisted(self.context, record)
            if record is None or record.refused:
                self._tell(_outcome(source, record, "refused"))
                await asyncio.sleep(0)
                continue
            names = {record.id, request_name(record)} - {""}
            # What says one thing twice is stored one after the other, so that the later one counts.
            if group and (size + len(record.mapped.made) > GROUP_RESOURCES or not names.isdisjoint(self.gathered)):
                yield group
                group, size = [], 0
                self.gathered.clear()
            group.append(record)
            self.gathered |= names
            size += len(record.mapped.made) + 1
            await asyncio.sleep(0)  # the store's answers are taken up between two records
        if group:
            yield group

    async def _news(self, sources: Iterable[SourceRecord]) -> AsyncIterator[tuple[SourceRecord, Identity | None]]:
        """Records that are not stored already just as they are; of the others it is told that nothing changed."""
        waiting = iter(sources)
        while some := list(islice(waiting, LOOKED_UP)):
            known = {number: self._identify(source) for number, source in enumerate(some)}
            ids = {identity.id for identity in known.values() if identity is not None}
            settled = sorted(id for id in ids if not self._is_under_way(id))
            heads = dict(await self.context.store.read_many("Provenance", settled, EVERYTHING)) if settled else {}
            heed_cancellation()
            for number, source in enumerate(some):
                identity = known[number]
                clash = self._twice(identity, source.place) if identity else None
                if identity and clash:
                    self._tell(self._unmapped(source, identity, "refused", clash))
                    continue
                head = heads.get(identity.id) if identity else None
                if identity and head and is_stored(head, self.formats.by_name[source.format], identity.digest):
                    self._tell(self._unmapped(source, identity, "unchanged"))
                    continue
                if identity:  # from here on its head is another one
                    heads.pop(identity.id, None)
                yield source, identity

    def _unmapped(self, source: SourceRecord, identity: Identity, status: Status, *problems: Problem) -> RecordOutcome:
        """What became of a record that needs no mapping. problems: besides those of reading it."""
        masks = self.formats.by_name[source.format].masks
        place = replace(source.place, key=masks.key(identity.key, source.content or {}))
        return RecordOutcome(place, source.format, status, tuple(map(masks.problem, (*source.problems, *problems))))

    def _is_under_way(self, id: str) -> bool:
        """True for a record of which an earlier version is not stored yet, so that its head does not count."""
        return id in self.gathered or any(id in people for people in self.busy.values())

    def _twice(self, identity: Identity, place: Place) -> Problem | None:
        """Why a record is refused whose key another record of its file has, with other content: nobody knows which of
        the two is right."""
        if place.file != self.keys_of:
            self.keys_of, self.keys = place.file, {}
        digest, number = self.keys.setdefault(identity.id, (identity.digest, place.record))
        if digest == identity.digest:
            return None
        text = (f"record {number} of the file has the same key", f"hồ sơ {number} trong tệp có cùng mã")
        return Problem("error", "duplicate-key", text)

    def _identify(self, source: SourceRecord) -> Identity | None:
        if source.content is None or source.format not in self.formats.by_name:
            return None
        return identify(self.formats.by_name[source.format], source.content)

    def _count_left_out(self, record: Record) -> None:
        for path, count in record.kept_out.items():
            self.report.kept_out[(record.format.name, path)] += count
        for path, count in record.unknown.items():
            if len(self.report.unknown) < 1000 or (record.format.name, path) in self.report.unknown:
                self.report.unknown[(record.format.name, path)] += count

    async def _start(self, group: list[Record]) -> None:
        """Begins a group once there is room and no group that speaks of the same people is under way."""
        people = self.stores.people(group)
        while True:
            in_the_way = [task for task, others in self.busy.items() if not people.isdisjoint(others)]
            if not in_the_way and len(self.busy) < GROUPS_AT_ONCE:
                break
            await self._wait_for(in_the_way or list(self.busy), first=not in_the_way)
        task = asyncio.create_task(self._store(group))
        self.busy[task] = people

    async def _wait_for(self, tasks: list[asyncio.Task[None]], first: bool = False) -> None:
        if not tasks:
            return
        ready, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED if first else asyncio.ALL_COMPLETED)
        for task in ready:
            del self.busy[task]
            task.result()

    async def _store(self, records: Sequence[Record]) -> None:
        """A group in one transaction; when that will not do, each half of it, until what is refused is alone."""
        try:
            for outcome in await self._try(records):
                self._tell(outcome)
        except FhirError as fault:
            if fault.kind not in _OF_ONE_RECORD:
                raise
            if len(records) > 1:
                middle = len(records) // 2
                await self._store(records[:middle])
                await self._store(records[middle:])
                return
            records[0].mapped.problems.append(_store_fault(fault))
            self._tell(_outcome(records[0].source, records[0], "refused"))

    async def _try(self, records: Sequence[Record]) -> list[RecordOutcome]:
        """Raises FhirError when conflicts outlast the tries; a first try trusts that what is new is not there."""
        told = [list(record.mapped.problems) for record in records]
        for attempt in range(TRIES):
            for record, problems in zip(records, told, strict=True):
                record.mapped.problems[:] = problems
            group = await self.stores.plan(records, careful=attempt > 0)
            try:
                return await self._commit(group)
            except FhirError as fault:
                if fault.kind not in (Kind.CONFLICT, Kind.PRECONDITION) or attempt == TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    async def _commit(self, group: Group) -> list[RecordOutcome]:
        ops = await self.stores.ops(group)
        guard = self.stores.guard(group)
        events: list[Event] = []
        uses = uses_of(plan.record for plan in group.plans)

        async def work(transaction: Transaction) -> list[Written]:
            await self.stores.confirm(group, transaction)
            written = await transaction.apply(ops, guard)
            if uses:
                # What another one enters from here on is a conflict of the two.
                if await used_otherwise(transaction, [plan.record for plan in group.plans]):
                    raise FhirError(Kind.CONFLICT, "a number of these messages was used meanwhile by another import")
                await transaction.enter_all(REGISTER, uses)
            changes = [one.stored for one in written if one.changed]
            events[:] = await self.context.trail.write(transaction, imported(self.context, changes))
            return written

        written = await self.context.store.transact(work) if ops else []
        self.context.trail.committed(events)
        self.stores.remember(group)
        changed = {(one.stored.type, one.stored.id) for one in written if one.changed}
        outcomes = []
        counted: set[tuple[str, str]] = set()  # what several records speak of is written once
        for plan in group.plans:
            mine = changed & plan.identities
            status: Status = "refused" if plan.record.refused else "stored" if mine else "unchanged"
            told = _outcome(plan.record.source, plan.record, status, len(mine - counted))
            counted |= mine
            outcomes.append(replace(told, patient=None) if plan.known and plan.known.hidden else told)
        return outcomes

    def _tell(self, outcome: RecordOutcome) -> None:
        self.report.add(outcome)
        if outcome.is_counted_only:
            return
        self.on_record(outcome)
        self.done += 1
        fraction = self.reading.fraction
        self.on_progress(self.done, round(self.done / fraction) if fraction > 0 else None)


def _store_fault(fault: FhirError) -> Problem:
    return Problem("error", "not-stored", (fault.diagnostics, "máy chủ không lưu được hồ sơ này"))
