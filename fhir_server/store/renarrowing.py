"""What access is narrowed by, written anew in old versions and tombstones, which no put reaches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.model.resources import Resource, decode
from fhir_server.store.documents import Document, history_id, organisations, tiers
from fhir_server.store.indexes import HISTORY
from fhir_server.store.values import Narrowing

BATCH = 500
_FIELDS = {"i": 1, "v": 1, "s": 1, "a": 1}


async def renarrow_versions(
    database: AsyncDatabase[Document], type: str, narrow: Callable[[Resource, str], Narrowing]
) -> None:
    """The class of sensitivity and the organisations of every version but the current. What the Patient says for the
    compartment stays. Cut off and run again it passes over what is done."""
    await _write(database, type + HISTORY, _of_versions(database, type, narrow))
    for name in (type + HISTORY, type):
        await _write(database, name, _of_tombstones(database, type, name))


async def _of_versions(
    database: AsyncDatabase[Document], type: str, narrow: Callable[[Resource, str], Narrowing]
) -> AsyncIterator[UpdateOne]:
    async for document in database[type + HISTORY].find({"d": {"$ne": True}}, {**_FIELDS, "raw": 1}):
        told = narrow(decode(document["raw"]), document["i"])
        for update in _update(document, told.sensitivity, organisations(told.parties)):
            yield update


async def _of_tombstones(database: AsyncDatabase[Document], type: str, name: str) -> AsyncIterator[UpdateOne]:
    """A tombstone is narrowed as the version that it ended."""
    async for document in database[name].find({"d": True}, _FIELDS):
        ended = history_id(document.get("i") or document["_id"], document["v"] - 1)
        last = await database[type + HISTORY].find_one({"_id": ended}, _FIELDS)
        for update in _update(document, last["s"], organisations(last["a"])) if last else ():
            yield update


def _update(document: Mapping[str, Any], sensitivity: int, named: list[str]) -> list[UpdateOne]:
    wanted = {"s": sensitivity, "a": [*named, *tiers(document["a"])]}
    is_so = wanted == {"s": document["s"], "a": document["a"]}
    return [] if is_so else [UpdateOne({"_id": document["_id"]}, {"$set": wanted})]


async def _write(database: AsyncDatabase[Document], name: str, updates: AsyncIterator[UpdateOne]) -> None:
    collection = database[name]
    batch: list[UpdateOne] = []
    async for update in updates:
        batch.append(update)
        if len(batch) == BATCH:
            await collection.bulk_write(batch, ordered=False)
            batch = []
    if batch:
        await collection.bulk_write(batch, ordered=False)
