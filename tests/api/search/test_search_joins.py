"""Chains and _has give the same answer however long the other side is, and see no more than the caller may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions import finder, joins
from fhir_server.interactions.exchange import Context, FhirRequest
from fhir_server.interactions.joins import Reach
from fhir_server.interactions.matching import criterion, match
from fhir_server.interactions.search import search
from fhir_server.model.resources import decode
from fhir_server.search.parse import query_pairs
from fhir_server.store import reads
from fhir_server.store.values import NOTHING, View
from tests.api.search.conftest import Searcher, following, names
from tests.api.search.test_search_parameters import FOUND

JOINED = {
    query: ids
    for query, ids in FOUND.items()
    if ("." in query.partition("?")[2] or "_has" in query) and ":below" not in query
}
assert len(JOINED) > 20


@pytest.fixture(params=["asked of each batch", "resolved after a while", "too long to resolve"])
def long_lists(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every list too long to be put into the query at once."""
    patience, at_most = {
        "asked of each batch": (1_000_000, joins.AT_MOST),
        "resolved after a while": (0, joins.AT_MOST),
        "too long to resolve": (0, Reach(0, 0)),
    }[request.param]
    for module in (finder, joins):
        monkeypatch.setattr(module, "AT_ONCE", Reach(0, 1))
        monkeypatch.setattr(module, "AT_MOST", at_most)
        monkeypatch.setattr(module, "LARGEST_BATCH", 2)
    monkeypatch.setattr("fhir_server.interactions.search.AT_ONCE", Reach(0, 1))
    monkeypatch.setattr("fhir_server.interactions.search.AT_FIRST", Reach(0, 1))
    monkeypatch.setattr(finder, "PATIENCE", patience)
    monkeypatch.setattr(finder, "_FIRST_BATCH", 1)


@pytest.mark.usefixtures("long_lists")
@pytest.mark.parametrize(("query", "ids"), JOINED.items())
async def test_a_join_is_exact_when_the_other_side_is_long(world: Searcher, query: str, ids: str) -> None:
    assert sorted(name.partition("/")[2] for name in await world.ids(query)) == ids.split()
    paged = await world.ids(f"{query}&_count=1")
    assert sorted(name.partition("/")[2] for name in paged) == ids.split()
    assert (await world.bundle(f"{query}&_summary=count"))["total"] == len(ids.split())


@pytest.fixture(scope="module")
async def context(world: Searcher, own_settings: Settings) -> AsyncIterator[Context]:
    """The world without HTTP, for what HTTP cannot say yet."""
    async with open_context(own_settings) as context:
        yield context


async def ask(context: Context, query: str) -> dict[str, Any]:
    path, _, text = query.partition("?")
    segments = tuple(path.split("/")) if path else ()
    bundle: dict[str, Any] = decode((await search(context, FhirRequest("GET", segments, query_pairs(text)))).body)
    return bundle


# Every query that would tell something of Trần Thị Bình.
TELLING = [
    "Patient?_id=binh",
    "Patient?name=tran",
    "Condition?_id=binh-tang-huyet-ap",
    "Condition?patient.name=tran",
    "Observation?patient.gender=female",
    "Organization?_id=benh-vien&_has:Patient:organization:gender=female",
    "Practitioner?_has:Observation:performer:patient.name=tran",
    "Patient/binh/*",
    "?_id=binh",
]


@pytest.mark.parametrize("query", TELLING)
async def test_what_a_view_hides_is_neither_found_nor_joined_nor_counted(context: Context, query: str) -> None:
    hidden = {"p": {"$ne": "binh"}}
    view = View(dict.fromkeys(("Patient", "Condition", "Observation", "Encounter"), hidden))
    assert names(await ask(context, query)) != []
    assert names(await ask(context.with_(view=view), query)) == []
    assert (await ask(context.with_(view=view), f"{query}{'&' if '?' in query else '?'}_summary=count"))["total"] == 0


async def test_what_a_view_hides_is_not_included(context: Context) -> None:
    view = View({"Patient": NOTHING, "Organization": NOTHING})
    query = "Condition?_id=binh-tang-huyet-ap&_include=Condition:patient&_include:iterate=Patient:organization"
    assert names(await ask(context, query), "include") == ["Patient/binh", "Organization/benh-vien"]
    assert names(await ask(context.with_(view=view), query), "include") == []
    reverse = "Organization?_id=benh-vien&_revinclude=Patient:organization"
    assert names(await ask(context.with_(view=view), reverse), "include") == []


async def test_a_page_link_is_answered_with_the_view_of_who_follows_it(context: Context) -> None:
    first = await ask(context, "Patient?_sort=_id&_count=1")
    text = next(link["url"] for link in first["link"] if link["relation"] == "next").partition("?")[2]
    narrow = context.with_(view=View({"Patient": {"p": {"$in": ["an", "dung"]}}}))
    following = await search(narrow, FhirRequest("GET", ("Patient",), query_pairs(text)))
    assert names(decode(following.body)) == ["Patient/dung"]


async def test_inclusions_beyond_the_limit_are_told(context: Context) -> None:
    few = context.with_(settings=context.settings.model_copy(update={"include_limit": 2}))
    bundle = await ask(few, "Patient?_id=an&_revinclude=Condition:patient&_revinclude=Observation:patient")
    assert len(names(bundle, "include")) == 2
    outcome = bundle["entry"][-1]
    assert outcome["search"] == {"mode": "outcome"}
    assert "more than 2 resources" in outcome["resource"]["issue"][0]["diagnostics"]


@pytest.mark.usefixtures("long_lists")
async def test_a_search_beyond_the_work_limit_names_its_costly_part(context: Context) -> None:
    weak = context.with_(settings=context.settings.model_copy(update={"search_work": 3}))
    with pytest.raises(FhirError, match="_has:Condition:patient:code") as fault:
        await ask(weak, "Patient?_has:Condition:patient:code=I10,E11,J45")
    assert fault.value.kind is Kind.TOO_COSTLY


async def test_a_search_beyond_the_time_limit_names_its_costly_part(context: Context) -> None:
    slow = context.with_(settings=context.settings.model_copy(update={"search_seconds": 1e-9}))
    with pytest.raises(FhirError, match=r"patient:Patient\.name") as fault:
        await ask(slow, "Condition?patient:Patient.name=nguyen")
    assert fault.value.kind is Kind.TOO_COSTLY


@pytest.mark.parametrize("query", ["?_type=Patient,Condition&_id=an", "Patient?_sort=family", "Patient?_count=0"])
async def test_a_search_beyond_the_time_limit_asks_no_further(context: Context, query: str) -> None:
    slow = context.with_(settings=context.settings.model_copy(update={"search_seconds": 1e-9}))
    with pytest.raises(FhirError, match="the search took over 1e-09 s") as fault:
        await ask(slow, query)
    assert fault.value.kind is Kind.TOO_COSTLY


# Conditions that a conditional interaction must refuse whatever the handling is.
UNFIT = {
    "": Kind.PRECONDITION,
    "identifer=1": Kind.UNSUPPORTED_PARAMETER,
    "identifier=": Kind.UNSUPPORTED_PARAMETER,
    "birthdate=soon": Kind.INVALID,
    "_count=1": Kind.UNSUPPORTED_PARAMETER,
    "name=a&_sort=name": Kind.UNSUPPORTED_PARAMETER,
    "_id:missing=false": Kind.PRECONDITION,
    "_type=Patient": Kind.PRECONDITION,
}


@pytest.mark.parametrize(("text", "kind"), UNFIT.items())
async def test_a_condition_that_could_match_everyone_is_refused(context: Context, text: str, kind: Kind) -> None:
    with pytest.raises(FhirError) as fault:
        await match(context, "Patient", query_pairs(text), context.store)
    assert fault.value.kind is kind


async def test_a_condition_gives_no_more_than_is_asked_for(context: Context) -> None:
    found = await match(context, "Patient", query_pairs("gender=male"), context.store, limit=1)
    assert len(found) == 1
    both = await match(context, "Patient", query_pairs("gender=male&general-practitioner.name=le"), context.store)
    assert [stored.id for stored in both] == ["an"]


async def test_all_spellings_of_a_condition_have_one_text(context: Context) -> None:
    def text(query: str) -> str:
        return criterion(context, "Patient", query_pairs(query))

    assert text("name=Nguyễn&gender=male") == text("gender=male&name=NGUYEN&gender=male")
    assert text("_id=b,a") == text("_id=a,b")
    assert text("gender=male") != text("gender=female")
    assert text("family:exact=An") != text("family:exact=AN")
    assert text("general-practitioner:Practitioner=1") == text("general-practitioner=Practitioner/1")
    cccd = ["http://fhir.hl7.org.vn/core/sid/cccd", "urn:vn-basic:sid:cccd"]
    one, other = (text(f"identifier={uri}|001085000001") for uri in cccd)
    assert one == other


async def test_a_sort_of_more_than_the_work_limit_is_refused(context: Context) -> None:
    weak = context.with_(settings=context.settings.model_copy(update={"search_work": 3}))
    assert len(names(await ask(weak, "Patient?gender=male&_sort=family"))) == 2
    with pytest.raises(FhirError, match=r"would look at more than 3 .*costly: _sort") as fault:
        await ask(weak, "Patient?_sort=family")
    assert fault.value.kind is Kind.TOO_COSTLY


@pytest.mark.usefixtures("long_lists")
async def test_a_sort_that_is_asked_again_for_each_batch_of_a_join_counts_each_time(context: Context) -> None:
    query = "Patient?_has:Condition:patient:code=I10,E11,J45&_sort=family"
    assert len(names(await ask(context, query))) > 1
    weak = context.with_(settings=context.settings.model_copy(update={"search_work": 7}))
    assert len(names(await ask(weak, "Patient?_sort=family"))) == 5
    with pytest.raises(FhirError) as fault:
        await ask(weak, query)
    assert fault.value.kind is Kind.TOO_COSTLY


def an_observation(id: str, *performers: str) -> dict[str, Any]:
    pointing = [{"reference": f"Patient/{performer}"} for performer in performers]
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"}, "performer": pointing}


async def test_pages_through_a_list_of_people_go_on_when_the_list_has_grown(
    empty: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond what a first page would put into its query; and what several of them made comes once."""
    for module in ("finder", "search"):
        monkeypatch.setattr(f"fhir_server.interactions.{module}.AT_FIRST", Reach(2, 2))
    people = [{"resourceType": "Patient", "id": f"p{n}", "name": [{"family": "Ngọ"}]} for n in range(5)]
    made = [
        an_observation("a", "p1"),
        an_observation("b", "p3", "p1"),
        an_observation("c", "p3"),
        an_observation("d", "p3"),
    ]
    await empty.put(people[1], people[3], *made)
    page = await empty.bundle("Observation?performer:Patient.name=ngo&_count=1")
    await empty.put(people[0], people[2], people[4], an_observation("e", "p2", "p3"))
    told = names(page)
    while (link := following(page)) is not None:
        page = await empty.bundle(link)
        told += names(page)
    assert sorted(told) == [f"Observation/{id}" for id in "abcde"]


# Searches that look at more than two people, of whom few fit; and the part that is told.
WORK = {
    "Patient?gender:not=male": "gender:not",
    "Patient?name:contains=guye": "name:contains",
    "Patient?_tag=xa-a,xa-b&gender:not=male": "_tag and gender:not",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every query takes too long to be let go on without a bound."""
    monkeypatch.setattr(reads, "QUICK_MS", 0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("query", "part"), WORK.items())
@pytest.mark.parametrize("sort", ["", "&_sort=birthdate", "&_sort=-birthdate"])
async def test_a_search_that_looks_at_more_than_the_work_limit_is_refused_by_its_costly_part(
    context: Context, query: str, part: str, sort: str
) -> None:
    weak = context.with_(settings=context.settings.model_copy(update={"search_work": 2}))
    with pytest.raises(FhirError, match=f"looked at 2 .*costly: {part}") as fault:
        await ask(weak, query + sort)
    assert fault.value.kind is Kind.TOO_COSTLY


@pytest.mark.usefixtures("impatient")
async def test_what_is_answered_within_the_work_limit_is_what_is_answered_without(context: Context) -> None:
    weak = context.with_(settings=context.settings.model_copy(update={"search_work": 4}))
    answered = refused = 0
    for query in FOUND:
        for sort in ("", "&_sort=birthdate") if query.startswith("Patient?") else ("",):
            try:
                found = names(await ask(weak, f"{query}{sort}"))
            except FhirError as fault:
                if fault.kind is not Kind.TOO_COSTLY:
                    raise
                refused += 1
                continue
            assert found == names(await ask(context, f"{query}{sort}")), query
            answered += 1
    assert answered > 100
    assert refused > 5


@pytest.mark.usefixtures("impatient")
async def test_the_work_limit_is_for_each_page(context: Context) -> None:
    weak = context.with_(settings=context.settings.model_copy(update={"search_work": 4}))
    told: list[str] = []
    text = "gender:missing=false&_count=1&name:contains=n"
    while text:
        page = await ask(weak, f"Patient?{text}")
        told += names(page)
        text = next((link["url"] for link in page["link"] if link["relation"] == "next"), "").partition("?")[2]
    assert sorted(told) == sorted(names(await ask(context, "Patient?name:contains=n")))
    assert len(told) == 4


@pytest.fixture
def out_of_time(mongodb: MongoClient[dict[str, Any]]) -> Iterator[None]:
    """A database that finds every query too long."""
    try:
        mongodb.admin.command("configureFailPoint", "maxTimeAlwaysTimeOut", mode="alwaysOn")
    except OperationFailure as answer:
        pytest.skip(f"this MongoDB has no test commands: {answer}")
    yield
    mongodb.admin.command("configureFailPoint", "maxTimeAlwaysTimeOut", mode="off")


@pytest.mark.usefixtures("out_of_time")
async def test_a_query_that_the_database_gives_up_names_its_costly_part(context: Context) -> None:
    with pytest.raises(FhirError, match="costly: name:contains") as fault:
        await ask(context, "Patient?name:contains=guye")
    assert fault.value.kind is Kind.TOO_COSTLY
