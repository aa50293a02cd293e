"""What FHIRPath's operators and functions do to collections of JSON values, FHIRPath 1 (N1) sections 5 and 6."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from fhir_server.model.dates import span_of
from fhir_server.model.references import literal
from fhir_server.model.resources import Digits, Resource, encode
from fhir_server.validation.moments import Amount, Moment, order_of_days, order_of_moments, order_of_spans

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
        if _are_made(left[0], right[0]):
            order = _order(left[0], right[0])
            return None if order is None else order == 0
        return bool(identity(left[0]) == identity(right[0]))
    return all(identity(one) == identity(other) for one, other in zip(left, right, strict=True))


_MADE = (Moment, Amount)


def _are_made(one: Any, other: Any) -> bool:
    """Two dates or two quantities of which the expression makes one: they are equal by value, not by text."""
    if isinstance(one, _MADE) or isinstance(other, _MADE):
        return (isinstance(one, str) and isinstance(other, str)) or (isinstance(one, dict) and isinstance(other, dict))
    return False


def compare(left: Focus, right: Focus, holds: Callable[[int], bool]) -> bool | None:
    """left < right, <=, >, >= by `holds(-1 | 0 | 1)`; None for an empty side.

    Elements that cannot be told apart (dates that overlap by their precision, quantities of different units) satisfy
    every comparison: an invariant of R4 is a fault only when it is surely false. With what an expression itself makes
    (`today()`, `@2020-01`, `4 'kg'`) it is empty, as FHIRPath has it.
    """
    if len(left) != 1 or len(right) != 1:
        return None
    order = _order(left[0], right[0])
    if order is None:
        return None if isinstance(left[0], _MADE) or isinstance(right[0], _MADE) else True
    return holds(order)


def _order(one: Any, other: Any) -> int | None:
    if isinstance(one, int | float | Decimal) and isinstance(other, int | float | Decimal):
        return (one > other) - (one < other)
    if isinstance(one, str) and isinstance(other, str):
        if isinstance(one, Moment) or isinstance(other, Moment):
            return order_of_moments(one, other)
        first, second = span_of(one, _ANY_ZONE), span_of(other, _ANY_ZONE)
        if first is None or second is None:
            return None
        return order_of_days(one, other) if ("T" in one) != ("T" in other) else order_of_spans(first, second)
    if isinstance(one, dict) and isinstance(other, dict) and _unit(one) == _unit(other):
        return _order(one.get("value"), other.get("value"))
    return None


def _unit(quantity: Resource) -> tuple[Any, Any]:
    if "code" in quantity:
        return quantity.get("system"), quantity["code"]
    return None, quantity.get("unit")


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


def repeat(items: Focus, project: Callable[[Focus], Focus]) -> Focus:
    """What a projection leads to, what it leads to from there, and so on: each value once, not the items themselves."""
    found: dict[Any, Any] = {}
    level = items
    while level:
        fresh = {key: one for item in level for one in project([item]) if (key := identity(one)) not in found}
        found.update(fresh)
        level = list(fresh.values())
    return list(found.values())


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
    """What a reference tells: the resource inside the one around it, or else the type and id in its text."""
    found: Focus = []
    for item in items:
        text = item.get("reference") if isinstance(item, dict) else item
        if not isinstance(text, str):
            continue
        if (one := inside(text, environment)) is not None:
            found.append(one)
        elif (parts := literal(text)) is not None:
            found.append(Elsewhere(resourceType=parts.type, id=parts.id))
    return found


def inside(text: str, environment: Environment) -> Resource | None:
    """The resource that a reference names in the one around it: a contained one by `#id`, one of a Bundle by its
    fullUrl."""
    is_bundle = environment.root.get("resourceType") == "Bundle"
    if not is_bundle and text[:1] != "#":
        return None
    known = environment.constants.get("inside")
    if known is None:
        known = Constant([_bundled(environment) if is_bundle else _contained(environment)])
        environment.constants["inside"] = known
    by_name: Mapping[str, Resource] = known[0]
    return by_name.get(text)


def _contained(environment: Environment) -> Mapping[str, Resource]:
    ones = (one for one in reversed(named([environment.root], "contained")) if isinstance(one, dict))
    return {f"#{one['id']}": one for one in ones if isinstance(one.get("id"), str)}


def _bundled(environment: Environment) -> Mapping[str, Resource]:
    entries = (one for one in reversed(named([environment.root], "entry")) if isinstance(one, dict))
    found = ((one.get("fullUrl"), one.get("resource")) for one in entries)
    return {url: one for url, one in found if isinstance(url, str) and isinstance(one, dict)}


def around(resource: Resource, environment: Environment) -> Environment:
    """The environment of a resource inside another: one that is contained shares what its container holds; one of a
    Bundle stands by itself, so that what refers to each other is not followed without end."""
    is_bundled = environment.root.get("resourceType") == "Bundle"
    return Environment(resource, resource if is_bundled else environment.root)
