"""Reading current versions: by id, by filter, counts and walks. The caller's View is part of every query."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import bson
import msgspec
from bson.max_key import MaxKey
from bson.min_key import MinKey
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import AutoReconnect, ExecutionTimeout, OperationFailure, ServerSelectionTimeoutError

from fhir_server.errors import FhirError, Kind
from fhir_server.store.documents import BODY, Document, stored
from fhir_server.store.faults import RunAgain, lacks_index, wrapped
from fhir_server.store.indexes import Collections
from fhir_server.store.ledger import MongoLedger
from fhir_server.store.values import (
    INDEX_KEYS,
    INDEX_WARD,
    LEDGER_TYPE,
    LOWEST_UNDATED,
    Bound,
    Filter,
    Find,
    Stored,
    View,
    unwalked,
)

MOST_IDS_A_QUERY = 1000
MOST_JOINED = 200  # reads by id that one query answers
MOST_VIEWS = 10_000  # of which the bytes are kept
WALK_STEP = 200
QUICK_MS = 1000  # a query that takes longer is asked again within its bound
NO_ENDS: dict[str, Any] = {}
MOST_COLLECTIONS = 500  # more than R4 has types
# What a tombstone never satisfies, as a range that the index of `o` answers.
LIVE: Filter = {"o": {"$gte": LOWEST_UNDATED}}
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")


@dataclass(slots=True, eq=False)
class _Asked:
    """One read by id that waits. allowed: what its View lets be seen, and the same as bytes."""

    id: str
    allowed: Filter | None
    bytes: bytes
    answer: asyncio.Future[Stored | FhirError | None]


def is_id(id: str) -> bool:
    """R4 Data Types, primitive types: id. Nothing else can be stored under."""
    return _ID.fullmatch(id) is not None


class Reads:
    """The read side of one database. limit_seconds: time that one query may take in the database."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        collections: Collections,
        limit_seconds: float,
        ledger: MongoLedger,
    ) -> None:
        self.limit_seconds = limit_seconds
        self.database = database
        self._made = collections
        self._limit_ms = max(1, int(limit_seconds * 1000))
        self._collections: dict[str, AsyncCollection[Document]] = {}  # the driver takes 10 µs to make one
        self._ledger = ledger
        self._waiting: dict[str, list[_Asked]] = {}
        # By the id of what a View allows, its bytes, by which reads of alike Views are joined.
        self._allowed: dict[int, tuple[Filter, bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def collection(self, type: str) -> AsyncCollection[Document]:
        """The collection of a resource type; no other collection can be named. Raises FhirError UNKNOWN_TYPE."""
        known = self._collections.get(type)
        if known is not None:
            return known
        if _TYPE.fullmatch(type) is None:
            raise FhirError(Kind.UNKNOWN_TYPE, f"{type[:64]!r} is no resource type")
        if len(self._collections) == MOST_COLLECTIONS:
            self._collections.clear()
        return self._collections.setdefault(type, self.database[type])

    async def read(self, type: str, id: str, view: View) -> Stored | None:
        """Joins the reads that arrive while an earlier query of the same type is under way, each within its View."""
        if not is_id(id):
            return None
        if type == LEDGER_TYPE:
            return (await self._ledger.read_many([id], view)).get(id)
        loop = asyncio.get_running_loop()
        allowed = view.of(type)
        asked = _Asked(id, allowed, self._bytes_of(allowed), loop.create_future())
        if type in self._waiting:
            self._waiting[type].append(asked)
        else:
            self._waiting[type] = [asked]
            task = loop.create_task(self._answer(type))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        answer = await asked.answer
        if isinstance(answer, FhirError):
            raise replace(answer)  # each caller its own, so that tracebacks do not mix
        return answer

    def _bytes_of(self, allowed: Filter | None) -> bytes:
        if allowed is None:
            return b""
        known = self._allowed.get(id(allowed))
        if known is not None:
            return known[1]
        if len(self._allowed) == MOST_VIEWS:
            self._allowed.clear()
        return self._allowed.setdefault(id(allowed), (allowed, bson.encode(allowed)))[1]

    async def _answer(self, type: str) -> None:
        batch: list[_Asked] = []
        try:
            while self._waiting[type]:
                batch, self._waiting[type] = _together(self._waiting[type])
                answers = await self._read_or_fault(type, batch)
                for asked in batch:
                    if not asked.answer.done():  # its caller may have gone away
                        asked.answer.set_result(answers if isinstance(answers, FhirError) else answers.get(asked.id))
        finally:
            for asked in (*batch, *self._waiting.pop(type)):
                asked.answer.cancel()  # no effect on those that have their answer

    async def _read_or_fault(self, type: str, batch: Iterable[_Asked]) -> Mapping[str, Stored] | FhirError:
        """One query for all Views: each id within the View that asks for it."""
        ids: dict[bytes, dict[str, Filter | None]] = {}
        for asked in batch:
            ids.setdefault(asked.bytes, {})[asked.id] = asked.allowed
        parts = [_within(wanted) for wanted in ids.values()]
        try:
            with wrapped(f"reading {type}", self.limit_seconds):
                query = parts[0] if len(parts) == 1 else {"$or": parts}
                documents = await self._page(self.collection(type), query, BODY, MOST_IDS_A_QUERY, None)
                return {document["_id"]: stored(type, document) for document in documents}
        except FhirError as fault:
            return fault

    async def read_many(
        self, type: str, ids: Iterable[str], view: View, session: AsyncClientSession | None = None
    ) -> dict[str, Stored]:
        """The current versions and tombstones of the ids that exist and the View allows."""
        wanted = [id for id in dict.fromkeys(ids) if is_id(id)]
        if type == LEDGER_TYPE:
            return await self._ledger.read_many(wanted, view)
        found: dict[str, Stored] = {}
        for start in range(0, len(wanted), MOST_IDS_A_QUERY):
            query = view.narrow(type, {"_id": {"$in": wanted[start : start + MOST_IDS_A_QUERY]}})
            with wrapped(f"reading {type}", self.limit_seconds, session is not None):
                documents = await self._page(self.collection(type), query, BODY, MOST_IDS_A_QUERY, session)
                found.update((document["_id"], stored(type, document)) for document in documents)
        return found

    async def find(self, query: Find, view: View, session: AsyncClientSession | None = None) -> list[Stored]:
        """One page. Raises FhirError TOO_COSTLY when it takes longer than the limit.

        Another process may have made the collection without its indexes, for a first load: then the hint is let go,
        and a transaction, which has failed by it, runs again with them.
        """
        if query.limit <= 0:
            return []
        if query.type == LEDGER_TYPE:
            return await self._ledger.find(query, view)
        query, filter = _narrowed(query, view, self._made.by_ward)
        if self._made.deferred:
            query = msgspec.structs.replace(query, hint=None)
        with wrapped(f"a search of {query.type}", self.limit_seconds, session is not None):
            try:
                documents = await self._documents(query, filter, session)
            except OperationFailure as fault:
                if query.hint is None or not lacks_index(fault):
                    raise
                if session is not None:
                    if not self._made.missing([query.type]):
                        raise
                    raise RunAgain([query.type]) from None
                documents = await self._documents(msgspec.structs.replace(query, hint=None), filter, None)
        return [stored(query.type, document) for document in documents]

    async def find_at_once(self, queries: Sequence[Find], view: View) -> list[Stored]:
        """As contract.Store.find_at_once."""
        steps: list[Mapping[str, Any]] = []
        for place, query in enumerate(queries):
            page: list[Mapping[str, Any]] = [
                {"$match": view.narrow(query.type, live(query.filter))},
                {"$sort": dict(query.sort)},
                {"$limit": query.limit},
                {"$project": _projection(query) | {"at": {"$literal": place}}},
            ]
            steps += [{"$unionWith": {"coll": query.type, "pipeline": page}}] if steps else page
        steps += [{"$sort": {"at": 1} | dict(queries[0].sort)}, {"$limit": queries[0].limit}]
        with wrapped("a search of several types", self.limit_seconds):
            cursor = await self.collection(queries[0].type).aggregate(steps, maxTimeMS=self._limit_ms)
            return [stored(queries[document["at"]].type, document) for document in await cursor.to_list()]

    async def _documents(self, query: Find, filter: Filter, session: AsyncClientSession | None) -> Sequence[Document]:
        if any(path.startswith("x.") for path, _ in query.sort):
            return await self._find_by_values(query, filter, session)
        if query.bound is None:
            return await self._find_page(query, filter, session, self._limit_ms)
        if session is None and QUICK_MS > 0:  # a transaction would end with a query that is given up
            with suppress(ExecutionTimeout):
                return await self._find_page(query, filter, None, min(QUICK_MS, self._limit_ms))
        return await self._find_within(query, query.bound, filter, session)

    async def _find_page(
        self, query: Find, filter: Filter, session: AsyncClientSession | None, limit_ms: int
    ) -> Sequence[Document]:
        collection, fields = self.collection(query.type), _projection(query)
        sort, hint = query.sort, query.hint
        return await self._page(collection, filter, fields, query.limit, session, sort, hint, limit_ms, _ends(query))

    async def _find_within(
        self, query: Find, bound: Bound, filter: Filter, session: AsyncClientSession | None
    ) -> Sequence[Document]:
        """A page of what the bound lets be looked at. Raises FhirError TOO_COSTLY when that does not fill it.

        It looks ahead further than `find` does, so that is asked first: most pages are full long before any bound.
        """
        steps: list[Mapping[str, Any]] = [{"$match": live(bound.walked)}, {"$limit": bound.most}]
        if query.sort:
            steps.insert(1, {"$sort": dict(query.sort)})
        options: dict[str, Any] = {"maxTimeMS": self._limit_ms, "session": session}
        options |= {"hint": query.hint} if query.hint else {}
        fields = _projection(msgspec.structs.replace(query, hint=None))  # of what stages gave, no index tells anything
        page: list[Mapping[str, Any]] = [{"$match": filter}, {"$project": fields}, {"$limit": query.limit}]
        collection = self.collection(query.type)
        found = await (await collection.aggregate([*steps, *page], batchSize=query.limit, **options)).to_list()
        if len(found) < query.limit:
            counted = await (await collection.aggregate([*steps, {"$count": "n"}], **options)).to_list()
            if counted and counted[0]["n"] == bound.most:
                text = f"a search of {query.type} looked at {bound.most} resources for a page"
                raise FhirError(Kind.TOO_COSTLY, text)
        return found

    async def _page(
        self,
        collection: AsyncCollection[Document],
        filter: Filter,
        fields: Mapping[str, Any],
        limit: int,
        session: AsyncClientSession | None,
        sort: Sequence[tuple[str, int]] = (),
        hint: str | None = None,
        limit_ms: int | None = None,
        ends: dict[str, Any] = NO_ENDS,
    ) -> Sequence[Document]:
        """One page in one round trip: the `find` command as it is, at three quarters of the cost of a cursor.

        A batch has room for one more than the limit, or a page that was sorted would leave its cursor open.
        """
        command: dict[str, Any] = {"find": collection.name, "filter": filter, "projection": fields}
        limit_ms = limit_ms or self._limit_ms
        command |= {"limit": limit, "batchSize": limit + 1, "maxTimeMS": limit_ms}
        command |= ({"sort": dict(sort)} if sort else {}) | ({"hint": hint} if hint else {}) | ends
        answer = (await self._ask(command, session))["cursor"]
        if answer["id"] == 0:
            documents: list[Document] = answer["firstBatch"]
            return documents
        # More than one reply holds (16 MiB): a cursor of the driver's, which asks for the rest.
        await self._ask({"killCursors": collection.name, "cursors": [answer["id"]]}, session)
        cursor = collection.find(
            filter, fields, sort=list(sort) or None, limit=limit, hint=hint, session=session, max_time_ms=limit_ms
        )
        return await cursor.to_list()

    async def _ask(self, command: dict[str, Any], session: AsyncClientSession | None) -> dict[str, Any]:
        """A read command, asked once more when the connection breaks, as the driver does for its own reads."""
        try:
            return await self.database.command(command, session=session)
        except AutoReconnect as fault:
            if session is not None or isinstance(fault, ServerSelectionTimeoutError):
                raise
            return await self.database.command(command)

    async def _find_by_values(
        self, query: Find, filter: Filter, session: AsyncClientSession | None
    ) -> Sequence[Document]:
        """Sorts by the lowest (descending: the highest) value of each list, and puts missing ones last.

        MongoDB itself sorts by no more than one list, and what is missing first when ascending.
        """
        values: dict[str, Any] = {}
        missing: dict[str, Any] = {}
        order: dict[str, int] = {}
        for place, (path, direction) in enumerate(query.sort):
            if path.startswith("x."):
                values[f"value{place}"] = {"$min" if direction > 0 else "$max": f"${path}"}
                missing[f"missing{place}"] = {"$lte": [f"$value{place}", None]}
                order |= {f"missing{place}": 1, f"value{place}": direction}
            else:
                order[path] = direction
        steps: list[Mapping[str, Any]] = [
            {"$match": filter},
            {"$set": values},
            {"$set": missing},
            {"$sort": order},
            {"$limit": query.limit},
        ]
        steps.append({"$project": _projection(query)})
        options: dict[str, Any] = {"hint": query.hint} if query.hint else {}
        cursor = await self.collection(query.type).aggregate(
            steps, session=session, maxTimeMS=self._limit_ms, batchSize=query.limit, allowDiskUse=False, **options
        )
        return await cursor.to_list()

    async def count(
        self, type: str, filter: Filter, view: View, cap: int | None, session: AsyncClientSession | None = None
    ) -> int:
        """The `count` command, which answers one key from the index alone; a transaction does not have it."""
        if type == LEDGER_TYPE:
            return await self._ledger.count(filter, view, cap)
        if session is not None:
            return await self._count_inside(type, view.narrow(type, live(filter)), cap, session)
        command: dict[str, Any] = {"count": self.collection(type).name, "query": view.narrow(type, live(filter))}
        command |= {"maxTimeMS": self._limit_ms} | ({"limit": cap} if cap else {})
        with wrapped(f"counting {type}", self.limit_seconds):
            answer = await self._ask(command, None)
        counted: int = answer["n"]
        return counted

    async def _count_inside(self, type: str, filter: Filter, cap: int | None, session: AsyncClientSession) -> int:
        steps: list[Mapping[str, Any]] = [{"$match": filter}, *([{"$limit": cap}] if cap else []), {"$count": "n"}]
        with wrapped(f"counting {type}", self.limit_seconds, in_transaction=True):
            cursor = await self.collection(type).aggregate(steps, session=session, maxTimeMS=self._limit_ms)
            found = await cursor.to_list()
        return int(found[0]["n"]) if found else 0

    async def walk(self, type: str, view: View, raw: bool) -> AsyncIterator[Stored]:
        """Steps of its own instead of one long cursor: it survives a restart of the database."""
        last = ""
        while True:
            step = Find(type, {"_id": {"$gt": last}}, (("_id", 1),), WALK_STEP, raw)
            page = await self.find(step, view)
            for found in page:
                yield found
            if len(page) < WALK_STEP:
                return
            last = page[-1].id


def _together(waiting: Sequence[_Asked]) -> tuple[list[_Asked], list[_Asked]]:
    """Those that one query can answer, and the rest: an id is asked for within one View at a time, so that whoever
    may see it is not told apart from who may not by the documents that come."""
    views: dict[str, bytes] = {}
    now: list[_Asked] = []
    later: list[_Asked] = []
    for asked in waiting:
        fits = views.setdefault(asked.id, asked.bytes) == asked.bytes if len(views) < MOST_JOINED else False
        (now if fits else later).append(asked)
    return now, later


def _within(wanted: Mapping[str, Filter | None]) -> Filter:
    """The ids of one View."""
    ids, allowed = list(wanted), next(iter(wanted.values()))
    named: Filter = {"_id": ids[0] if len(ids) == 1 else {"$in": ids}}
    return named if allowed is None else {"$and": [named, allowed]}


def _narrowed(query: Find, view: View, by_ward: bool) -> tuple[Find, Filter]:
    """A View must not be walked in place of what the hint is meant for, unless an index holds both."""
    wanted, allowed = live(query.filter), view.of(query.type)
    if allowed is None or query.hint is None:
        return query, view.narrow(query.type, wanted)
    ward = view.ward(query.type) if by_ward and query.hint == INDEX_KEYS else None
    if ward is None:
        return query, {"$and": [wanted, unwalked(allowed)]}
    bound = query.bound
    if bound is not None:
        bound = Bound({"$and": [{"w": ward}, bound.walked]} if bound.walked else {"w": ward}, bound.most)
    return msgspec.structs.replace(query, hint=INDEX_WARD, bound=bound), {
        "$and": [{"w": ward}, wanted, unwalked(allowed)]
    }


def live(filter: Filter) -> Filter:
    """`filter` and not deleted; unchanged where it names a key or an order that a tombstone does not have."""
    return filter if _needs_life(filter) else {"$and": [filter, LIVE]} if filter else LIVE


def _needs_life(filter: Filter) -> bool:
    for name, wanted in filter.items():
        if name == "$and" and any(map(_needs_life, wanted)):
            return True
        if name == "$or" and all(map(_needs_life, wanted)):
            return True
        if name == "k" and (isinstance(wanted, str) or wanted.keys() <= {"$in", "$elemMatch", "$all"}):
            return True
        if name == "o" and isinstance(wanted, Mapping) and wanted.keys() & {"$gte", "$lte", "$gt", "$lt"}:
            return True
    return False


def _ends(query: Find) -> dict[str, Any]:
    """Where the index over keys is entered and left."""
    if query.start is None or query.keys_within is None or query.hint != INDEX_KEYS:
        return NO_ENDS
    key, order = query.start
    low = {"k": key, "o": order, "s": MinKey()}
    return {"min": low, "max": {"k": query.keys_within[1], "o": MaxKey(), "s": MinKey()}}


def _projection(query: Find) -> dict[str, Any]:
    fields: dict[str, Any] = dict(BODY)
    if not query.raw:
        del fields["raw"]
    if query.want_sort:
        fields["x"] = 1
    if query.want_keys or (query.keys_within is not None and query.hint is None):
        fields["k"] = 1
    elif query.keys_within is not None:
        # The key by which the index met it. A Patient has sixty: to choose among them took half of a page's time.
        fields["k"] = {"$meta": "indexKey"}
    return fields
