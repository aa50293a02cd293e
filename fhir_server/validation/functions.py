"""The operators and functions of FHIRPath as tables, each entry a function over closures or over items."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fhir_server.validation import items as of
from fhir_server.validation.items import Focus, Run, Test
from fhir_server.validation.moments import ARITHMETIC

ORDERS: Mapping[str, Callable[[int], bool]] = {
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}


# --- logic. An empty side counts as false: R4's invariants compare elements that may be absent (`status = 'x'`), and
# N1's empty would neither hold nor be a fault that a sender can understand.


def _and(left: Test, right: Test) -> Test:
    return lambda focus, environment: bool(left(focus, environment)) and bool(right(focus, environment))


def _or(left: Test, right: Test) -> Test:
    return lambda focus, environment: bool(left(focus, environment)) or bool(right(focus, environment))


def _xor(left: Test, right: Test) -> Test:
    return lambda focus, environment: bool(left(focus, environment)) is not bool(right(focus, environment))


def _implies(left: Test, right: Test) -> Test:
    return lambda focus, environment: not left(focus, environment) or bool(right(focus, environment))


LOGIC: Mapping[str, Callable[[Test, Test], Test]] = {"and": _and, "or": _or, "xor": _xor, "implies": _implies}

COLLECTIONS: Mapping[str, Callable[[Focus, Focus], Focus]] = {"|": of.union, "&": of.join, **ARITHMETIC}


# --- functions that look at each item by itself


def _where(run: Run, condition: Test) -> Run:
    return lambda focus, environment: [
        item for item in run(focus, environment) if condition([item], environment) is True
    ]


def _exists(run: Run, condition: Test) -> Run:
    return lambda focus, environment: [any(condition([item], environment) is True for item in run(focus, environment))]


def _all(run: Run, condition: Test) -> Run:
    return lambda focus, environment: [all(condition([item], environment) is True for item in run(focus, environment))]


BY_ITEM: Mapping[str, Callable[[Run, Test], Run]] = {"where": _where, "exists": _exists, "all": _all}


# --- plain functions: (name, number of arguments) → (items, arguments…) → items


def _on_text(change: Callable[..., Any]) -> Callable[..., Focus]:
    """A function of one text and texts: empty when the focus or an argument is not exactly one text."""

    def apply(items: Focus, *arguments: Focus) -> Focus:
        values = [one[0] for one in (items, *arguments) if len(one) == 1]
        if len(values) != 1 + len(arguments) or not isinstance(values[0], str):
            return []
        return [change(*values)]

    return apply


def _matches(text: str, pattern: str) -> bool:
    return re.fullmatch(pattern, text) is not None


def _substring(items: Focus, start: Focus, length: Focus | None = None) -> Focus:
    text, place = (items or [None])[0], (start or [None])[0]
    if not isinstance(text, str) or not isinstance(place, int) or not 0 <= place < len(text):
        return []
    return [text[place:] if length is None else text[place : place + _whole(length)]]


def _whole(number: Focus) -> int:
    """A number of items or letters: 0 for what is none."""
    return max(number[0], 0) if len(number) == 1 and isinstance(number[0], int) else 0


def _exclude(items: Focus, others: Focus) -> Focus:
    left_out = of.identities(others)
    return [item for item in items if of.identity(item) not in left_out]


FUNCTIONS: Mapping[tuple[str, int], Callable[..., Focus]] = {
    ("count", 0): lambda items: [len(items)],
    ("first", 0): lambda items: items[:1],
    ("last", 0): lambda items: items[-1:],
    ("tail", 0): lambda items: items[1:],
    ("skip", 1): lambda items, number: items[_whole(number) :],
    ("take", 1): lambda items, number: items[: _whole(number)],
    ("exclude", 1): _exclude,
    ("subsetOf", 1): lambda items, others: [of.identities(items) <= of.identities(others)],
    ("supersetOf", 1): lambda items, others: [of.identities(items) >= of.identities(others)],
    ("allTrue", 0): lambda items: [all(item is True for item in items)],
    ("anyTrue", 0): lambda items: [any(item is True for item in items)],
    ("allFalse", 0): lambda items: [all(item is False for item in items)],
    ("anyFalse", 0): lambda items: [any(item is False for item in items)],
    ("distinct", 0): of.distinct,
    ("isDistinct", 0): lambda items: [of.is_distinct(items)],
    ("combine", 1): lambda items, others: [*items, *others],
    ("union", 1): of.union,
    ("intersect", 1): of.intersect,
    ("children", 0): of.children,
    ("descendants", 0): of.descendants,
    ("extension", 1): lambda items, url: of.extensions(items, str(url[0])) if url else [],
    ("toInteger", 0): of.to_integer,
    ("toString", 0): lambda items: [of.text_of(items[0])] if len(items) == 1 else [],
    ("length", 0): _on_text(len),
    ("lower", 0): _on_text(str.lower),
    ("upper", 0): _on_text(str.upper),
    ("startsWith", 1): _on_text(str.startswith),
    ("endsWith", 1): _on_text(str.endswith),
    ("contains", 1): _on_text(lambda text, part: part in text),
    ("matches", 1): _on_text(_matches),
    ("replaceMatches", 2): _on_text(lambda text, pattern, other: re.sub(pattern, other, text)),
    ("replace", 2): _on_text(str.replace),
    ("substring", 1): _substring,
    ("substring", 2): _substring,
    ("indexOf", 1): _on_text(str.find),
}
SAME_SHAPE = ("first", "last", "tail", "skip", "take", "exclude", "distinct")
