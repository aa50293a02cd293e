"""Values held beside those that a profile gives (fixed[x], pattern[x]; R4 Profiling FHIR), and the codes in them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any


def is_equal(value: Any, fixed: Any) -> bool:
    """Exactly equal, as fixed[x] asks: same members, same order in lists; numbers by value."""
    if isinstance(value, dict) and isinstance(fixed, dict):
        return value.keys() == fixed.keys() and all(is_equal(value[key], fixed[key]) for key in fixed)
    if isinstance(value, list) and isinstance(fixed, list):
        return len(value) == len(fixed) and all(is_equal(one, other) for one, other in zip(value, fixed, strict=True))
    return _is_same(value, fixed)


def has_pattern(value: Any, pattern: Any) -> bool:
    """At least what pattern[x] has: each member, and for each item of a list some item that has it."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in value and has_pattern(value[key], pattern[key]) for key in pattern
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(has_pattern(one, part) for one in value) for part in pattern)
    return _is_same(value, pattern)


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, int | float | Decimal) and isinstance(other, int | float | Decimal):
        return isinstance(one, bool) is isinstance(other, bool) and one == other
    return type(one) is type(other) and bool(one == other)


def codes(value: Any) -> Iterator[tuple[str | None, str]]:
    """(system, code) of a code, Coding, CodeableConcept or Quantity; a bare code has no system."""
    if isinstance(value, str):
        yield None, value
    elif isinstance(value, dict):
        for one in value["coding"] if isinstance(value.get("coding"), list) else (value,):
            if isinstance(one, dict) and isinstance(one.get("code"), str):
                system = one.get("system")
                yield system if isinstance(system, str) else "", one["code"]
