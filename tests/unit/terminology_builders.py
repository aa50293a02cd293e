"""Value sets, code systems and what is read from answers, for the tests of terminology."""

from __future__ import annotations

from typing import Any

from fhir_server.model.resources import Resource

OWN = "urn:vn-basic:CodeSystem:"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
NOW = "2026-06-30T08:00:00+07:00"


def a_value_set(*include: dict[str, Any], exclude: list[dict[str, Any]] | None = None) -> Resource:
    compose: dict[str, Any] = {"include": list(include)}
    if exclude:
        compose["exclude"] = exclude
    return {"resourceType": "ValueSet", "id": "mine", "url": "urn:test:mine", "status": "active", "compose": compose}


def a_system(*concepts: dict[str, Any], **values: Any) -> Resource:
    return {
        "resourceType": "CodeSystem",
        "id": "mine",
        "url": "urn:test:system",
        "status": "active",
        "content": "complete",
        "concept": list(concepts),
        **values,
    }


def named(parameters: Resource, name: str) -> list[Any]:
    return [
        next(value for key, value in one.items() if key != "name")
        for one in parameters["parameter"]
        if one["name"] == name
    ]


def codes_of(expanded: Resource) -> list[str]:
    return [one["code"] for one in expanded["expansion"].get("contains", [])]
