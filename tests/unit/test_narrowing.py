"""What access control will narrow by is told from the resource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.interactions.narrowing import NarrowingRules
from fhir_server.model.resources import content_of
from fhir_server.store.values import Narrowing
from fhir_server.terminology.load import Terminology
from tests.builders import a_condition, a_patient

RULES = NarrowingRules.load(DATA_ROOT / "profiles" / "vn_basic" / "narrowing.json", Terminology.load())

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


def narrowed(resource: dict[str, Any], id: str, patients: Sequence[str]) -> Narrowing:
    return RULES.narrow(resource, id, patients, content_of(resource))


def test_the_ward_of_a_patient_is_read_from_either_guide() -> None:
    flat = {"url": "http://fhir.hl7.org.vn/core/StructureDefinition/vn-ext-ward", "valueCodeableConcept": {}}
    flat["valueCodeableConcept"] = {"coding": [{"code": "14797"}]}
    nested = {
        "url": "http://fhir.ehealth.gov.vn/core/StructureDefinition/extension-administrative-address",
        "extension": [{"url": "ward", "valueCoding": {"code": "14797"}}],
    }
    for extension in (flat, nested):
        told = narrowed(a_patient(address=[{"extension": [extension]}]), "an", ["an"])
        assert (told.ward, told.patient) == ("14797", "an")
    assert narrowed(a_patient(), "an", ["an"]).ward is None


def test_a_resource_belongs_to_its_first_patient_and_its_organisations() -> None:
    encounter = {"resourceType": "Encounter", "serviceProvider": {"reference": "Organization/h"}}
    told = narrowed(encounter, "e", ["an", "binh"])
    assert (told.patient, told.parties) == ("an", ("Organization/h",))


@pytest.mark.parametrize(
    ("resource", "sensitivity"),
    [
        (a_condition("Patient/an", "I10"), 0),
        (a_condition("Patient/an", "B20.1"), 2),
        (a_condition("Patient/an", "Z21"), 2),
        (a_condition("Patient/an", "F20", meta={"security": [{"system": ACT, "code": "PSY"}]}), 4),
        (a_condition("Patient/an", "B20", meta={"security": [{"system": CONFIDENTIALITY, "code": "V"}]}), 3),
        (a_condition("Patient/an", code={"coding": [{"system": "urn:other", "code": "B20"}]}), 0),
        (a_patient(meta={"security": [{"system": CONFIDENTIALITY, "code": "R"}]}), 1),
    ],
)
def test_labels_and_codes_that_reveal_make_it_restricted(resource: dict[str, Any], sensitivity: int) -> None:
    assert narrowed(resource, "x", []).sensitivity == sensitivity


def test_a_caller_sees_the_classes_that_its_scopes_name_and_their_mixtures() -> None:
    assert RULES.allowed_sensitivities(()) == [0]
    assert RULES.allowed_sensitivities(("sens/HIV",)) == [0, 2]
    assert RULES.allowed_sensitivities(("sens/HIV", "conf/R", "sens/PSY")) == list(range(8))


def _living(*units: tuple[str, str]) -> dict[str, Any]:
    urls = {"ward": "ward", "ward-legacy": "ward", "district-legacy": "district", "province": "state"}
    extensions = [
        {
            "url": urls.get(name, "state"),
            "valueCoding": {"system": f"urn:vn-basic:CodeSystem:{name}", "code": code},
        }
        for name, code in units
    ]
    return a_patient(address=[{"extension": extensions}])


@pytest.mark.parametrize(
    ("units", "ward", "all_units"),
    [
        ((("ward", "14797"),), "14797", "ward:14797 province:38 district-legacy:380 province-legacy:38"),
        # Merged whole: whoever lived there lives in the new ward.
        (
            (("ward-legacy", "00001"),),
            "00097",
            "ward-legacy:00001 district-legacy:001 province-legacy:01 ward:00097 province:01",
        ),
        # The old province of this code became a part of another one.
        ((("province-legacy", "15"),), None, "province-legacy:15 province:15"),
        ((("province", "24"),), None, "province:24"),
        ((("district-legacy", "380"),), None, "district-legacy:380 province-legacy:38 province:38"),
    ],
)
def test_a_residence_of_one_era_is_in_the_units_of_the_other_that_must_hold_it(
    units: tuple[tuple[str, str], ...], ward: str | None, all_units: str
) -> None:
    told = narrowed(_living(*units), "an", ["an"])
    assert told.ward == ward
    assert set(told.parties) == set(all_units.split())


def test_a_divided_ward_says_nothing_of_the_ward_of_today_but_of_its_province() -> None:
    terminology = Terminology.load()
    succession = terminology.concept_map("ward-succession")
    assert succession is not None
    divided = next(code for code, targets in succession.groups[0].matches.items() if len(targets) > 1)
    told = narrowed(_living(("ward-legacy", divided)), "an", ["an"])
    assert told.ward is None
    assert sum(unit.startswith("province:") for unit in told.parties) == 1


def test_an_address_of_the_past_is_no_residence() -> None:
    for past in ({"use": "old"}, {"period": {"end": "2020"}}):
        patient = _living(("ward", "14797"))
        patient["address"][0] |= past
        assert narrowed(patient, "an", ["an"]).parties == ()


def test_who_cares_for_a_patient_is_told_to_the_whole_compartment_and_who_sent_a_resource_is_not() -> None:
    patient = a_patient(managingOrganization={"reference": "Organization/h"})
    assert narrowed(patient, "an", ["an"]).parties == ("Organization/h", "care:h")
    tag = {"system": "urn:vn-basic:CodeSystem:sender", "code": "h"}
    assert narrowed(a_condition("Patient/an", meta={"tag": [tag]}), "c", ["an"]).parties == ("sent/h",)
