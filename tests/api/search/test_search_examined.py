"""A page costs what it gives: the documents that MongoDB looks at for one, counted by its profiler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest
from fhir_server.interactions.search import search
from fhir_server.model.resources import decode
from fhir_server.search.parse import query_pairs
from fhir_server.store import reads
from fhir_server.store.values import EVERYTHING, Find
from tests.api.search.conftest import fill, following, names

PAGE = 20
EACH = 1000  # resources of each type, of which every criterion below finds many pages
MARITAL = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"


def people(chance: Random) -> Iterator[dict[str, Any]]:
    for number in range(EACH):
        yield {
            "resourceType": "Patient",
            "id": f"p{number}",
            "identifier": [{"system": "urn:n", "value": str(number)}],
            "name": [{"family": chance.choice(["Nguyễn", "Trần"]), "given": ["Văn", chance.choice(["An", "Bình"])]}],
            "gender": chance.choice(["male", "female"]),
            "birthDate": f"{chance.randint(1950, 2020)}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}",
            "managingOrganization": {"reference": f"Organization/{number % 4}"},
        }


def dated(chance: Random, type: str, date: str, code: str, **more: Any) -> Iterator[dict[str, Any]]:
    for number in range(EACH):
        day = f"{chance.randint(2015, 2025)}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}"
        yield {
            "resourceType": type,
            "id": f"{type.lower()}-{number}",
            code: {"coding": [{"system": "urn:c", "code": chance.choice("aab"), "display": "Bệnh gì đó"}]},
            # A few dates are known by their year, and one of them may begin before a range and reach into it.
            date: day if number % 500 else day[:4],
            **more,
        }


def resources() -> Iterator[dict[str, Any]]:
    chance = Random(7)
    yield from people(chance)
    subject = {"reference": "Patient/p1"}
    yield from dated(chance, "Condition", "onsetDateTime", "code", subject={"reference": "Patient/p1"})
    quantity = {"value": 5, "system": "http://unitsofmeasure.org", "code": "kg"}
    yield from dated(
        chance, "Observation", "effectiveDateTime", "code", subject=subject, status="final", valueQuantity=quantity
    )
    yield from dated(chance, "Immunization", "occurrenceDateTime", "vaccineCode", patient=subject, status="completed")


@pytest.fixture(scope="module")
def settings(own_settings: Settings, mongodb: MongoClient[dict[str, Any]]) -> Settings:
    asyncio.run(fill(own_settings, mongodb, resources()))
    mongodb[own_settings.mongodb_database].create_collection("system.profile", capped=True, size=16 << 20)
    return own_settings


@pytest.fixture(scope="module")
async def context(settings: Settings) -> AsyncIterator[Context]:
    async with open_context(settings) as context:
        yield context


SINGLE = [
    "Patient?identifier=urn:n|",
    "Patient?name=nguyen",
    "Patient?name=van an",
    "Patient?name=an nguyen",
    "Patient?family=ng",
    "Patient?gender=male",
    "Patient?gender=male,female",
    "Patient?gender:missing=false",
    "Patient?organization=1",
    "Patient?organization:missing=false",
    "Patient?birthdate=1985,1999,2001,2002,2003",
    "Patient?birthdate=ge1985",
    "Patient?birthdate=lt1985",
    "Patient?_lastUpdated=ge2020",
    "Condition?code=urn:c|a",
    "Condition?code:text=benh",
    "Condition?onset-date=2020",
    "Condition?onset-date=ge2020-03",
    "Condition?patient=p1",
    "Observation?patient=p1&_sort=date",
    "Observation?patient=p1&_sort=-date",
    "Observation?patient=p1&date=ge2020&_sort=-date",
    "Observation?value-quantity=gt4",
    "Observation?code-value-quantity=a$5",
]
RANGES = [
    "",
    "&date=2020",
    "&date=ge2020-03",
    "&date=le2020-03",
    "&date=gt2020-03-15",
    "&date=ge2019-06&date=lt2021-03",
]
DATED = [
    f"{criterion}{range}{sort}".replace("date", date)
    for criterion, date in (
        ("Observation?code=a", "date"),
        ("Immunization?vaccine-code=urn:c|a", "date"),
        ("Condition?code=a", "onset-date"),
    )
    for range in RANGES
    for sort in ("", "&_sort=-date", "&_sort=date")
]


async def asked(context: Context, mongodb: MongoClient[dict[str, Any]], path: str, query: str) -> tuple[int, Any]:
    """How many documents the queries of a search look at, and its bundle or what it is refused with."""
    database = mongodb[context.settings.mongodb_database]
    database["system.profile"].drop()
    database.create_collection("system.profile", capped=True, size=16 << 20)
    database.command("profile", 2)
    try:
        answer = await search(context, FhirRequest("GET", (path,), query_pairs(query)))
    except FhirError as fault:
        return examined(database), fault
    finally:
        database.command("profile", 0)
    return examined(database), decode(answer.body)


def examined(database: Database[dict[str, Any]]) -> int:
    return sum(row.get("docsExamined", 0) for row in database["system.profile"].find())


@pytest.mark.parametrize("query", [*SINGLE, *DATED])
async def test_a_page_looks_at_hardly_more_resources_than_it_gives(
    context: Context, mongodb: MongoClient[dict[str, Any]], query: str
) -> None:
    path, _, text = query.partition("?")
    for _ in range(2):
        looked, bundle = await asked(context, mongodb, path, text)
        assert len(bundle["entry"]) == PAGE
        assert looked <= 1.1 * PAGE
        text = (following(bundle) or "").partition("?")[2]


@pytest.mark.parametrize("query", ["vaccine-code=a&status=completed", "status=completed&vaccine-code=a&_sort=date"])
async def test_of_two_long_lists_the_shorter_one_is_walked(
    context: Context, mongodb: MongoClient[dict[str, Any]], query: str
) -> None:
    await asked(context, mongodb, "Immunization", query)  # finds out which it is, for ten minutes
    looked, bundle = await asked(context, mongodb, "Immunization", query)
    assert len(bundle["entry"]) == PAGE
    assert looked <= 1.1 * PAGE  # all of the shorter list are in the longer one


def queries(database: Database[dict[str, Any]]) -> int:
    return database["system.profile"].count_documents({"op": "query"})


@pytest.mark.parametrize("query", ["Patient?name=ng", "Patient?name=van an", "Condition?code=a&_sort=-onset-date"])
async def test_a_later_page_is_asked_for_in_one_query_as_the_first_one_is(
    context: Context, mongodb: MongoClient[dict[str, Any]], query: str
) -> None:
    path, _, text = query.partition("?")
    for _ in range(4):
        _, bundle = await asked(context, mongodb, path, text)
        assert queries(mongodb[context.settings.mongodb_database]) == 1
        text = (following(bundle) or "").partition("?")[2]


async def test_a_sorted_page_as_long_as_its_limit_is_asked_for_once(
    context: Context, mongodb: MongoClient[dict[str, Any]]
) -> None:
    database = mongodb[context.settings.mongodb_database]
    wanted = Find("Patient", {"_id": {"$in": [f"p{number}" for number in range(PAGE)]}}, limit=PAGE, hint="_id_")
    database["system.profile"].drop()
    database.create_collection("system.profile", capped=True, size=16 << 20)
    database.command("profile", 2)
    try:
        found = await context.store.find(wanted, EVERYTHING)
    finally:
        database.command("profile", 0)
    assert len(found) == PAGE
    assert queries(database) == 1


LOST = [
    "Patient?name:contains=zzz",
    "Patient?name:contains=zzz&_sort=birthdate",
    "Patient?gender:not=male,female",
    "Patient?organization=1,2&gender=male&name:contains=zzz",
    "Observation?code=a,b&value-quantity=ne5&_sort=-date",
    f"Observation?code=a,{','.join(f'c{number}' for number in range(400))}&value-quantity=ne5",
    "Patient?birthdate=ge1950&gender:not=male,female",
    "Patient?_lastUpdated=ge2020&gender:not=male,female",
    "Patient?gender:not=male,female&_sort=_id",
    "Patient?gender:not=male,female&_sort=-_lastUpdated",
    "Patient?name:contains=ng&_sort=family",
    "Patient?gender:not=female&_sort=family",
    "Patient?name=nguyen&organization=1,2&_sort=-family",
    "Patient?name:contains=ng&_summary=count",
    "Patient?gender:not=male&_count=0",
    "Patient?_lastUpdated=ge2020&_summary=count",
    "Patient?organization=1,2&gender=male&_total=accurate",
    "Patient?birthdate=ge1950,lt1940&gender=male&_total=accurate",
]


@pytest.mark.parametrize("query", LOST)
async def test_a_search_that_takes_long_looks_at_no_more_than_the_work_limit(
    context: Context, mongodb: MongoClient[dict[str, Any]], query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, text = query.partition("?")
    monkeypatch.setattr(reads, "QUICK_MS", 0)
    weak = context.with_(settings=context.settings.model_copy(update={"search_work": 300}))
    await asked(weak, mongodb, path, text)  # finds out which lists are short, for ten minutes
    looked, fault = await asked(weak, mongodb, path, text)
    assert isinstance(fault, FhirError), fault
    assert fault.kind is Kind.TOO_COSTLY
    assert "costly: " in fault.diagnostics
    assert looked <= 2 * 300  # for the page, and to tell that there was more


TOLD_BY_INDEX = ["Patient", "Patient?gender=male", "Observation?code=a,b"]


@pytest.mark.parametrize("query", TOLD_BY_INDEX)
async def test_what_an_index_alone_counts_may_be_ten_times_as_much_as_what_is_looked_at(
    context: Context, mongodb: MongoClient[dict[str, Any]], query: str
) -> None:
    path, _, text = query.partition("?")
    right = (await asked(context, mongodb, path, f"{text}&_summary=count"))[1]["total"]
    assert right > 400
    enough = context.with_(settings=context.settings.model_copy(update={"search_work": 300}))
    looked, bundle = await asked(enough, mongodb, path, f"{text}&_summary=count")
    assert bundle["total"] == right
    assert looked == 0
    weak = context.with_(settings=context.settings.model_copy(update={"search_work": 40}))
    looked, fault = await asked(weak, mongodb, path, f"{text}&_summary=count")
    assert isinstance(fault, FhirError), fault
    assert fault.kind is Kind.TOO_COSTLY
    assert looked == 0


async def test_an_estimate_that_would_look_at_too_much_is_left_out_and_told(
    context: Context, mongodb: MongoClient[dict[str, Any]]
) -> None:
    weak = context.with_(settings=context.settings.model_copy(update={"search_work": 300}))
    _, bundle = await asked(weak, mongodb, "Patient", "gender=male&name:contains=ng&_total=estimate")
    assert "total" not in bundle
    assert len(names(bundle)) == PAGE
    assert "counting Patient would look at more than 300" in str(bundle["entry"][-1]["resource"])
