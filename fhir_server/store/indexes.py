"""Collections and their indexes: made once, before the first transaction that writes a type."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from fhir_server.store.documents import Document
from fhir_server.store.values import INDEX_KEYS, INDEX_ORDER, INDEX_UPDATED, INDEX_WARD

HISTORY = "_history"
_NAMESPACE_EXISTS = 48
_INDEXED_AT_ONCE = 2  # collections; MongoDB makes the indexes of one in one thread and takes up to 200 MB for it

# `{o}` also tells tombstones apart: they have no `o`.
LIVE_INDEXES = (
    IndexModel([("k", ASCENDING), ("o", DESCENDING), ("s", ASCENDING)], name=INDEX_KEYS),
    IndexModel([("o", DESCENDING)], name=INDEX_ORDER),
    IndexModel([("u", ASCENDING), ("_id", ASCENDING)], name=INDEX_UPDATED),
    # Tombstones have no keys, so a patient's are found by `p` when what they are narrowed by changes.
    IndexModel([("p", ASCENDING)], name="gone", partialFilterExpression={"d": True}),
)
OF_WARDS = IndexModel(
    [("w", ASCENDING), ("k", ASCENDING), ("o", DESCENDING)],
    name=INDEX_WARD,
    partialFilterExpression={"w": {"$gt": ""}},
)
# Stands in for the others while these are put off: what a Patient says anew is written to the whole compartment.
OF_A_LOAD = IndexModel([("p", ASCENDING)], name="members")
HISTORY_INDEXES = (
    IndexModel([("u", ASCENDING), ("i", ASCENDING)], name=INDEX_UPDATED),
    IndexModel([("p", ASCENDING)], name="patient", partialFilterExpression={"p": {"$gt": ""}}),
)


class Collections:
    """The collections of one database that are known to exist with their indexes.

    by_ward: with the index by ward of residence.
    deferred: collections made now get their indexes from `build`, after a first bulk load, and until then one over
    their patients; all but Patient, since a load looks people up by their numbers, and old versions, which are few.
    """

    def __init__(self, database: AsyncDatabase[Document], by_ward: bool = False) -> None:
        self._database = database
        self.by_ward = by_ward
        self._ready: set[str] = set()
        self._making = asyncio.Lock()
        self.deferred = False

    def missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self._ready]

    async def ensure(self, names: Iterable[str]) -> None:
        """Makes what is missing, durably. Another worker may do the same at the same time."""
        async with self._making:
            for name in self.missing(names):
                await create(self._database, name)
                if self.deferred and name != "Patient" and not name.endswith(HISTORY):
                    await self._database[name].create_indexes([OF_A_LOAD])
                else:
                    await self._index(name)
                self._ready.add(name)

    async def open(self) -> None:
        """Finishes what a killed process left half made: a collection without all its indexes."""
        await self._index_all(sorted(await self._named()))

    async def _named(self) -> list[str]:
        return [name for name in await self.existing() if name[0].isupper()]

    async def _index_all(self, names: Iterable[str]) -> None:
        waiting = iter(names)

        async def index() -> None:
            for name in waiting:
                await self._index(name)
                self._ready.add(name)

        await asyncio.gather(*[index() for _ in range(_INDEXED_AT_ONCE)])

    async def existing(self) -> set[str]:
        return set(await self._database.list_collection_names())

    async def types(self) -> set[str]:
        """The resource types that have ever been written."""
        return types_of(await self.existing())

    async def build(self) -> None:
        """Makes the indexes that were put off, all of a collection in one pass over it.

        The largest, which holds half of a load, goes first: all others together take about as long."""
        self.deferred = False
        sizes = {name: await self._database[name].estimated_document_count() for name in await self._named()}
        await self._index_all(sorted(sizes, key=lambda name: -sizes[name]))

    async def without_indexes(self) -> list[str]:
        """Collections that lack one of their indexes."""
        lacking = []
        for name in sorted(self._ready):
            found = await self._database[name].index_information()
            if any(model.document["name"] not in found for model in self._indexes_of(name)):
                lacking.append(name)
        return lacking

    async def _index(self, name: str) -> None:
        await self._database[name].create_indexes(list(self._indexes_of(name)))
        if OF_A_LOAD.document["name"] in await self._database[name].index_information():
            await self._database[name].drop_index(OF_A_LOAD.document["name"])

    def _indexes_of(self, name: str) -> tuple[IndexModel, ...]:
        if name.endswith(HISTORY):
            return HISTORY_INDEXES
        return (*LIVE_INDEXES, OF_WARDS) if self.by_ward else LIVE_INDEXES


def types_of(collections: Iterable[str]) -> set[str]:
    """The resource types among names of collections."""
    return {name for name in collections if name[0].isupper() and not name.endswith(HISTORY)}


async def create(database: AsyncDatabase[Document], name: str) -> None:
    options: Mapping[str, Any] = {"wiredTiger": {"configString": "block_compressor=zstd"}}
    try:
        await database.create_collection(name, storageEngine=options, check_exists=False)
    except OperationFailure as answer:
        if answer.code != _NAMESPACE_EXISTS:
            raise
