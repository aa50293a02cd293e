"""A chain that leads to few resources: what points at them, one after the other, as the index over keys has it.

`Immunization?patient.name=nguyễn văn an` leads to a list of people, and their doses may come person by person, the
newest of each first: a page reads as many doses as it gives, where MongoDB would merge the lists of all for the oldest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from fhir_server.search.compile import conjunction, flat, one_of
from fhir_server.search.describe import describe
from fhir_server.search.paging import AS_FOUND, NEWEST_FIRST, Cursor, advance, values_of
from fhir_server.search.plan import Plan, Walk
from fhir_server.search.tree import is_read
from fhir_server.store.values import Stored

if TYPE_CHECKING:
    from fhir_server.interactions.finder import Finder
    from fhir_server.interactions.joins import Joins


class InTurns:
    """One page of a plan, walked through the keys that one of its joins led to."""

    def __init__(self, finder: Finder, joins: Joins, plan: Plan, walk: Walk, cursor: Cursor | None) -> None:
        assert walk.driver is not None
        self._finder = finder
        self._joins = joins
        self._asked = plan.joins
        self._order = walk.order
        self._cursor = cursor
        rest = conjunction(part for part in flat(plan.rest) if part != walk.driver)
        self._rest = replace(plan, rest=rest, joins=None)
        listed = walk.driver["k"]
        self._keys = [listed] if isinstance(listed, str) else sorted(listed["$in"])

    async def page(self, limit: int, *, raw: bool) -> list[Stored]:
        """The first `limit` matches behind the cursor, each with the key and the order by which it was met."""
        asked, cursor = self._asked, self._cursor
        if asked is None:
            return await self._met(limit, cursor, raw=raw)
        found: list[Stored] = []
        while True:
            met = await self._met(limit, cursor, raw=raw or is_read(asked))
            self._finder.work.spend(len(met), describe(asked))
            fitting = await self._joins.satisfying(asked, met)
            found += [one for one in met if one.id in fitting]
            if len(met) < limit or len(found) >= limit:
                return found[:limit]
            cursor = advance(self._order, met, cursor)

    async def _met(self, limit: int, cursor: Cursor | None, *, raw: bool) -> list[Stored]:
        """The same but for the plan's other joins. What has several of the keys was met at the first of them."""
        found: list[Stored] = []
        behind, rest = self._keys, self._rest
        if cursor is not None:
            key, place = cursor.values
            before, behind = [one for one in behind if one < key], [one for one in behind if one > key]
            walk = Walk(NEWEST_FIRST, {"k": key})
            of_key = rest.also({"k": {"$nin": before}}) if before else rest
            if len(before) + len(behind) < len(self._keys):
                found = await self._finder.page(of_key, limit, walk, Cursor((place,), cursor.ids), raw=raw, keys=True)
            rest = rest.also({"k": {"$nin": [*before, key]}})
        if behind and len(found) < limit:
            walk = Walk(AS_FOUND, one_of("k", behind))
            found += await self._finder.page(rest, limit - len(found), walk, raw=raw, keys=True)
        return [replace(one, met=(self._first_of(one), *values_of(NEWEST_FIRST, one))) for one in found]

    def _first_of(self, one: Stored) -> str:
        return min(set(one.keys or ()).intersection(self._keys))
