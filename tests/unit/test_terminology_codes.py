"""Codes mean what they meant on the day of the record; names are matched exactly after folding, never by likeness."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.errors import FhirError
from fhir_server.model.resources import decode
from fhir_server.terminology.code_systems import Coding
from fhir_server.terminology.folding import fold_name, fold_words
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.translate import lineage, matches, predecessors, successors, translate
from fhir_server.validation.validate import Validator

OWN = "urn:vn-basic:CodeSystem:"
BEFORE, AFTER = date(2025, 6, 30), date(2025, 7, 1)


@pytest.fixture(scope="module")
def terminology() -> Terminology:
    return Terminology.load()


def test_a_reused_province_code_means_another_province_before_and_after_the_merger(terminology: Terminology) -> None:
    then = terminology.lookup(OWN + "province-legacy", "24", BEFORE)
    now = terminology.lookup(OWN + "province", "24", AFTER)
    assert then is not None
    assert now is not None
    assert (then.display, now.display) == ("Tỉnh Bắc Giang", "Tỉnh Bắc Ninh")
    assert terminology.lookup(OWN + "province", "24", BEFORE) is None
    assert terminology.lookup(OWN + "province-legacy", "24", AFTER) is None


def test_every_reused_code_is_kept_apart_by_its_era(terminology: Terminology) -> None:
    reused = {"24": "Bắc Giang", "15": "Yên Bái", "52": "Bình Định", "44": "Quảng Bình", "80": "Long An"}
    for code, old in {**reused, "82": "Tiền Giang", "91": "Kiên Giang"}.items():
        then = terminology.lookup(OWN + "province-legacy", code)
        now = terminology.lookup(OWN + "province", code)
        assert then is not None
        assert now is not None
        assert then.display == f"Tỉnh {old}"
        assert then.display != now.display


@pytest.mark.parametrize(
    ("system", "count"),
    [("province", 34), ("province-legacy", 63), ("district-legacy", 696), ("ward", 3321), ("ward-legacy", 10035)],
)
def test_the_administrative_units_are_all_there(terminology: Terminology, system: str, count: int) -> None:
    found = terminology.code_system(system)
    assert found is not None
    assert len(found.concepts) == count


def test_every_ward_belongs_to_a_province_of_its_own_era(terminology: Terminology) -> None:
    for wards, provinces in (("ward", "province"), ("ward-legacy", "province-legacy")):
        system, above = terminology.code_system(wards), terminology.code_system(provinces)
        assert system is not None
        assert above is not None
        for ward in system.concepts.values():
            assert set(ward.values("province")) <= above.concepts.keys()


def test_thanh_hoa_has_19_urban_wards_and_147_communes(terminology: Terminology) -> None:
    wards = terminology.code_system("ward")
    assert wards is not None
    kinds = [ward.values("type")[0] for ward in wards.concepts.values() if ward.values("province") == ("38",)]
    assert (kinds.count("phuong"), kinds.count("xa"), len(kinds)) == (19, 147, 166)


def test_a_merged_province_is_the_successor_of_each_that_went_into_it(terminology: Terminology) -> None:
    assert predecessors(terminology, OWN + "province", "24") == [
        Coding(OWN + "province-legacy", "24", "Tỉnh Bắc Giang"),
        Coding(OWN + "province-legacy", "27", "Tỉnh Bắc Ninh"),
    ]
    assert successors(terminology, OWN + "province-legacy", "27") == [Coding(OWN + "province", "24", "Tỉnh Bắc Ninh")]


def test_every_ward_of_the_old_time_has_a_successor_in_the_successor_of_its_province(terminology: Terminology) -> None:
    old, new = terminology.code_system("ward-legacy"), terminology.code_system("ward")
    wards, provinces = terminology.concept_map("ward-succession"), terminology.concept_map("province-succession")
    assert old
    assert new
    assert wards
    assert provinces
    for ward in old.concepts.values():
        targets = wards.matches(ward.code)
        assert targets, ward.code
        here = provinces.matches(ward.values("province")[0])[0].code
        for target in targets:
            assert new.concepts[target.code].values("province") == (here,)


def test_every_ward_of_today_has_a_predecessor(terminology: Terminology) -> None:
    wards = terminology.code_system("ward")
    assert wards
    for code in wards.concepts:
        assert predecessors(terminology, OWN + "ward", code), code


def test_a_divided_ward_has_several_successors_and_a_lineage_names_both_eras(terminology: Terminology) -> None:
    parts = successors(terminology, OWN + "ward-legacy", "11890")
    assert [one.code for one in parts] == ["11911"]
    divided = matches(terminology, "ward-succession", "32122")
    assert len(divided) == 3
    assert {one.equivalence for one in divided} == {"inexact"}
    whole = lineage(terminology, OWN + "ward-legacy", "32122")
    assert whole[0].code == "32122"
    assert {one.system for one in whole} == {OWN + "ward-legacy", OWN + "ward"}


@pytest.mark.parametrize(
    ("name", "code"),
    [("Kinh", "01"), ("kinh", "01"), ("Hmông", "08"), ("H'MÔNG", "08"), ("Êđê", "12"), ("Ba-na", "13"), ("Thổ", "24")],
)
def test_ethnic_groups_are_found_by_any_spelling(terminology: Terminology, name: str, code: str) -> None:
    found = terminology.find("ethnic-group", name)
    assert found is not None
    assert found.code == code


def test_a_name_that_several_groups_share_identifies_none(terminology: Terminology) -> None:
    assert terminology.find("ethnic-group", "Hạ") is None
    assert terminology.find("ethnic-group", "Martian") is None


def test_no_two_vaccines_share_a_name(terminology: Terminology) -> None:
    vaccines = terminology.code_system("vaccine")
    assert vaccines
    for concept in vaccines.concepts.values():
        for name in concept.names():
            assert vaccines.find(name) is concept


@pytest.mark.parametrize(
    ("name", "cvx"),
    [
        ("Sởi - Rubella", "04"),
        ("SỞI-RUBELLA", "04"),
        ("Sởi", "05"),
        ("BCG", "19"),
        ("Viêm gan B sơ sinh", "08"),
        ("DPT-VGB-Hib", "198"),
        ("Soi Rubela", None),
        ("Vắc xin lạ", None),
        ("", None),
    ],
)
def test_a_vaccine_name_is_translated_exactly_or_not_at_all(
    terminology: Terminology, name: str, cvx: str | None
) -> None:
    found = translate(terminology, "vaccine-cvx", name)
    assert (found.code if found else None) == cvx


def test_sex_3_is_unknown_and_not_other(terminology: Terminology) -> None:
    codes = {code: translate(terminology, "sex-gender", code) for code in ("1", "2", "3", "4")}
    assert {code: found.code if found else None for code, found in codes.items()} == {
        "1": "male",
        "2": "female",
        "3": "unknown",
        "4": None,
    }


def test_patient_category_1_10_is_another_code_than_1_1(terminology: Terminology) -> None:
    ten, one = terminology.lookup("patient-category", "1.10"), terminology.lookup("patient-category", "1.1")
    assert ten is not None
    assert one is not None
    assert ten.display != one.display


def test_a_name_translates_by_the_list_of_the_day(terminology: Terminology) -> None:
    for name, on, code in (
        ("Điều trị nội trú ban ngày", date(2026, 7, 31), "IMP"),
        ("Điều trị nội trú ban ngày", date(2026, 8, 1), None),
        ("Điều trị ban ngày", date(2026, 8, 1), "IMP"),
        ("Khám bệnh, chữa bệnh từ xa", date(2026, 7, 31), None),
        ("Khám bệnh, chữa bệnh từ xa", date(2026, 8, 1), "VR"),
    ):
        found = translate(terminology, "visit-type-class", name, on)
        assert (found.code if found else None) == code


@pytest.mark.parametrize(
    ("list", "code", "on", "name"),
    [
        ("visit-type", "04", date(2026, 7, 31), "Điều trị nội trú ban ngày"),
        ("visit-type", "04", date(2026, 8, 1), "Điều trị ban ngày"),
        ("visit-type", "12", date(2026, 7, 31), None),
        ("visit-type", "12", date(2026, 8, 1), "Khám bệnh, chữa bệnh tại nhà"),
        ("patient-category", "1.10", date(2025, 10, 16), "Người bệnh COVID-19"),
        ("patient-category", "1.10", date(2025, 10, 17), None),
        ("patient-category", "7.2", date(2025, 10, 17), "Ủy quyền cho người khác đến lĩnh thuốc"),
    ],
)
def test_a_code_means_what_it_meant_on_the_day_of_the_record(
    terminology: Terminology, list: str, code: str, on: date, name: str | None
) -> None:
    found = terminology.lookup(f"urn:vn-basic:CodeSystem:{list}", code, on)
    assert (found.display if found else None) == name


def test_rh_without_a_sign_is_neither_positive_nor_negative(terminology: Terminology) -> None:
    for text, code in (("+", "LA6576-8"), ("Rh(+)", "LA6576-8"), ("-", "LA6577-6"), ("rh-", "LA6577-6"), ("Rh", None)):
        found = translate(terminology, "blood-group-rh-loinc", text)
        assert (found.code if found else None) == code


def test_a_map_that_does_not_exist_is_a_fault_of_the_mapping(terminology: Terminology) -> None:
    with pytest.raises(FhirError, match="no-such-map"):
        translate(terminology, "no-such-map", "1")


def test_every_map_leads_from_codes_that_exist_to_codes_that_exist(terminology: Terminology) -> None:
    for key in terminology.ids("ConceptMap"):
        concept_map = terminology.concept_map(key)
        assert concept_map is not None
        for group in concept_map.groups:
            source, target = terminology.code_system(group.source), terminology.code_system(group.target)
            for code, targets in group.matches.items():
                assert source is None or not source.complete or code in source.concepts, (key, code)
                for match in targets:
                    assert target is None or not match.code or target.has(match.code) is not False, (key, match)


def test_added_definitions_win_over_those_of_the_same_url(terminology: Terminology) -> None:
    added = terminology.with_resources(
        [{"resourceType": "CodeSystem", "id": "sex", "url": OWN + "sex", "content": "complete", "concept": []}]
    )
    assert added.lookup(OWN + "sex", "1") is None
    assert terminology.lookup(OWN + "sex", "1") is not None


@given(st.text(max_size=30))
@settings(max_examples=60)
def test_folding_a_name_twice_changes_nothing_more_and_ignores_case(text: str) -> None:
    assert fold_name(fold_name(text)) == fold_name(text)
    assert fold_words(text) == fold_words(" ".join(fold_words(text)))


def test_every_shipped_definition_is_valid_r4() -> None:
    validator = Validator(Definitions.load(DATA_ROOT))
    folder = DATA_ROOT / "terminology"
    for file in sorted(folder.glob("*_*/*.json")):
        assert [(issue.diagnostics, issue.expression) for issue in validator.validate(decode(file.read_bytes()))] == []


def test_who_loads_the_same_folder_shares_what_has_been_read() -> None:
    one, other = Terminology.load(DATA_ROOT), Terminology.load(DATA_ROOT)
    one.read()
    assert len(other.made) == len(list(other.entries()))
