"""Runs work in a MongoDB transaction, again and again until it is committed, refused or out of time."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pymongo import AsyncMongoClient, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from fhir_server.errors import FhirError, Kind
from fhir_server.model.registry import Registry
from fhir_server.store.answers import Answers
from fhir_server.store.cancellation import heed_cancellation
from fhir_server.store.compartments import Compartments
from fhir_server.store.concerns import MAJORITY
from fhir_server.store.contract import Guard, Transaction
from fhir_server.store.documents import Document
from fhir_server.store.faults import (
    OUTCOME_UNKNOWN,
    TOO_LARGE_FOR_CACHE,
    TRANSIENT,
    UNKNOWN_COMMIT,
    RunAgain,
    code_of,
    fhir_error,
    runs_again,
    wrapped,
)
from fhir_server.store.gates import Gates
from fhir_server.store.history import History
from fhir_server.store.indexes import Collections
from fhir_server.store.ledger import MongoLedger
from fhir_server.store.ledger_contract import Event, Page
from fhir_server.store.reads import Reads
from fhir_server.store.registers import Registers
from fhir_server.store.turns import Turns
from fhir_server.store.values import Filter, Find, HistoryQuery, Narrowing, Op, Stored, View, Written
from fhir_server.store.writes import Writes

CLAIMS = "claims"
CHANCES_OF_A_LARGE_ONE = 2
T = TypeVar("T")


class MongoTransaction:
    """The inside of one run of one transaction (contract.Transaction)."""

    def __init__(self, writes: Writes, ledger: MongoLedger) -> None:
        self._writes = writes
        self._ledger = ledger
        self._answers = Answers(writes.reads.database, writes.session)
        self._gates = Gates(writes.reads.database, writes.session)
        self._history = History(writes.reads, writes.collections)

    async def read(self, type: str, id: str, view: View) -> Stored | None:
        return (await self.read_many(type, [id], view)).get(id)

    async def read_many(self, type: str, ids: Sequence[str], view: View) -> dict[str, Stored]:
        return await _heeding(self._writes.reads.read_many(type, ids, view, self._writes.session))

    async def find(self, query: Find, view: View) -> list[Stored]:
        return await _heeding(self._writes.reads.find(query, view, self._writes.session))

    async def count(self, type: str, filter: Filter, view: View, cap: int | None = None) -> int:
        return await _heeding(self._writes.reads.count(type, filter, view, cap, self._writes.session))

    async def vread(self, type: str, id: str, version: int, view: View) -> Stored | None:
        return await _heeding(self._history.vread(type, id, version, view, self._writes.session))

    async def versions(self, type: str, versions: Collection[tuple[str, int]], view: View) -> set[tuple[str, int]]:
        return await _heeding(self._history.readable(type, versions, view, self._writes.session))

    async def history(self, query: HistoryQuery, view: View) -> list[Stored]:
        return await _heeding(self._history.page(query, view, self._writes.session))

    async def history_count(self, query: HistoryQuery, view: View) -> int:
        return await _heeding(self._history.count(query, view, self._writes.session))

    async def rely_on(self, names: Collection[str]) -> None:
        with wrapped("relying on what is there", in_transaction=True):
            await _heeding(self._gates.pass_one(names))

    async def upset(self, names: Collection[str]) -> None:
        with wrapped("changing what others rely on", in_transaction=True):
            await _heeding(self._gates.pass_all(names))

    async def claim(self, criterion: str) -> None:
        """Two transactions that write one document conflict; what the document says does not matter."""
        key = hashlib.sha256(criterion.encode()).hexdigest()
        with wrapped("claiming a condition", in_transaction=True):
            await _heeding(
                self._writes.reads.database[CLAIMS].update_one(
                    {"_id": key},
                    {"$set": {"at": datetime.now(UTC)}, "$inc": {"n": 1}},
                    upsert=True,
                    session=self._writes.session,
                )
            )

    async def claim_all(self, criteria: Iterable[str]) -> None:
        now = datetime.now(UTC)
        keys = sorted({hashlib.sha256(criterion.encode()).hexdigest() for criterion in criteria})
        update = {"$set": {"at": now}, "$inc": {"n": 1}}
        claims = [UpdateOne({"_id": key}, update, upsert=True) for key in keys]
        if claims:
            with wrapped("claiming conditions", in_transaction=True):
                await _heeding(
                    self._writes.reads.database[CLAIMS].bulk_write(claims, ordered=True, session=self._writes.session)
                )

    async def apply(self, ops: Sequence[Op], guard: Guard | None = None) -> list[Written]:
        with wrapped("writing", in_transaction=True):
            return await _heeding(self._writes.apply(ops, guard))

    async def examine(self, ops: Sequence[Op], guard: Guard | None = None) -> None:
        with wrapped("examining what was to be written", in_transaction=True):
            await _heeding(self._writes.examine(ops, guard))

    async def consent(self, patient: str, restricts: bool, codes: Sequence[str]) -> None:
        with wrapped("writing what a patient consents to", in_transaction=True):
            await self._writes.compartments.consent(patient, restricts, codes)

    async def resettle(self, patient: str, narrowing: Narrowing) -> None:
        with wrapped("narrowing what a deleted patient left", in_transaction=True):
            await self._writes.compartments.resettle(patient, narrowing)

    async def enter(self, register: str, name: str, entry: Mapping[str, Any]) -> bool:
        with wrapped(f"entering into {register}", in_transaction=True):
            await Registers(self._writes.reads.database, self._writes.session).put(register, name, entry)
        return True

    async def entries_named(self, register: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        with wrapped(f"looking into {register}", in_transaction=True):
            return await Registers(self._writes.reads.database, self._writes.session).named(register, names)

    async def enter_all(self, register: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
        with wrapped(f"entering into {register}", in_transaction=True):
            await Registers(self._writes.reads.database, self._writes.session).put_all(register, entries)

    async def answered(self, key: str) -> bytes | None:
        await self.claim(f"answer {key}")
        with wrapped("looking for an earlier answer", in_transaction=True):
            return await _heeding(self._answers.kept(key))

    async def keep_answer(self, key: str, content: bytes) -> None:
        with wrapped("keeping the answer", in_transaction=True):
            await _heeding(self._answers.keep(key, content))

    async def record(self, events: Sequence[Event]) -> None:
        with wrapped("recording audit events", in_transaction=True):
            await _heeding(self._ledger.record(events, self._writes.session))

    async def adopt(self, page: Page, events: Sequence[Event]) -> bool:
        with wrapped("writing audit events", in_transaction=True):
            return await _heeding(self._ledger.adopt(page, events, self._writes.session))


class Transactions:
    """Runs transactions on one database. clock: ms since the epoch. limit_seconds: for all runs of one together."""

    def __init__(
        self,
        client: AsyncMongoClient[Document],
        reads: Reads,
        collections: Collections,
        ledger: MongoLedger,
        registry: Registry,
        clock: Callable[[], int],
        limit_seconds: float,
    ) -> None:
        self._client = client
        self._reads = reads
        self._collections = collections
        self._ledger = ledger
        self._registry = registry
        self._clock = clock
        self._limit_seconds = limit_seconds
        self._turns = Turns()

    async def run(self, work: Callable[[Transaction], Awaitable[T]], about: Iterable[str]) -> T:
        """As contract.Store.transact."""
        clocked = _Progress(self._clock(), time.monotonic() + self._limit_seconds)
        try:
            async with (
                asyncio.timeout(self._limit_seconds),
                self._turns.taken(about),
                self._client.start_session() as session,
            ):
                clocked.begun = time.monotonic()
                return await self._run_until(work, session, clocked)
        except TimeoutError:
            raise self._out_of_time(clocked) from None
        except PyMongoError as fault:
            raise fhir_error(fault, "the transaction") from None

    def _out_of_time(self, clocked: _Progress) -> FhirError:
        """What the time went into: a commit without an answer, others in the queue, a fault that did not pass, or the
        work itself."""
        limit = f"the limit of {self._limit_seconds:g} seconds"
        if clocked.committing:
            return FhirError(Kind.TIMEOUT, f"the transaction was not confirmed within {limit}; {OUTCOME_UNKNOWN}")
        if clocked.deadline - clocked.begun < self._limit_seconds / 2:
            text = f"other writes of the same resources took most of {limit}; nothing was written, send it again"
            return FhirError(Kind.CONFLICT, text)
        if clocked.fault is not None:
            return fhir_error(clocked.fault, "the transaction")
        return FhirError(Kind.TIMEOUT, f"the transaction took longer than {limit}; nothing was written")

    async def _run_until(
        self, work: Callable[[Transaction], Awaitable[T]], session: AsyncClientSession, clocked: _Progress
    ) -> T:
        while True:
            heed_cancellation()
            try:
                return await self._run_once(work, session, clocked)
            except RunAgain as asked:
                await _undo(session)
                await self._collections.ensure(asked.collections)
            except PyMongoError as fault:
                await _undo(session)
                tired = code_of(fault) == TOO_LARGE_FOR_CACHE and clocked.pauses >= CHANCES_OF_A_LARGE_ONE
                if tired or not runs_again(fault):
                    raise
                clocked.fault = fault
                await clocked.pause(fault)
            clocked.committing = False

    async def _run_once(
        self, work: Callable[[Transaction], Awaitable[T]], session: AsyncClientSession, clocked: _Progress
    ) -> T:
        await session.start_transaction(
            read_concern=ReadConcern("snapshot"), write_concern=MAJORITY, read_preference=ReadPreference.PRIMARY
        )
        # Look before writing new ids only after something went wrong; a first run takes them for new.
        careful = clocked.fault is not None
        compartments = Compartments(self._reads.database, session, crowded=careful)
        generation = self._registry.generation
        writes = Writes(self._reads, self._collections, session, compartments, generation, clocked.now, careful)
        result = await work(MongoTransaction(writes, self._ledger))
        heed_cancellation()
        clocked.committing = True
        await _commit(session, clocked)
        return result


@dataclass(slots=True)
class _Progress:
    """One transaction over all its runs. now: ms since the epoch, the same in each run. deadline, begun: monotonic
    seconds. fault: why it is run again."""

    now: int
    deadline: float
    fault: PyMongoError | None = None
    begun: float = math.inf
    committing: bool = False
    pauses: int = 0

    async def pause(self, fault: PyMongoError) -> None:
        """Waits, by chance longer each time, so that those who met do not meet again. Raises the fault when late."""
        seconds = random.uniform(0.0, min(0.5, 0.004 * 2.0 ** min(self.pauses, 10)))
        if time.monotonic() + seconds > self.deadline:
            raise fault
        self.pauses += 1
        await asyncio.sleep(seconds)


async def _heeding(call: Awaitable[T]) -> T:
    """What the call gives, unless it was to be cancelled meanwhile."""
    result = await call
    heed_cancellation()
    return result


async def _undo(session: AsyncClientSession) -> None:
    if session.in_transaction:
        await session.abort_transaction()


async def _commit(session: AsyncClientSession, clocked: _Progress) -> None:
    """Asks again while the outcome is unknown: the server knows a transaction that it has committed already."""
    while True:
        try:
            return await session.commit_transaction()
        except PyMongoError as fault:
            if not fault.has_error_label(UNKNOWN_COMMIT) or fault.has_error_label(TRANSIENT):
                raise
            await clocked.pause(fault)
