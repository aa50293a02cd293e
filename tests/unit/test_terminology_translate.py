"""$translate and $preferred-id, as pure functions."""

from __future__ import annotations

from typing import Any

import pytest
from terminology_builders import OWN, named

from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import Coding
from fhir_server.terminology.concept_maps import Dependency
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.naming import NamingSystems
from fhir_server.terminology.translate import Asked, fitting, translation


@pytest.fixture(scope="module")
def terminology() -> Terminology:
    return Terminology.load()


def translated(terminology: Terminology, map: str, code: str, **asked: Any) -> Resource:
    found = terminology.concept_map(map)
    assert found is not None
    return translation(terminology, [found], Asked((Coding("", code),), **asked))


def test_translation_tells_every_match_with_its_equivalence(terminology: Terminology) -> None:
    told = translated(terminology, "ward-succession", "32122")
    assert named(told, "result") == [True]
    assert [part[0]["valueCode"] for part in named(told, "match")] == ["inexact"] * 3
    concept = named(told, "match")[0][1]["valueCoding"]
    assert (concept["system"], bool(concept["display"])) == (OWN + "ward", True)


def test_translation_goes_back_when_asked(terminology: Terminology) -> None:
    told = translated(terminology, "province-succession", "24", reverse=True)
    assert [part[1]["valueCoding"]["code"] for part in named(told, "match")] == ["24", "27"]
    assert {part[0]["valueCode"] for part in named(told, "match")} == {"narrower"}  # the map says wider


A_MAP = {
    "resourceType": "ConceptMap",
    "id": "mine",
    "url": "urn:test:map",
    "status": "active",
    "group": [
        {
            "source": "urn:test:from",
            "target": "urn:test:to",
            "element": [
                {
                    "code": "a",
                    "target": [
                        {
                            "code": "1",
                            "equivalence": "equivalent",
                            "dependsOn": [{"property": "urn:test:side", "value": "left"}],
                            "product": [{"property": "urn:test:more", "system": "urn:test:to", "value": "9"}],
                        },
                        {"code": "2", "equivalence": "inexact"},
                        {"code": "3", "equivalence": "disjoint"},
                    ],
                }
            ],
            "unmapped": {"mode": "other-map", "url": "urn:vn-basic:ConceptMap:sex-gender"},
        }
    ],
}


def test_a_mapping_that_depends_on_another_value_holds_where_that_is_known(terminology: Terminology) -> None:
    loaded = terminology.with_resources([A_MAP])
    plain = translated(loaded, "urn:test:map", "a")
    left = translated(loaded, "urn:test:map", "a", known=(Dependency("urn:test:side", None, "left"),))
    assert [part[1]["valueCoding"]["code"] for part in named(plain, "match")] == ["2"]
    assert [part[1]["valueCoding"]["code"] for part in named(left, "match")] == ["1", "2"]
    product = named(left, "match")[0][2]
    assert product["name"] == "product"
    assert product["part"][1]["valueCoding"] == {"system": "urn:test:to", "code": "9"}


def test_a_map_may_send_on_to_another(terminology: Terminology) -> None:
    loaded = terminology.with_resources([A_MAP])
    found = loaded.concept_map("urn:test:map")
    assert found
    assert found.elsewhere("b") == ["urn:vn-basic:ConceptMap:sex-gender"]
    assert named(translated(loaded, "urn:test:map", "1"), "result") == [True]


def test_of_all_maps_those_fit_that_lead_from_the_system_to_the_one_that_is_wanted(terminology: Terminology) -> None:
    vaccine = (Coding(OWN + "vaccine", "BCG"),)
    everything = [one.url for one in fitting(terminology, Asked(vaccine))]
    assert everything == ["urn:vn-basic:ConceptMap:vaccine-atc", "urn:vn-basic:ConceptMap:vaccine-cvx"]
    cvx = fitting(terminology, Asked(vaccine, target="http://hl7.org/fhir/sid/cvx"))
    assert [one.url for one in cvx] == everything[1:]
    back = fitting(terminology, Asked((Coding("http://hl7.org/fhir/sid/cvx", "19"),), reverse=True))
    assert [one.url for one in back] == everything[1:]


def test_no_match_is_a_result_of_false_with_a_message(terminology: Terminology) -> None:
    told = translated(terminology, "allergy-group-category", "4")
    assert named(told, "result") == [False]
    assert named(told, "message")
    assert named(translated(terminology, "sex-gender", "1", target="urn:other"), "result") == [False]


def test_preferred_id_gives_the_name_that_stands_for_all() -> None:
    naming = NamingSystems.load()
    moh = "http://fhir.ehealth.gov.vn/core/sid/national_id"
    assert naming.preferred_id("http://fhir.hl7.org.vn/core/sid/cccd") == moh
    assert naming.preferred_id("https://www.gs1.org/gln", "oid") == "1.3.88"
    assert naming.preferred_id(moh, "oid") is None
    assert naming.preferred_id("urn:no:such") is None
