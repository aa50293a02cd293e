"""The part of a value set that lies in one table, as a filter over its rows. R4 ValueSet, compose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.store.table_contract import (
    ABOVE,
    ABSTRACT,
    DISPLAY,
    INACTIVE,
    PARENTS,
    VALUES,
    beginning_with,
    with_codes,
)
from fhir_server.store.values import NOTHING, Filter
from fhir_server.terminology.code_systems import CodeSystem
from fhir_server.terminology.filters import as_meant, split_values
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.loaded import LoadedSystem, beginning_words, having, value_text
from fhir_server.terminology.membership import DEPTH, flat, needed, system_of

_EVERYTHING: Filter = {}


def systems(terminology: Terminology, value_set: Resource, on: date | None, depth: int = DEPTH) -> dict[str, Any]:
    """The systems that the includes of a value set name, by URL in the order of the definition: the CodeSystem, None
    for one that is not loaded."""
    if depth == 0:
        raise FhirError(Kind.VALUE, f"value sets include each other more than {DEPTH} deep")
    found: dict[str, CodeSystem | None] = {}
    for part in value_set.get("compose", {}).get("include", ()):
        if "system" in part:
            found.setdefault(part["system"], system_of(terminology, part, on))
        else:
            for canonical in part.get("valueSet", ()):
                within = systems(terminology, needed(terminology, canonical, on), on, depth - 1)
                found.update((url, one) for url, one in within.items() if url not in found)
    if "compose" not in value_set:
        for one in flat(value_set.get("expansion", {}).get("contains", ())):
            url = one.get("system", "")
            if url not in found:
                found[url] = terminology.code_system(url, on)
    return found


def selection(terminology: Terminology, value_set: Resource, system: LoadedSystem, on: date | None) -> Filter:
    """The rows of a table that are in a value set.

    Raises FhirError(NOT_IMPLEMENTED) for a filter that a table cannot be asked by, FhirError(UNPROCESSABLE) for a value
    set that is not loaded, FhirError(VALUE) for value sets that include each other without end, and Unread.
    """
    return _Selecting(terminology, system, on).of_set(value_set, DEPTH)


def chosen(
    system: LoadedSystem, filter: Filter, words: tuple[str, ...], active: bool, selectable: bool, more: Iterable[str]
) -> Filter:
    """A selection made narrower. words: folded words that must each begin a word of a name; one alone may begin the
    code instead. more: codes that pass without that. active, selectable: without inactive, abstract concepts."""
    parts = [filter]
    if words:
        passing = [_all(list(beginning_words(words)))]
        passing += [beginning_with(system.number, words[0].upper())] if len(words) == 1 else []
        passing += [with_codes(system.number, listed)] if (listed := sorted(more)) else []
        parts.append(_any(passing))
    if active:
        parts.append({INACTIVE: {"$ne": True}})
    if selectable:
        parts.append({ABSTRACT: {"$ne": True}})
    return _all(parts)


def _all(parts: list[Filter]) -> Filter:
    if NOTHING in parts:
        return NOTHING
    kept = [part for part in parts if part]
    return {"$and": kept} if len(kept) > 1 else kept[0] if kept else _EVERYTHING


def _any(parts: list[Filter]) -> Filter:
    kept = [part for part in parts if part != NOTHING]
    if _EVERYTHING in kept:
        return _EVERYTHING
    return {"$or": kept} if len(kept) > 1 else kept[0] if kept else NOTHING


def _none(parts: list[Filter]) -> Filter:
    kept = [part for part in parts if part != NOTHING]
    if _EVERYTHING in kept:
        return NOTHING
    return {"$nor": kept} if kept else _EVERYTHING


class _Selecting:
    def __init__(self, terminology: Terminology, system: LoadedSystem, on: date | None) -> None:
        self._terminology = terminology
        self._system = system
        self._on = on

    def of_set(self, value_set: Resource, depth: int) -> Filter:
        if depth == 0:
            raise FhirError(Kind.VALUE, f"value sets include each other more than {DEPTH} deep")
        compose = value_set.get("compose")
        if compose is None:
            return self._codes(_expanded(value_set, self._system.url))
        included = _any([self._of_part(part, depth) for part in compose.get("include", ())])
        excluded = _none([self._of_part(part, depth) for part in compose.get("exclude", ())])
        active: Filter = {INACTIVE: {"$ne": True}} if compose.get("inactive") is False else _EVERYTHING
        return _all([included, excluded, active])

    def _of_part(self, part: Mapping[str, Any], depth: int) -> Filter:
        parts: list[Filter] = []
        if "system" in part:
            if part["system"] != self._system.url or part.get("version") not in (None, self._system.version):
                return NOTHING
            if "concept" in part:
                parts.append(self._codes(one["code"] for one in part["concept"]))
            parts += [self._of_filter(as_meant(one, self._system.url)) for one in part.get("filter", ())]
        for canonical in part.get("valueSet", ()):
            parts.append(self.of_set(needed(self._terminology, canonical, self._on), depth - 1))
        return _all(parts)

    def _codes(self, codes: Iterable[str]) -> Filter:
        listed = list(codes)
        return with_codes(self._system.number, listed) if listed else NOTHING

    def _of_filter(self, one: Mapping[str, Any]) -> Filter:
        property, op, value = one["property"], one["op"], one["value"]
        match op:
            case "is-a":
                return {ABOVE: value}
            case "descendent-of":
                return {"$and": [{ABOVE: value}, {"$nor": [self._codes([value])]}]}
            case "is-not-a":
                return {"$nor": [{ABOVE: value}]}
            case "generalizes":
                return self._codes([value, *sorted(self._system.ancestors(value))])
            case "=" | "in":
                return self._having(property, [value] if op == "=" else sorted(split_values(value)))
            case "not-in":
                return _none([self._having(property, sorted(split_values(value)))])
            case "exists":
                held = self._exists(property)
                return held if value == "true" else _none([held])
            case "regex" if property in ("code", "concept", "display"):
                return self._codes(self._system.matching(value, property == "display"))
        raise FhirError(Kind.NOT_IMPLEMENTED, f"{self._system.title} cannot be asked by {property} {op}")

    def _having(self, property: str, values: list[str]) -> Filter:
        match property:
            case "code" | "concept":
                return self._codes(values)
            case "display":
                return {DISPLAY: {"$in": values}}
            case "parent":
                return {PARENTS: {"$in": values}}
            case "child":
                return self._codes(sorted({parent for one in values for parent in self._system.parents(one)}))
            case "inactive":
                return _any([{INACTIVE: True} if one == "true" else {INACTIVE: {"$ne": True}} for one in values])
        return {VALUES: {"$in": [value_text(property, one) for one in values]}}

    def _exists(self, property: str) -> Filter:
        if property in ("code", "concept", "inactive"):
            return _EVERYTHING
        if property in ("display", "parent"):
            return {(DISPLAY if property == "display" else PARENTS): {"$exists": True}}
        return having(property)


def _expanded(value_set: Resource, system: str) -> Iterator[str]:
    for one in flat(value_set.get("expansion", {}).get("contains", ())):
        if one.get("system") == system and "code" in one:
            yield one["code"]
