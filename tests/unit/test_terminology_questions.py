"""The R4 terminology operations as pure functions, on the shipped lists and on HL7's own."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.config import DATA_ROOT
from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import Coding
from fhir_server.terminology.concept_maps import Dependency
from fhir_server.terminology.expand import Expansion, codes, expand
from fhir_server.terminology.filters import whole_pattern
from fhir_server.terminology.folding import fold_words
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.lookup import lookup
from fhir_server.terminology.membership import is_member, members
from fhir_server.terminology.naming import NamingSystems
from fhir_server.terminology.subsumes import subsumes
from fhir_server.terminology.translate import Asked, fitting, translation
from fhir_server.terminology.validate_code import code_in_system, code_in_value_set

OWN = "urn:vn-basic:CodeSystem:"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
NOW = "2026-06-30T08:00:00+07:00"


@pytest.fixture(scope="module")
def terminology() -> Terminology:
    return Terminology.load()


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


# --- $expand ---------------------------------------------------------------------------------------------------------


def test_the_filter_than_finds_thanh(terminology: Terminology) -> None:
    wards = terminology.value_set("ward")
    assert wards
    found = expand(terminology, wards, Expansion(filter="than", count=1000), NOW)
    names = [one["display"] for one in found["expansion"]["contains"]]
    assert len(names) > 50
    assert any("Thành" in name for name in names)
    assert all(any(word.startswith("than") for word in fold_words(name)) for name in names)
    exact = expand(terminology, wards, Expansion(filter="hàm rong", count=5), NOW)
    assert codes_of(exact) == ["14758"]


def test_the_filter_finds_names_that_stand_in_the_value_set_alone(terminology: Terminology) -> None:
    listed = a_value_set(
        {"system": "http://snomed.info/sct", "concept": [{"code": "1", "display": "Sốt xuất huyết"}, {"code": "2"}]}
    )
    assert codes_of(expand(terminology, listed, Expansion(filter="xuat sot"), NOW)) == ["1"]
    assert codes_of(expand(terminology, listed, Expansion(filter="2"), NOW)) == ["2"]
    assert codes_of(expand(terminology, listed, Expansion(filter="cum"), NOW)) == []


def test_pages_of_an_expansion_put_together_are_the_whole(terminology: Terminology) -> None:
    wards = terminology.value_set("ward")
    assert wards
    pages = [expand(terminology, wards, Expansion(offset=at, count=1000), NOW) for at in range(0, 4000, 1000)]
    whole = [code for page in pages for code in codes_of(page)]
    assert {page["expansion"]["total"] for page in pages} == {3321} == {len(whole)} == {len(set(whole))}


def test_too_many_codes_without_a_count_are_refused_and_a_count_of_zero_gives_the_total(
    terminology: Terminology,
) -> None:
    wards = terminology.value_set("ward-legacy")
    assert wards
    with pytest.raises(FhirError) as refused:
        expand(terminology, wards, Expansion(), NOW)
    assert refused.value.kind is Kind.TOO_LARGE
    counted = expand(terminology, wards, Expansion(count=0), NOW)
    assert counted["expansion"]["total"] == 10035
    assert codes_of(counted) == []


def test_an_expansion_of_a_day_has_only_the_list_of_that_day(terminology: Terminology) -> None:
    both = a_value_set({"system": OWN + "province"}, {"system": OWN + "province-legacy"})
    for day, total in ((date(2025, 6, 30), 63), (date(2025, 7, 1), 34), (None, 97)):
        assert expand(terminology, both, Expansion(on=day), NOW)["expansion"]["total"] == total


def test_active_only_leaves_inactive_codes_out_and_others_are_marked(terminology: Terminology) -> None:
    system = a_system(
        {"code": "a", "display": "A"},
        {"code": "b", "property": [{"code": "inactive", "valueBoolean": True}]},
        {"code": "c", "property": [{"code": "deprecationDate", "valueDateTime": "2024-05"}]},
        property=[{"code": "inactive", "type": "boolean"}],
    )
    loaded = terminology.with_resources([system])
    whole = expand(loaded, a_value_set({"system": "urn:test:system"}), Expansion(), NOW)
    assert [one.get("inactive", False) for one in whole["expansion"]["contains"]] == [False, True, False]
    active = expand(
        loaded, a_value_set({"system": "urn:test:system"}), Expansion(active_only=True, on=date(2025, 1, 1)), NOW
    )
    assert codes_of(active) == ["a"]


def test_designations_and_the_language_of_displays_follow_the_request(terminology: Terminology) -> None:
    groups = terminology.value_set("treatment-result")
    assert groups
    plain = expand(terminology, groups, Expansion(), NOW)["expansion"]["contains"]
    english = expand(terminology, groups, Expansion(display_language="en"), NOW)["expansion"]["contains"]
    full = expand(terminology, groups, Expansion(include_designations=True), NOW)["expansion"]["contains"]
    assert (plain[0]["display"], english[0]["display"]) == ("Khỏi", "recovered")
    assert "designation" not in plain[0]
    assert full[0]["designation"] == [{"language": "en", "value": "recovered"}]


def test_what_cannot_be_listed_is_refused_by_name(terminology: Terminology) -> None:
    for system in ("http://snomed.info/sct", ICD10):
        with pytest.raises(FhirError) as refused:
            expand(terminology, a_value_set({"system": system}), Expansion(), NOW)
        assert refused.value.kind is Kind.UNPROCESSABLE
        assert system in refused.value.diagnostics


def test_includes_add_excludes_take_away_and_several_value_sets_of_one_include_intersect(
    terminology: Terminology,
) -> None:
    sex = {"system": OWN + "sex"}
    one = {**a_value_set({**sex, "concept": [{"code": "1"}, {"code": "2"}]}), "url": "urn:test:one", "id": "one"}
    two = {**a_value_set({**sex, "concept": [{"code": "2"}, {"code": "3"}]}), "url": "urn:test:two", "id": "two"}
    loaded = terminology.with_resources([one, two])
    both = a_value_set({"valueSet": ["urn:test:one", "urn:test:two"]})
    either = a_value_set({"valueSet": ["urn:test:one"]}, {"valueSet": ["urn:test:two"]})
    less = a_value_set(sex, exclude=[{"valueSet": ["urn:test:one"]}])
    for value_set, expected in ((both, ["2"]), (either, ["1", "2", "3"]), (less, ["3"])):
        assert codes_of(expand(loaded, value_set, Expansion(), NOW)) == expected
        for code in ("1", "2", "3"):
            assert is_member(loaded, value_set, OWN + "sex", code) is (code in expected)


def test_value_sets_that_include_each_other_are_refused(terminology: Terminology) -> None:
    one = {**a_value_set({"valueSet": ["urn:test:two"]}), "url": "urn:test:one", "id": "one"}
    two = {**a_value_set({"valueSet": ["urn:test:one"]}), "url": "urn:test:two", "id": "two"}
    loaded = terminology.with_resources([one, two])
    with pytest.raises(FhirError, match="include each other"):
        list(members(loaded, one))
    with pytest.raises(FhirError, match="include each other"):
        is_member(loaded, one, None, "1")


TREE = a_system(
    {
        "code": "animal",
        "concept": [
            {"code": "dog", "property": [{"code": "legs", "valueInteger": 4}], "concept": [{"code": "puppy"}]},
            {"code": "hen", "display": "Gà mái", "property": [{"code": "legs", "valueInteger": 2}]},
        ],
    },
    {"code": "stone"},
)


@pytest.mark.parametrize(
    ("property", "op", "value", "expected"),
    [
        ("concept", "is-a", "dog", ["dog", "puppy"]),
        ("concept", "descendent-of", "animal", ["dog", "puppy", "hen"]),
        ("concept", "is-not-a", "dog", ["animal", "hen", "stone"]),
        ("concept", "generalizes", "puppy", ["animal", "dog", "puppy"]),
        ("legs", "=", "4", ["dog"]),
        ("legs", "exists", "true", ["dog", "hen"]),
        ("legs", "exists", "false", ["animal", "puppy", "stone"]),
        ("code", "in", "dog, stone", ["dog", "stone"]),
        ("code", "not-in", "dog,stone", ["animal", "puppy", "hen"]),
        ("code", "regex", "[dh].*", ["dog", "hen"]),
        ("display", "=", "Gà mái", ["hen"]),
        ("parent", "=", "dog", ["puppy"]),
        ("child", "=", "puppy", ["dog"]),
    ],
)
def test_each_filter_operator_of_r4_chooses_what_it_says(
    terminology: Terminology, property: str, op: str, value: str, expected: list[str]
) -> None:
    loaded = terminology.with_resources([TREE])
    filter = {"property": property, "op": op, "value": value}
    chosen = a_value_set({"system": "urn:test:system", "filter": [filter]})
    assert codes_of(expand(loaded, chosen, Expansion(), NOW)) == expected
    for code in ("animal", "dog", "puppy", "hen", "stone"):
        assert is_member(loaded, chosen, "urn:test:system", code) is (code in expected)


def test_an_unknown_filter_operator_is_refused(terminology: Terminology) -> None:
    chosen = a_value_set({"system": OWN + "sex", "filter": [{"property": "code", "op": "sounds-like", "value": "1"}]})
    with pytest.raises(FhirError) as refused:
        list(members(terminology, chosen))
    assert refused.value.kind is Kind.NOT_IMPLEMENTED


def test_an_expression_that_would_run_for_ever_elsewhere_is_answered(terminology: Terminology) -> None:
    filter = {"property": "code", "op": "regex", "value": "(a+)+b"}
    chosen = a_value_set({"system": "urn:test:none", "filter": [filter]})
    assert is_member(terminology, chosen, "urn:test:none", "a" * 100_000) is False


@pytest.mark.parametrize("expression", ["(?=a)b", r"(a)\1", "[", "x" * 1001])
def test_expressions_that_need_going_back_or_are_none_are_refused(expression: str) -> None:
    with pytest.raises(FhirError):
        whole_pattern(expression)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_what_an_expansion_lists_is_a_member_and_nothing_else(data: st.DataObject) -> None:
    everything = ["animal", "dog", "puppy", "hen", "stone"]
    terminology = Terminology([]).with_resources([TREE])
    one = st.fixed_dictionaries(
        {"property": st.just("concept"), "op": st.sampled_from(["is-a", "descendent-of", "is-not-a", "generalizes"])},
    ).flatmap(lambda base: st.sampled_from(everything).map(lambda code: {**base, "value": code}))
    part = st.lists(one, max_size=2).map(lambda filters: {"system": "urn:test:system", "filter": filters})
    chosen = a_value_set(
        *data.draw(st.lists(part, min_size=1, max_size=3)), exclude=data.draw(st.lists(part, max_size=2))
    )
    listed = {concept.code for _, concept in members(terminology, chosen)}
    assert listed == {code for code in everything if is_member(terminology, chosen, "urn:test:system", code)}


# --- search ----------------------------------------------------------------------------------------------------------


def test_the_search_modifiers_stand_for_codes(terminology: Terminology) -> None:
    assert set(codes(terminology, "in", "urn:vn-basic:ValueSet:allergy-group")) == {
        (OWN + "allergy-group", code) for code in "1234"
    }
    assert (ACT_CODE, "AMB") in set(codes(terminology, "below", f"{ACT_CODE}|_ActEncounterCode"))
    assert set(codes(terminology, "above", f"{ICD10}|J02.9")) == {
        (ICD10, "J02.9"),
        (ICD10, "J02"),
        (ICD10, "J00-J99"),
    }


@pytest.mark.parametrize(
    ("modifier", "value", "kind"),
    [
        ("in", "urn:no:such", Kind.INVALID),
        ("below", "AMB", Kind.INVALID),
        ("below", f"{ACT_CODE}|nonsense", Kind.INVALID),
        ("below", f"{ICD10}|J02", Kind.UNPROCESSABLE),
        ("in", "hiv-icd10", Kind.UNPROCESSABLE),
    ],
)
def test_a_search_by_what_cannot_be_listed_is_refused(
    terminology: Terminology, modifier: str, value: str, kind: Kind
) -> None:
    with pytest.raises(FhirError) as refused:
        codes(terminology, modifier, value)
    assert refused.value.kind is kind


# --- $translate and $preferred-id ------------------------------------------------------------------------------------


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


def test_a_set_that_has_no_inactive_codes_leaves_them_out_everywhere(terminology: Terminology) -> None:
    retired = {"code": "b", "property": [{"code": "inactive", "valueBoolean": True}]}
    loaded = terminology.with_resources([a_system({"code": "a"}, retired)])
    for inactive, left in ((False, ["a"]), (True, ["a", "b"])):
        chosen = a_value_set({"system": "urn:test:system"})
        chosen["compose"]["inactive"] = inactive
        assert codes_of(expand(loaded, chosen, Expansion(), NOW)) == left
        assert [code for code in "ab" if is_member(loaded, chosen, "urn:test:system", code)] == left


def test_an_inactive_code_is_right_in_general_and_wrong_on_a_day(terminology: Terminology) -> None:
    retired = {"code": "b", "property": [{"code": "inactive", "valueBoolean": True}]}
    loaded = terminology.with_resources([a_system(retired)])
    judged = code_in_system(loaded, "urn:test:system", "b")
    assert (judged.valid, bool(judged.message)) == (True, True)
    assert code_in_system(loaded, "urn:test:system", "b", on=date(2026, 1, 1)).valid is False


@pytest.mark.parametrize(
    ("value_set", "codes"),
    [
        ("religion", 16),
        ("religion-moh", 4),
        ("nationality", 1),
        ("blood-group-abo", 4),
        ("blood-group-rh", 2),
        ("sex", 3),
        ("relationship", 36),
        ("allergy-group", 4),
        ("disease-group", 15),
        ("visit-type", 10),
        ("treatment-result", 8),
        ("district-legacy", 696),
        ("province", 34),
        ("province-legacy", 63),
        ("ward", 3321),
    ],
)
def test_every_list_of_a_form_can_be_expanded(terminology: Terminology, value_set: str, codes: int) -> None:
    found = terminology.value_set(f"urn:vn-basic:ValueSet:{value_set}")
    assert found
    assert expand(terminology, found, Expansion(count=1), NOW)["expansion"]["total"] == codes
