"""The filters of a value set's include, decided for one code. R4 ValueSet, compose.include.filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs

from fhir_server.errors import FhirError, Kind
from fhir_server.terminology.code_systems import CodeSystem, Concept

# True, False, or None: not to be told from what is loaded.
Verdict = bool | None
Test = Callable[[str], Verdict]

_CODE = ("concept", "code")
SNOMED = "http://snomed.info/sct"
# The property of a concept of SNOMED CT that names the reference sets which it is in.
REFERENCE_SET = "refset"
_LONGEST_EXPRESSION = 1_000
_REGEX_BYTES = 1 << 20


def compile_filters(filters: list[Mapping[str, Any]], system: CodeSystem | None) -> Test:
    """All filters of one include as one test of a code. Raises FhirError(NOT_IMPLEMENTED) for an operator that R4 does
    not have, FhirError(VALUE) for an expression that is none."""
    tests = [_compile(one, system) for one in filters]

    def test(code: str) -> Verdict:
        known: Verdict = True
        for one in tests:
            verdict = one(code)
            if verdict is False:
                return False
            known = known and verdict
        return known

    return test


def as_meant(one: Mapping[str, Any], system: str | None) -> Mapping[str, Any]:
    """R4 page "Using SNOMED CT": `concept in X` means there the members of the reference set X. Raises
    FhirError(NOT_IMPLEMENTED) for its expression constraints (ECL)."""
    if system == SNOMED and one["property"] in ("constraint", "expression"):
        raise FhirError(
            Kind.NOT_IMPLEMENTED, f"SNOMED CT is not asked by {one['property']}: ECL is not understood here"
        )
    if system == SNOMED and (one["property"], one["op"]) == ("concept", "in"):
        return {"property": REFERENCE_SET, "op": "=", "value": one["value"]}
    return one


def _compile(one: Mapping[str, Any], system: CodeSystem | None) -> Test:
    property, op, value = one["property"], one["op"], one["value"]
    if op in _HIERARCHY:
        return _hierarchy(op, value, system)
    if op not in _VALUES:
        raise FhirError(Kind.NOT_IMPLEMENTED, f"the filter operator {op!r} is not known")
    holds = _VALUES[op](value)
    if property in _CODE:
        return lambda code: holds((code,))
    if system is None:
        return lambda code: None

    def test(code: str) -> Verdict:
        concept = system.get(code)
        if concept is None:
            return False if system.complete else None
        return holds(_values(concept, property, system))

    return test


def _hierarchy(op: str, root: str, system: CodeSystem | None) -> Test:
    if system is None:
        return lambda code: None
    check = _HIERARCHY[op]

    def test(code: str) -> Verdict:
        above = system.is_below(code, root)
        return check(code == root, above) if above is not None else None

    if op != "generalizes":
        return test

    def generalizes(code: str) -> Verdict:
        below = system.is_below(root, code)
        return code == root or below

    return generalizes


_HIERARCHY: Mapping[str, Callable[[bool, bool], bool]] = {
    "is-a": lambda same, below: same or below,
    "descendent-of": lambda same, below: below and not same,
    "is-not-a": lambda same, below: not (same or below),
    "generalizes": lambda same, below: same,
}


def _values(concept: Concept, property: str, system: CodeSystem) -> tuple[str, ...]:
    if property == "display":
        return (concept.display,) if concept.display else ()
    if property == "parent":
        return concept.parents
    if property == "child":
        return system.children(concept.code)
    return tuple(_text(value) for value in concept.values(property))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value["code"]) if isinstance(value, dict) else str(value)


def split_values(text: str) -> frozenset[str]:
    """The values of `in` and `not-in`."""
    """The values of `in` and `not-in`."""
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _equal(value: str) -> Callable[[tuple[str, ...]], bool]:
    return lambda found: value in found


def _in(value: str) -> Callable[[tuple[str, ...]], bool]:
    wanted = split_values(value)
    return lambda found: not wanted.isdisjoint(found)


def _not_in(value: str) -> Callable[[tuple[str, ...]], bool]:
    barred = split_values(value)
    return lambda found: barred.isdisjoint(found)


def _exists(value: str) -> Callable[[tuple[str, ...]], bool]:
    return lambda found: bool(found) == (value == "true")


def _regex(value: str) -> Callable[[tuple[str, ...]], bool]:
    pattern = whole_pattern(value)
    return lambda found: any(pattern.is_valid(one) for one in found)


_VALUES: Mapping[str, Callable[[str], Callable[[tuple[str, ...]], bool]]] = {
    "=": _equal,
    "in": _in,
    "not-in": _not_in,
    "exists": _exists,
    "regex": _regex,
}


@lru_cache(maxsize=256)
def whole_pattern(expression: str) -> jsonschema_rs.Validator:
    """A regular expression over a whole code, run by an automaton in linear time (no look-around, no references), so
    that a stored definition cannot stop the server. Raises FhirError(VALUE) for one that this cannot take."""
    if len(expression) > _LONGEST_EXPRESSION:
        raise FhirError(Kind.VALUE, f"the expression is longer than {_LONGEST_EXPRESSION} characters")
    try:
        return jsonschema_rs.validator_for(
            {"type": "string", "pattern": f"^(?:{expression})$"},
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_REGEX_BYTES),
        )
    except (jsonschema_rs.ValidationError, ValueError) as fault:
        raise FhirError(Kind.VALUE, f"the expression {expression[:100]!r} cannot be used") from fault
