"""Looking up, judging and comparing codes, as pure functions, on the shipped lists and on HL7's own."""

from __future__ import annotations

import hashlib
import json
from datetime import date

import pytest
from terminology_builders import ACT_CODE, ICD10, OWN, a_system, a_value_set, named

from fhir_server.config import DATA_ROOT
from fhir_server.errors import FhirError, Kind
from fhir_server.terminology.code_systems import Coding
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.lookup import lookup
from fhir_server.terminology.membership import is_member
from fhir_server.terminology.subsumes import subsumes
from fhir_server.terminology.validate_code import code_in_system, code_in_value_set


@pytest.fixture(scope="module")
def terminology() -> Terminology:
    return Terminology.load()


# --- HL7's own lists -------------------------------------------------------------------------------------------------


def test_the_files_of_hl7_are_as_they_were_built() -> None:
    folder = DATA_ROOT / "terminology" / "hl7"
    origin = json.loads((folder / "ORIGIN.json").read_text(encoding="utf-8"))
    for name, digest in origin["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("value_set", "code"),
    [
        ("http://hl7.org/fhir/ValueSet/administrative-gender", "unknown"),
        ("http://hl7.org/fhir/ValueSet/condition-clinical", "resolved"),
        ("http://hl7.org/fhir/ValueSet/allergy-intolerance-category", "food"),
        ("http://hl7.org/fhir/ValueSet/immunization-status", "completed"),
        ("http://hl7.org/fhir/ValueSet/identifier-use", "official"),
        ("http://terminology.hl7.org/ValueSet/v3-ActEncounterCode", "AMB"),
    ],
)
def test_the_lists_that_r4_binds_to_are_here(terminology: Terminology, value_set: str, code: str) -> None:
    found = terminology.value_set(value_set)
    assert found is not None
    assert is_member(terminology, found, None, code) is True
    assert is_member(terminology, found, None, "no-such-code") is False


# --- $lookup ---------------------------------------------------------------------------------------------------------


def test_lookup_tells_name_display_designations_and_properties(terminology: Terminology) -> None:
    told = lookup(terminology, OWN + "ward", "14758", date(2026, 1, 1))
    assert named(told, "display") == ["Phường Hàm Rồng"]
    properties = {part[0]["valueCode"]: part[1] for part in named(told, "property")}
    assert properties["province"] == {"name": "value", "valueCode": "38"}
    assert properties["inactive"] == {"name": "value", "valueBoolean": False}
    assert named(lookup(terminology, OWN + "sex", "1", language="en-GB"), "display") == ["male"]
    wanted = lookup(terminology, OWN + "ward", "14758", properties=["type"])
    assert [part[0]["valueCode"] for part in named(wanted, "property")] == ["type"]


@pytest.mark.parametrize(
    ("system", "code", "on"),
    [
        ("urn:no:such", "1", None),
        (OWN + "sex", "9", None),
        (OWN + "province", "24", date(2025, 6, 30)),
        (OWN + "province-legacy", "24", date(2025, 7, 1)),
    ],
)
def test_lookup_of_what_is_not_there_is_not_found(
    terminology: Terminology, system: str, code: str, on: date | None
) -> None:
    with pytest.raises(FhirError) as refused:
        lookup(terminology, system, code, on)
    assert refused.value.kind is Kind.NOT_FOUND


# --- $validate-code --------------------------------------------------------------------------------------------------


def test_a_code_is_judged_by_its_list_on_the_day(terminology: Terminology) -> None:
    assert code_in_system(terminology, OWN + "province", "24", on=date(2026, 1, 1)).valid is True
    judged = code_in_system(terminology, OWN + "province", "24", on=date(2024, 1, 1))
    assert judged.valid is False
    assert "không có hiệu lực" in judged.vi


def test_a_wrong_code_names_its_neighbours_and_a_wrong_name_the_right_one(terminology: Terminology) -> None:
    judged = code_in_system(terminology, OWN + "ward", "14759")
    assert judged.valid is False
    assert judged.neighbours
    assert judged.neighbours[0].code == "14758"
    assert judged.neighbours[0].code in judged.message
    wrong = code_in_system(terminology, OWN + "sex", "1", display="Nữ")
    assert (wrong.valid, wrong.display) == (False, "Nam")
    assert code_in_system(terminology, OWN + "sex", "1", display="NAM").valid is True


def test_an_unknown_icd_10_code_of_the_right_shape_is_neither_right_nor_wrong(terminology: Terminology) -> None:
    assert code_in_system(terminology, ICD10, "J02.9").valid is None
    assert code_in_system(terminology, ICD10, "J029").valid is False
    assert code_in_system(terminology, ICD10, "xyz").valid is False
    assert code_in_system(terminology, ICD10, "J00-J99").valid is True


def test_a_value_set_says_yes_no_or_that_it_cannot_tell(terminology: Terminology) -> None:
    hiv = terminology.value_set("hiv-icd10")
    assert hiv
    assert is_member(terminology, hiv, ICD10, "J02.9") is False
    assert is_member(terminology, hiv, ICD10, "B20.9") is None
    snomed = a_value_set({"system": "http://snomed.info/sct"})
    judged = code_in_value_set(terminology, snomed, Coding("http://snomed.info/sct", "404684003"))
    assert judged.valid is None
    assert named(judged.resource(), "result") == [False]
    assert code_in_value_set(terminology, snomed, Coding("urn:other", "1")).valid is False


def test_a_listed_code_of_a_system_that_is_not_loaded_is_a_member(terminology: Terminology) -> None:
    listed = a_value_set({"system": "http://snomed.info/sct", "concept": [{"code": "112144000"}]})
    assert is_member(terminology, listed, "http://snomed.info/sct", "112144000") is True
    assert is_member(terminology, listed, "http://snomed.info/sct", "1") is False


def test_an_inactive_code_is_right_in_general_and_wrong_on_a_day(terminology: Terminology) -> None:
    retired = {"code": "b", "property": [{"code": "inactive", "valueBoolean": True}]}
    loaded = terminology.with_resources([a_system(retired)])
    judged = code_in_system(loaded, "urn:test:system", "b")
    assert (judged.valid, bool(judged.message)) == (True, True)
    assert code_in_system(loaded, "urn:test:system", "b", on=date(2026, 1, 1)).valid is False


# --- $subsumes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "outcome"),
    [
        ("J02", "J02.9", "subsumes"),
        ("J02.9", "J02", "subsumed-by"),
        ("J00-J99", "J02.91", "subsumes"),
        ("J02.9", "J02.9", "equivalent"),
        ("J02.9", "J03.9", "not-subsumed"),
        ("I10", "J00-J99", "not-subsumed"),
        ("C00-D48", "D48.9", "subsumes"),
        ("D50-D89", "D48.9", "not-subsumed"),
    ],
)
def test_icd_10_codes_stand_below_their_category_and_chapter(
    terminology: Terminology, one: str, other: str, outcome: str
) -> None:
    assert subsumes(terminology, ICD10, one, other) == outcome


def test_hl7_hierarchies_subsume(terminology: Terminology) -> None:
    assert subsumes(terminology, ACT_CODE, "_ActEncounterCode", "AMB") == "subsumes"
    assert subsumes(terminology, ACT_CODE, "AMB", "IMP") == "not-subsumed"


def test_a_code_that_does_not_exist_subsumes_nothing(terminology: Terminology) -> None:
    with pytest.raises(FhirError, match="nonsense"):
        subsumes(terminology, ACT_CODE, "AMB", "nonsense")
