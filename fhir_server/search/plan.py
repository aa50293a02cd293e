"""Plans how the database is asked: the answer as disjoint parts, each one walk of one index where there is one.

A filter of alternatives makes MongoDB read everything below the first of them. Cut into parts that follow each other, a
page reads little more than it gives. How a query is cut depends on its text alone, so that a page link can name a part;
which of several lists is walked within a part depends on their lengths, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import msgspec
from msgspec.structs import replace

from fhir_server.search.clauses import Few, Ways
from fhir_server.search.compile import conjunction, flat
from fhir_server.search.order import Phase, unsorted
from fhir_server.search.paging import AS_FOUND, BY_CHANGE, BY_DATE, Order, Span, along, as_met
from fhir_server.search.rewrite import rewrite
from fhir_server.search.tree import And, Chain, Has, Node
from fhir_server.store.values import INDEX_ID, INDEX_KEYS, INDEX_ORDER, INDEX_UPDATED, Filter, unwalked

_MANY = 50  # keys of one list, of which each may be few
MOST_WAYS = 8  # alternatives that are answered one behind the other; more are left to the database at once


Through = Has | Chain


class Plan(msgspec.Struct, frozen=True, dict=True):
    """What the resources of one type must satisfy.

    leaves: the filters of the search's own parameters. rest: whatever else, as one filter. joins: what is asked of each
    batch of candidates after that. through: those joins whose other side may be walked instead, each with its place in
    the search. turns: what of the rest lists what a join leads to, each with its place. reaching: that of the leaves by
    which dates from before a range reach into it, in a part of such. node: the tree of it all, to name what is costly.
    """

    type: str
    leaves: tuple[Filter, ...] = ()
    rest: Filter = {}
    joins: Node | None = None
    through: tuple[tuple[int, Through], ...] = ()
    turns: tuple[tuple[int, Filter], ...] = ()
    reaching: Filter | None = None
    node: Node | None = None

    @cached_property
    def filter(self) -> Filter:
        return conjunction((*self.leaves, self.rest))

    @cached_property
    def conditions(self) -> list[Filter]:
        """What all of must hold."""
        return flat(self.filter)

    def also(self, *filters: Filter) -> Plan:
        """The same with more conditions."""
        return replace(self, rest=conjunction((self.rest, *filters)))

    def without(self, join: Node) -> Plan:
        """The same without one of its joins."""
        others = tuple(one for one in self.joins.children if one is not join) if isinstance(self.joins, And) else ()
        return replace(self, joins=rewrite(And(others)) if others else None, through=())


# The index that is walked by a field, and the fields it holds.
_INDEXES = {"k": INDEX_KEYS, "o": INDEX_ORDER, "u": INDEX_UPDATED, "_id": INDEX_ID}
_HOLDS = {INDEX_KEYS: {"k", "o"}, INDEX_ORDER: {"o"}, INDEX_UPDATED: {"u", "_id"}, INDEX_ID: {"_id"}}


class Walk(msgspec.Struct, frozen=True):
    """A way to walk candidates. driver: the condition whose list in an index is walked, while all others are looked at
    in the documents; None leaves the choice to the database. through: the join whose other side is walked instead."""

    order: Order
    driver: Filter | None = None
    through: Through | None = None

    @property
    def hint(self) -> str | None:
        """The name of the index."""
        return _INDEXES.get(next(iter(self.driver or ()), ""))

    @property
    def index(self) -> str | None:
        """The index in whose order the walk goes; None where what it finds is sorted."""
        if self.order.span is not None or (self.order.through is not None and self.driver is not None):
            return INDEX_KEYS
        if not self.order.paths:
            return self.hint
        path = self.order.paths[0][0]
        if self.order.by_value or len({direction for _, direction in self.order.paths}) > 1:
            return None
        if self.driver is None or path in self.driver:
            return _INDEXES.get(path)
        return INDEX_KEYS if path == "o" and is_exact(self.driver) else None

    @property
    def is_short(self) -> bool:
        """True for few resources, whatever the store holds."""
        return self.driver is not None and _is_few(self.driver)

    def filter(self, plan: Plan) -> Filter:
        """The plan's filter, in the form that makes the database walk so; without the driver where that is a span."""
        return plan.filter if self.driver is None else joined(*self.split(plan))

    def split(self, plan: Plan) -> tuple[Filter, Filter]:
        """The conditions that choose what is walked, without the driver where that is a span; and those that are looked
        at in the documents met on the way."""
        # Beside what it is walked by, an index has ranges.
        ranges = _HOLDS[self.hint or self.index or INDEX_KEYS] - {"k"}
        others = [part for part in plan.conditions if part != self.driver]
        walked = [part for part in others if ranges.issuperset(part)]
        looked_at = [part for part in others if not ranges.issuperset(part)]
        return conjunction(({} if self.order.span else self.driver or {}, *walked)), conjunction(looked_at)


def joined(walked: Filter, looked_at: Filter) -> Filter:
    """What a walk splits as one filter again, by which the database walks so."""
    return conjunction((walked, unwalked(looked_at))) if looked_at else walked


class Part(msgspec.Struct, frozen=True):
    """One part of an answer. walks: the ways to walk it; the cheapest is taken."""

    plan: Plan
    walks: tuple[Walk, ...]

    @property
    def is_short(self) -> bool:
        """True for few resources by their primary date, whatever the store holds."""
        return self.walks[0].is_short and self.walks[0].order == BY_DATE and self.plan.joins is None


def parts(plan: Plan, phases: Sequence[Phase], is_sorted: bool) -> tuple[Part, ...]:
    """The parts of the answer, to be given one behind the other."""
    return tuple(part for phase in phases for part in _parts(plan.also(phase.filter), phase.order, is_sorted))


def _parts(plan: Plan, order: Order, is_sorted: bool) -> list[Part]:
    path, direction = order.paths[0]
    if path != "o" or order.by_value:
        return [Part(plan, _listed(plan, order))]
    ranges = _by_date_range(plan, is_sorted and direction > 0)
    if is_sorted:
        return [Part(part, _sorted_walks(part, order)) for part in ranges]
    return [Part(part, walks_of(part)) for within in ranges for part in _one_by_one(within)]


# --- ranges of the primary date --------------------------------------------------------------------------------------


def _by_date_range(plan: Plan, ascending: bool) -> tuple[Plan, ...]:
    """A range over the order key cut in two: what begins within it, and what began before it and reaches into it.

    The filters of the type's primary date say `{o: range}` or `{$or: [{o: range}, {k: …}]}`.
    """
    split = [leaf for leaf in plan.leaves if _has_alternative(leaf)]
    if not split:
        return (plan,)
    low, high = _common_range([_order_range(leaf) for leaf in plan.leaves])
    within = replace(plan, leaves=tuple(leaf for leaf in plan.leaves if leaf not in split))
    inside = within.also({"o": _bounds(low, high)})
    if low is None:
        return (plan,)
    if any(_begins_at(leaf, low) for leaf in plan.leaves):
        return (inside,)
    from_low = [leaf for leaf in split if _order_range(leaf).get("$gte") == low]
    reaching = tuple(_second(leaf) if leaf in from_low else leaf for leaf in plan.leaves)
    before = replace(plan, leaves=reaching, reaching=_second(from_low[0])).also({"o": {"$lt": low}})
    return (before, inside) if ascending else (inside, before)


def _second(leaf: Filter) -> Filter:
    second: Filter = leaf["$or"][1]
    return second


def _order_range(leaf: Filter) -> dict[str, int]:
    """The range over `o` that a leaf gives; {} for none."""
    if set(leaf) == {"o"}:
        return dict(leaf["o"])
    return dict(leaf["$or"][0]["o"]) if _has_alternative(leaf) else {}


def _has_alternative(leaf: Filter) -> bool:
    return set(leaf) == {"$or"} and len(leaf["$or"]) == 2 and [set(part) for part in leaf["$or"]] == [{"o"}, {"k"}]


def _common_range(ranges: Iterable[dict[str, int]]) -> tuple[int | None, int | None]:
    rows = list(ranges)
    lows = [row["$gte"] for row in rows if "$gte" in row]
    highs = [row["$lt"] for row in rows if "$lt" in row]
    return max(lows, default=None), min(highs, default=None)


def _begins_at(leaf: Filter, low: int) -> bool:
    """True for a leaf that nothing below `low` can satisfy."""
    return set(leaf) == {"o"} and leaf["o"].get("$gte") == low


def _bounds(low: int | None, high: int | None) -> dict[str, Any]:
    return {name: value for name, value in (("$gte", low), ("$lt", high)) if value is not None}


# --- ways to walk ----------------------------------------------------------------------------------------------------


def by_date(plan: Plan) -> Walk:
    """The walk by date of what is asked for once and not told in pages."""
    few = next((part for part in plan.conditions if _is_few(part)), None)
    return Walk(unsorted(plan.type), few)


def cheaply(plan: Plan) -> tuple[Part, ...]:
    """The parts in whatever order costs least."""
    return parts(plan, (Phase(unsorted(plan.type)),), is_sorted=False)


def alternatives(plan: Plan) -> tuple[Plan, ...]:
    """Plans that find together what the plan finds, each a walk of its own; the plan itself where it has no such."""
    ways = _ways(plan)
    if ways is None:
        return (plan,)
    others = tuple(leaf for leaf in plan.leaves if leaf is not ways)
    return tuple(replace(plan, leaves=(*flat(way), *others)) for way in ways.ways)


def _ways(plan: Plan) -> Ways | None:
    ways = next((leaf for leaf in plan.leaves if isinstance(leaf, Ways) and len(leaf.ways) <= MOST_WAYS), None)
    return None if any(_is_few(leaf) for leaf in plan.leaves) else ways


def _one_by_one(plan: Plan) -> tuple[Plan, ...]:
    """The alternatives, each without what those before it find."""
    ways = _ways(plan)
    before = [{"$nor": [way]} for way in ways.ways] if ways else []
    return tuple(one.also(*before[:number]) for number, one in enumerate(alternatives(plan)))


def walks_of(plan: Plan) -> tuple[Walk, ...]:
    """The walks of a search without _sort, which may be answered in any order: exact keys and dates in the order of the
    primary date, ranges of keys and what joins lead to as the index has them."""
    filters, order = plan.conditions, unsorted(plan.type)
    turns = [Walk(as_met(place), part) for place, part in plan.turns]
    few = next((part for part in filters if _is_few(part)), None)
    if few is not None:
        return next(((walk,) for walk in turns if walk.driver == few), (Walk(order, few),))
    listed = [walk.driver for walk in turns]
    exact = [*turns, *(Walk(order, part) for part in filters if is_exact(part) and part not in listed)]
    spans = [Walk(along(span), part) for part in filters if (span := _span(part)) is not None]
    dates = [Walk(order, part) for part in filters if set(part) == {"o"}][-1:] if not exact else []
    changed = [Walk(BY_CHANGE, part) for part in filters if set(part) == {"u"}][-1:]
    through = [Walk(as_met(place), through=join) for place, join in plan.through]
    return (*((*exact, *spans, *dates) or changed or (Walk(order),)), *through)


def _listed(plan: Plan, order: Order) -> tuple[Walk, ...]:
    """The walks whose matches are sorted, and last the one along the index of `_id` or `u`, where that is the order."""
    lists = _lists(plan, order)
    path = order.paths[0][0]
    if path in ("_id", "u") and not any(walk.is_short for walk in lists):
        along_index = next((part for part in plan.conditions if set(part) == {path}), None)
        return (*(walk for walk in lists if walk.driver != along_index), Walk(order, along_index))
    return lists or (Walk(order),)


def in_any_order(plan: Plan) -> tuple[Walk, ...]:
    """The walks of what is counted."""
    return _lists(plan, AS_FOUND) or (Walk(AS_FOUND),)


def _lists(plan: Plan, order: Order) -> tuple[Walk, ...]:
    filters = plan.conditions
    few = next((part for part in filters if _is_few(part)), None)
    if few is not None:
        return (Walk(order, few),)
    return tuple(
        Walk(order, part)
        for part in filters
        if is_exact(part) or _span(part) is not None or set(part) in ({"o"}, {"u"})
    )


def _sorted_walks(plan: Plan, order: Order) -> tuple[Walk, ...]:
    """The walks in the order of the primary date."""
    filters = plan.conditions
    few = next((part for part in filters if _is_few(part)), None)
    if few is not None:
        return (Walk(order, few),)
    exact = tuple(Walk(order, part) for part in filters if is_exact(part))
    # Most dates are of a day: those that reach on are few, and sorted sooner than found among all from before.
    return (*exact, *([Walk(order, plan.reaching)] if plan.reaching else ())) or (Walk(order),)


def _is_few(part: Filter) -> bool:
    return (isinstance(part, Few) and _length(part) <= _MANY) or set(part) == {"_id"}


def is_exact(part: Filter) -> bool:
    """True for exact keys, which the index has in the order of the primary date."""
    return set(part) == {"k"} and (isinstance(part["k"], str) or set(part["k"]) == {"$in"})


def is_counted(driver: Filter | None) -> bool:
    """True for what MongoDB counts without the documents: not keys from one to another, nor times of change, which what
    was deleted has, too."""
    return driver is None or is_exact(driver) or set(driver) == {"o"}


def _span(part: Filter) -> Span | None:
    if set(part) != {"k"} or isinstance(part["k"], str) or set(part["k"]) != {"$elemMatch"}:
        return None
    bounds = part["k"]["$elemMatch"]
    return Span(bounds["$gte"], bounds["$lt"]) if set(bounds) == {"$gte", "$lt"} else None


# --- long lists of keys ----------------------------------------------------------------------------------------------

LONGEST_LIST = 200  # MongoDB merges that many index scans in order, and sorts in memory beyond


def _length(part: Filter) -> int:
    """How many keys a part lists."""
    return len(part["k"].get("$in", ())) if set(part) == {"k"} and not isinstance(part["k"], str) else 0


def shorter(whole: Filter) -> list[Filter]:
    """A filter with a long list of keys as several whose lists are short; their answers are merged in order."""
    filters = flat(whole)
    longest = max(filters, key=_length, default=whole)
    if _length(longest) <= LONGEST_LIST:
        return [whole]
    others = [part for part in filters if part is not longest]
    keys = longest["k"]["$in"]
    return [
        conjunction(({"k": {"$in": keys[start : start + LONGEST_LIST]}}, *others))
        for start in range(0, len(keys), LONGEST_LIST)
    ]
