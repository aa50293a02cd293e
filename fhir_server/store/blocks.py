"""The chain of blocks that seals the record of accesses (security.seals says what a block means).

blocks: {_id: number from 0, at: ms since the epoch, …}; a number is given once, which makes it one chain
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from fhir_server.store.documents import Document
from fhir_server.store.indexes import MAJORITY

BLOCKS = "blocks"
_STEP = 500


class Blocks:
    """The blocks of one database."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._blocks = database[BLOCKS].with_options(write_concern=MAJORITY)

    async def append(self, block: Mapping[str, Any]) -> bool:
        """False when its number is taken; nothing is written then."""
        try:
            await self._blocks.insert_one({"_id": block["n"], **block})
        except DuplicateKeyError:
            return False
        return True

    async def last(self) -> dict[str, Any] | None:
        found = await self._blocks.find_one(sort=[("_id", -1)])
        return dict(found) if found else None

    async def walk(self, since: int | None) -> AsyncIterator[dict[str, Any]]:
        """In order. since: only those made from this time on (ms), found from the end; None: all."""
        first = await self._first(since) if since is not None else 0
        while True:
            page = await self._blocks.find({"_id": {"$gte": first}}).sort("_id").limit(_STEP).to_list()
            for block in page:
                yield dict(block)
            if len(page) < _STEP:
                return
            first = page[-1]["_id"] + 1

    async def _first(self, since: int) -> int:
        """The number of the first block since a time. Blocks are in the order of time but for the skew of clocks."""
        found = await self._blocks.find_one({"at": {"$lt": since}}, {"_id": 1}, sort=[("_id", -1)])
        return found["_id"] + 1 if found else 0
