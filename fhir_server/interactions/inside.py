"""The store as the reads of a transaction see it: with the writes that are not committed yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from fhir_server.store.contract import Store, Transaction
from fhir_server.store.values import Filter, Find, HistoryQuery, Stored, View


class Inside:
    """A Store for interactions that read. Numbers, secrets and kept queries are the store's own."""

    def __init__(self, store: Store, transaction: Transaction) -> None:
        self._store = store
        self._transaction = transaction

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def read(self, type: str, id: str, view: View) -> Stored | None:
        return await self._transaction.read(type, id, view)

    async def read_many(self, type: str, ids: Sequence[str], view: View) -> dict[str, Stored]:
        return await self._transaction.read_many(type, ids, view)

    async def find(self, query: Find, view: View) -> list[Stored]:
        return await self._transaction.find(query, view)

    async def find_at_once(self, queries: Sequence[Find], view: View) -> list[Stored]:
        """One after the other: MongoDB has no query of several collections in a transaction."""
        found: list[Stored] = []
        for query in queries:
            if left := query.limit - len(found):
                found += await self.find(replace(query, limit=left), view)
        return found

    async def count(self, type: str, filter: Filter, view: View, cap: int | None = None) -> int:
        return await self._transaction.count(type, filter, view, cap)

    async def vread(self, type: str, id: str, version: int, view: View) -> Stored | None:
        return await self._transaction.vread(type, id, version, view)

    async def history(self, query: HistoryQuery, view: View) -> list[Stored]:
        return await self._transaction.history(query, view)

    async def history_count(self, query: HistoryQuery, view: View) -> int:
        return await self._transaction.history_count(query, view)
