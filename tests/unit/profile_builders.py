"""Profiles, validators of them and what they tell, for the tests of profiles."""

from __future__ import annotations

from typing import Any

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import Profiles
from fhir_server.model.resources import Resource
from fhir_server.validation.profile import ProfileValidator
from fhir_server.validation.profile_walk import Known
from tests.package_files import rows_of

DEFINITIONS = Definitions.load(DATA_ROOT)
BASE = "http://example.org/StructureDefinition/"
CORE = "http://hl7.org/fhir/StructureDefinition/"
CCCD, BHYT = "http://example.org/cccd", "http://example.org/bhyt"


def a_profile(name: str, type: str, *elements: Resource, parent: str = "", **more: Any) -> Resource:
    """A StructureDefinition; each element has its id, from which the path is made."""
    return {
        "resourceType": "StructureDefinition", "url": BASE + name, "type": type, "derivation": "constraint",
        "baseDefinition": parent or CORE + type, "differential": {"element": rows_of(elements)}, **more,
    }  # fmt: skip


def a_validator(*profiles: Resource, members: set[tuple[str, str]] | None = None) -> ProfileValidator:
    def membership(value_set: str, system: str | None, code: str) -> bool | None:
        return None if members is None else (value_set, code) in members

    return ProfileValidator(DEFINITIONS, Profiles(DEFINITIONS, profiles), Known(membership))


def faults(validator: ProfileValidator, resource: Resource, name: str = "p") -> list[tuple[str, str, str]]:
    issues = validator.validate(resource, BASE + name)
    return [(issue.severity, issue.code, issue.expression[0]) for issue in issues]


def a_patient(**elements: Any) -> Resource:
    return {"resourceType": "Patient", **elements}


def error(code: str, place: str) -> list[tuple[str, str, str]]:
    return [("error", code, place)]
