"""What FHIRPath's operators and functions do to collections of JSON values, FHIRPath 1 (N1) sections 5 and 6."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from fhir_server.model.dates import span_of
from fhir_server.model.references import literal
from fhir_server.model.resources import Digits, Resource, encode

Focus = list[Any]

# Where a date names no zone, both sides of a comparison are read in the same one, so it does not matter which.
_ANY_ZONE = "Z"


@dataclass(frozen=True, slots=True)
class NoValue:
    """A primitive that has extensions but no value: it exists, and equals nothing."""

    extensions: Any = None


# (value set, system, code) → is it in; None when that cannot be told.
Membership = Callable[[str, str | None, str], bool | None]
# (value, where its children are defined, profile, environment) → does it conform; None when that cannot be told.
Conforms = Callable[[Any, tuple[str, str], str, "Environment"], bool | None]


class Elsewhere(dict[str, Any]):
    """The type and the id of a resource that a reference names, which is all that is known of it."""


class Environment(msgspec.Struct, frozen=True):
    """What %resource, %rootResource, %context and %extension name: the resource around a value, the one around that if
    contained, the value that a condition is about, and the extension that a contextInvariant is about."""

    resource: Resource
    root: Resource
    context: Any = None
    extension: Any = None
    # What memberOf() and conformsTo() ask, and what conformsTo() is asked already: (identity of a value, profile).
    membership: Membership = lambda value_set, system, code: None
    conforms: Conforms = lambda value, spot, canonical, environment: None
    asked: frozenset[tuple[int, str]] = frozenset()
    # What the parts of an expression that do not depend on the focus came to, so that no condition is quadratic.
    constants: dict[Any, Constant] = {}


class Constant(Focus):
    """A collection that is asked again and again for what it contains."""

    @cached_property
    def identities(self) -> frozenset[Any]:
        return frozenset(identity(item) for item in self)


# A compiled expression: (focus, environment) → items; a compiled condition → true, false or None for empty.
Run = Callable[[Focus, Environment], Focus]
Test = Callable[[Focus, Environment], bool | None]


def truth(items: Focus) -> bool | None:
    """A collection as a condition: None for empty, and for several items (which R4's invariants never mean)."""
    if len(items) != 1:
        return None
    return items[0] if isinstance(items[0], bool) else True


def identity(item: Any) -> Any:
    """A hashable stand-in, equal for equal values: `true` is not 1, `1.0` is 1."""
    if isinstance(item, str):
        return item
    if isinstance(item, dict | list):
        return encode(item)
    if isinstance(item, NoValue):
        return id(item)
    return (isinstance(item, bool), item)


def identities(items: Focus) -> frozenset[Any]:
    return items.identities if isinstance(items, Constant) else frozenset(identity(item) for item in items)


def is_distinct(items: Focus) -> bool:
    return len({identity(item) for item in items}) == len(items)


def distinct(items: Focus) -> Focus:
    return list({identity(item): item for item in items}.values())


def union(left: Focus, right: Focus) -> Focus:
    return distinct([*left, *right])


def intersect(left: Focus, right: Focus) -> Focus:
    others = identities(right)
    return distinct([item for item in left if identity(item) in others])


def contains(items: Focus, wanted: Focus) -> bool | None:
    if not wanted:
        return None
    return identity(wanted[0]) in identities(items)


def equal(left: Focus, right: Focus) -> bool | None:
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    if len(left) == 1:
        return bool(identity(left[0]) == identity(right[0]))
    return all(identity(one) == identity(other) for one, other in zip(left, right, strict=True))


def compare(left: Focus, right: Focus, holds: Callable[[int], bool]) -> bool | None:
    """left < right, <=, >, >= by `holds(-1 | 0 | 1)`; None for an empty side.

    Values that cannot be told apart (dates that overlap by their precision, quantities of different units) satisfy
    every comparison: an invariant is a fault only when it is surely false.
    """
    if len(left) != 1 or len(right) != 1:
        return None
    order = _order(left[0], right[0])
    return order is None or holds(order)


def _order(one: Any, other: Any) -> int | None:
    if isinstance(one, int | float | Decimal) and isinstance(other, int | float | Decimal):
        return (one > other) - (one < other)
    if isinstance(one, str) and isinstance(other, str):
        first, second = span_of(one, _ANY_ZONE), span_of(other, _ANY_ZONE)
        if first is None or second is None:
            return None
        if ("T" in one) != ("T" in other):
            return _order_of_days(one, other)
        return -1 if first[1] < second[0] else 1 if first[0] > second[1] else 0 if first == second else None
    if isinstance(one, dict) and isinstance(other, dict) and _unit(one) == _unit(other):
        return _order(one.get("value"), other.get("value"))
    return None


def _order_of_days(one: str, other: str) -> int | None:
    """A day against a moment: by the calendar both wrote, since the day names no zone."""
    shorter = min(len(one.partition("T")[0]), len(other.partition("T")[0]))
    first, second = one[:shorter], other[:shorter]
    return -1 if first < second else 1 if first > second else None


def _unit(quantity: Resource) -> tuple[Any, Any]:
    if "code" in quantity:
        return quantity.get("system"), quantity["code"]
    return None, quantity.get("unit")


def add(left: Focus, right: Focus) -> Focus:
    """`+` of two numbers or two texts; empty for anything else."""
    if len(left) != 1 or len(right) != 1:
        return []
    one, other = left[0], right[0]
    numbers = isinstance(one, int | Decimal) and isinstance(other, int | Decimal)
    texts = isinstance(one, str) and isinstance(other, str)
    return [one + other] if numbers or texts else []


def join(left: Focus, right: Focus) -> Focus:
    """`&`: texts joined, an empty side as no text."""
    return ["".join(text_of(item) for item in (*left[:1], *right[:1]))]


def text_of(item: Any) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, Digits):
        return item.text
    return item if isinstance(item, str) else str(item) if isinstance(item, int | Decimal) else ""


def to_integer(items: Focus) -> Focus:
    text = text_of(items[0]) if len(items) == 1 else ""
    return [int(text)] if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else []


def children(items: Focus) -> Focus:
    """The values directly below, without those of lists told apart."""
    found: Focus = []
    for item in items:
        if isinstance(item, dict):
            for key, value in item.items():
                if key != "resourceType" and not key.startswith("_"):
                    found.extend(value) if isinstance(value, list) else found.append(value)
    return [item for item in found if item is not None]


def descendants(items: Focus) -> Focus:
    """All values below, without the focus itself."""
    found: Focus = []
    level = children(items)
    while level:
        found.extend(level)
        level = children(level)
    return found


def named(items: Focus, name: str) -> Focus:
    """Children by JSON name, for values whose type is not known beforehand."""
    found: Focus = []
    for item in items:
        value = item.get(name) if isinstance(item, dict) else None
        if isinstance(value, list):
            found.extend(one for one in value if one is not None)
        elif value is not None:
            found.append(value)
    return found


def extensions(items: Focus, url: str) -> Focus:
    """`extension(url)` of elements, those of primitives without a value included."""
    return [one for one in _all_extensions(items) if isinstance(one, dict) and one.get("url") == url]


def _all_extensions(items: Focus) -> Iterator[Any]:
    for item in items:
        if isinstance(item, NoValue):
            found = item.extensions
        else:
            found = item.get("extension") if isinstance(item, dict) else None
        yield from found if isinstance(found, list) else ()


def resolve(items: Focus, environment: Environment) -> Focus:
    """What a reference itself tells: the contained resource, or the type and id in its text."""
    found: Focus = []
    for item in items:
        text = item.get("reference") if isinstance(item, dict) else item
        if not isinstance(text, str):
            continue
        if text.startswith("#"):
            found.extend(one for one in named([environment.root], "contained") if named([one], "id") == [text[1:]])
        elif (parts := literal(text)) is not None:
            found.append(Elsewhere(resourceType=parts.type, id=parts.id))
    return found
