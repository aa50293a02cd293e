"""Keyset paging: where a page ended, as sort values and the ids that tie with them, and what comes after it.

Nothing is counted or skipped, so a page costs the same wherever it stands, and a write elsewhere moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from typing import Any

import msgspec

from fhir_server.search.clauses import between
from fhir_server.search.compile import conjunction
from fhir_server.store.values import Filter, Stored


class Span(msgspec.Struct, frozen=True):
    """The keys from `low` to before `high`."""

    low: str
    high: str

    @property
    def filter(self) -> Filter:
        return between(self.low, self.high)

    def first_of(self, keys: Iterable[str]) -> str:
        """The first of a resource's keys that lies in it: where a walk over the span meets the resource."""
        return min(key for key in keys if self.low <= key < self.high)


class Order(msgspec.Struct, frozen=True):
    """paths: (path, 1 ascending or -1 descending) over `o`, `u`, `_id` and `x.…`; only over `x.…` can a value be
    missing, and it comes last then. span: the index is walked over these keys as it stands, then by `o` descending.
    through: the order in which a walk through other resources, or through a list of what they are, meets these, for the
    join at this place of the search.
    """

    paths: tuple[tuple[str, int], ...]
    span: Span | None = None
    through: int | None = None

    @property
    def by_value(self) -> bool:
        return any(path.startswith("x.") for path, _ in self.paths)

    @property
    def is_of_index(self) -> bool:
        """True when the index over keys gives it for each exact key."""
        return self.span is None and self.through is None and self.paths[:1] in ((("o", -1),), (("o", 1),))


BY_DATE = Order((("o", 1),))
NEWEST_FIRST = Order((("o", -1),))
BY_ID = Order((("_id", 1),))
AS_FOUND = Order(())  # whichever costs least, for what is asked for at once
BY_CHANGE = Order((("u", 1), ("_id", 1)))  # what is changed meanwhile is met again, and not missed


def as_met(place: int) -> Order:
    """The order of a walk through other resources, or their keys, by the join at a place of the search."""
    return Order((("met", 1),), through=place)


def along(span: Span) -> Order:
    """The order of a walk over the keys of a span."""
    return Order((("k", 1), ("o", -1)), span)


class Cursor(msgspec.Struct, frozen=True):
    """The place after an entry. values: its sort values, None for a missing one. ids: the entries already told that
    have the very same values; None when all that have them were told. span: (low, high) of the keys walked, if any.
    through: as in Order."""

    values: tuple[Any, ...]
    ids: tuple[str, ...] | None
    span: tuple[str, str] | None = None
    through: int | None = None

    @property
    def is_in_turns(self) -> bool:
        """True in a walk through a list of keys, of which it names one first."""
        return self.through is not None and isinstance(self.values[0], str)


def values_of(order: Order, stored: Stored) -> tuple[Any, ...]:
    """The sort values of one entry; it was found with want_sort or want_keys where the order needs them."""
    if order.through is not None:
        return stored.met
    return tuple([_value(order, path, direction, stored) for path, direction in order.paths])


def _value(order: Order, path: str, direction: int, stored: Stored) -> Any:
    match path:
        case "o":
            return _plain(stored.order)
        case "u":
            return _plain(stored.updated)
        case "_id":
            return stored.id
        case "k" if order.span is not None:
            return order.span.first_of(stored.keys or ())
    found = list(_leaves(stored.sort, path.split(".")[1:]))
    # MongoDB sorts a list by its lowest value when ascending and by its highest when descending.
    return _plain(min(found) if direction > 0 else max(found)) if found else None


def _plain(value: Any) -> Any:
    """The driver's 64-bit integers as Python's own, so that a cursor can be written down."""
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _leaves(value: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item, path)
    elif path:
        if isinstance(value, Mapping) and path[0] in value:
            yield from _leaves(value[path[0]], path[1:])
    elif value is not None:
        yield value


def advance(order: Order, told: Sequence[Stored], before: Cursor | None) -> Cursor | None:
    """The cursor after the entries told; `before` when there are none."""
    if not told:
        return before
    last = values_of(order, told[-1])
    ids = list(before.ids or ()) if before is not None and before.values == last else []
    tied = takewhile(lambda one: values_of(order, one) == last, islice(reversed(told), 1, None))
    ids += reversed([told[-1].id, *(stored.id for stored in tied)])
    return Cursor(last, tuple(ids), (order.span.low, order.span.high) if order.span else None, order.through)


def after(order: Order, cursor: Cursor | None) -> Filter:
    """What stands behind the cursor in this order, which walks no span; {} without a cursor."""
    if cursor is None:
        return {}
    if len(order.paths) == 1 and not order.by_value:
        return _after_one(*order.paths[0], cursor.values[0], cursor.ids)
    return {"$and": [*_bound(order, cursor), {"$or": list(_alternatives(order, cursor))}]}


def along_after(span: Span, cursor: Cursor | None) -> Filter:
    """What stands behind the cursor in a walk along the span, which goes on from the cursor's key.

    A resource with several keys in the span was told at the first of them, and is met again at the others.
    """
    if cursor is None:
        return span.filter
    key, place = cursor.values
    told: list[Filter] = [{"k": key, "o": {"$gte" if cursor.ids is None else "$gt": place}}]
    if key > span.low:
        told.append(between(span.low, key))
    others: Filter = {"_id": {"$nin": list(cursor.ids)}} if cursor.ids else {}
    return conjunction((between(key, span.high), {"$nor": told}, others))


def before(order: Order, values: tuple[Any, ...]) -> Filter:
    """What stands before an entry with these sort values, none of them missing."""
    if order.span is None:
        return after(Order(tuple([(path, -direction) for path, direction in order.paths])), Cursor(values, None))
    key, place = values
    return {"$or": [between(order.span.low, key), {"k": key, "o": {"$gt": place}}]}


def _after_one(path: str, direction: int, value: Any, ids: tuple[str, ...] | None) -> Filter:
    beyond = "$gt" if direction > 0 else "$lt"
    if ids is None or (path == "_id" and value in ids):
        return {path: {beyond: value}}
    rest = {path: {beyond + "e": value}}
    return {**rest, "_id": {"$nin": list(ids)}} if ids else rest


def _bound(order: Order, cursor: Cursor) -> Iterator[Filter]:
    """The range of the first path alone, which an index can use."""
    (path, direction), value = order.paths[0], cursor.values[0]
    if not path.startswith("x."):
        yield {path: {"$gte" if direction > 0 else "$lte": value}}


def _alternatives(order: Order, cursor: Cursor) -> Iterator[Filter]:
    """Beyond in the first path; or equal in it and beyond in the second; …; or equal in all and not told yet."""
    equal: list[Filter] = []
    for (path, direction), value in zip(order.paths, cursor.values, strict=True):
        if value is not None:  # missing values are last: nothing lies beyond them
            yield {"$and": [*equal, _beyond(path, direction, value)]}
        equal.extend(_equal(path, direction, value))
    if cursor.ids is not None:
        yield {"$and": [*equal, {"_id": {"$nin": list(cursor.ids)}}]}


def _beyond(path: str, direction: int, value: Any) -> Filter:
    """Over a list the lowest (or highest) value counts, so none of its values may lie before; a missing list passes."""
    if path.startswith("x."):
        return {path: {"$not": {"$lte" if direction > 0 else "$gte": value}}}
    return {path: {"$gt" if direction > 0 else "$lt": value}}


def _equal(path: str, direction: int, value: Any) -> Iterator[Filter]:
    if value is None:
        yield {path: {"$exists": False}}
        return
    yield {path: value}
    if path.startswith("x."):
        yield {path: {"$not": {"$lt" if direction > 0 else "$gt": value}}}


def key_of(order: Order, stored: Stored) -> tuple[Any, ...]:
    """A sort key that merges lists of this order in memory, as the database sorts them."""
    return tuple(
        (value is None, _Reversed(value) if direction < 0 else value)
        for value, (_, direction) in zip(values_of(order, stored), order.paths, strict=True)
    )


class _Reversed:
    """Compares the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __lt__(self, other: _Reversed) -> bool:
        return self.value is not None and other.value is not None and bool(other.value < self.value)
