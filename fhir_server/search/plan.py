"""Plans how the database is asked: the answer as disjoint parts, each one walk of one index where there is one.

A filter of alternatives makes MongoDB read everything below the first of them. Cut into parts that follow each other, a
page reads little more than it gives. How a query is cut depends on its text alone, so that a page link can name a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fhir_server.search.clauses import Sooner
from fhir_server.search.compile import conjunction, flat
from fhir_server.search.order import Phase
from fhir_server.search.paging import BY_DATE, Order, Span, along
from fhir_server.search.tree import Node
from fhir_server.store.contract import Filter


@dataclass(frozen=True, slots=True)
class Plan:
    """What the resources of one type must satisfy.

    leaves: the filters of the search's own parameters. rest: whatever else, as one filter. joins: what is asked of each
    batch of candidates after that. node: the tree all this was made of, to name what is costly.
    """

    type: str
    leaves: tuple[Filter, ...] = ()
    rest: Filter = field(default_factory=dict)
    joins: Node | None = None
    node: Node | None = None

    @property
    def filter(self) -> Filter:
        return conjunction((*(leaf.all if isinstance(leaf, Sooner) else leaf for leaf in self.leaves), self.rest))

    def also(self, *filters: Filter) -> Plan:
        """The same with more conditions."""
        return replace(self, rest=conjunction((self.rest, *filters)))


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an answer. orders: ways to walk it, of which the one with the fewest candidates is taken."""

    plan: Plan
    orders: tuple[Order, ...]


def parts(plan: Plan, phases: Sequence[Phase], is_sorted: bool) -> tuple[Part, ...]:
    """The parts of the answer, to be given one behind the other."""
    return tuple(part for phase in phases for part in _parts(plan.also(phase.filter), phase.order, is_sorted))


def _parts(plan: Plan, order: Order, is_sorted: bool) -> list[Part]:
    path, direction = order.paths[0]
    if path != "o":
        return [Part(plan, (order,))]
    ranges = _by_date_range(plan, direction > 0)
    if is_sorted:
        return [Part(part, (order,)) for part in ranges]
    return [Part(part, _unsorted(part)) for within in ranges for part in _sooner_first(within)]


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
    before = replace(plan, leaves=reaching).also({"o": {"$lt": low}})
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


# --- searches without an order of their own --------------------------------------------------------------------------


def cheaply(plan: Plan) -> tuple[Part, ...]:
    """The parts in whatever order costs least."""
    return parts(plan, (Phase(BY_DATE),), is_sorted=False)


def _sooner_first(plan: Plan) -> tuple[Plan, ...]:
    """What one range of keys finds at once, then the rest of what was meant."""
    leaf = next((leaf for leaf in plan.leaves if isinstance(leaf, Sooner)), None)
    if leaf is None or any(_is_exact(part) for part in flat(plan.filter)):
        return (plan,)
    others = tuple(other for other in plan.leaves if other is not leaf)
    return replace(plan, leaves=(leaf.few, *others)), plan.also({"k": {"$not": leaf.few["k"]}})


def _unsorted(plan: Plan) -> tuple[Order, ...]:
    """Without _sort any order will do. Ranges of keys are walked as the index has them, unless an exact key, an id or a
    range of dates gives a walk by date that is as good."""
    filters = flat(plan.filter)
    if any(_is_exact(part) for part in filters):
        return (BY_DATE,)
    spans = [span for part in filters if (span := _span(part)) is not None]
    return tuple(along(span) for span in spans) or (BY_DATE,)


def _is_exact(part: Filter) -> bool:
    if set(part) & {"o", "u", "_id"}:
        return True
    return set(part) == {"k"} and (isinstance(part["k"], str) or "$in" in part["k"])


def _span(part: Filter) -> Span | None:
    if set(part) != {"k"} or set(part["k"]) != {"$elemMatch"}:
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
