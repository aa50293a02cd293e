"""The terminology operations as a client asks them, on the shipped lists and on what is sent along."""

from __future__ import annotations

import pytest

from tests.api.conftest import Client
from tests.api.terminology_questions import (
    FARM,
    ICD10,
    OWN,
    SETS,
    a_farm,
    a_set,
    asked,
    body,
    codes_of,
    named,
    posted,
    refused,
)

pytestmark = pytest.mark.usefixtures("emptied")


# --- $lookup ---------------------------------------------------------------------------------------------------------


async def test_lookup_answers_a_code_and_a_coding_alike(client: Client) -> None:
    by_code = await asked(client, "CodeSystem/$lookup", system=OWN + "ward", code="14758")
    coding = ("Coding", {"system": OWN + "ward", "code": "14758"})
    assert await posted(client, "CodeSystem/$lookup", body(coding=coding)) == by_code
    assert named(by_code, "display") == ["Phường Hàm Rồng"]
    assert named(by_code, "version") == ["1"]
    province = next(part for part in named(by_code, "property") if part[0]["valueCode"] == "province")
    assert province[1] == {"name": "value", "valueCode": "38"}


async def test_lookup_speaks_the_language_and_tells_the_properties_that_are_wanted(client: Client) -> None:
    told = await asked(
        client, "CodeSystem/$lookup", system=OWN + "sex", code="1", displayLanguage="en", property="inactive"
    )
    assert named(told, "display") == ["male"]
    assert named(told, "designation") == []
    assert [part[0]["valueCode"] for part in named(told, "property")] == ["inactive"]
    english = await asked(client, "CodeSystem/$lookup", system=OWN + "sex", code="1", property="lang.en")
    assert [part[1] for part in named(english, "designation")] == [{"name": "value", "valueString": "male"}]


async def test_a_day_chooses_what_was_in_force(client: Client) -> None:
    path, old = "CodeSystem/$lookup", OWN + "province-legacy"
    assert named(await asked(client, path, system=old, code="24", date="2025-06-30"), "display") == ["Tỉnh Bắc Giang"]
    assert await refused(client, path, 404, "not-found", system=old, code="24", date="2025-07-01") == ["code"]
    # The last evening in Việt Nam, though not in UTC.
    moment = "2025-06-30T18:00:00Z"
    assert await refused(client, path, 404, "not-found", system=old, code="24", date=moment) == ["code"]


@pytest.mark.parametrize(
    ("query", "status", "code", "place"),
    [
        ({"system": "urn:no:such", "code": "1"}, 404, "not-found", ["code"]),
        ({"system": OWN + "sex", "code": "9"}, 404, "not-found", ["code"]),
        ({"system": OWN + "sex", "code": "1", "version": "99"}, 404, "not-found", ["code"]),
        ({"code": "1"}, 400, "required", ["system"]),
        ({"system": OWN + "sex"}, 400, "required", ["code"]),
    ],
)
async def test_a_lookup_of_nothing_says_what_is_missing(
    client: Client, query: dict[str, str], status: int, code: str, place: list[str]
) -> None:
    assert await refused(client, "CodeSystem/$lookup", status, code, **query) == place


# --- $validate-code --------------------------------------------------------------------------------------------------


async def test_a_code_system_judges_code_display_and_day(client: Client) -> None:
    path, province = "CodeSystem/$validate-code", OWN + "province"
    good = await asked(client, path, url=province, code="24", date="2026-01-01", display="bac ninh")
    assert (named(good, "result"), named(good, "display")) == ([True], ["Tỉnh Bắc Ninh"])
    assert named(await asked(client, path, url=province, code="24", date="2025-01-01"), "result") == [False]
    assert named(await asked(client, path, url=province, code="24", display="Hà Nội"), "result") == [False]


async def test_a_wrong_code_is_answered_with_its_neighbours_in_the_language_of_the_caller(client: Client) -> None:
    told = await asked(client, "CodeSystem/$validate-code", url=OWN + "ward", code="14759", displayLanguage="vi")
    assert named(told, "result") == [False]
    message = named(told, "message")[0]
    assert "không có mã" in message
    assert "14758 (Phường Hàm Rồng)" in message


async def test_one_good_coding_of_a_codeable_concept_is_enough(client: Client) -> None:
    codings = [{"system": OWN + "allergy-group", "code": "99"}, {"system": OWN + "allergy-group", "code": "1"}]
    concept = ("CodeableConcept", {"coding": codings})
    sent = body(url=("Uri", SETS + "allergy-group"), codeableConcept=concept)
    assert named(await posted(client, "ValueSet/$validate-code", sent), "result") == [True]


async def test_an_abstract_code_is_good_only_where_it_is_asked_for(client: Client) -> None:
    await client.created(a_farm())
    path = "CodeSystem/$validate-code"
    assert named(await asked(client, path, url=FARM, code="animal"), "result") == [False]
    assert named(await asked(client, path, url=FARM, code="animal", abstract="true"), "result") == [True]


async def test_a_value_set_sent_along_judges_too_and_a_faulty_one_is_refused_by_place(client: Client) -> None:
    mine = a_set({"system": OWN + "sex", "concept": [{"code": "1"}]})
    for code, result in (("1", True), ("2", False)):
        sent = body(valueSet=mine, coding=("Coding", {"system": OWN + "sex", "code": code}))
        assert named(await posted(client, "ValueSet/$validate-code", sent), "result") == [result]
    wrong = body(valueSet=a_set({"system": 7}), coding=("Coding", {"system": OWN + "sex", "code": "1"}))
    places = await refused(client, "ValueSet/$validate-code", 400, "value", wrong)
    assert places == ["Parameters.parameter[0].resource.compose.include[0].system"]


async def test_a_context_names_the_value_set_that_r4_binds_to_an_element(client: Client) -> None:
    context = "http://hl7.org/fhir/StructureDefinition/Patient#Patient.gender"
    for code, result in (("female", True), ("hen", False)):
        told = await asked(client, "ValueSet/$validate-code", context=context, code=code)
        assert named(told, "result") == [result]
    assert await refused(client, "ValueSet/$validate-code", 404, "not-found", context="urn:x#Patient.x", code="1") == [
        "context"
    ]


# --- $subsumes -------------------------------------------------------------------------------------------------------


async def test_subsumes_takes_codes_and_codings(client: Client) -> None:
    path = "CodeSystem/$subsumes"
    assert named(await asked(client, path, system=ICD10, codeA="J02", codeB="J02.9"), "outcome") == ["subsumes"]
    sides = {
        "codingA": ("Coding", {"system": ICD10, "code": "J02.9"}),
        "codingB": ("Coding", {"system": ICD10, "code": "J00-J99"}),
    }
    assert named(await posted(client, path, body(**sides)), "outcome") == ["subsumed-by"]
    other = {**sides, "codingB": ("Coding", {"system": OWN + "sex", "code": "1"})}
    await refused(client, path, 400, "invalid", body(**other))
    assert await refused(client, path, 404, "not-found", system=OWN + "sex", codeA="1", codeB="77") == ["codeA"]


# --- $expand ---------------------------------------------------------------------------------------------------------


async def test_the_words_of_a_filter_need_no_marks(client: Client) -> None:
    told = await asked(client, "ValueSet/$expand", url=SETS + "ward", filter="than", count=1000)
    names = [one["display"] for one in told["expansion"]["contains"]]
    assert any("Thành" in name for name in names)
    assert any("Thanh" in name for name in names)
    assert {"name": "filter", "valueString": "than"} in told["expansion"]["parameter"]


async def test_pages_put_together_are_the_whole_and_too_many_at_once_are_refused(client: Client) -> None:
    url = SETS + "ward-legacy"
    assert await refused(client, "ValueSet/$expand", 422, "too-costly", url=url) == ["url"]
    pages = [
        await asked(client, "ValueSet/$expand", url=url, offset=offset, count=4000) for offset in (0, 4000, 8000, 12000)
    ]
    whole = [code for page in pages for code in codes_of(page)]
    assert {page["expansion"]["total"] for page in pages} == {10035} == {len(whole)} == {len(set(whole))}


async def test_a_definition_is_told_only_when_it_is_asked_for(client: Client) -> None:
    url = SETS + "allergy-group"
    assert "compose" not in await asked(client, "ValueSet/$expand", url=url)
    assert "compose" in await asked(client, "ValueSet/$expand", url=url, includeDefinition="true")


async def test_a_client_says_what_of_an_expansion_it_wants(client: Client) -> None:
    await client.created(a_farm())
    made = await client.created(a_set({"system": FARM}, {"system": OWN + "sex"}))
    path = f"ValueSet/{made['id']}/$expand"
    assert codes_of(await asked(client, path)) == ["animal", "dog", "hen", "stone", "1", "2", "3"]
    assert codes_of(await asked(client, path, excludeNotForUI="true"))[0] == "dog"
    assert codes_of(await asked(client, path, exclude_system=FARM)) == ["1", "2", "3"]
    dog = (await asked(client, path, filter="dog", includeDesignations="true"))["expansion"]["contains"]
    assert dog[0]["designation"] == [{"language": "en", "value": "dog"}]
    assert (
        "designation"
        not in (await asked(client, path, filter="dog", designation="urn:ietf:bcp:47|fr"))["expansion"]["contains"][0]
    )
    versions = [one for one in (await asked(client, path))["expansion"]["parameter"] if one["name"] == "version"]
    assert {"name": "version", "valueUri": f"{FARM}|1"} in versions


async def test_an_expansion_may_be_asked_by_the_value_set_as_the_whole_body(client: Client) -> None:
    told = await posted(client, "ValueSet/$expand?count=1", a_set({"system": OWN + "sex"}))
    assert (codes_of(told), told["expansion"]["total"]) == (["1"], 3)


@pytest.mark.parametrize(
    ("query", "status", "code", "place"),
    [
        ({"url": "urn:no:such"}, 404, "not-found", ["url"]),
        ({}, 400, "required", ["url"]),
        ({"url": SETS + "ward", "count": "-1"}, 400, "value", ["count"]),
        ({"url": SETS + "hiv-icd10"}, 422, "processing", ["url"]),
        ({"url": SETS + "ward", "system-version": "urn:x"}, 400, "value", ["system-version"]),
    ],
)
async def test_what_cannot_be_expanded_says_why(
    client: Client, query: dict[str, str], status: int, code: str, place: list[str]
) -> None:
    assert await refused(client, "ValueSet/$expand", status, code, **query) == place


# --- $translate ------------------------------------------------------------------------------------------------------


async def test_translate_goes_both_ways_and_finds_its_map(client: Client) -> None:
    path, vaccine = "ConceptMap/$translate", OWN + "vaccine"
    one = await asked(client, path, url="urn:vn-basic:ConceptMap:vaccine-cvx", system=vaccine, code="bcg")
    assert named(one, "match")[0][1]["valueCoding"]["code"] == "19"
    found = await asked(client, path, system=vaccine, code="bcg", targetsystem="http://hl7.org/fhir/sid/cvx")
    assert named(found, "match") == named(one, "match")
    back = await asked(client, path, system="http://hl7.org/fhir/sid/cvx", code="19", reverse="true")
    assert named(back, "match")[0][1]["valueCoding"] == {"system": vaccine, "code": "bcg", "display": "Lao (BCG)"}


async def test_a_code_without_a_match_is_told_so(client: Client) -> None:
    told = await asked(
        client, "ConceptMap/$translate", url="urn:vn-basic:ConceptMap:sex-gender", system=OWN + "sex", code="9"
    )
    assert named(told, "result") == [False]
    assert named(told, "message")
    assert await refused(client, "ConceptMap/$translate", 404, "not-found", url="urn:no", code="1") == ["url"]
    assert await refused(client, "ConceptMap/$translate", 400, "required", code="1") == ["url"]


# --- $preferred-id ---------------------------------------------------------------------------------------------------


async def test_preferred_id_knows_shipped_and_stored_naming_systems(client: Client) -> None:
    moh = "http://fhir.ehealth.gov.vn/core/sid/national_id"
    told = await asked(client, "NamingSystem/$preferred-id", id="http://fhir.hl7.org.vn/core/sid/cccd", type="uri")
    assert named(told, "result") == [moh]
    await client.created(
        {
            "resourceType": "NamingSystem",
            "name": "Snomed",
            "status": "active",
            "kind": "codesystem",
            "date": "2026-01-01",
            "uniqueId": [
                {"type": "uri", "value": "http://snomed.info/sct", "preferred": True},
                {"type": "oid", "value": "2.16.840.1.113883.6.96"},
            ],
        }
    )
    for id, type, result in (
        ("2.16.840.1.113883.6.96", "uri", "http://snomed.info/sct"),
        ("urn:oid:2.16.840.1.113883.6.96", "uri", "http://snomed.info/sct"),
        ("http://snomed.info/sct", "oid", "2.16.840.1.113883.6.96"),
    ):
        assert named(await asked(client, "NamingSystem/$preferred-id", id=id, type=type), "result") == [result]
    await refused(client, "NamingSystem/$preferred-id", 404, "not-found", id="urn:x", type="uri")
    await refused(client, "NamingSystem/$preferred-id", 400, "value", id="urn:x", type="colour")


# --- in a batch -------------------------------------------------------------------------------------------------------


async def test_an_operation_in_a_batch_is_answered_like_any_other(client: Client) -> None:
    url = f"CodeSystem/$lookup?system={OWN}sex&code=1"
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": url}}]}
    told = await posted(client, "", bundle)
    assert named(told["entry"][0]["resource"], "display") == ["Nam"]
