"""The queries of one search: a tree becomes a plan, a plan pages, within the caller's View and the bounds of work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isqrt
from typing import Protocol

from msgspec.structs import replace

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.in_turns import InTurns
from fhir_server.interactions.joins import AT_FIRST, AT_MOST, AT_ONCE, LARGEST_BATCH, NOWHERE, Joins, Reach, chunks
from fhir_server.interactions.through import ThroughHas
from fhir_server.interactions.through_chain import ThroughChain
from fhir_server.interactions.work import Work
from fhir_server.model.resources import Resource
from fhir_server.search.clauses import Few
from fhir_server.search.compile import conjunction, disjunction, flat, one_of
from fhir_server.search.contained import containers
from fhir_server.search.describe import costly, describe
from fhir_server.search.leads import leads
from fhir_server.search.order import unsorted
from fhir_server.search.paging import AS_FOUND, BY_DATE, Cursor, Order, Span, advance, after, along, along_after, key_of
from fhir_server.search.plan import (
    Part,
    Plan,
    Through,
    Walk,
    alternatives,
    by_date,
    cheaply,
    in_any_order,
    is_counted,
    joined,
    shorter,
    walks_of,
)
from fhir_server.search.rewrite import rewrite
from fhir_server.search.tree import (
    And,
    Chain,
    Contains,
    Has,
    Leaf,
    Node,
    Or,
    has_chains,
    has_joins,
    is_read,
)
from fhir_server.store.values import INDEX_ORDER, NOTHING, Bound, Filter, Find, Stored, View

PATIENCE = 3_000  # candidates walked a batch at a time before a join is resolved as far as AT_MOST allows
FEW_CANDIDATES = 100  # of a list that is shorter, nobody asks whether another is shorter still
EVERYTHING_COUNTS = 1 << 40
KEYS_A_RESOURCE = 10  # that an index gives in the time in which one resource is looked at
_FIRST_BATCH = 60
_PAGE = 20  # matches that a page is thought to give


def _reach(place: int, reach: Reach, cursor: Cursor | None) -> Reach:
    """How far the join at a place is resolved: not at all where it is walked itself, as far as can be where what it led
    to is."""
    if cursor is None or cursor.through != place:
        return reach
    return AT_MOST if cursor.is_in_turns else NOWHERE


class Reader(Protocol):
    """Both the store and the inside of a transaction."""

    async def find(self, query: Find, view: View) -> list[Stored]: ...


class Finder:
    """All queries of one request, with its View and its bound of work."""

    def __init__(self, context: Context, reader: Reader | None = None, view: View | None = None) -> None:
        self._model = context.search
        self._registry = context.store.registry
        self._store = context.store
        self._base = context.base
        self._now = context.clock()
        self._reader: Reader = reader or context.store
        self._view = context.view if view is None else view
        self._plans: dict[tuple[str, Node], Plan] = {}
        self._joins = Joins(self, context.search)
        self._is_hopeless = False
        self._present: set[str] | None = None
        self.work = Work(context.settings.search_work, context.settings.search_seconds)

    async def present(self) -> set[str]:
        """The types that have resources at all."""
        if self._present is None:
            self._present = await self._store.types()
        return self._present

    def parameters(self, type: str) -> Iterable[SearchParameter]:
        """Those by which the type is searched."""
        return self._model.parameters.of(type).values()

    async def plan(self, type: str, node: Node, reach: Reach = AT_ONCE, cursor: Cursor | None = None) -> Plan:
        """Compiles a tree, asking first what the joins lead to whose other side is within reach.

        cursor: what stands in a walk through a join goes on in it.
        """
        found = self._plans.get((type, node))
        if found is None:
            found = self._plans[type, node] = await self._plan(type, rewrite(node), reach, cursor)
        return found

    async def _plan(self, type: str, node: Node, reach: Reach, cursor: Cursor | None) -> Plan:
        parts = node.children if isinstance(node, And) else (node,)
        leaves: list[Filter] = []
        others: list[Node] = []
        walked: list[tuple[int, Through]] = []
        turns: list[tuple[int, Filter]] = []
        for place, part in enumerate(parts):
            if isinstance(part, Leaf):
                leaves.extend(flat(await self.compile(part)))
                continue
            # What joins lead to differs from page to page and is no part of how the answer is cut.
            resolved = rewrite(await self._joins.resolve(part, _reach(place, reach, cursor)))
            if isinstance(part, Chain) and isinstance(resolved, Leaf) and reach == AT_FIRST:
                turns.append((place, await self.compile(resolved)))
                continue
            if cursor is not None and cursor.is_in_turns and cursor.through == place:
                text = f"{describe(part)} leads to more than {AT_MOST.targets} resources by now; search again"
                raise FhirError(Kind.TOO_COSTLY, text, (describe(part),))
            others.append(resolved)
            if isinstance(resolved, Has) or (isinstance(resolved, Chain) and len(resolved.targets) == 1):
                walked.append((place, resolved))
        joins = [part for part in others if has_joins(part)]
        rest = await self.compile(rewrite(And(tuple(part for part in others if not has_joins(part)))))
        if own := self._view.walked(type):
            rest = conjunction((rest, Few(own)))
        for join in joins:
            if isinstance(join, Contains):
                rest = conjunction((rest, containers(join.contained, await self.compile(join.child))))
        rest = conjunction((rest, *(listed for _, listed in turns)))
        asked = rewrite(And(tuple(joins))) if joins else None
        return Plan(type, tuple(leaves), rest, asked, tuple(walked), tuple(turns), node=node)

    async def compile(self, node: Node) -> Filter:
        """The filter of a tree without joins."""
        return await self._model.filter(node, self._store, self._base, self._now)

    async def walk_of(self, part: Part, cursor: Cursor | None) -> Walk:
        """The way a part is walked: the one that the cursor stands in, or the one with the shortest list."""
        if cursor is None:
            return await self._shortest(part.plan.type, part.walks)
        if cursor.span is not None:
            span = Span(*cursor.span)
            return Walk(along(span), span.filter)
        walks = [walk for walk in part.walks if walk.order.span is None and walk.order.through == cursor.through]
        return await self._shortest(part.plan.type, walks or [Walk(unsorted(part.plan.type))])

    async def _shortest(self, type: str, walks: Sequence[Walk]) -> Walk:
        """Of equal ones the last: given names stand last, and they tell people apart best."""
        if len(walks) == 1:
            return walks[0]
        weights: list[int] = []
        # A list that is sorted is read whole; beside a walk in order of all, which meets a page soon where the list is
        # long, it must be short.
        is_sorted = walks[0].through is None and walks[0].index is None and walks[-1].index is not None
        most = await self._most_weighed(type, is_sorted and len(walks) == 2)
        # Beside a walk over all there are joins alone, whose other side is known to be no short list.
        for cap in (FEW_CANDIDATES, most) if any(walk.driver for walk in walks) else (most,):
            weights = await self._weights(type, walks, cap)
            if min(weights) < cap:
                break
        else:
            if is_sorted:
                return walks[-1]
            if all(walk.through is None for walk in walks):
                weights = [await self._store.sampled(type, walk.driver or {}) for walk in walks]
        return walks[len(weights) - 1 - weights[::-1].index(min(weights))]

    async def _most_weighed(self, type: str, is_alone: bool) -> int:
        """Beyond this share of all resources, one list is as good as another."""
        every = await self._store.weigh(type, {}, EVERYTHING_COUNTS)
        return max(FEW_CANDIDATES, isqrt(every * _PAGE) if is_alone else every // 25)

    async def enough(self, target: str, source: str, limit: int) -> int:
        """How many targets as a rule have `limit` sources pointing at them."""
        weigh = self._store.weigh
        targets, sources = await weigh(target, {}, EVERYTHING_COUNTS), await weigh(source, {}, EVERYTHING_COUNTS)
        return max(2, -(-limit * targets // max(sources, 1)))

    async def _weights(self, type: str, walks: Iterable[Walk], cap: int) -> list[int]:
        """Of the walks up to the first that is empty: no other can be shorter."""
        weights: list[int] = []
        for walk in walks:
            weights.append(await self._weigh(type, walk, cap))
            if not weights[-1]:
                break
        return weights

    async def _weigh(self, type: str, walk: Walk, cap: int) -> int:
        if walk.through is None:
            return await self._store.weigh(type, walk.driver or {}, cap)
        return await self.weight(await self._beyond(walk.through), cap)

    async def _beyond(self, join: Has | Chain) -> Plan:
        """The plan of what a join leads to."""
        type = join.source if isinstance(join, Has) else join.targets[0]
        return await self.plan(type, join.child)

    async def weight(self, plan: Plan, cap: int) -> int:
        """How many candidates a plan has, up to `cap`."""
        found = 0
        for part in cheaply(plan):
            if part.plan.filter != NOTHING:
                found += min(await self._weights(plan.type, part.walks, cap - found))
            if found >= cap:
                break
        return min(found, cap)

    async def page(
        self,
        plan: Plan,
        limit: int,
        walk: Walk | None = None,
        cursor: Cursor | None = None,
        *,
        raw: bool = True,
        keys: bool = False,
    ) -> list[Stored]:
        """The first `limit` matches behind the cursor, in the order of the walk: by date without one."""
        walk = walk or by_date(plan)
        if isinstance(walk.through, Has):
            return await ThroughHas(self, self._joins, plan, walk.through, cursor).page(limit, raw=raw, keys=keys)
        if walk.through is not None:
            return await ThroughChain(self, self._joins, plan, walk.through, cursor).page(limit, raw=raw, keys=keys)
        if walk.order.through is not None:
            return await InTurns(self, self._joins, plan, walk, cursor).page(limit, raw=raw)
        if plan.joins is None:
            return await self._find(plan, limit, walk, cursor, raw=raw, keys=keys)
        if walk.order == AS_FOUND:
            walk = replace(walk, order=BY_DATE)
        told = await self._satisfying(plan, plan.joins, limit, walk, cursor, keys=keys)
        if not raw or is_read(plan.joins):
            return told
        found = await self._with_content(plan, told)
        if len(found) < len(told) == limit:  # some are gone meanwhile
            cursor = advance(walk.order, told, cursor)
            found += await self.page(plan, limit - len(found), walk, cursor, raw=raw, keys=keys)
        return found

    async def at_once(self, parts: Sequence[Part], limit: int, cursor: Cursor | None, *, keys: bool) -> list[Stored]:
        """The first `limit` matches of short parts of a type each, one behind the other. cursor: in the first part."""
        finds: list[Find] = []
        for number, part in enumerate(parts):
            walk = part.walks[0]
            query = conjunction((walk.filter(part.plan), {} if number else after(walk.order, cursor)))
            if query != NOTHING:
                finds.append(Find(part.plan.type, query, walk.order.paths, limit, want_keys=keys))
        return await self._store.find_at_once(finds, self._view) if finds else []

    async def _satisfying(
        self, plan: Plan, joins: Node, limit: int, walk: Walk, cursor: Cursor | None, *, keys: bool
    ) -> list[Stored]:
        """Candidate after candidate, those for which the joins hold. They have their content only if a join reads it:
        most candidates are not told."""
        read, keys = is_read(joins), keys or has_chains(joins)
        told: list[Stored] = []
        batch, walked = _FIRST_BATCH, 0
        while True:
            candidates = await self._find(plan, batch, walk, cursor, raw=read, keys=keys)
            self.work.spend(len(candidates), describe(joins))
            fitting = await self._joins.satisfying(joins, candidates)
            told += [stored for stored in candidates if stored.id in fitting]
            if len(candidates) < batch or len(told) >= limit:
                return told[:limit]
            cursor = advance(walk.order, candidates, cursor)
            walked += len(candidates)
            batch = min(batch * 2, LARGEST_BATCH)
            if walked > PATIENCE and not self._is_hopeless:
                whole = await self._resolved(plan, AT_MOST)
                if whole is not None:
                    return told + await self._find(whole, limit - len(told), walk, cursor, raw=read, keys=keys)
                self._is_hopeless = True

    async def _with_content(self, plan: Plan, told: Sequence[Stored]) -> list[Stored]:
        """The same at the same places, with their bytes as they are now; without those that are gone meanwhile."""
        ids = [stored.id for stored in told]
        raws = {stored.id: stored.raw for stored in await self.with_ids(replace(plan, joins=None), ids)}
        return [replace(stored, raw=raws[stored.id]) for stored in told if stored.id in raws]

    async def _resolved(self, plan: Plan, reach: Reach) -> Plan | None:
        """The plan with its joins in the query, None when their other side is beyond reach."""
        assert plan.joins is not None
        node = rewrite(await self._joins.resolve(plan.joins, reach))
        return None if has_joins(node) else replace(plan, joins=None).also(await self.compile(node))

    async def with_ids(self, plan: Plan, ids: Sequence[str], *, raw: bool = True, keys: bool = False) -> list[Stored]:
        """The matches that have one of the ids."""
        found: list[Stored] = []
        for some in chunks(ids, LARGEST_BATCH):
            among = one_of("_id", some)
            found += await self.page(plan.also(among), len(some), Walk(AS_FOUND, among), raw=raw, keys=keys)
        return found

    async def some(self, plan: Plan, limit: int, *, keys: bool = False) -> list[Stored]:
        """Up to `limit` matches in whatever order costs least, without their content."""
        ways = alternatives(plan)
        if plan.joins is None and len(ways) > 1:
            return await self._of_any(ways, limit, keys=keys)
        found: list[Stored] = []
        for part in cheaply(plan):
            walk = await self.walk_of(part, None)
            found += await self.page(part.plan, limit - len(found), walk, raw=False, keys=keys)
            if len(found) >= limit:
                break
        return found

    async def _of_any(self, plans: Sequence[Plan], limit: int, *, keys: bool) -> list[Stored]:
        """Matches of any of the plans, which are of one type and each a walk of its own."""
        type, filters = plans[0].type, list[Filter]()
        for plan in plans:
            walk = await self._shortest(type, walks_of(plan))
            filters.append(conjunction((walk.order.span.filter if walk.order.span else {}, walk.filter(plan))))
        find = Find(type, disjunction(filters), (), limit, raw=False, want_keys=keys)
        return await self._reader.find(find, self._view)

    async def _find(
        self, plan: Plan, limit: int, walk: Walk, cursor: Cursor | None, *, raw: bool = False, keys: bool = False
    ) -> list[Stored]:
        if plan.filter == NOTHING:
            return []
        order = walk.order
        walked, looked_at = walk.split(plan)
        query = plan.filter if walk.driver is None else joined(walked, looked_at)
        try:
            most = await self._most_looked_at(plan, walk, looked_at)
            hint = walk.hint or (walk.index if most else None)
            place = after(order, cursor) if order.span is None else along_after(order.span, cursor)
            find = Find(
                plan.type,
                conjunction((place, query)),
                order.paths,
                limit,
                raw=raw,
                want_sort=order.by_value,
                want_keys=keys,
                hint=hint,
                bound=Bound(conjunction((place, walked)), most) if most else None,
            )
            if order.span is None:
                return await self._ask(find, order)
            within, start = (order.span.low, order.span.high), cursor.values if cursor else None
            return await self._reader.find(replace(find, sort=(), keys_within=within, start=start), self._view)
        except FhirError as fault:
            if fault.kind is not Kind.TOO_COSTLY:
                raise
            raise FhirError(Kind.TOO_COSTLY, f"{fault.diagnostics}; costly: {costly(plan, order)}") from None

    async def _most_looked_at(self, plan: Plan, walk: Walk, looked_at: Filter) -> int | None:
        """The work limit, for a walk in the order of its index that may meet more resources that do not fit.

        Raises FhirError TOO_COSTLY for one that sorts what it finds, where the search would look at more than that.
        """
        most = self.work.most
        if walk.is_short:
            return None
        if walk.index is None:
            self.work.done += await self._looks_at(plan, walk, most + 1)
            if self.work.done > most:
                raise FhirError(Kind.TOO_COSTLY, f"a search of {plan.type} would look at more than {most} resources")
            return None
        if not looked_at or await self._store.weigh(plan.type, {}, EVERYTHING_COUNTS) <= most:
            return None
        if walk.driver is None and await self._looks_at(plan, walk, most + 1) <= most:
            return None
        return most

    async def _looks_at(self, plan: Plan, walk: Walk, cap: int) -> int:
        """How many resources are looked at for all that a plan finds, up to `cap`."""
        ways = leads(plan.filter) if walk.driver is None else [(walk.driver,)]
        for way in ways or [({},)]:
            cap = min(cap, sum([await self._store.weigh(plan.type, one, cap, self._view) for one in way]))
        return cap

    async def _ask(self, find: Find, order: Order) -> list[Stored]:
        parts = shorter(find.filter) if order.is_of_index and find.hint != INDEX_ORDER else [find.filter]
        if len(parts) == 1:
            return await self._reader.find(find, self._view)
        found: dict[str, Stored] = {}
        walked = shorter(find.bound.walked) if find.bound else parts
        for part, keys in zip(parts, walked, strict=True):
            bound = Bound(keys, max(find.bound.most // len(parts), 1)) if find.bound else None
            asked = replace(find, filter=part, bound=bound)
            found |= {stored.id: stored for stored in await self._reader.find(asked, self._view)}
        return sorted(found.values(), key=lambda stored: key_of(order, stored))[: find.limit]

    def go_on(self, plan: Plan) -> None:
        """Raises FhirError TOO_COSTLY where the time of the search is over before another part of it is asked."""
        if self.work.is_over:
            self.work.spend(0, costly(plan, BY_DATE))

    async def count(self, plan: Plan, cap: int | None = None) -> int:
        """The number of matches, or `cap` when there are at least that many. Raises FhirError TOO_COSTLY."""
        self.go_on(plan)
        if plan.joins is not None:
            plan = await self._resolved(plan, AT_ONCE) or plan
        if plan.joins is None:
            return await self._count(plan, cap) if plan.filter != NOTHING else 0
        number, cursor = 0, None
        while cap is None or number < cap:
            told = await self.page(plan, 1000, None, cursor, raw=False)
            number += len(told)
            if len(told) < 1000:
                return number
            cursor = advance(BY_DATE, told, cursor)
        return cap

    async def _count(self, plan: Plan, cap: int | None) -> int:
        most = self.work.most
        if await self._store.weigh(plan.type, {}, EVERYTHING_COUNTS) <= most:
            return await self._store.count(plan.type, plan.filter, self._view, cap)
        walk = await self._shortest(plan.type, in_any_order(plan))
        query = walk.filter(plan)
        if self._view.of(plan.type) is None and not walk.split(plan)[1] and is_counted(walk.driver):
            most *= KEYS_A_RESOURCE
            found = await self._store.count(plan.type, query, self._view, min(cap or most + 1, most + 1))
            if found <= most:
                return found
        elif await self._looks_at(plan, walk, most + 1) <= most:
            return await self._store.count(plan.type, query, self._view, cap)
        text = f"counting {plan.type} would look at more than {most} of them; costly: {costly(plan, walk.order)}"
        raise FhirError(Kind.TOO_COSTLY, text)

    def pointers(self, stored: Stored, code: str) -> Iterator[tuple[str, str]]:
        """What a reference parameter, or any for `*`, of a found resource points at on this server: (type, id)."""
        return self._model.pointers(stored.type, code, stored.keys or (), self._registry)

    async def pointing_at(self, source: str, params: Iterable[SearchParameter], names: Sequence[str]) -> Filter:
        """The resources of a type of which any of the reference parameters points at one of the `Type/id` named."""
        return await self.compile(Or(tuple(Leaf(source, param, None, tuple(names)) for param in params)))

    async def contained(self, node: Contains, stored: Stored) -> list[Resource]:
        """The resources within a candidate that satisfy what is asked of them."""
        return self._model.contained(stored.raw, node.contained, await self.compile(node.child), self._registry)
