"""Date parameters: dates, instants, periods and timings as ranges (R4 Search, date).

`x` keeps the first and last tick of each value, and every query compares both ends of one value there. The keys only
narrow the walk: the second a value begins in and, when it is wider than a day, the second it ends in. The type's
primary date has its beginning in the order key `o` instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from fhir_server.model.dates import BEGINNING, END, TICKS_PER_DAY, TICKS_PER_MS, TICKS_PER_SECOND, Span, span_of
from fhir_server.search.clauses import between, each, element
from fhir_server.search.compile import disjunction
from fhir_server.search.entry import Entry, Write
from fhir_server.search.escapes import unescape
from fhir_server.search.lookup import Lookup, Setting, unknown_modifier, unusable
from fhir_server.search.parts import Part, Parts, Sought, part_writers
from fhir_server.search.path import Path
from fhir_server.search.primary_dates import primary_date, primary_dates
from fhir_server.search.tree import Leaf
from fhir_server.store.values import EARLIEST_ORDER, LATEST_ORDER, LOWEST_DATED, ORDER_SHIFT, Filter

PREFIXES = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})
# Seconds in keys count from the year 1 and have one width; open ends lie outside of them.
_YEAR_ONE = 62_135_596_800
_BEFORE_ALL, _AFTER_ALL = "0", "9"
_TOO_FINE = re.compile(r"\.\d{10}")
_APPROXIMATELY = 10  # a tenth of the distance from now

MODIFIERS: frozenset[str] = frozenset()


def writers(letters: str, paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Write]]:
    """For each path of a parameter the function that writes the keys of one of its values."""
    return part_writers(letters, readers(paths, setting))


def readers(paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Parts]]:
    for path in paths:
        read = span_reader(path.type, setting.zone)
        if read is not None:
            yield path, _parts_reader(read)


def primary_writers(letters: str, paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Write]]:
    """The same for the type's primary date: the beginning goes into the order key."""
    for path in paths:
        read = span_reader(path.type, setting.zone)
        if read is not None:
            yield path, _primary_writer(letters, read)


def order_writers(paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Write]]:
    """The writers of a date that stands in for a missing primary date: they write the order only."""
    for path in paths:
        read = span_reader(path.type, setting.zone)
        if read is not None:
            yield path, _order_writer(read)


def _parts_reader(read: Callable[[Any], Span | None]) -> Parts:
    def parts(value: Any, entry: Entry) -> tuple[Part, ...]:
        span = read(value)
        if span is None:
            return ()
        low, high = span
        heads = (second(low), second(high)) if high - low >= TICKS_PER_DAY else (second(low),)
        return (Part(heads, {"l": low, "h": high}),)

    return parts


def _primary_writer(letters: str, read: Callable[[Any], Span | None]) -> Write:
    def write(value: Any, entry: Entry) -> None:
        span = read(value)
        if span is not None:
            low, high = span
            if low > BEGINNING:
                entry.order = low // TICKS_PER_SECOND
            else:
                entry.keys.add(letters + second(low))
            if high - low >= TICKS_PER_DAY:
                entry.keys.add(letters + second(high))
            entry.extend_sort(letters, {"l": low, "h": high})

    return write


def _order_writer(read: Callable[[Any], Span | None]) -> Write:
    def write(value: Any, entry: Entry) -> None:
        span = read(value) if entry.order is None else None
        if span is not None and span[0] > BEGINNING:
            entry.order = span[0] // TICKS_PER_SECOND

    return write


def span_reader(type: str, zone: str) -> Callable[[Any], Span | None] | None:
    """The function from a value of a FHIR type to its span; None for a type that is no date."""
    match type:
        case "date" | "dateTime":
            return lambda value: span_of(value, zone)
        case "instant":
            return lambda value: _moment(value, zone)
        case "Period":
            return lambda value: period_span(value, zone)
        case "Timing":
            return lambda value: timing_span(value, zone)
    return None


def _moment(value: str, zone: str) -> Span | None:
    # FHIR: 3.1.1.4.7: an instant has no width, whatever its precision.
    span = span_of(value, zone)
    return (span[0], span[0]) if span else None


def period_span(value: Any, zone: str) -> Span | None:
    """An end that is not given is open."""
    start, end = value.get("start"), value.get("end")
    first = span_of(start, zone) if start else None
    last = span_of(end, zone) if end else None
    if first is None and last is None:
        return None
    return first[0] if first else BEGINNING, last[1] if last else END


def timing_span(value: Any, zone: str) -> Span | None:
    """The outer limits of the events and of the bounds of the repetition."""
    spans = [span for event in value.get("event") or () if event and (span := span_of(event, zone))]
    bounds = (value.get("repeat") or {}).get("boundsPeriod")
    span = period_span(bounds, zone) if bounds else None
    if span:
        spans.append(span)
    return (min(span[0] for span in spans), max(span[1] for span in spans)) if spans else None


def second(tick: int) -> str:
    """A tick as it stands in keys: the second it lies in, in twelve digits."""
    if tick <= BEGINNING:
        return _BEFORE_ALL
    if tick >= END:
        return _AFTER_ALL
    return f"{tick // TICKS_PER_SECOND + _YEAR_ONE:012d}"


# --- queries ---------------------------------------------------------------------------------------------------------


def filter(leaf: Leaf, letters: str, lookup: Lookup) -> Filter:
    """Raises FhirError for a modifier or value that dates do not have."""
    if leaf.modifier is not None:
        raise unknown_modifier(leaf)
    primary = primary_date(leaf.type) == leaf.param.code
    return disjunction(_one(leaf, value, letters, lookup, primary) for value in leaf.values)


def _one(leaf: Leaf, value: str, letters: str, lookup: Lookup, primary: bool) -> Filter:
    if not primary:
        return seek(leaf, value, (), lookup).filter(letters)
    prefix, low, high = bounds(leaf.param.code, value, lookup)
    residual = element(letters, condition(prefix, low, high))
    driver = _on_order(prefix, low, high, letters)
    return each([driver, residual]) if driver else residual


def seek(leaf: Leaf, value: str, paths: tuple[Path, ...], lookup: Lookup) -> Sought:
    """What a value asks of one date, and the range of keys in which a match has at least one: its beginning, or the end
    of a wide one. Raises FhirError when it is no date."""
    prefix, low, high = bounds(leaf.param.code, value, lookup)
    first, last = _reach(prefix, low, high)
    if prefix == "ap":
        # A wide value may begin before and end after: then both of its keys lie outside.
        first = BEGINNING
    return Sought(condition(prefix, low, high), low=second(first), high=second(last) + "~", is_whole=prefix == "ne")


def bounds(param: str, value: str, lookup: Lookup) -> tuple[str, int, int]:
    """The prefix and the span of a query value; for `ap` the span is widened. Raises FhirError for no date."""
    text = unescape(value)
    prefix, text = (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)
    # A plus sign that was not escaped in the URL arrives as a blank.
    text = text.replace(" ", "+")
    span = None if _TOO_FINE.search(text) else span_of(text, lookup.zone)
    if span is None:
        raise unusable(param, value, "is not a date as R4 writes it")
    low, high = span
    if prefix == "ap":
        now = lookup.now * TICKS_PER_MS
        slack = max(low - now, now - high, 0) // _APPROXIMATELY
        low, high = low - slack, high + slack
    return prefix, low, high


def condition(prefix: str, low: int, high: int) -> Filter:
    """What the two ends `l` and `h` of one value must satisfy (R4 Search, Prefixes)."""
    match prefix:
        case "eq":
            return {"l": {"$gte": low}, "h": {"$lte": high}}
        case "ne":
            return {"$or": [{"l": {"$lt": low}}, {"h": {"$gt": high}}]}
        case "gt":
            return {"h": {"$gt": high}}
        case "lt":
            return {"l": {"$lt": low}}
        case "ge":
            return {"$or": [{"h": {"$gt": high}}, {"l": {"$gte": low}}]}
        case "le":
            return {"$or": [{"l": {"$lt": low}}, {"h": {"$lte": high}}]}
        case "sa":
            return {"l": {"$gt": high}}
        case "eb":
            return {"h": {"$lt": low}}
    return {"l": {"$lte": high}, "h": {"$gte": low}}  # ap: the ranges overlap


def _reach(prefix: str, low: int, high: int) -> tuple[int, int]:
    """Between which ticks the beginning of a value narrower than a day must lie."""
    match prefix:
        case "eq":
            return low, high
        case "gt":
            return high - TICKS_PER_DAY, END
        case "ge":  # what begins before `low` ends behind `high`, and is narrower than a day
            return min(low, high - TICKS_PER_DAY), END
        case "sa":
            return high, END
        case "lt" | "eb":
            return BEGINNING, low
        case "le":
            return BEGINNING, high
        case "ap":
            return low - TICKS_PER_DAY, high
    return BEGINNING, END


def _on_order(prefix: str, low: int, high: int, letters: str) -> Filter | None:
    """The same on the order key; a value that began earlier and still reaches the range has a key for its end."""
    first, last = _reach(prefix, low, high)
    if first <= BEGINNING and last >= END:
        return None
    bound = {"$gte": LOWEST_DATED if first <= BEGINNING else _order_of(first) << ORDER_SHIFT}
    if _order_of(last) < LATEST_ORDER:
        bound["$lt"] = (_order_of(last) + 1) << ORDER_SHIFT
    on_order: Filter = {"o": bound}
    if prefix in ("gt", "ge", "ap"):
        return {"$or": [on_order, between(letters + second(max(low, BEGINNING)), letters + _AFTER_ALL + "~")]}
    if prefix in ("lt", "le", "eb"):
        # A value with an open beginning has no order of its own.
        return {"$or": [on_order, {"k": letters + _BEFORE_ALL}]}
    return on_order


def missing(type: str, letters: str, is_missing: bool) -> Filter:
    """The resources that lack the type's primary date, or have it: of what has none the order key tells, too, unless
    another date stands in for it there."""
    exists = {f"x.{letters}": {"$exists": not is_missing}}
    if not is_missing:
        return each([{"$or": [{"o": {"$gte": LOWEST_DATED}}, {"k": letters + _BEFORE_ALL}]}, exists])
    return exists if primary_dates(type)[1:] else each([{"o": {"$lt": LOWEST_DATED}}, exists])


def _order_of(tick: int) -> int:
    """The seconds that the order key has for a tick; the store writes what lies beyond its ends as the nearest one."""
    return min(max(tick // TICKS_PER_SECOND, EARLIEST_ORDER), LATEST_ORDER)
