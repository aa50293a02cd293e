"""How long the lists of the index are: what one way to walk is preferred to another by, and nothing else."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

from bson.max_key import MaxKey
from bson.min_key import MinKey
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from fhir_server.store.documents import Document
from fhir_server.store.faults import lacks_index, wrapped
from fhir_server.store.values import INDEX_KEYS, Filter

_SECONDS = 600.0
_SAMPLE = 100  # documents: enough to tell lists apart of which each has four in a hundred
_MOST_REMEMBERED = 20_000


class Weights:
    """Counts of one database, remembered for ten minutes: a choice may be made by an old one, an answer never is."""

    def __init__(self, database: AsyncDatabase[Document], limit_seconds: float) -> None:
        self._database = database
        self._limit_seconds = limit_seconds
        self._limit_ms = max(1, int(limit_seconds * 1000))
        self._known: OrderedDict[tuple[str, str], tuple[float, int, int]] = OrderedDict()

    async def of(self, type: str, filter: Filter, cap: int) -> int:
        """As contract.Store.weigh."""
        place = (type, repr(filter))
        until, weight, limit = self._known.get(place, (0.0, 0, 0))
        if until < time.monotonic() or weight == limit < cap:
            weight = await self._count(type, filter, cap)
            self._remember(place, weight, cap)
        return min(weight, cap)

    async def sampled(self, type: str, filter: Filter) -> int:
        """As contract.Store.sampled."""
        place = (f"{type} sampled", repr(filter))
        until, found, _ = self._known.get(place, (0.0, 0, 0))
        if until < time.monotonic():
            found = await self._count_sample(type, filter)
            self._remember(place, found, _SAMPLE)
        return found

    def _remember(self, place: tuple[str, str], weight: int, cap: int) -> None:
        self._known[place] = (time.monotonic() + _SECONDS, weight, cap)
        self._known.move_to_end(place)
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)

    async def _count_sample(self, type: str, filter: Filter) -> int:
        steps: list[Document] = [{"$sample": {"size": _SAMPLE}}, {"$match": filter}, {"$count": "n"}]
        with wrapped(f"weighing {type}", self._limit_seconds):
            found = await (await self._database[type].aggregate(steps, maxTimeMS=self._limit_ms)).to_list()
        return int(found[0]["n"]) if found else 0

    async def _count(self, type: str, filter: Filter, cap: int) -> int:
        span = _span(filter)
        with wrapped(f"weighing {type}", self._limit_seconds):
            if span is None:
                answer = await self._database.command(
                    {"count": type, "query": filter, "limit": cap, "maxTimeMS": self._limit_ms}
                )
                return int(answer["n"])
            try:
                return await self._count_span(type, *span, cap)
            except OperationFailure as fault:
                if not lacks_index(fault):
                    raise
                return cap  # as of any list before the indexes are there

    async def _count_span(self, type: str, low: str, high: str, cap: int) -> int:
        """MongoDB counts a range of keys by reading the documents, and tells how many keys it walks to a far one."""
        if low >= high:
            return 0
        walk: dict[str, Any] = {
            "find": type,
            "filter": {},
            "projection": {"_id": 0, "s": 1},
            "min": {"k": low, "o": MaxKey(), "s": MinKey()},
            "max": {"k": high, "o": MaxKey(), "s": MinKey()},
            "hint": INDEX_KEYS,
            "skip": cap - 1,
            "limit": 1,
        }
        command = {"explain": walk, "verbosity": "executionStats", "maxTimeMS": self._limit_ms}
        answer = await self._database.command(command)
        return min(int(answer["executionStats"]["totalKeysExamined"]), cap)


def _span(filter: Filter) -> tuple[str, str] | None:
    condition = filter.get("k")
    bounds = condition.get("$elemMatch") if isinstance(condition, dict) else None
    return (bounds["$gte"], bounds["$lt"]) if bounds else None
