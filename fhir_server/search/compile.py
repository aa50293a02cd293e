"""From a search tree without joins to one MongoDB filter over stored documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.model.dates import range_of
from fhir_server.search import compartments
from fhir_server.search.clauses import Few, Ways
from fhir_server.search.tree import And, InCompartment, Leaf, Node, Not, Or
from fhir_server.store.values import NOTHING, Filter

LeafFilter = Callable[[Leaf], Filter]

_PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_DAY = 86_400_000


def compile_tree(node: Node, leaf_filter: LeafFilter, members: Callable[[InCompartment], Node]) -> Filter:
    """{} for a tree that everything satisfies, NOTHING for one that nothing does.

    leaf_filter: the filter of one parameter. members: the search that finds the members of a compartment.
    Raises FhirError VALUE for a value that the parameter's type cannot read, and ValueError for a join.
    """

    def compiled(node: Node) -> Filter:
        match node:
            case Leaf():
                return leaf_filter(node)
            case InCompartment(_, compartments.PATIENT, id):
                return Few(k=compartments.patient_key(id))
            case InCompartment():
                return compiled(members(node))
            case And(nodes):
                return conjunction(compiled(child) for child in nodes)
            case Or(nodes):
                return disjunction(compiled(child) for child in nodes)
            case Not(child):
                return negation(compiled(child))
        raise ValueError(f"{type(node).__name__} needs further queries")

    return compiled(node)


def conjunction(filters: Iterable[Filter]) -> Filter:
    """All of them, as flat as MongoDB allows."""
    parts = [part for whole in filters for part in flat(whole)]
    if NOTHING in parts:
        return NOTHING
    return {"$and": parts} if len(parts) > 1 else parts[0] if parts else {}


def flat(whole: Filter) -> list[Filter]:
    """The parts of a conjunction; none for {}."""
    return list(whole["$and"]) if set(whole) == {"$and"} else [whole] if whole else []


def disjunction(filters: Iterable[Filter]) -> Filter:
    """Any of them. Exact keys join into one `$in`, which keeps the order of the index."""
    parts = list(filters)
    if len(parts) == 1:
        return parts[0]
    keys: list[Any] = []
    others: list[Filter] = []
    for part in parts:
        if not part:
            return {}
        exact = _exact_keys(part)
        if exact is not None:
            keys.extend(exact)
        elif part != NOTHING:
            others.extend(part["$or"] if set(part) == {"$or"} else [part])
    if keys:
        exact_keys = one_of("k", keys)
        if not others and all(isinstance(part, Few) for part in parts if part != NOTHING):
            return Few(exact_keys)
        others.insert(0, exact_keys)
    if len(others) < 2:
        return others[0] if others else NOTHING
    return Ways(others) if all(_is_walked(part) for part in others) else {"$or": others}


def _is_walked(part: Filter) -> bool:
    """True when one range of an index has all that the part finds."""
    return any(set(one) in ({"k"}, {"o"}) for one in flat(part))


def negation(part: Filter) -> Filter:
    if not part:
        return NOTHING
    if part == NOTHING:
        return {}
    keys = _exact_keys(part)
    if keys is not None:
        return {"k": {"$nin": keys}} if len(keys) > 1 else {"k": {"$ne": keys[0]}}
    return {"$nor": part["$or"] if set(part) == {"$or"} else [part]}


def one_of(path: str, values: Iterable[Any]) -> Filter:
    """{path: value}, or `$in` for several; NOTHING for none."""
    once = list(dict.fromkeys(values))
    return {path: {"$in": once}} if len(once) > 1 else {path: once[0]} if once else NOTHING


def _exact_keys(part: Filter) -> list[Any] | None:
    """The keys of {k: key} and {k: {$in: keys}}; None for any other filter."""
    if set(part) != {"k"}:
        return None
    value = part["k"]
    if isinstance(value, str):
        return [value]
    return list(value["$in"]) if set(value) == {"$in"} else None


def id_filter(leaf: Leaf) -> Filter:
    """`_id` is the document's own; a value that cannot be an id matches nothing."""
    return one_of("_id", leaf.values)


def last_updated_filter(leaf: Leaf, zone: str) -> Filter:
    """`_lastUpdated` over `u`, which is one millisecond wide. The prefixes: R4 Search, Prefixes."""
    return disjunction(_updated(value, zone) for value in leaf.values)


def _updated(value: str, zone: str) -> Filter:
    prefix, text = (value[:2], value[2:]) if value[:2] in _PREFIXES else ("eq", value)
    span = range_of(text.replace(" ", "+"), zone)
    if span is None:
        raise FhirError(Kind.VALUE, f"_lastUpdated: {value[:64]!r} is no date", ("_lastUpdated",))
    start, end = span  # end is the first millisecond after
    match prefix:
        case "eq":
            return {"u": {"$gte": start, "$lt": end}}
        case "ne":
            return {"$or": [{"u": {"$lt": start}}, {"u": {"$gte": end}}]}
        case "gt" | "sa":
            return {"u": {"$gte": end}}
        case "ge":
            return {"u": {"$gte": start}}
        case "lt" | "eb":
            return {"u": {"$lt": start}}
        case "le":
            return {"u": {"$lt": end}}
    return {"u": {"$gte": start - _DAY, "$lt": end + _DAY}}  # ap: within a day
