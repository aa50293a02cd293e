"""How answers are shaped: order, pages, inclusions, totals, summaries."""

from __future__ import annotations

import pytest

from tests.api.search.conftest import Searcher, following, link_of, names

# A query, and the ids in their order.
SORTED = {
    # by the primary date, from the index; the oldest first unless asked otherwise
    "Observation?code=29463-7": "an-can-nang binh-can-nang an-can-nang-2",
    "Observation?code=29463-7&_sort=-date": "an-can-nang-2 binh-can-nang an-can-nang",
    "Observation?code=29463-7&_sort=date": "an-can-nang binh-can-nang an-can-nang-2",
    # what has no value comes last, in either direction
    "Patient?_sort=birthdate": "an cuong binh khong-ten dung",
    "Patient?_sort=-birthdate": "khong-ten binh cuong an dung",
    "Condition?_sort=onset-date": "an-tang-huyet-ap binh-tang-huyet-ap an-dai-thao-duong cuong-hen",
    "Condition?_sort=-onset-date": "an-dai-thao-duong binh-tang-huyet-ap an-tang-huyet-ap cuong-hen",
    "Condition?_sort=recorded-date,_id": "an-tang-huyet-ap an-dai-thao-duong binh-tang-huyet-ap cuong-hen",
    "Condition?_sort=-recorded-date,_id": "an-tang-huyet-ap an-dai-thao-duong binh-tang-huyet-ap cuong-hen",
    # every other type of parameter
    "Patient?_sort=family": "cuong dung an binh khong-ten",
    "Patient?_sort=-family": "binh an dung cuong khong-ten",
    "Observation?_sort=value-quantity": "binh-can-nang an-can-nang an-can-nang-2 binh-nhom-mau",
    "Observation?_sort=-value-quantity": "an-can-nang-2 an-can-nang binh-can-nang binh-nhom-mau",
    "Patient?_sort=general-practitioner,_id": "binh an cuong dung khong-ten",
    "Patient?_sort=_id": "an binh cuong dung khong-ten",
    "Patient?_sort=-_id": "khong-ten dung cuong binh an",
    # several keys, each with its own direction and its own missing values
    "Patient?_sort=gender,-family": "binh dung an cuong khong-ten",
    "Patient?_sort=-gender,family": "cuong an dung binh khong-ten",
    "Patient?_sort=active,family,_id": "cuong an binh dung khong-ten",
    "Patient?_sort=gender,active,-_id": "binh dung cuong an khong-ten",
}


@pytest.mark.parametrize(("query", "ids"), SORTED.items())
async def test_matches_stand_in_the_order_asked_for(world: Searcher, query: str, ids: str) -> None:
    assert [name.partition("/")[2] for name in await world.ids(query)] == ids.split()


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize(
    "query", [*SORTED, "Patient?organization.name=tram", "Patient?_has:Condition:patient:code=I10"]
)
async def test_pages_of_any_size_give_the_same_matches_in_the_same_order(
    world: Searcher, query: str, size: int
) -> None:
    whole = await world.ids(query)
    pages = await world.pages(f"{query}&_count={size}")
    assert [name for page in pages for name in names(page)] == whole
    assert all(len(names(page)) == size for page in pages[:-1])


async def test_people_of_one_family_name_are_each_told_once_on_some_page(empty: Searcher) -> None:
    """Each has several keys under the name, and all have the same: a walk over the keys meets each of them again."""
    people = [
        {"resourceType": "Patient", "id": f"p{n}", "name": [{"family": "Đặngtrang", "given": ["Trang", "Đặng"]}]}
        for n in range(5)
    ]
    await empty.put(*people)
    found = await empty.ids("Patient?family=dangtrang&_count=2")
    assert sorted(found) == [f"Patient/p{n}" for n in range(5)]


async def test_a_system_search_in_one_order_merges_the_types(world: Searcher) -> None:
    found = await world.ids("?_type=Patient,Organization,Practitioner&_sort=_id&_count=2")
    assert found == sorted(found, key=lambda name: name.partition("/")[2])
    assert len(found) == 9
    newest = await world.ids("?_type=Patient,Organization&_sort=-_lastUpdated&_count=3")
    assert len(newest) == len(set(newest)) == 8


async def test_a_system_search_without_order_gives_each_match_once(world: Searcher) -> None:
    found = await world.ids("?_lastUpdated=gt2020&_count=3")
    assert len(found) == len(set(found)) == len(await world.ids("?_lastUpdated=gt2020&_count=1000"))


async def test_page_links_reveal_nothing_and_cannot_be_changed(world: Searcher) -> None:
    first = await world.bundle("Patient?name:missing=false&_count=1")
    link = following(first)
    assert link is not None
    assert link.startswith("http://test/fhir/Patient?_page=")
    assert "name" not in link
    for place in (50, len(link) - 3):
        forged = link[:place] + ("A" if link[place] != "A" else "B") + link[place + 1 :]
        assert "page link" in await world.refusal(forged)
    assert "another path" in await world.refusal(link.replace("/Patient?", "/Observation?"))


async def test_a_query_too_long_for_a_link_is_kept_by_the_server(world: Searcher) -> None:
    filler = ",".join(f"nobody-{number}" for number in range(600))
    found = await world.ids(f"Patient?_id=an,binh,cuong,{filler}&_count=1")
    assert sorted(found) == ["Patient/an", "Patient/binh", "Patient/cuong"]
    link = following(await world.bundle(f"Patient?_id=an,binh,{filler}&_count=1"))
    assert link is not None
    assert len(link) < 1000


async def test_the_self_link_tells_what_was_used(world: Searcher) -> None:
    bundle = await world.bundle("Patient?name=nguy%E1%BB%85n&_tag=urn:test|xa-a&_sort=-birthdate")
    assert link_of(bundle, "self") == (
        "http://test/fhir/Patient?name=nguy%E1%BB%85n&_tag=urn:test|xa-a&_sort=-birthdate"
    )


# A query, what matches and what it includes.
INCLUDED = {
    "Observation?_id=binh-nhom-mau&_include=Observation:performer": "Practitioner/bac-si",
    "Observation?_id=binh-nhom-mau&_include=Observation:subject:Patient": "Patient/binh",
    "Observation?_id=binh-nhom-mau&_include=Observation:subject:Device": "",
    "Observation?_id=binh-nhom-mau&_include=Observation:*": (
        "Observation/binh-can-nang Patient/binh Practitioner/bac-si"
    ),
    "Observation?_id=binh-nhom-mau&_include=*": "Observation/binh-can-nang Patient/binh Practitioner/bac-si",
    "Observation?_id=an-can-nang&_include=Observation:patient&_include=Patient:organization": "Patient/an",
    "Observation?_id=an-can-nang&_include=Observation:patient&_include:iterate=Patient:organization": (
        "Organization/tram Patient/an"
    ),
    "Organization?_id=tram&_include=Organization:partof": "Organization/benh-vien",
    "Organization?_id=tram&_include:iterate=Organization:partof": "Organization/benh-vien Organization/so-y-te",
    "Patient?_id=binh&_revinclude=Condition:patient": "Condition/binh-tang-huyet-ap",
    "Patient?_id=binh&_revinclude=Condition:*&_revinclude=Encounter:patient": (
        "Condition/binh-tang-huyet-ap Encounter/binh-kham"
    ),
    "Patient?_id=an&_revinclude=MedicationRequest:patient&_revinclude:iterate=MedicationDispense:prescription": (
        "MedicationDispense/an-cap-thuoc MedicationRequest/an-don-thuoc"
    ),
    "Practitioner?_id=bac-si&_revinclude=*:*": ("MedicationRequest/an-don-thuoc Observation/binh-nhom-mau Patient/an"),
    "Location?_id=phong-kham&_include=Location:organization&_revinclude=Encounter:location": (
        "Encounter/binh-kham Organization/tram"
    ),
}


@pytest.mark.parametrize(("query", "included"), INCLUDED.items())
async def test_inclusions_stand_on_top_of_the_page_each_once(world: Searcher, query: str, included: str) -> None:
    bundle = await world.bundle(query)
    assert len(names(bundle)) == 1
    assert sorted(names(bundle, "include")) == included.split()


async def test_inclusions_belong_to_their_page(world: Searcher) -> None:
    query = "Observation?code=29463-7&_include=Observation:subject&_count=1"
    included = [names(page, "include") for page in await world.pages(query)]
    assert included == [["Patient/an"], ["Patient/binh"], ["Patient/an"]]


async def test_a_single_page_knows_its_total_and_a_longer_answer_counts_when_asked(world: Searcher) -> None:
    assert (await world.bundle("Patient?gender=male"))["total"] == 2
    assert "total" not in await world.bundle("Patient?gender=male&_total=none")
    assert "total" not in await world.bundle("Patient?gender=male&_count=1")
    for asked in ("accurate", "estimate"):
        pages = await world.pages(f"Patient?gender=male&_count=1&_total={asked}")
        assert [page["total"] for page in pages] == [2, 2]


async def test_only_the_number_of_matches_is_told_when_that_is_asked(world: Searcher) -> None:
    for asked in ("_summary=count", "_count=0"):
        bundle = await world.bundle(f"Patient?gender=male&{asked}")
        assert bundle["total"] == 2
        assert "entry" not in bundle
    assert (await world.bundle("Patient?_has:Condition:patient:code=I10&_summary=count"))["total"] == 2
    assert (await world.bundle("?_type=Patient,Organization&_summary=count"))["total"] == 8


async def test_a_page_is_no_larger_than_the_limit_of_the_server(world: Searcher) -> None:
    assert len(names(await world.bundle("Patient?_count=1000000"))) == 5


async def test_summaries_and_elements_are_cut_and_marked(world: Searcher) -> None:
    def only(bundle: dict[str, object]) -> dict[str, object]:
        entries = bundle["entry"]
        assert isinstance(entries, list)
        resource = entries[0]["resource"]
        assert isinstance(resource, dict)
        assert resource["meta"]["tag"][-1]["code"] == "SUBSETTED"
        return resource

    summary = only(await world.bundle("Medication?_id=amlodipin&_summary=true"))
    assert "code" in summary
    assert "text" not in summary
    assert set(only(await world.bundle("Medication?_id=amlodipin&_summary=text"))) == {
        "resourceType",
        "id",
        "meta",
        "text",
    }
    assert "text" not in only(await world.bundle("Medication?_id=amlodipin&_summary=data"))
    elements = only(await world.bundle("Observation?_id=an-can-nang&_elements=value,subject"))
    assert set(elements) == {"resourceType", "id", "meta", "status", "code", "valueQuantity", "subject"}
    whole = await world.bundle("Medication?_id=amlodipin&_summary=false")
    assert "tag" not in whole["entry"][0]["resource"]["meta"]


async def test_an_element_that_no_type_has_is_told_and_cuts_nothing(world: Searcher) -> None:
    asked = "Observation?_id=an-can-nang&_elements=value,subjekt"
    found, outcome = [entry["resource"] for entry in (await world.bundle(asked))["entry"]]
    assert "subject" in found
    assert "'subjekt'" in outcome["issue"][0]["diagnostics"]
    assert "'subjekt'" in await world.refusal(asked, Prefer="handling=strict")


async def test_entries_carry_their_url_and_the_bytes_as_they_are_read(world: Searcher) -> None:
    entry = (await world.bundle("Patient?_id=an"))["entry"][0]
    assert entry["fullUrl"] == "http://test/fhir/Patient/an"
    assert entry["search"] == {"mode": "match"}
    assert entry["resource"] == (await world.answer("Patient/an")).json()


async def test_contained_resources_are_found_when_asked_for(world: Searcher) -> None:
    query = "Medication?code=urn:atc|C08CA01"
    assert await world.ids(query) == ["Medication/amlodipin"]
    assert await world.ids(f"{query}&_contained=true") == ["MedicationRequest/an-don-thuoc"]
    assert await world.ids(f"{query}&_contained=both") == ["Medication/amlodipin", "MedicationRequest/an-don-thuoc"]
    assert await world.ids(f"{query}&_contained=both&_count=1") == [
        "Medication/amlodipin",
        "MedicationRequest/an-don-thuoc",
    ]
    assert await world.ids("Medication?code=urn:atc|OTHER&_contained=true") == []
    assert await world.ids("Medication?code:not=OTHER&_contained=true") == ["MedicationRequest/an-don-thuoc"]


async def test_a_contained_resource_is_answered_itself_when_asked_for(world: Searcher) -> None:
    bundle = await world.bundle("Medication?code=C08CA01&_contained=true&_containedType=contained")
    (entry,) = bundle["entry"]
    assert entry["fullUrl"] == "http://test/fhir/MedicationRequest/an-don-thuoc#thuoc"
    assert entry["resource"] == {
        "resourceType": "Medication",
        "id": "thuoc",
        "code": {"coding": [{"system": "urn:atc", "code": "C08CA01"}]},
    }


async def test_what_does_not_reach_into_contained_resources_is_refused(world: Searcher) -> None:
    assert "_sort" in await world.refusal("Medication?_contained=true&_sort=code")
    assert "chains" in await world.refusal("Medication?_contained=true&manufacturer.name=a")
