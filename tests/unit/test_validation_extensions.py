"""Extensions are held against the definitions of their URLs, wherever they stand."""

from __future__ import annotations

from copy import copy
from typing import Any

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import shipped_profiles
from fhir_server.model.resources import Resource, decode
from fhir_server.terminology.load import Terminology
from fhir_server.validation.conformance import Conformance, Severities
from fhir_server.validation.validate import Validator

DEFINITIONS = Definitions.load(DATA_ROOT)
SHIPPED = shipped_profiles(DATA_ROOT)
OURS = "urn:vn-basic:StructureDefinition:"
WRITTEN = decode((DATA_ROOT / "profiles" / "vn_basic" / "extensions.json").read_bytes())["extensions"]
HAMLET = {"url": OURS + "hamlet", "valueBoolean": True}


TERMINOLOGY = Terminology.load()
BASE = Validator(DEFINITIONS)


def a_validator(severities: str = "error", *more: Resource) -> Validator:
    """With what base R4 needs compiled once for all."""
    made = copy(BASE)
    made.conformance = Conformance(DEFINITIONS, TERMINOLOGY, [*SHIPPED, *more], Severities.of(severities))
    return made


VALIDATOR = a_validator()


def faults(resource: Resource, validator: Validator = VALIDATOR) -> list[tuple[str, str]]:
    return [(one.severity, one.expression[0]) for one in validator.validate(resource)]


def test_every_extension_of_our_own_that_records_write_is_defined() -> None:
    urls = {chain[0] for guides in WRITTEN.values() for chain in guides.values()}
    ours = {url for url in urls if url.startswith(OURS)}
    assert ours == {one["url"] for one in SHIPPED if one["type"] == "Extension"}


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        ({"resourceType": "Patient", "address": [{"extension": [HAMLET]}]}, "Patient.address[0].extension[0].value"),
        ({"resourceType": "Patient", "_birthDate": {"extension": [HAMLET]}}, "Patient.birthDate.extension[0].value"),
        (
            {
                "resourceType": "Patient",
                "contact": [{"name": {"text": "a"}}],
                "contained": [{"resourceType": "Location", "id": "l", "address": {"extension": [HAMLET]}}],
                "extension": [{"url": "urn:other", "valueReference": {"reference": "#l"}}],
            },
            "Patient.contained[0].address.extension[0].value",
        ),
        (
            {
                "resourceType": "Bundle",
                "type": "collection",
                "entry": [{"fullUrl": "urn:uuid:0", "resource": {"resourceType": "Patient", "extension": [HAMLET]}}],
            },
            "Bundle.entry[0].resource.extension[0].value",
        ),
    ],
    ids=["datatype", "primitive", "contained", "bundle"],
)
def test_an_extension_with_another_type_than_its_definition_has_is_told_at_its_place(
    resource: Resource, place: str
) -> None:
    assert faults(resource) == [("error", place)]


@pytest.mark.parametrize(
    ("extension", "place"),
    [
        ({"url": OURS + "kept", "valueString": "x"}, ["extension", "value"]),
        ({"url": OURS + "claim-line", "extension": [{"url": "T_BHTT", "valueMoney": {"value": 1}}]}, ["extension"]),
        ({"url": OURS + "hamlet", "extension": [{"url": "a", "valueString": "x"}]}, ["extension", "value"]),
    ],
    ids=["a value for fields", "a line without its item", "fields for a value"],
)
def test_what_an_extension_holds_is_what_its_definition_says(extension: dict[str, Any], place: list[str]) -> None:
    found = faults({"resourceType": "Basic", "code": {"text": "x"}, "extension": [extension]})
    assert sorted(path.partition("Basic.extension[0].")[2].partition("[")[0] for _, path in found) == place


def test_a_code_outside_of_an_extensible_list_is_a_warning() -> None:
    coding = {"system": "urn:vn-basic:CodeSystem:ethnic-group", "code": "99x"}
    extension = {"url": OURS + "ethnicity", "valueCodeableConcept": {"coding": [coding]}}
    assert faults({"resourceType": "Patient", "extension": [extension]}) == [("warning", "Patient.extension[0].value")]


def test_what_is_not_defined_here_may_hold_anything() -> None:
    assert faults({"resourceType": "Patient", "extension": [{"url": OURS + "other", "valueInteger": 1}]}) == []


@pytest.mark.parametrize(("severities", "expected"), [(f"error, {OURS}*=warning", ["warning"]), ("off", [])])
def test_a_setting_says_what_a_fault_of_an_extension_counts_for(severities: str, expected: list[str]) -> None:
    patient = {"resourceType": "Patient", "address": [{"extension": [HAMLET]}]}
    assert [severity for severity, _ in faults(patient, a_validator(severities))] == expected


def test_a_fault_that_a_profile_tells_too_is_told_once() -> None:
    profile = {
        "resourceType": "StructureDefinition",
        "url": "urn:test:home",
        "type": "Patient",
        "differential": {
            "element": [
                {
                    "id": "Patient.address.extension:hamlet",
                    "path": "Patient.address.extension",
                    "sliceName": "hamlet",
                    "type": [{"code": "Extension", "profile": [OURS + "hamlet"]}],
                }
            ]
        },
    }
    validator = a_validator("error", profile)
    patient = {"resourceType": "Patient", "meta": {"profile": ["urn:test:home"]}, "address": [{"extension": [HAMLET]}]}
    told = [("error", "Patient.address[0].extension[0].value")]
    assert validator.conformance is not None
    assert [(one.severity, one.expression[0]) for one in validator.conformance.claim_faults(patient)] == told
    assert faults(patient, validator) == told
