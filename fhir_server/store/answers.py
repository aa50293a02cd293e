"""Bytes of any length, kept for a day under a key: answers to requests that may be sent again or asked for later.

answers: {_id: "key#0000", content, last, at}, one document a part, since a document holds at most 16 MiB
"""

from __future__ import annotations

from datetime import UTC, datetime

from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.documents import Document

ANSWERS = "answers"
ANSWER_SECONDS = 24 * 3600
PART_BYTES = 8 << 20


class Answers:
    """The kept bytes of one database. A key holds no `#`; it is plain text, so it is no query."""

    def __init__(self, database: AsyncDatabase[Document], session: AsyncClientSession | None = None) -> None:
        self._parts = database[ANSWERS]
        self._session = session

    async def keep(self, key: str, content: bytes) -> None:
        """Raises the driver's duplicate key error when something is kept under the key already."""
        starts = range(0, max(1, len(content)), PART_BYTES)
        for number, start in enumerate(starts):
            part = content[start : start + PART_BYTES]
            await self._parts.insert_one(_part(key, number, part, number == len(starts) - 1), session=self._session)

    async def kept(self, key: str) -> bytes | None:
        """None when nothing is kept, not all of it, or its time is over."""
        parts = await self._parts.find({"_id": _span(key)}, session=self._session).sort("_id").to_list()
        whole = [part["_id"] for part in parts] == [_name(key, number) for number in range(len(parts))]
        if not parts or not whole or not parts[-1]["last"]:
            return None
        return b"".join(part["content"] for part in parts)

    async def agree(self, key: str, content: bytes) -> bytes:
        """What was kept under the key first, by whichever process: `content`, or what was there already."""
        document = _part(key, 0, content, last=True)
        found = await self._parts.find_one_and_update(
            {"_id": document.pop("_id")}, {"$setOnInsert": document}, upsert=True, return_document=ReturnDocument.AFTER
        )
        return bytes(found["content"]) if found else content

    async def forget(self, key: str) -> None:
        await self._parts.delete_many({"_id": _span(key)})


def _part(key: str, number: int, content: bytes, last: bool) -> Document:
    return {"_id": _name(key, number), "content": content, "last": last, "at": datetime.now(UTC)}


def _name(key: str, number: int) -> str:
    return f"{key}#{number:04d}"


def _span(key: str) -> dict[str, str]:
    return {"$gte": f"{key}#", "$lt": f"{key}$"}  # "$" follows "#"
