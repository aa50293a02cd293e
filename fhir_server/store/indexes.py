"""Collections and their indexes: made once, before the first transaction that writes a type."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError

from fhir_server.store.contract import INDEX_KEYS, INDEX_ORDER, INDEX_UPDATED
from fhir_server.store.documents import Document
from fhir_server.store.faults import UNKNOWN_COMMIT, code_of, runs_again

HISTORY = "_history"
MAJORITY = WriteConcern("majority")
_NAMESPACE_EXISTS = 48
_CHANCES, _PAUSE_SECONDS = 50, 0.02

# `{o}` also tells tombstones apart: they have no `o`.
LIVE_INDEXES = (
    IndexModel([("k", ASCENDING), ("o", DESCENDING), ("s", ASCENDING)], name=INDEX_KEYS),
    IndexModel([("o", DESCENDING)], name=INDEX_ORDER),
    IndexModel([("u", ASCENDING), ("_id", ASCENDING)], name=INDEX_UPDATED),
    # Tombstones have no keys, so a patient's are found by `p` when what they are narrowed by changes.
    IndexModel([("p", ASCENDING)], name="gone", partialFilterExpression={"d": True}),
)
HISTORY_INDEXES = (
    IndexModel([("u", ASCENDING), ("i", ASCENDING)], name=INDEX_UPDATED),
    IndexModel([("p", ASCENDING)], name="patient", partialFilterExpression={"p": {"$gt": ""}}),
)


class Collections:
    """The collections of one database that are known to exist with their indexes.

    deferred: collections made now get their indexes from `build`, after a first bulk load; all but Patient, since a
    load looks people up by their numbers.
    """

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._database = database
        self._ready: set[str] = set()
        self._making = asyncio.Lock()
        self.deferred = False

    def missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self._ready]

    async def ensure(self, names: Iterable[str]) -> None:
        """Makes what is missing, durably. Another worker may do the same at the same time."""
        async with self._making:
            for name in self.missing(names):
                if self.deferred and name != "Patient":
                    await create(self._database, name)
                else:
                    await self._make(name)
                self._ready.add(name)

    async def open(self) -> None:
        """Finishes what a killed process left half made: a collection without all its indexes."""
        await self.ensure(sorted(name for name in await self.existing() if name[0].isupper()))

    async def existing(self) -> set[str]:
        return set(await self._database.list_collection_names())

    async def types(self) -> set[str]:
        """The resource types that have ever been written."""
        return {name for name in await self.existing() if name[0].isupper() and not name.endswith(HISTORY)}

    async def build(self) -> None:
        """Makes the indexes that were put off, all of a collection in one pass over it."""
        self.deferred = False
        for name in sorted(name for name in await self.existing() if name[0].isupper()):
            await self._index(name)
            self._ready.add(name)

    async def without_indexes(self) -> list[str]:
        """Collections that lack one of their indexes."""
        lacking = []
        for name in sorted(self._ready):
            found = await self._database[name].index_information()
            if any(model.document["name"] not in found for model in indexes_of(name)):
                lacking.append(name)
        return lacking

    async def _make(self, name: str) -> None:
        """In one transaction: a search names the index that it walks, so nobody may see the collection without it."""
        async with self._database.client.start_session() as session:
            for _ in range(_CHANCES):
                try:
                    async with await session.start_transaction(write_concern=MAJORITY):
                        await create(self._database, name, session)
                        await self._database[name].create_indexes(list(indexes_of(name)), session=session)
                    return
                except PyMongoError as fault:
                    if code_of(fault) == _NAMESPACE_EXISTS:
                        break
                    passes = runs_again(fault) or fault.has_error_label(UNKNOWN_COMMIT)
                    if not passes or isinstance(fault, ServerSelectionTimeoutError):
                        raise
                await asyncio.sleep(_PAUSE_SECONDS)  # another process makes it now
        # It is there; whole, unless an earlier version was killed while it made it.
        await create(self._database, name)
        await self._index(name)

    async def _index(self, name: str) -> None:
        collection = self._database[name].with_options(write_concern=MAJORITY)
        await collection.create_indexes(list(indexes_of(name)))


def indexes_of(name: str) -> tuple[IndexModel, ...]:
    return HISTORY_INDEXES if name.endswith(HISTORY) else LIVE_INDEXES


async def create(database: AsyncDatabase[Document], name: str, session: AsyncClientSession | None = None) -> None:
    """Leaves one that exists as it is, but raises OperationFailure inside a transaction, which ends by that."""
    options: Mapping[str, Any] = {"wiredTiger": {"configString": "block_compressor=zstd"}}
    concern = None if session else MAJORITY
    try:
        await database.create_collection(
            name, storageEngine=options, write_concern=concern, check_exists=False, session=session
        )
    except OperationFailure as answer:
        if session or answer.code != _NAMESPACE_EXISTS:
            raise
