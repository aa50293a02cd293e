"""Puts the events of pages, which overlap in time, into the order that a query wants."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.store.documents import Document
from fhir_server.store.evaluate import values_at
from fhir_server.store.values import LEDGER_TYPE, Find

MOST_SORTED = 20_000  # events that are put into an order other than that of time

# Pages of matching events, each with the time (ms) that no later page goes beyond. -1: the latest first.
Matches = Callable[[int], AsyncIterator[tuple[int, list[Document]]]]
_OF_TIME = frozenset({"o", "u", "_id"})


async def in_order(query: Find, matches: Matches) -> list[Document]:
    """The first `query.limit` events in the query's order. Raises FhirError TOO_COSTLY."""
    sort = query.sort or (("o", -1),)
    if sort[0][0] in _OF_TIME:
        return await _by_time(sort, query.limit, matches)
    events = await _all(matches)
    for path, direction in reversed(sort):
        events.sort(key=partial(_value, path=path, direction=direction))
    return events[: query.limit]


async def _by_time(sort: tuple[tuple[str, int], ...], limit: int, matches: Matches) -> list[Document]:
    """Pages are read only as far as what they hold can still come before what is known."""
    path, way = sort[0]
    step = 1000 if path == "o" else 1  # the order key counts seconds
    found: list[Document] = []
    waiting: list[tuple[Any, int, Document]] = []
    number = 0
    async for bound, events in matches(way):
        while waiting and len(found) < limit and waiting[0][2]["u"] // step * -way > bound // step * -way:
            found.append(heapq.heappop(waiting)[2])
        if len(found) == limit:
            return found
        for event in events:
            number += 1
            heapq.heappush(waiting, (_place(event, sort), number, event))
    while waiting and len(found) < limit:
        found.append(heapq.heappop(waiting)[2])
    return found


def _place(event: Document, sort: tuple[tuple[str, int], ...]) -> tuple[Any, ...]:
    """What sorts it upwards. Of texts only the id is sorted by here, which is as long as every other."""
    return tuple(
        direction * event[path] if path != "_id" else _letters(event[path], direction)
        for path, direction in sort
        if path in _OF_TIME
    )


def _letters(text: str, direction: int) -> tuple[int, ...]:
    return tuple(direction * ord(letter) for letter in text)


async def _all(matches: Matches) -> list[Document]:
    found: list[Document] = []
    async for _, events in matches(-1):
        found += events
        if len(found) > MOST_SORTED:
            text = f"more than {MOST_SORTED} of {LEDGER_TYPE} would have to be sorted; narrow it by date"
            raise FhirError(Kind.TOO_COSTLY, text, ("_sort",))
    return sorted(found, key=lambda event: -event["o"])


def _value(event: Document, path: str, direction: int) -> tuple[bool, Any]:
    """A list counts by its lowest value, downwards by its highest; what is missing comes last."""
    reached = [one for value in values_at(event, path) for one in (value if isinstance(value, list) else [value])]
    if not reached:
        return True, ()
    value = (min if direction > 0 else max)(reached)
    if isinstance(value, str):
        return False, value if direction > 0 else _letters(value, -1)
    return False, value if direction > 0 else -value
