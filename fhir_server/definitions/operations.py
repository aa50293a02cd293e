"""Operation definitions: what each operation takes and gives. R4 Operations and the resource OperationDefinition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Parameter:
    """One in parameter. type: an R4 type, `Element` for any data type and `Resource` for any resource; "" when it has
    parts in place of a value. many: it may repeat."""

    name: str
    type: str
    required: bool = False
    many: bool = False
    parts: tuple[Parameter, ...] = ()


def in_parameters(row: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The in parameters of a row of operations.json, in the order of the definition."""
    return tuple(_parameter(one) for one in row["parameters"] if one[0] == "in")


def _parameter(row: Sequence[Any]) -> Parameter:
    _, name, cardinality, type, *parts = row
    low, _, high = cardinality.partition("..")
    within = tuple(_parameter(part) for part in parts[0]) if parts else ()
    return Parameter(name, type or "", low != "0", high != "1", within)
