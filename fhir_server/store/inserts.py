"""New documents inside a transaction, by the command itself where one holds them all: the driver takes half as long
again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

MOST_BYTES_A_COMMAND = 4 << 20  # of documents, as far as they are counted; MongoDB takes 16 MiB


async def insert(
    database: AsyncDatabase[dict[str, Any]], name: str, documents: Sequence[dict[str, Any]], session: AsyncClientSession
) -> None:
    """Into the collection of that name; each has its `_id`. Raises PyMongoError, for a document that is there already
    with code 11000."""
    if sum(map(_size, documents)) > MOST_BYTES_A_COMMAND:
        await database[name].insert_many(documents, session=session)
        return
    answer = await database.command({"insert": name, "documents": documents}, session=session)
    if "writeErrors" in answer:
        raise BulkWriteError(answer)


def _size(document: Mapping[str, Any]) -> int:
    """Bytes in the database, about: never less than half of what it will be."""
    keys = document.get("k", ())
    return len(document.get("raw", b"")) + sum(map(len, keys)) + 16 * len(keys) + 500
