"""CodeSystem/$lookup. R4 section 4.8.16."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import CodeSystem, Concept
from fhir_server.terminology.expand import designation
from fhir_server.terminology.load import Terminology


def lookup(
    terminology: Terminology,
    system: str,
    code: str,
    on: date | None = None,
    language: str | None = None,
    properties: Collection[str] = (),
) -> Resource:
    """What is known of a code, as Parameters: name, version, display, designation, property.

    system: URL or `url|version`. on: the day the code is asked for. properties: those wanted, none for all. Raises
    FhirError(NOT_FOUND) for a system that is not loaded or was not in force, and for a code that it does not have.
    """
    found, concept = _found(terminology, system, code, on)
    parts: list[Resource] = [{"name": "name", "valueString": found.title}]
    if found.version:
        parts.append({"name": "version", "valueString": found.version})
    parts.append({"name": "display", "valueString": concept.display_in(language) or concept.code})
    if not properties or "designation" in properties:
        parts += [_designation(one.value, one.language) for one in concept.designations]
    parts += [
        one for one in _properties(found, concept, on) if not properties or one["part"][0]["valueCode"] in properties
    ]
    return {"resourceType": "Parameters", "parameter": parts}


def _found(terminology: Terminology, system: str, code: str, on: date | None) -> tuple[CodeSystem, Concept]:
    found = terminology.code_system(system)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"the code system {system[:200]!r} is not loaded")
    if not found.period.holds(on):
        raise FhirError(Kind.NOT_FOUND, f"{found.title} was not in force on {on}")
    concept = found.get(code)
    if concept is None:
        raise FhirError(Kind.NOT_FOUND, f"{found.title} has no code {code[:100]!r}")
    return found, concept


def _designation(value: str, language: str | None) -> Resource:
    told = designation(value, language)
    kinds = {"language": "valueCode", "value": "valueString"}
    return {"name": "designation", "part": [{"name": name, kinds[name]: text} for name, text in told.items()]}


def _properties(system: CodeSystem, concept: Concept, on: date | None) -> list[Resource]:
    told = [_property("inactive", "valueBoolean", not concept.active(on))]
    told += [_property("parent", "valueCode", one) for one in system.parents(concept.code)]
    told += [_property("child", "valueCode", one) for one in system.children(concept.code)]
    told += [_property(name, kind, value) for name, kind, value in concept.properties if name not in _TOLD]
    return told


_TOLD = frozenset({"inactive", "parent", "child"})


def _property(code: str, kind: str, value: Any) -> Resource:
    return {"name": "property", "part": [{"name": "code", "valueCode": code}, {"name": "value", kind: value}]}
