"""_has as a walk: what the sources point at, in the order in which they are met. R4 Search, Reverse Chaining.

`Patient?_has:Condition:patient:code=J45` has no order of its own, so the people may come as their diagnoses do: a page
reads as many diagnoses as it gives people, however many of either there are. Who was met on an earlier page is told by
one more query: does anything point at them that stands before this page?
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from fhir_server.search.describe import describe
from fhir_server.search.paging import Cursor, Span, advance, before, values_of
from fhir_server.search.plan import Part, Plan, cheaply
from fhir_server.search.tree import Has
from fhir_server.store.values import Stored

if TYPE_CHECKING:
    from fhir_server.interactions.finder import Finder
    from fhir_server.interactions.joins import Joins

_LARGEST_BATCH = 200


class Spot(msgspec.Struct, frozen=True):
    """Where a walk through sources stands: the part of their answer, the span of keys it is walked along, if any, and
    the sort values of the source met there."""

    place: int
    span: Span | None
    values: tuple[Any, ...]

    @classmethod
    def read(cls, values: Sequence[Any]) -> Spot:
        place, low, high, *rest = values
        return cls(place, Span(low, high) if low is not None else None, tuple(rest))

    def written(self) -> tuple[Any, ...]:
        """As it stands in cursors."""
        low, high = (self.span.low, self.span.high) if self.span else (None, None)
        return (self.place, low, high, *self.values)

    @property
    def cursor(self) -> Cursor:
        """Before the source met there, and all that have the same sort values."""
        return Cursor(self.values, (), (self.span.low, self.span.high) if self.span else None)


class ThroughHas:
    """One page of a plan, walked through the sources of one of its _has."""

    def __init__(self, finder: Finder, joins: Joins, plan: Plan, has: Has, cursor: Cursor | None) -> None:
        self._finder = finder
        self._joins = joins
        self._rest = plan.without(has)
        self._has = has
        self._start = Spot.read(cursor.values) if cursor else None
        self._told = frozenset(cursor.ids or ()) if cursor else frozenset()

    async def page(self, limit: int, *, raw: bool, keys: bool) -> list[Stored]:
        """The first `limit` matches behind the cursor, each with the spot where it was met."""
        sources = await self._finder.plan(self._has.source, self._has.child)
        parts = cheaply(replace(sources, through=()))
        found: list[Stored] = []
        seen = set(self._told)
        for place in range(self._start.place if self._start else 0, len(parts)):
            cursor = self._start.cursor if self._start and self._start.place == place else None
            walk = await self._finder.walk_of(parts[place], cursor)
            batch = limit + limit // 4
            while True:
                met = await self._finder.page(parts[place].plan, batch, walk, cursor, raw=False, keys=True)
                self._finder.work.spend(len(met), describe(self._has))
                fresh: dict[str, Spot] = {}
                for source in met:
                    spot = Spot(place, walk.order.span, values_of(walk.order, source))
                    for id in self._joins.ids_at(source, self._has.param.code, self._has.type):
                        if id not in seen:
                            fresh.setdefault(id, spot)
                seen.update(fresh)
                found += await self._fitting(fresh, parts, raw=raw, keys=keys)
                if len(found) >= limit:
                    return found[:limit]
                if len(met) < batch:
                    break
                cursor = advance(walk.order, met, cursor)
                batch = min(batch * 2, _LARGEST_BATCH)
        return found

    async def _fitting(self, fresh: dict[str, Spot], parts: Sequence[Part], *, raw: bool, keys: bool) -> list[Stored]:
        """Those of the resources met that satisfy the rest of the plan and were not met on an earlier page, in the
        order in which they were met."""
        met = await self._met_before(list(fresh), parts) if self._start else set()
        ids = [id for id in fresh if id not in met]
        found = await self._finder.with_ids(self._rest, ids, raw=raw, keys=keys)
        by_id = {stored.id: stored for stored in found}
        return [replace(by_id[id], met=fresh[id].written()) for id in ids if id in by_id]

    async def _met_before(self, ids: Sequence[str], parts: Sequence[Part]) -> set[str]:
        start = self._start
        assert start is not None
        met: set[str] = set()
        for place in range(start.place + 1):
            plan = parts[place].plan
            if place == start.place:
                walk = await self._finder.walk_of(parts[place], start.cursor)
                plan = plan.also(before(walk.order, start.values))
            met |= await self._joins.pointed_at(self._has, plan, [id for id in ids if id not in met])
        return met
