"""CodeSystem/$lookup, R4."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import CodeSystem, Concept, Designation
from fhir_server.terminology.load import Terminology

# Properties whose value is a code of the same system: they are told with its display.
_CODES = ("parent", "child")
_LANGUAGE = "lang."


def lookup(
    terminology: Terminology,
    system: str,
    code: str,
    on: date | None = None,
    language: str | None = None,
    properties: Collection[str] = (),
) -> Resource:
    """What is known of a code, as Parameters: name, version, display, designation, property.

    system: URL or `url|version`. on: the day the code is asked for. properties: those wanted, none for all; `lang.vi`
    wants the designations in Vietnamese. Raises FhirError(NOT_FOUND) for a system that is not loaded or was not in
    force, and for a code that it does not have; and Unread.
    """
    found, concept = find(terminology, system, code, on)
    parts: list[Resource] = [{"name": "name", "valueString": found.title}]
    if found.version:
        parts.append({"name": "version", "valueString": found.version})
    parts.append({"name": "display", "valueString": concept.display_in(language) or concept.code})
    parts += [_designation(one) for one in concept.designations if _is_wanted(one, properties)]
    parts += _properties(found, concept, on, properties)
    return {"resourceType": "Parameters", "parameter": parts}


def find(terminology: Terminology, system: str, code: str, on: date | None) -> tuple[CodeSystem, Concept]:
    """A code system and its concept. Raises FhirError(NOT_FOUND) as `lookup` does."""
    found = terminology.code_system(system, on)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"the code system {system[:200]!r} is not loaded")
    if not found.period.holds(on):
        raise FhirError(Kind.NOT_FOUND, f"{found.title} was not in force on {on}")
    concept = found.get(code)
    if concept is None:
        known = "has no code" if found.has(code) is False else "is only loaded in part and does not tell of"
        raise FhirError(Kind.NOT_FOUND, f"{found.title} {known} {code[:100]!r}")
    return found, terminology.supplemented(found.url, concept)


def _is_wanted(one: Designation, properties: Collection[str]) -> bool:
    if not properties or "designation" in properties:
        return True
    language = (one.language or "").lower()
    wanted = [name.removeprefix(_LANGUAGE).lower() for name in properties if name.startswith(_LANGUAGE)]
    return any(language == tag or language.startswith(tag + "-") for tag in wanted)


def _designation(one: Designation) -> Resource:
    parts: list[Resource] = []
    if one.language:
        parts.append({"name": "language", "valueCode": one.language})
    if one.use:
        parts.append({"name": "use", "valueCoding": one.use})
    return {"name": "designation", "part": [*parts, {"name": "value", "valueString": one.value}]}


def _properties(system: CodeSystem, concept: Concept, on: date | None, wanted: Collection[str]) -> Iterator[Resource]:
    if _is_asked("inactive", wanted):
        yield _property("inactive", "valueBoolean", not concept.active(on))
    if concept.definition and _is_asked("definition", wanted):
        yield _property("definition", "valueString", concept.definition)
    for name, codes in zip(_CODES, (system.parents, system.children), strict=True):
        if _is_asked(name, wanted):
            for one in codes(concept.code):
                yield _property(name, "valueCode", one, system.get(one))
    for name, kind, value in concept.properties:
        if name not in _TOLD and _is_asked(name, wanted):
            yield _property(name, kind, value)


def _is_asked(name: str, wanted: Collection[str]) -> bool:
    return not wanted or name in wanted


_TOLD = frozenset({"inactive", *_CODES})


def _property(code: str, kind: str, value: Any, named: Concept | None = None) -> Resource:
    parts: list[Resource] = [{"name": "code", "valueCode": code}, {"name": "value", kind: value}]
    if named is not None and named.display:
        parts.append({"name": "description", "valueString": named.display})
    return {"name": "property", "part": parts}
