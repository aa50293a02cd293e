"""Runs work in a MongoDB transaction, again and again until it is committed, refused or out of time."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from fhir_server.errors import FhirError, Kind
from fhir_server.model.registry import Registry
from fhir_server.store.compartments import Compartments
from fhir_server.store.contract import Find, Op, Stored, Transaction, View, Written
from fhir_server.store.documents import Document
from fhir_server.store.faults import OUTCOME_UNKNOWN, TRANSIENT, UNKNOWN_COMMIT, fhir_error, runs_again, wrapped
from fhir_server.store.indexes import MAJORITY, Collections
from fhir_server.store.reads import Reads
from fhir_server.store.writes import RunAgain, Writes

CLAIMS = "claims"
T = TypeVar("T")


class MongoTransaction:
    """The inside of one run of one transaction (contract.Transaction)."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    async def read(self, type: str, id: str, view: View) -> Stored | None:
        return (await self._writes.reads.read_many(type, [id], view, self._writes.session)).get(id)

    async def find(self, query: Find, view: View) -> list[Stored]:
        return await self._writes.reads.find(query, view, self._writes.session)

    async def claim(self, criterion: str) -> None:
        """Two transactions that write one document conflict; what the document says does not matter."""
        key = hashlib.sha256(criterion.encode()).hexdigest()
        with wrapped("claiming a condition", in_transaction=True):
            await self._writes.reads.database[CLAIMS].update_one(
                {"_id": key},
                {"$set": {"at": datetime.now(UTC)}, "$inc": {"n": 1}},
                upsert=True,
                session=self._writes.session,
            )

    async def apply(self, ops: Sequence[Op]) -> list[Written]:
        with wrapped("writing", in_transaction=True):
            return await self._writes.apply(ops)


class Transactions:
    """Runs transactions on one database. clock: ms since the epoch. limit_seconds: for all runs of one together."""

    def __init__(
        self,
        client: AsyncMongoClient[Document],
        reads: Reads,
        collections: Collections,
        registry: Registry,
        clock: Callable[[], int],
        limit_seconds: float,
    ) -> None:
        self._client = client
        self._reads = reads
        self._collections = collections
        self._registry = registry
        self._clock = clock
        self._limit_seconds = limit_seconds

    async def run(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """As contract.Store.transact."""
        now = self._clock()
        deadline = time.monotonic() + self._limit_seconds
        try:
            async with asyncio.timeout(self._limit_seconds), self._client.start_session() as session:
                return await self._run_until(work, session, now, deadline)
        except TimeoutError:
            limit = f"the limit of {self._limit_seconds:g} seconds"
            raise FhirError(Kind.TIMEOUT, f"the transaction took longer than {limit}; {OUTCOME_UNKNOWN}") from None
        except PyMongoError as fault:
            raise fhir_error(fault, "the transaction") from fault

    async def _run_until(
        self, work: Callable[[Transaction], Awaitable[T]], session: AsyncClientSession, now: int, deadline: float
    ) -> T:
        runs = 0
        while True:
            try:
                return await self._run_once(work, session, now, careful=runs > 0, deadline=deadline)
            except RunAgain as asked:
                await self._undo(session)
                await self._collections.ensure(asked.collections)
                continue
            except PyMongoError as fault:
                await self._undo(session)
                pause = _pause(runs)
                if not runs_again(fault) or time.monotonic() + pause > deadline:
                    raise
            runs += 1
            await asyncio.sleep(pause)

    async def _run_once(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        session: AsyncClientSession,
        now: int,
        careful: bool,
        deadline: float,
    ) -> T:
        await session.start_transaction(
            read_concern=ReadConcern("snapshot"), write_concern=MAJORITY, read_preference=ReadPreference.PRIMARY
        )
        compartments = Compartments(self._reads.database, session)
        generation = self._registry.generation
        writes = Writes(self._reads, self._collections, session, compartments, generation, now, careful)
        result = await work(MongoTransaction(writes))
        await _commit(session, deadline)
        return result

    async def _undo(self, session: AsyncClientSession) -> None:
        if session.in_transaction:
            await session.abort_transaction()


async def _commit(session: AsyncClientSession, deadline: float) -> None:
    """Asks again while the outcome is unknown: the server knows a transaction that it has committed already."""
    tries = 0
    while True:
        try:
            return await session.commit_transaction()
        except PyMongoError as fault:
            pause = _pause(tries)
            lost = not fault.has_error_label(UNKNOWN_COMMIT) or fault.has_error_label(TRANSIENT)
            if lost or time.monotonic() + pause > deadline:
                raise
        tries += 1
        await asyncio.sleep(pause)


def _pause(tries: int) -> float:
    """Seconds to wait, random so that those who met do not meet again."""
    return random.uniform(0.0, min(0.5, 0.004 * 2.0 ** min(tries, 10)))
