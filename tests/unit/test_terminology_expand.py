"""$expand and the search modifiers, as pure functions: which codes a value set has."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from terminology_builders import ACT_CODE, ICD10, NOW, OWN, a_system, a_value_set, codes_of

from fhir_server.errors import FhirError, Kind
from fhir_server.terminology.expand import Expansion, codes, expand
from fhir_server.terminology.filters import whole_pattern
from fhir_server.terminology.folding import fold_words
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.membership import is_member, members


@pytest.fixture(scope="module")
def terminology() -> Terminology:
    return Terminology.load()


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


def test_names_are_those_of_the_version_that_is_asked_for(terminology: Terminology) -> None:
    chosen = [{"system": OWN + "visit-type", "version": version} for version in "12"]
    names = [{"system": OWN + "visit-type", "version": "1", "concept": [{"code": "04"}]}]
    for parts, words, wanted in (
        (chosen[:1], "noi tru ban", ["04"]),
        (chosen[1:], "noi tru ban", []),
        (names, "noi tru ban", ["04"]),
        (names, "ban ngay", ["04"]),
    ):
        shown = expand(terminology, a_value_set(*parts), Expansion(filter=words), NOW)
        assert codes_of(shown) == wanted
        assert all(one["display"] == "Điều trị nội trú ban ngày" for one in shown["expansion"].get("contains", ()))


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


def test_an_expression_constraint_of_snomed_ct_is_refused(terminology: Terminology) -> None:
    constraint = {"property": "constraint", "op": "=", "value": "<< 404684003"}
    wanted = a_value_set({"system": "http://snomed.info/sct", "filter": [constraint]})
    with pytest.raises(FhirError, match="ECL") as refused:
        is_member(terminology, wanted, "http://snomed.info/sct", "404684003")
    assert refused.value.kind is Kind.NOT_IMPLEMENTED
    assert terminology.value_set("http://snomed.info/sct?fhir_vs=ecl/%3C404684003") is None


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


def test_a_set_that_has_no_inactive_codes_leaves_them_out_everywhere(terminology: Terminology) -> None:
    retired = {"code": "b", "property": [{"code": "inactive", "valueBoolean": True}]}
    loaded = terminology.with_resources([a_system({"code": "a"}, retired)])
    for inactive, left in ((False, ["a"]), (True, ["a", "b"])):
        chosen = a_value_set({"system": "urn:test:system"})
        chosen["compose"]["inactive"] = inactive
        assert codes_of(expand(loaded, chosen, Expansion(), NOW)) == left
        assert [code for code in "ab" if is_member(loaded, chosen, "urn:test:system", code)] == left


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
        ("visit-type", 16),
        ("patient-category", 27),
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
