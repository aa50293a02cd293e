"""From _sort to the order in which the database is asked. R4 Search, Sorting."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from fhir_server.search.compile import conjunction
from fhir_server.search.paging import BY_DATE, NEWEST_FIRST, Order
from fhir_server.search.primary_dates import primary_dates
from fhir_server.search.result_parameters import SortKey
from fhir_server.search.types.table import TYPES
from fhir_server.store.values import LEDGER_TYPE, LOWEST_DATED, Filter


class Phase(msgspec.Struct, frozen=True):
    """One part of an answer: the matches that satisfy `filter` too, in an order. The phases of a sort are disjoint."""

    order: Order
    filter: Filter = {}


def phases(
    type: str, sort: tuple[SortKey, ...], letters: Callable[[str], str], merged: bool = False
) -> tuple[Phase, ...]:
    """The parts of an answer, one behind the other. letters: of a parameter's sort values, by its code.

    The type's primary date alone is the order of the index: it needs no sort in memory, and costs the same anywhere.
    merged: the answer is to be merged with that of other types, so it must be one part.
    """
    if not sort:
        return (Phase(unsorted(type)),)
    if len(sort) == 1 and primary_dates(type)[:1] == (sort[0].param.code,) and not merged:
        return _by_primary_date(type, sort[0], letters)
    paths = tuple((_path(key, letters), _direction(key)) for key in sort)
    names = [path for path, _ in paths]
    if "_id" in names:
        return (Phase(Order(paths[: names.index("_id") + 1])),)  # nothing ties with an id
    return (Phase(Order((*paths, ("_id", paths[-1][1])))),)


def unsorted(type: str) -> Order:
    """The order of an answer that may have any: the oldest first, and of the record of accesses the newest."""
    return NEWEST_FIRST if type == LEDGER_TYPE else BY_DATE


def _by_primary_date(type: str, key: SortKey, letters: Callable[[str], str]) -> tuple[Phase, ...]:
    """What has no such date comes last."""
    order = Order((("o", _direction(key)),))
    dated: Filter = {"o": {"$gte": LOWEST_DATED}}
    undated: Filter = {"o": {"$lt": LOWEST_DATED}}
    if primary_dates(type)[1:]:  # another date may stand in for it in `o`
        path = f"x.{letters(key.param.code)}"
        dated = conjunction((dated, {path: {"$exists": True}}))
        undated = {"$or": [undated, {path: {"$exists": False}}]}
    elif key.descending:
        return (Phase(order),)
    return Phase(order, dated), Phase(order, undated)


def _direction(key: SortKey) -> int:
    return -1 if key.descending else 1


def _path(key: SortKey, letters: Callable[[str], str]) -> str:
    match key.param.code:
        case "_id":
            return "_id"
        case "_lastUpdated":
            return "u"
    return f"x.{letters(key.param.code)}{TYPES[key.param.type].sorted_by or ''}"
