"""History of an instance, a type or the whole system, newest first (R4 RESTful API, history).

First the places of a page are found in every collection concerned, mostly from the index of times alone; then their
bodies are read. So a page of the whole system costs one page of bodies, not one of each collection.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.store.documents import BODY, HISTORY_BODY, Document, history_id, stored
from fhir_server.store.faults import wrapped
from fhir_server.store.indexes import HISTORY, Collections
from fhir_server.store.reads import MOST_IDS_A_QUERY, Reads, is_id
from fhir_server.store.values import Filter, HistoryQuery, Stored, View

_LEAST_INT64 = -(1 << 63)


@dataclass(frozen=True, slots=True)
class _Source:
    """One collection of a type: its current versions or its old ones."""

    type: str
    old: bool

    @property
    def name(self) -> str:
        return self.type + HISTORY if self.old else self.type

    @property
    def id_field(self) -> str:
        return "i" if self.old else "_id"


class History:
    """The versions of one database."""

    def __init__(self, reads: Reads, collections: Collections) -> None:
        self._reads = reads
        self._collections = collections

    async def vread(
        self, type: str, id: str, version: int, view: View, session: AsyncClientSession | None = None
    ) -> Stored | None:
        """One version, current or old; None when there is none or the View hides it."""
        if not is_id(id) or not 0 < version < 100_000_000:
            return None
        current = self._reads.collection(type)
        old = self._reads.database[type + HISTORY]
        how: dict[str, Any] = {"max_time_ms": int(self._reads.limit_seconds * 1000), "session": session}
        with wrapped(f"reading a version of {type}", self._reads.limit_seconds, session is not None):
            # In this order: a version that stops being current meanwhile is found as an old one.
            found = await current.find_one(view.narrow(type, {"_id": id, "v": version}), BODY, **how)
            if found is None:
                query = view.narrow(type, {"_id": history_id(id, version)})
                found = await old.find_one(query, HISTORY_BODY, **how)
        return stored(type, found) if found else None

    async def readable(
        self, type: str, versions: Collection[tuple[str, int]], view: View, session: AsyncClientSession
    ) -> set[tuple[str, int]]:
        """As contract.Transaction.versions."""
        wanted = [(id, version) for id, version in versions if is_id(id) and 0 < version < 100_000_000]
        found: set[tuple[str, int]] = set()
        with wrapped(f"reading versions of {type}", self._reads.limit_seconds, in_transaction=True):
            for start in range(0, len(wanted), MOST_IDS_A_QUERY):
                some = wanted[start : start + MOST_IDS_A_QUERY]
                for source, ids in (
                    (_Source(type, False), [id for id, _ in some]),
                    (_Source(type, True), [history_id(id, version) for id, version in some]),
                ):
                    query = view.narrow(type, {"_id": {"$in": ids}, "d": {"$ne": True}})
                    fields = {source.id_field: 1, "v": 1}
                    cursor = self._reads.database[source.name].find(query, fields, session=session)
                    found |= {(one[source.id_field], one["v"]) async for one in cursor}
        return found.intersection(wanted)

    async def page(self, query: HistoryQuery, view: View, session: AsyncClientSession | None = None) -> list[Stored]:
        """One page, as contract.Store.history. Raises FhirError TOO_COSTLY when it takes longer than the limit."""
        if query.limit <= 0 or (query.id is not None and not is_id(query.id)):
            return []
        with wrapped("reading the history", self._reads.limit_seconds, session is not None):
            places = await self._places(query, view, session)
            return await self._bodies(places, view, session)

    async def count(self, query: HistoryQuery, view: View, session: AsyncClientSession | None = None) -> int:
        """How many versions all pages hold together."""
        if query.id is not None and not is_id(query.id):
            return 0
        total = 0
        for source in await self._sources(query):
            filter = view.narrow(source.type, {"$and": _filters(query, source)})
            with wrapped("counting the history", self._reads.limit_seconds, session is not None):
                total += await self._counted(source, filter, session)
        return total

    async def _counted(self, source: _Source, filter: Filter, session: AsyncClientSession | None) -> int:
        limit_ms = int(self._reads.limit_seconds * 1000)
        if session is None:
            command = {"count": source.name, "query": filter, "maxTimeMS": limit_ms}
            return int((await self._reads.database.command(command))["n"])
        steps: list[Mapping[str, Any]] = [{"$match": filter}, {"$count": "n"}]  # a transaction has no `count`
        cursor = await self._reads.database[source.name].aggregate(steps, session=session, maxTimeMS=limit_ms)
        return sum(one["n"] for one in await cursor.to_list())

    async def _sources(self, query: HistoryQuery) -> list[_Source]:
        if query.type is not None:
            types = [self._reads.collection(query.type).name]
        else:
            types = sorted(await self._collections.types())
        return [_Source(type, old) for type in types for old in (False, True)]

    async def _places(self, query: HistoryQuery, view: View, session: AsyncClientSession | None) -> list[Document]:
        """The newest versions: {t: type, h: old, n: "Type/id", u, _id}."""
        sources = await self._sources(query)
        pipelines = [_pipeline(query, source, view) for source in sources]
        if session is not None:  # where MongoDB has no union
            found = [
                await self._run(source, steps, query, session) for source, steps in zip(sources, pipelines, strict=True)
            ]
            return sorted(chain(*found), key=lambda place: (place["u"], place["n"]), reverse=True)[: query.limit]
        if not sources:
            return []
        unions = [
            {"$unionWith": {"coll": source.name, "pipeline": steps}}
            for source, steps in zip(sources[1:], pipelines[1:], strict=True)
        ]
        steps = [*pipelines[0], *unions, {"$sort": {"u": -1, "n": -1}}, {"$limit": query.limit}]
        return await self._run(sources[0], steps, query, None)

    async def _run(
        self, source: _Source, steps: list[Any], query: HistoryQuery, session: AsyncClientSession | None
    ) -> list[Document]:
        cursor = await self._reads.database[source.name].aggregate(
            steps, session=session, maxTimeMS=int(self._reads.limit_seconds * 1000), batchSize=query.limit
        )
        return await cursor.to_list()

    async def _bodies(self, places: Sequence[Document], view: View, session: AsyncClientSession | None) -> list[Stored]:
        """In the order of the places. What was replaced meanwhile is found among the old versions."""
        wanted: dict[_Source, list[Any]] = defaultdict(list)
        for place in places:
            wanted[_Source(place["t"], place["h"])].append(place["_id"])
        found: dict[tuple[str, int], Stored] = {}
        for source, ids in wanted.items():
            await self._collect(found, source, {"_id": {"$in": ids}}, view, session)
        for place in places:
            if (place["n"], place["u"]) not in found:
                moved = {"u": place["u"], "i": place["n"].partition("/")[2]}
                await self._collect(found, _Source(place["t"], True), moved, view, session)
        names = [(place["n"], place["u"]) for place in places]
        return [found[name] for name in names if name in found]

    async def _collect(
        self,
        found: dict[tuple[str, int], Stored],
        source: _Source,
        filter: Filter,
        view: View,
        session: AsyncClientSession | None,
    ) -> None:
        fields = HISTORY_BODY if source.old else BODY
        cursor = self._reads.database[source.name].find(view.narrow(source.type, filter), fields, session=session)
        for document in await cursor.to_list():
            version = stored(source.type, document)
            found[f"{version.type}/{version.id}", version.updated] = version


def _pipeline(query: HistoryQuery, source: _Source, view: View) -> list[dict[str, Any]]:
    # An instance is walked by versions, which its `_id`s sort by; all else by times.
    order = {"_id": -1} if query.id is not None else {"u": -1, source.id_field: -1}
    place: dict[str, Any] = {"u": 1, "n": {"$concat": [f"{source.type}/", f"${source.id_field}"]}}
    place |= {"t": {"$literal": source.type}, "h": {"$literal": source.old}}
    return [
        {"$match": view.narrow(source.type, {"$and": [*_filters(query, source), *_after(query, source)]})},
        {"$sort": order},
        {"$limit": query.limit},
        {"$project": place},
    ]


def _filters(query: HistoryQuery, source: _Source) -> list[Filter]:
    """What belongs to the history asked for. The first range is one that the index of times answers alone."""
    filters: list[Filter] = [{"u": {"$gte": _LEAST_INT64 if query.since is None else query.since}}]
    if query.id is not None:
        of_id = {"$gte": f"{query.id}/", "$lt": f"{query.id}0"}  # "0" follows "/"
        filters = [{"_id": of_id if source.old else query.id}, *(filters if query.since is not None else ())]
    if query.at is not None:
        filters.append({"u": {"$lt": query.at + 1 if query.at_end is None else query.at_end}})
        if source.old:
            filters.append({"e": {"$gt": query.at}})
    return filters


def _after(query: HistoryQuery, source: _Source) -> list[Filter]:
    """What comes after the last entry told, in the order of times and names."""
    if query.before is None:
        return []
    updated, name, version = query.before
    type, _, id = name.partition("/")
    if query.id is not None:
        return [{"_id": {"$lt": history_id(id, version)}} if source.old else {"v": {"$lt": version}}]
    ties: Filter = {"u": {"$lt": updated}}
    if source.type == type:
        ties = {"$or": [{"u": {"$lt": updated}}, {"u": updated, source.id_field: {"$lt": id}}]}
    elif source.type < type:
        ties = {"u": {"$lte": updated}}
    return [{"u": {"$lte": updated}}, ties]
