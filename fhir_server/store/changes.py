"""The sequence of changes: what was committed, numbered in the order of commits by one follower of the change stream.

    changes:  {_id: seq, t: type, i: id, v: version, p: patient, d: deleted, at: time of the commit}
    follower: {_id: "changes", name, owner, until: end of the lease, seq: the last number given, token: where the stream
               is taken up again, start: from which operation time where there is no token, begun, moment}

Changes and the token are written in one transaction that holds the lease, so that none is numbered twice or missed.
When the stream cannot be taken up again because the oplog no longer reaches back so far, what was changed since the
last known moment is numbered anew from the resources themselves, with an overlap.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson.timestamp import Timestamp
from pymongo import ASCENDING, AsyncMongoClient, IndexModel
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from fhir_server.store.concerns import MAJORITY
from fhir_server.store.documents import Document
from fhir_server.store.faults import DUPLICATE_KEY, code_of
from fhir_server.store.indexes import create
from fhir_server.store.inserts import insert
from fhir_server.store.values import Change, ChangeSpan

CHANGES, FOLLOWER = "changes", "follower"
KEPT_SECONDS = 180 * 24 * 3600
LEASE_SECONDS = 20.0
LOOK_SECONDS = 0.5  # how often the stream is looked into: each look, and each batch, costs as much as ten changes
IDLE_SECONDS = 10.0  # how often the place in the stream is noted while nothing happens
BATCH = 500
OVERLAP_MS = 10 * 60 * 1000
_HISTORY_LOST = frozenset({286, 280, 136})  # the oplog has gone on; the stream cannot be taken up; capped position lost
_INDEXES = (
    IndexModel([("p", ASCENDING), ("_id", ASCENDING)], name="patient"),
    IndexModel([("i", ASCENDING), ("v", ASCENDING)], name="resource"),
    IndexModel([("at", ASCENDING)], name="expiry", expireAfterSeconds=KEPT_SECONDS),
)
# Narrowing alone is rewritten by `update`: no version, no change. A re-index replaces documents without a new version.
_PIPELINE: list[Mapping[str, Any]] = [
    {"$match": {"ns.coll": {"$regex": "^[A-Z][A-Za-z]*$"}, "operationType": {"$in": ["insert", "replace"]}}},
    {
        "$project": {
            "operationType": 1,
            "ns": 1,
            "documentKey": 1,
            "clusterTime": 1,
            "fullDocument.v": 1,
            "fullDocument.p": 1,
            "fullDocument.d": 1,
        }
    },
]
log = logging.getLogger(__name__)


class _LeaseLost(Exception):
    """Another process follows the stream now."""


class Changes:
    """The sequence of one database."""

    def __init__(self, client: AsyncMongoClient[Document], database: AsyncDatabase[Document]) -> None:
        self._client = client
        # One concern for all, that of streams: who could see a number before its change would pass over the change.
        self._database = database.with_options(read_concern=ReadConcern("majority"))
        self._changes, self._follower = self._database[CHANGES], self._database[FOLLOWER]

    async def open(self, existing: set[str]) -> None:
        """Makes the collections, which no transaction may have to make."""
        for name in {CHANGES, FOLLOWER} - existing:
            await create(self._database, name)
        await self._database[CHANGES].create_indexes(list(_INDEXES))

    # --- reading ---

    async def page(self, after: int, until: int, limit: int) -> list[Change]:
        found = self._changes.find({"_id": {"$gt": after, "$lte": until}}).sort("_id").limit(limit)
        return [_change(document) async for document in found]

    async def latest(self, patients: Sequence[str], after: int, until: int, types: Sequence[str]) -> dict[str, int]:
        """The last change of each person within the span."""
        within = {"p": {"$in": list(patients)}, "_id": {"$gt": after, "$lte": until}, "t": {"$in": list(types)}}
        steps: list[Mapping[str, Any]] = [
            {"$match": within},
            {"$group": {"_id": "$p", "last": {"$max": "$_id"}}},
        ]
        return {one["_id"]: one["last"] async for one in await self._changes.aggregate(steps)}

    async def deleted(self, patients: Sequence[str], after: int, until: int) -> list[Change]:
        """The deletions of people's resources within the span."""
        query = {"p": {"$in": list(patients)}, "_id": {"$gt": after, "$lte": until}, "d": True}
        return [_change(document) async for document in self._changes.find(query).sort("_id")]

    async def span(self) -> ChangeSpan | None:
        """None where nobody has followed the stream yet."""
        state = await self._follower.find_one({"_id": CHANGES})
        if state is None:
            return None
        first = await self._changes.find_one({}, {"_id": 1}, sort=[("_id", 1)])
        begun = int(state["begun"].replace(tzinfo=UTC).timestamp() * 1000)
        return ChangeSpan(state["name"], first["_id"] if first else state["seq"] + 1, state["seq"], begun)

    async def before(self, moment: int) -> int | None:
        """The number after which all changes from a moment on come (ms since the epoch); None when it is too long ago
        to be known."""
        span = await self.span()
        if span is None or moment < span.begun:
            return None
        at = datetime.fromtimestamp(moment // 1000 - 1, UTC)  # commits are timed in whole seconds
        found = await self._changes.find_one({"at": {"$gte": at}}, {"_id": 1}, sort=[("at", 1), ("_id", 1)])
        if found is None:
            return span.last
        is_known = span.first == 1 or await self._changes.find_one({"_id": {"$lt": found["_id"]}}, {"_id": 1})
        return int(found["_id"]) - 1 if is_known else None

    # --- following ---

    async def follow(self, owner: str) -> None:
        """Numbers what is committed for as long as this process holds the lease; ends at once when it gets none."""
        if await self._lead(owner):
            try:
                await self._stream(owner, None)
            except _LeaseLost:
                log.info("another process numbers the changes now")

    async def catch_up(self, owner: str) -> bool:
        """Numbers what is committed by now, and gives the lease back. False when another process does so already."""
        end = await self._operation_time()
        if not await self._lead(owner):
            return False
        try:
            await self._stream(owner, end)
        except _LeaseLost:
            return False
        await self._follower.update_one({"_id": CHANGES, "owner": owner}, {"$set": {"until": datetime.now(UTC)}})
        return True

    async def _lead(self, owner: str) -> bool:
        """True for the one process that holds the lease; the times are the database's own."""
        if await self._follower.find_one({"_id": CHANGES}, {"_id": 1}) is None:
            await self._begin()
        free = {"$expr": {"$or": [{"$eq": ["$owner", {"$literal": owner}]}, {"$lte": ["$until", "$$NOW"]}]}}
        taken = await self._follower.update_one(
            {"_id": CHANGES, **free}, [{"$set": {"owner": {"$literal": owner}, "until": _until()}}]
        )
        return bool(taken.matched_count)

    async def _begin(self) -> None:
        now = datetime.now(UTC)
        state = {
            "_id": CHANGES, "name": secrets.token_hex(4), "owner": "", "until": now, "seq": 0, "token": None,
            "start": await self._operation_time(), "begun": now, "moment": now,
        }  # fmt: skip
        try:
            await self._follower.insert_one(state)
        except OperationFailure as fault:
            if code_of(fault) != DUPLICATE_KEY:
                raise

    async def moment(self) -> int:
        """As contract.Store.moment."""
        found = await self._operation_time()
        return found.time << 32 | found.inc

    async def _operation_time(self) -> Timestamp:
        """Now, in the time that the oplog counts in."""
        async with self._client.start_session() as session:
            await self._database.command("ping", session=session)
            found = session.operation_time
            return found if found is not None else Timestamp(int(datetime.now(UTC).timestamp()), 1)

    async def _stream(self, owner: str, end: Timestamp | None) -> None:
        """Numbers events as they come, until those of `end` are numbered. Raises _LeaseLost."""
        state = await self._follower.find_one({"_id": CHANGES})
        if state is None or state["owner"] != owner:
            raise _LeaseLost
        start = {"resume_after": state["token"]} if state["token"] else {"start_at_operation_time": state["start"]}
        try:
            watching = await self._database.watch(
                _PIPELINE, max_await_time_ms=50 if end else 1, batch_size=BATCH, **start
            )
            async with watching as stream:
                await self._number(stream, owner, state["seq"], end)
        except OperationFailure as fault:
            if fault.code not in _HISTORY_LOST:
                raise
            await self._rebuild(owner, state)

    async def _number(self, stream: AsyncChangeStream[Document], owner: str, seq: int, end: Timestamp | None) -> None:
        loop = asyncio.get_running_loop()
        noted = loop.time()
        while stream.alive:
            events: list[Mapping[str, Any]] = []
            while len(events) < BATCH and (event := await stream.try_next()) is not None:
                if event["operationType"] in ("insert", "replace"):
                    events.append(event)
            if events or loop.time() - noted > IDLE_SECONDS:
                documents = list(_numbered(await self._news(events), seq))
                await self._append(owner, seq, documents, {"token": stream.resume_token})
                seq += len(documents)
                noted = loop.time()
            if end is None:
                await asyncio.sleep(LOOK_SECONDS if len(events) < BATCH else 0)
            elif _time_of(stream.resume_token) >= end:
                return

    async def _news(self, events: Sequence[Mapping[str, Any]]) -> list[Document]:
        """What the events say, without documents that were replaced at the version that has their latest number: keys
        written anew are no change. Earlier numbers say nothing: what was erased may be created again from version 1."""
        found = [_told(event) for event in events]
        replaced = [event["operationType"] == "replace" for event in events]
        latest = await self._latest_versions([one["i"] for one, again in zip(found, replaced, strict=True) if again])
        news = []
        for one, again in zip(found, replaced, strict=True):
            name = (one["t"], one["i"])
            if not (again and latest.get(name) == one["v"]):
                latest[name] = one["v"]
                news.append(one)
        return news

    async def _latest_versions(self, ids: Sequence[str]) -> dict[tuple[str, str], int]:
        if not ids:
            return {}
        told = self._changes.find({"i": {"$in": ids}}, {"t": 1, "i": 1, "v": 1}).sort("_id")
        return {(one["t"], one["i"]): one["v"] async for one in told}

    async def _append(self, owner: str, seq: int, documents: list[Document], place: Mapping[str, Any]) -> None:
        """Raises _LeaseLost when another process has numbered since `seq`."""
        told: dict[str, Any] = {name: {"$literal": value} for name, value in place.items()}
        told |= {"seq": seq + len(documents), "until": _until()}
        if documents:
            told["moment"] = documents[-1]["at"]
        async with self._client.start_session() as session, await session.start_transaction(write_concern=MAJORITY):
            held = await self._database[FOLLOWER].update_one(
                {"_id": CHANGES, "owner": owner, "seq": seq}, [{"$set": told}], session=session
            )
            if not held.matched_count:
                raise _LeaseLost
            if documents:
                await insert(self._database, CHANGES, documents, session)

    async def _rebuild(self, owner: str, state: Document) -> None:
        """Numbers anew what was changed since the last known moment, told by the resources themselves."""
        start = await self._operation_time()
        since = int(state["moment"].replace(tzinfo=UTC).timestamp() * 1000) - OVERLAP_MS
        log.warning("the oplog no longer reaches back to the last numbered change: numbering from the resources")
        seq = begun = state["seq"]
        for type in sorted(name for name in await self._database.list_collection_names() if name.isalpha()):
            if not type[0].isupper():
                continue
            found = self._database[type].find({"u": {"$gte": since}}, {"v": 1, "u": 1, "p": 1, "d": 1}).sort("u")
            while documents := [_stored(type, one) async for one in _first(found, BATCH)]:
                numbered = list(_numbered(documents, seq))
                await self._append(owner, seq, numbered, {})
                seq += len(numbered)
        await self._append(owner, seq, [], {"token": None, "start": start})
        log.warning("%d changes were numbered from the resources; some may be told a second time", seq - begun)


def _time_of(token: Mapping[str, Any] | None) -> Timestamp:
    """The operation time up to which a stream has been read: the first part of its token, in hexadecimal digits."""
    data = str(token["_data"]) if token else ""
    return Timestamp(int(data[2:10], 16), int(data[10:18], 16)) if len(data) >= 18 else Timestamp(0, 0)


async def _first(cursor: Any, count: int) -> Any:
    for _ in range(count):
        try:
            yield await cursor.next()
        except StopAsyncIteration:
            return


def _until() -> Mapping[str, Any]:
    return {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}


def _numbered(documents: Sequence[Document], seq: int) -> Iterator[Document]:
    for number, document in enumerate(documents, seq + 1):
        yield {"_id": number, **document}


def _told(event: Mapping[str, Any]) -> Document:
    whole = event["fullDocument"]
    at = datetime.fromtimestamp(event["clusterTime"].time, UTC)
    made = {"t": event["ns"]["coll"], "i": event["documentKey"]["_id"], "v": whole["v"], "p": whole.get("p"), "at": at}
    return {**made, "d": True} if whole.get("d") else made


def _stored(type: str, document: Document) -> Document:
    at = datetime.fromtimestamp(document["u"] / 1000, UTC)
    made = {"t": type, "i": document["_id"], "v": document["v"], "p": document.get("p"), "at": at}
    return {**made, "d": True} if document.get("d") else made


def _change(document: Document) -> Change:
    at = int(document["at"].replace(tzinfo=UTC).timestamp() * 1000)
    return Change(
        document["_id"], document["t"], document["i"], document["v"], document["p"], document.get("d", False), at
    )
