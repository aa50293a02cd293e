"""Whether an index entry satisfies a compiled filter, without the database: of resources that stand in others.

Only what the compiler writes is understood, with MongoDB's meaning: a path reaches into lists, and a comparison holds
when it holds for any value found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fhir_server.store.values import Filter

Values = list[Any]


def satisfies(document: Mapping[str, Any], filter: Filter) -> bool:
    """document: {_id, u, o, k, x} as far as the filter asks. Raises KeyError for an operator that is not understood."""
    return all(_holds(document, name, wanted) for name, wanted in filter.items())


def _holds(document: Mapping[str, Any], name: str, wanted: Any) -> bool:
    match name:
        case "$and":
            return all(satisfies(document, part) for part in wanted)
        case "$or":
            return any(satisfies(document, part) for part in wanted)
        case "$nor":
            return not any(satisfies(document, part) for part in wanted)
        case "$expr":
            return bool(_expression(wanted, document, {}))
    return _matches(_values(document, name.split(".")), wanted)


def values_at(document: Mapping[str, Any], path: str) -> Values:
    """What a path with dots reaches, into lists too."""
    return _values(document, path.split("."))


def _values(value: Any, path: list[str]) -> Values:
    return list(_reach(value, path))


def _reach(value: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _reach(item, path)
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _reach(value[path[0]], path[1:])


def _matches(values: Values, wanted: Any) -> bool:
    if not isinstance(wanted, Mapping) or not any(name.startswith("$") for name in wanted):
        return any(value == wanted for value in _each(values))
    return all(_OPERATORS[name](values, operand) for name, operand in wanted.items())


def _each(values: Values) -> Iterator[Any]:
    """The values and, of those that are lists, the items."""
    for value in values:
        yield value
        if isinstance(value, list | tuple):
            yield from value


def _compared(holds: Callable[[Any, Any], bool]) -> Callable[[Values, Any], bool]:
    """Only values of one kind compare."""

    def compare(values: Values, operand: Any) -> bool:
        return any(
            isinstance(value, str) == isinstance(operand, str) and holds(value, operand)
            for value in _each(values)
            if isinstance(value, str | int | float)
        )

    return compare


def _element(values: Values, condition: Filter) -> bool:
    items = [item for value in values if isinstance(value, list | tuple) for item in value]
    if any(name in _OPERATORS for name in condition):
        return any(_matches([item], condition) for item in items)
    return any(isinstance(item, Mapping) and satisfies(item, condition) for item in items)


_OPERATORS: Mapping[str, Callable[[Values, Any], bool]] = {
    "$gt": _compared(lambda value, operand: bool(value > operand)),
    "$gte": _compared(lambda value, operand: bool(value >= operand)),
    "$lt": _compared(lambda value, operand: bool(value < operand)),
    "$lte": _compared(lambda value, operand: bool(value <= operand)),
    "$ne": lambda values, operand: operand not in list(_each(values)),
    "$in": lambda values, operand: any(value in operand for value in _each(values)),
    "$nin": lambda values, operand: not any(value in operand for value in _each(values)),
    "$exists": lambda values, operand: bool(values) == operand,
    "$not": lambda values, operand: not _matches(values, operand),
    "$elemMatch": _element,
}


def _expression(wanted: Any, document: Mapping[str, Any], variables: Mapping[str, Any]) -> Any:
    """An aggregation expression, as `:contains` and `near` are written."""
    if isinstance(wanted, str) and wanted.startswith("$$"):
        return variables[wanted[2:]]
    if isinstance(wanted, str) and wanted.startswith("$"):
        found = _values(document, wanted[1:].split("."))
        return found[0] if found else None
    if not isinstance(wanted, Mapping):
        return wanted
    ((name, operand),) = wanted.items()
    if name == "$literal":
        return operand
    if name == "$map":
        items = _expression(operand["input"], document, variables)
        return [_expression(operand["in"], document, {**variables, operand["as"]: item}) for item in items]
    if isinstance(operand, list):
        return _FUNCTIONS[name](*(_expression(part, document, variables) for part in operand))
    return _FUNCTIONS[name](_expression(operand, document, variables))


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "$ifNull": lambda value, instead: instead if value is None else value,
    "$anyElementTrue": any,
    "$indexOfBytes": lambda text, needle: text.find(needle),
    "$concat": lambda *texts: "".join(texts),
    "$gte": lambda one, other: one >= other,
    "$lte": lambda one, other: one is not None and one <= other,
    "$add": lambda *numbers: None if None in numbers else sum(numbers),
    "$subtract": lambda one, other: None if one is None else one - other,
    "$multiply": lambda *numbers: None if None in numbers else math.prod(numbers),
    "$divide": lambda one, other: None if one is None else one / other,
    "$pow": lambda one, other: None if one is None else one**other,
    "$min": lambda *numbers: None if None in numbers else min(numbers),
    "$sqrt": lambda number: None if number is None else math.sqrt(number),
    "$sin": lambda number: None if number is None else math.sin(number),
    "$cos": lambda number: None if number is None else math.cos(number),
    "$asin": lambda number: None if number is None else math.asin(number),
    "$degreesToRadians": lambda number: None if number is None else math.radians(number),
}
