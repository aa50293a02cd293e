"""What access control will narrow by is told from the resource."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.interactions.narrowing import NarrowingRules
from tests.builders import a_condition, a_patient

RULES = NarrowingRules.load(DATA_ROOT / "profiles" / "vn_basic" / "narrowing.json")

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


def test_the_ward_of_a_patient_is_read_from_either_guide() -> None:
    flat = {"url": "http://fhir.hl7.org.vn/core/StructureDefinition/vn-ext-ward", "valueCodeableConcept": {}}
    flat["valueCodeableConcept"] = {"coding": [{"code": "14797"}]}
    nested = {
        "url": "http://fhir.ehealth.gov.vn/core/StructureDefinition/extension-administrative-address",
        "extension": [{"url": "ward", "valueCoding": {"code": "14797"}}],
    }
    for extension in (flat, nested):
        narrowed = RULES.narrow(a_patient(address=[{"extension": [extension]}]), "an", ["an"])
        assert (narrowed.ward, narrowed.patient) == ("14797", "an")
    assert RULES.narrow(a_patient(), "an", ["an"]).ward is None


def test_a_resource_belongs_to_its_first_patient_and_its_organisations() -> None:
    encounter = {"resourceType": "Encounter", "serviceProvider": {"reference": "Organization/h"}}
    narrowed = RULES.narrow(encounter, "e", ["an", "binh"])
    assert (narrowed.patient, narrowed.parties) == ("an", ("Organization/h",))


@pytest.mark.parametrize(
    ("resource", "sensitivity"),
    [
        (a_condition("Patient/an", "I10"), 0),
        (a_condition("Patient/an", "B20.1"), 1),
        (a_condition("Patient/an", "Z21"), 1),
        (a_condition("Patient/an", code={"coding": [{"system": "urn:other", "code": "B20"}]}), 0),
        (a_patient(meta={"security": [{"system": CONFIDENTIALITY, "code": "R"}]}), 1),
    ],
)
def test_labels_and_codes_that_reveal_make_it_restricted(resource: dict[str, Any], sensitivity: int) -> None:
    assert RULES.narrow(resource, "x", []).sensitivity == sensitivity
