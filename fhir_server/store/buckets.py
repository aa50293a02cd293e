"""Buckets that fill steadily and that all processes draw from: limits of clients.

buckets: {_id: sha256 of the name, left, drawn: by whoever was last, t: ms, at}, gone when nobody has drawn for two days
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.documents import Document

BUCKETS = "buckets"
BUCKET_SECONDS = 2 * 24 * 3600  # longer than any bucket takes to be full again


class Buckets:
    """The buckets of one database."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._buckets = database[BUCKETS]

    async def draw(
        self, name: str, amount: tuple[float, float], rate: float, size: float, now: int
    ) -> tuple[float, float]:
        """As contract.Store.draw: one command, so two who draw at a time never get the same."""
        least, most = amount
        elapsed = {"$max": [0, {"$subtract": [now, {"$ifNull": ["$t", now]}]}]}
        filled = {"$add": [{"$ifNull": ["$left", size]}, {"$multiply": [elapsed, rate / 1000]}]}
        given = {"$cond": [{"$gte": ["$left", least]}, {"$min": ["$left", most]}, 0.0]}
        steps: list[dict[str, Any]] = [
            {"$set": {"left": {"$min": [size, filled]}, "t": {"$max": ["$t", now]}, "at": datetime.now(UTC)}},
            {"$set": {"drawn": given}},
            {"$set": {"left": {"$subtract": ["$left", "$drawn"]}}},
        ]
        key = hashlib.sha256(name.encode()).hexdigest()
        after = ReturnDocument.AFTER
        found = await self._buckets.find_one_and_update({"_id": key}, steps, upsert=True, return_document=after)
        return (float(found["drawn"]), float(found["left"])) if found else (0.0, 0.0)
