"""From _sort to the order in which the database is asked. R4 section 3.1.1.5.1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fhir_server.search.paging import BY_DATE, Order
from fhir_server.search.primary_dates import primary_date
from fhir_server.search.result_parameters import SortKey
from fhir_server.search.tree import And, Leaf, Node, Not
from fhir_server.search.types.table import TYPES


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of an answer: all that satisfies the tree, in an order."""

    tree: Node
    order: Order


def phases(type: str, tree: Node, sort: tuple[SortKey, ...], letters: Callable[[str], str]) -> tuple[Phase, ...]:
    """The parts of an answer, one behind the other. letters: of a parameter by its code.

    The type's primary date alone is the order of the index; what has no such date follows in a part of its own.
    """
    if not sort:
        return (Phase(tree, BY_DATE),)
    if len(sort) == 1 and sort[0].param.code == primary_date(type):
        missing = Leaf(type, sort[0].param, "missing", ("true",))
        dated: Order = (("o", _direction(sort[0])),)
        return Phase(And((tree, Not(missing))), dated), Phase(And((tree, missing)), BY_DATE)
    paths = tuple((_path(key, letters), _direction(key)) for key in sort)
    if any(path == "_id" for path, _ in paths):
        paths = paths[: [path for path, _ in paths].index("_id") + 1]  # nothing ties with an id
    else:
        paths = (*paths, ("_id", paths[-1][1]))
    return (Phase(tree, paths),)


def _direction(key: SortKey) -> int:
    return -1 if key.descending else 1


def _path(key: SortKey, letters: Callable[[str], str]) -> str:
    match key.param.code:
        case "_id":
            return "_id"
        case "_lastUpdated":
            return "u"
    return f"x.{letters(key.param.code)}{TYPES[key.param.type].sorted_by or ''}"
