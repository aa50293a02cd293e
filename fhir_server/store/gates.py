"""Locks that many transactions hold together and one holds alone, where the database itself has none.

    gates: {_id: "name/number", n: times passed, at}

Each who relies on a name writes to one of its gates, chosen by chance, so that two of them seldom meet; who upsets it
writes to all of them, and so meets everybody: one of the two conflicts and is run again on what the other left.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.documents import Document

GATES = "gates"
GATES_OF_A_NAME = 16


class Gates:
    """The gates of one database, within one transaction."""

    def __init__(self, database: AsyncDatabase[Document], session: AsyncClientSession) -> None:
        self._gates = database[GATES]
        self._session = session

    async def pass_one(self, names: Iterable[str]) -> None:
        """Of each name."""
        await self._pass([f"{name}/{random.randrange(GATES_OF_A_NAME)}" for name in names])

    async def pass_all(self, names: Iterable[str]) -> None:
        """Of each name."""
        await self._pass([f"{name}/{number}" for name in names for number in range(GATES_OF_A_NAME)])

    async def _pass(self, ids: Iterable[str]) -> None:
        change = {"$inc": {"n": 1}, "$set": {"at": datetime.now(UTC)}}
        requests = [UpdateOne({"_id": id}, change, upsert=True) for id in sorted(ids)]
        if requests:
            await self._gates.bulk_write(requests, session=self._session)
