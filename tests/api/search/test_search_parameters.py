"""What parameters, modifiers, chains and scopes find."""

from __future__ import annotations

import pytest

from fhir_server.interactions import search
from tests.api.search.conftest import Searcher, following, names

# A query, and the ids that it finds: what R4 says of the world in world.py.
FOUND = {
    # R4 Search, string: case, marks and đ do not matter; any word's beginning
    "Patient?name=nguyen": "an",
    "Patient?name=NGUYỄN văn": "an",
    "Patient?name=an nguyen": "an",
    "Patient?family=dang": "cuong",
    "Patient?family:exact=Dang": "",
    "Patient?family:exact=Đặng": "cuong",
    "Patient?name:contains=guye": "an",
    "Patient?address=ha noi": "binh",
    "Patient?name:missing=true": "khong-ten",
    "Patient?name:missing=false": "an binh cuong dung",
    # token
    "Patient?gender=male": "an cuong",
    "Patient?gender=male,female": "an binh cuong dung",
    "Patient?gender:not=male": "binh dung khong-ten",
    "Patient?gender:not=male,female": "khong-ten",
    "Patient?active=true": "an binh",
    "Patient?identifier=001085000001": "an",
    "Patient?identifier=http://fhir.hl7.org.vn/core/sid/cccd|001085000001": "an",
    "Patient?identifier=http://nowhere.example|001085000001": "",
    "Patient?identifier=|001085000001": "",
    "Condition?code=http://hl7.org/fhir/sid/icd-10|I10": "an-tang-huyet-ap binh-tang-huyet-ap",
    "Condition?code=http://hl7.org/fhir/sid/icd-10|": "an-dai-thao-duong an-tang-huyet-ap binh-tang-huyet-ap cuong-hen",
    # date: ranges of partial dates, open periods
    "Patient?birthdate=1990-07": "binh cuong",
    "Patient?birthdate=1990-07-15": "binh",
    "Patient?birthdate=gt1990-07-20": "cuong khong-ten",
    "Patient?birthdate=lt1990": "an",
    "Patient?birthdate=1985,2001": "an khong-ten",
    "Patient?birthdate=ge1985&birthdate=lt1990": "an",
    "Patient?birthdate:missing=true": "dung",
    "Encounter?date=2026-01-01": "",
    "Encounter?date=ge2026": "an-nam-vien",
    "Encounter?date=2021-03": "binh-kham",
    # quantity
    "Observation?value-quantity=gt60|http://unitsofmeasure.org|kg": "an-can-nang an-can-nang-2",
    "Observation?value-quantity=61.5": "an-can-nang",
    "Observation?value-quantity=61500|http://unitsofmeasure.org|g": "an-can-nang",
    # composite within one element
    "Observation?code-value-quantity=29463-7$lt50": "binh-can-nang",
    # special
    "Location?near=21.03|105.85|2|km": "phong-kham",
    "Location?near=21.03|105.85|0.1|km": "",
    # reference: id, Type/id, :[type], absolute URL of this server, version
    "Observation?subject=an": "an-can-nang an-can-nang-2",
    "Observation?subject=Patient/an": "an-can-nang an-can-nang-2",
    "Observation?patient=an": "an-can-nang an-can-nang-2",
    "Observation?subject:Patient=an": "an-can-nang an-can-nang-2",
    "Observation?subject:Device=an": "",
    "Observation?subject=http://test/fhir/Patient/an": "an-can-nang an-can-nang-2",
    "Observation?subject=http://elsewhere.example/Patient/an": "",
    # AND by repetition, OR by comma, of all kinds
    "Patient?_tag=xa-a&gender=female": "binh",
    "Patient?_tag=urn:test|xa-a,urn:test|xa-b": "an binh cuong",
    "Patient?_profile=http://example.org/vn-patient": "an",
    "Patient?_id=an,dung,nobody": "an dung",
    "Patient?_id=an&name=tran": "",
    "Patient?_lastUpdated=gt2020": "an binh cuong dung khong-ten",
    "Patient?_lastUpdated=lt2020": "",
    # hierarchies of references
    "Patient?organization:below=so-y-te": "an binh cuong dung",
    "Patient?organization:below=benh-vien": "an binh cuong",
    "Patient?organization:below=Organization/tram": "an cuong",
    "Patient?organization:above=benh-vien": "binh dung",
    "Patient?organization:below=nowhere": "",
    "Observation?patient.organization:below=benh-vien": "an-can-nang an-can-nang-2 binh-can-nang binh-nhom-mau",
    "Encounter?service-provider:below=so-y-te": "binh-kham",
    # full text, folded
    "Medication?_text=huyet ap": "amlodipin",
    "Medication?_text=ap thuoc": "amlodipin",
    "Medication?_text=div": "",
    "Medication?_content=C08CA01": "amlodipin",
    "Patient?_content=hang bac": "binh",
    "Patient?_content=hang,dung": "binh dung",
    "Patient?_content=nguyen hang": "",
    "Patient?gender:not=male&_content=ngo": "dung",
    "Observation?patient._content=quoc": "",
    "Condition?patient._content=quoc": "cuong-hen",
    # _list
    "Patient?_list=theo-doi": "an dung",
    "Patient?_list=no-such-list": "",
    # chains
    "Observation?subject:Patient.name=nguyen": "an-can-nang an-can-nang-2",
    "Observation?subject.name=nguyen": "an-can-nang an-can-nang-2",
    "Observation?patient.gender=female": "binh-can-nang binh-nhom-mau",
    "Observation?patient.gender:not=male": "binh-can-nang binh-nhom-mau",
    "Observation?patient.organization.name=benh vien": "binh-can-nang binh-nhom-mau",
    "Observation?patient.organization.partof.name=benh": "an-can-nang an-can-nang-2",
    "Observation?patient.organization.partof.partof.name=so": "an-can-nang an-can-nang-2",
    "Patient?general-practitioner.name=le": "an",
    "Patient?general-practitioner:Organization.name=tram": "binh",
    "Patient?general-practitioner.name=tram,le": "an binh",
    "Observation?patient.name=nguyen&patient.gender=female": "",
    "Observation?patient._type=Patient": "an-can-nang an-can-nang-2 binh-can-nang binh-nhom-mau",
    # _has, nested, in a chain, in a chain's end
    "Patient?_has:Condition:patient:code=I10": "an binh",
    "Patient?_has:Condition:patient:code=I10&_has:Condition:patient:code=E11": "an",
    "Patient?_has:Observation:patient:_has:Observation:has-member:code=883-9": "binh",
    "Observation?patient._has:Condition:patient:code=J45": "",
    "Observation?patient._has:Condition:patient:code=E11": "an-can-nang an-can-nang-2",
    "Organization?_has:Patient:organization:_has:Condition:patient:code=J45": "tram",
    "Patient?_has:Condition:patient:onset-date=ge2022": "an",
    # R4 CompartmentDefinition
    "Patient/an/Condition": "an-dai-thao-duong an-tang-huyet-ap",
    "Patient/an/Condition?code=E11": "an-dai-thao-duong",
    "Patient/binh/Condition?code=E11": "",
    "Encounter/binh-kham/Condition": "binh-tang-huyet-ap",
    "Practitioner/bac-si/Observation": "binh-nhom-mau",
}


@pytest.mark.parametrize(("query", "ids"), FOUND.items())
async def test_a_search_finds_what_r4_says(world: Searcher, query: str, ids: str) -> None:
    found = [name.partition("/")[2] for name in await world.ids(query)]
    assert sorted(found) == ids.split()


async def test_a_compartment_holds_its_own_resource_and_all_that_belongs_to_it(world: Searcher) -> None:
    assert sorted(await world.ids("Patient/an/*")) == [
        "Condition/an-dai-thao-duong",
        "Condition/an-tang-huyet-ap",
        "Encounter/an-nam-vien",
        "MedicationDispense/an-cap-thuoc",
        "MedicationRequest/an-don-thuoc",
        "Observation/an-can-nang",
        "Observation/an-can-nang-2",
        "Patient/an",
    ]
    assert await world.ids("Patient/an/*?_type=Encounter") == ["Encounter/an-nam-vien"]


async def test_a_compartment_is_told_in_the_same_order_by_pages_of_any_size(
    world: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await world.ids("Patient/an/*")
    for size in (1, 2, 3):
        assert await world.ids(f"Patient/an/*?_count={size}") == whole
    first = await world.bundle("Patient/an/*?_count=3")
    # The rest is asked type by type, as it is for pages too long for one query.
    monkeypatch.setattr(search, "_MOST_AT_ONCE", 0)
    assert names(first) + await world.ids(following(first) or "") == whole


async def test_a_compartment_is_told_in_a_transaction_as_outside_of_it(world: Searcher) -> None:
    entry = {"request": {"method": "GET", "url": "Patient/an/*?_count=4"}}
    answer = await world.http.post("/fhir", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    inside = answer.json()["entry"][0]["resource"]
    assert names(inside) == names(await world.bundle("Patient/an/*?_count=4"))
    assert len(names(inside)) == 4


async def test_a_system_search_asks_the_types_named(world: Searcher) -> None:
    assert await world.ids("?_id=an,tram") == ["Organization/tram", "Patient/an"]
    assert await world.ids("?_type=Patient,Organization&_id=an,tram") == ["Patient/an", "Organization/tram"]
    assert await world.ids("?_type=Organization&_id=an,tram") == ["Organization/tram"]
    assert await world.ids("?_tag=xa-b") == ["Patient/cuong"]
    assert await world.ids("?_type=Patient,Group&_has:Observation:subject:code=883-9") == ["Patient/binh"]


async def test_a_posted_search_counts_body_and_url_together(world: Searcher) -> None:
    async def posted(path: str, body: str) -> list[str]:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = await world.http.post(f"/fhir/{path}", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return names(answer.json())

    assert await posted("Patient/_search", "name=nguyen&gender=male") == ["Patient/an"]
    assert await posted("Patient/_search?gender=female", "name=nguyen") == []
    assert await posted("Patient/_search?gender=male", "name=nguy%E1%BB%85n") == ["Patient/an"]
    assert await posted("_search", "_type=Patient&_id=binh") == ["Patient/binh"]
    assert await posted("Patient/an/Condition/_search", "code=E11") == ["Condition/an-dai-thao-duong"]
    assert await posted("Patient/_search?name=nguyen", "") == ["Patient/an"]


async def test_a_body_that_is_no_form_is_refused(world: Searcher) -> None:
    answer = await world.http.post("/fhir/Patient/_search", content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 415


# A query that R4 does not allow however lenient the server is, and a word of the answer.
REFUSED = {
    "Patient?gender:exact=male": "exact",
    "Patient?birthdate:contains=19": "contains",
    "Patient?name:text=an": "text",
    "Patient?general-practitioner:Encounter=1": "Encounter",
    "Patient?birthdate=yesterday": "yesterday",
    "Patient?birthdate=ge": "birthdate",
    "Patient?active:missing=perhaps": "true or false",
    "Patient?_has:Observation=1": "_has",
    "Patient?_count=many": "_count",
    "Patient?_count=1&_count=2": "twice",
    "Patient?_include=Observation:subject:NotAType": "NotAType",
    "Patient?_revinclude=Observation:subject:NotAType": "NotAType",
    "Patient?_include:sometimes=Patient:organization": "sometimes",
    "?_type=Patient,Nonsense": "Nonsense",
    "Location?near=here": "near",
    "Patient?_query=everyone": "_query",
    "Patient?_list=$current-problems": "_list",
    "Patient?_list:not=theo-doi": "R4 has no modifier :not",
    "Patient?_content:exact=a": "R4 has no modifier :exact",
    "Patient?_filter=name eq": "where it ends",
    "Patient?_page=forged": "page link",
}


@pytest.mark.parametrize(("query", "word"), REFUSED.items())
async def test_what_r4_does_not_allow_is_refused_by_name(world: Searcher, query: str, word: str) -> None:
    assert word in await world.refusal(query)


async def test_a_list_of_codes_that_is_not_there_is_told_of_with_its_parameter(world: Searcher) -> None:
    for query in (
        "Condition?code:in=http://nowhere.example/vs",
        "Patient?_has:Condition:patient:code:below=urn:none|1",
    ):
        answer = await world.answer(query)
        assert answer.status_code == 400
        (issue,) = answer.json()["issue"]
        assert issue["expression"] == [f"code:{'in' if ':in' in query else 'below'}"]


# What a lenient search leaves out, and a strict one refuses.
UNUSABLE = {
    "Patient?gender=male&colour=blue": "colour",
    "Patient?gender=male&name=": "name",
    "Patient?gender=male&organization.colour=blue": "organization.colour",
    "Patient?gender=male&_has:Observation:colour:code=1": "_has",
    "Patient?gender=male&_sort=colour": "_sort",
    "Patient?gender=male&_include=Patient:colour": "_include",
    "Patient?gender=male&_summary=perhaps": "_summary",
    "Patient?gender=male&_total=perhaps": "_total",
    "Patient?gender=male&_revinclude:iterate=Observation:*": "_revinclude",
}


@pytest.mark.parametrize(("query", "word"), UNUSABLE.items())
async def test_an_unusable_parameter_is_told_when_lenient_and_refused_when_strict(
    world: Searcher, query: str, word: str
) -> None:
    bundle = await world.bundle(query, prefer="handling=lenient")
    assert sorted(names(bundle)) == ["Patient/an", "Patient/cuong"]
    outcomes = [entry["resource"] for entry in bundle["entry"] if entry["search"]["mode"] == "outcome"]
    assert word in outcomes[0]["issue"][0]["diagnostics"]
    assert bundle["link"][0] == {"relation": "self", "url": "http://test/fhir/Patient?gender=male"}
    assert word in await world.refusal(query, prefer="handling=strict")


async def test_a_compartment_that_r4_does_not_define_is_not_found(world: Searcher) -> None:
    assert "compartment" in await world.refusal("Organization/tram/Patient", 404)
    assert "compartment" in await world.refusal("Patient/an/Organization", 404)
