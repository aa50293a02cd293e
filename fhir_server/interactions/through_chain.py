"""A chain as a walk: what points at the targets, target after target. R4 Search, Chained Parameters.

`Immunization?patient.name=nguyễn` has no order of its own, so the doses may come person by person, the oldest of each
first: a page reads about as many people as it needs for its doses, however many of that name there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from fhir_server.interactions.through import Spot
from fhir_server.search.describe import describe
from fhir_server.search.paging import BY_DATE, Cursor, Order, advance, key_of, values_of
from fhir_server.search.plan import Part, Plan, Walk, cheaply
from fhir_server.search.tree import Chain
from fhir_server.store.values import Stored

if TYPE_CHECKING:
    from fhir_server.interactions.finder import Finder
    from fhir_server.interactions.joins import Joins

_FIRST_BATCH = 20
_LARGEST_BATCH = 200
_AT_ONCE = 300  # resources that point at a batch of targets; of more, the targets are asked for one by one


class ThroughChain:
    """One page of a plan, walked through the targets of one of its chains."""

    def __init__(self, finder: Finder, joins: Joins, plan: Plan, chain: Chain, cursor: Cursor | None) -> None:
        self._finder = finder
        self._joins = joins
        self._rest = plan.without(chain)
        self._chain = chain
        (self._target,) = chain.targets
        self._start = Spot.read(cursor.values) if cursor else None
        self._told = frozenset(cursor.ids or ()) if cursor else frozenset()
        self._parts: tuple[Part, ...] = ()
        self._raw = self._keys = False

    async def page(self, limit: int, *, raw: bool, keys: bool) -> list[Stored]:
        """The first `limit` matches behind the cursor, each with the spot where it was met."""
        self._raw, self._keys = raw, keys
        self._parts = cheaply(replace(await self._finder.plan(self._target, self._chain.child), through=()))
        found: list[Stored] = []
        for place in range(self._start.place if self._start else 0, len(self._parts)):
            found += await self._page_of(place, limit - len(found))
            if len(found) >= limit:
                break
        return found

    async def _page_of(self, place: int, limit: int) -> list[Stored]:
        """What points at the targets of one part of their answer."""
        part = self._parts[place]
        start = self._start if self._start and self._start.place == place else None
        # The spot's last two values are the target's id and the order of what pointed at it.
        cursor = replace(start, values=start.values[:-2]).cursor if start else None
        walk = await self._finder.walk_of(part, cursor)
        found: list[Stored] = []
        batch = _FIRST_BATCH
        while True:
            targets = await self._finder.page(part.plan, batch, walk, cursor, raw=False)
            self._finder.work.spend(len(targets), describe(self._chain))
            is_last = len(targets) < batch
            if not is_last:
                targets = _without_last_tie(walk.order, targets)
            cursor = advance(walk.order, targets, cursor)
            ordered = sorted(targets, key=lambda one: (key_of(walk.order, one), one.id))
            if start is not None:  # it may tie with targets that were told before it
                *values, id = start.values[:-1]
                ordered = [one for one in ordered if values_of(walk.order, one) != tuple(values) or one.id >= id]
            found += await self._pointing(place, walk.order, ordered, start, limit - len(found))
            if len(found) >= limit or is_last:
                return found
            batch = min(batch * 2, _LARGEST_BATCH) if targets else batch * 2

    async def _pointing(
        self, place: int, order: Order, targets: Sequence[Stored], start: Spot | None, limit: int
    ) -> list[Stored]:
        """Up to `limit` of what points at the targets, target after target."""
        found: list[Stored] = []
        left, size = list(targets), await self._finder.enough(self._target, self._chain.type, limit)
        while left and len(found) < limit:
            begun = start if start is not None and left[0].id == start.values[-2] else None
            if begun is None and (met := await self._at_all(place, order, left[:size])) is not None:
                found += met
                left, size = left[size:], size * 8
            else:
                found += await self._at_one(place, order, left.pop(0), begun, limit - len(found))
        return found[:limit]

    async def _at_all(self, place: int, order: Order, targets: Sequence[Stored]) -> list[Stored] | None:
        """What points at some targets, target after target; None when it is too much to be asked for at once."""
        walk = await self._walk(targets)
        met = await self._finder.page(self._rest.also(walk.driver or {}), _AT_ONCE, walk, raw=self._raw, keys=True)
        return None if len(met) == _AT_ONCE else await self._first_met(met, targets, place, order)

    async def _at_one(self, place: int, order: Order, target: Stored, start: Spot | None, limit: int) -> list[Stored]:
        """Up to `limit` of what points at one target, the oldest first, behind the spot if it is there."""
        walk = await self._walk([target])
        plan = self._rest.also(walk.driver or {})
        cursor = Cursor(start.values[-1:], tuple(self._told)) if start else None
        found: list[Stored] = []
        while True:
            met = await self._finder.page(plan, limit, walk, cursor, raw=self._raw, keys=True)
            found += await self._first_met(met, [target], place, order)
            if len(met) < limit or len(found) >= limit:
                return found
            cursor = advance(walk.order, met, cursor)

    async def _walk(self, targets: Sequence[Stored]) -> Walk:
        names = [f"{self._target}/{one.id}" for one in targets]
        return Walk(BY_DATE, await self._finder.pointing_at(self._chain.type, (self._chain.param,), names))

    async def _first_met(
        self, met: Sequence[Stored], targets: Sequence[Stored], place: int, order: Order
    ) -> list[Stored]:
        """What is met at these targets first, target after target, each with its spot."""
        ranks = {one.id: rank for rank, one in enumerate(targets)}
        found: list[tuple[int, Stored]] = []
        for one in met:
            ids = self._joins.ids_at(one, self._chain.param.code, self._target)
            rank = min(ranks[id] for id in ids if id in ranks)
            target = targets[rank]
            if len(ids) == 1 or await self._is_first(ids, target.id, place, order):
                spot = Spot(place, order.span, (*values_of(order, target), target.id, *values_of(BY_DATE, one)))
                found.append((rank, replace(one, met=spot.written(), keys=one.keys if self._keys else None)))
        found.sort(key=lambda pair: pair[0])
        return [one for _, one in found]

    async def _is_first(self, ids: Sequence[str], id: str, place: int, order: Order) -> bool:
        """Whether of several targets that one resource points at this is the first to be walked."""
        for earlier in self._parts[:place]:
            if await self._finder.with_ids(earlier.plan, ids, raw=False):
                return False
        found = await self._finder.with_ids(self._parts[place].plan, ids, raw=False, keys=True)
        return min(found, key=lambda one: (key_of(order, one), one.id)).id == id


def _without_last_tie(order: Order, targets: Sequence[Stored]) -> list[Stored]:
    """Without the last and what ties with it: the next batch has all of them."""
    last = values_of(order, targets[-1])
    return [one for one in targets if values_of(order, one) != last]
