"""Whichever list of the index a search walks, page after page, it finds each match once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from random import Random
from typing import Any

import pytest

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.interactions.joins import AT_FIRST, NOWHERE, Reach
from fhir_server.interactions.planning import draft
from fhir_server.search.paging import BY_DATE, advance
from fhir_server.search.parse import parse, query_pairs
from fhir_server.search.plan import Part, Plan, Walk
from fhir_server.store.documents import dated_order
from fhir_server.store.values import Find, Put, View

QUERIES = [
    "name=nguyen",
    "name=ng",
    "name=van an",
    "name=an van",
    "name=ng,tr",
    "name=van an,thi b,le",
    "name=an nguyen,b tran",
    "name=ng&gender=male",
    "name=ng&gender=male&birthdate=ge1980&birthdate=lt1990",
    "name=ng&given=a&birthdate=ge1980",
    "gender=male&active=true",
    "gender=male,female&active=true&name=t",
    "address=xa ho",
    "address=ho xa&gender=female",
    "address-state=7,1",
    "address-state=7&name=nguyen&gender=male&birthdate=ge1950",
    "birthdate=1980,1985-06",
    "birthdate=ge1985&name=ng,le",
    "identifier=urn:n|12",
    "identifier=urn:n|&name=tr",
    "gender:not=male&name=ng",
]
CHAINED = [
    "Condition?patient.name=ng",
    "Condition?patient.name=van an",
    "Condition?patient.gender=male",
    "Condition?patient.gender=male&code=a",
    "Condition?patient.gender=male&onset-date=ge2020-06",
    "Condition?patient.identifier=urn:n|&patient.active=true",
    "Condition?subject.name=ng,tr",
    "Condition?patient.birthdate=ge1985",
    "Condition?patient._has:Condition:patient:code=b",
    "Observation?performer:Patient.name=ng",
    "Observation?performer:Patient.gender=male",
    "Observation?performer:Patient.name=tr,le&code=x",
    "Observation?performer.active=true",
]
JOINED = [
    "_has:Condition:patient:code=a",
    "_has:Condition:patient:code=a,b",
    "_has:Condition:patient:code:text=a b",
    "_has:Condition:patient:onset-date=ge2020-06",
    "_has:Condition:patient:code=a&gender=male",
    "_has:Condition:patient:code=a&name=ng&birthdate=ge1960",
    "_has:Condition:patient:code=a&_has:Condition:patient:code=b",
    "_has:Condition:patient:code:not=a&active=true",
    "_has:Condition:patient:patient.gender=male",
    "_has:Condition:patient:_lastUpdated=ge2020",
]


def a_patient(chance: Random, number: int) -> dict[str, Any]:
    names = [
        [chance.choice(["Nguyễn", "Trần", "Lê", "Ngô"]), *chance.sample(["Văn", "Thị", "An", "Bình", "Hòa"], 2)]
        for _ in range(chance.choice([1, 1, 2]))
    ]
    return {
        "resourceType": "Patient",
        "id": f"p{number:03}",
        "active": chance.random() < 0.7,
        "identifier": [{"system": "urn:n", "value": f"{number}"}],
        "name": [{"family": family, "given": given} for family, *given in names],
        "gender": chance.choice(["male", "female"]),
        "birthDate": chance.choice(
            ["1980", "1985-06", "1985-06-30", f"19{chance.randint(50, 99)}-01-0{number % 9 + 1}"]
        ),
        "address": [{"state": chance.choice(["1", "7", "79"]), "city": f"Xã {chance.choice(['Hồ', 'Đông', 'Hoa'])}"}],
    }


def observations(chance: Random, ids: list[str]) -> Iterator[dict[str, Any]]:
    for number in range(30):
        yield {
            "resourceType": "Observation",
            "id": f"o{number}",
            "status": "final",
            "code": {"coding": [{"system": "urn:c", "code": chance.choice("xy")}]},
            "effectiveDateTime": f"20{chance.randint(10, 29)}-03-01",
            "performer": [{"reference": f"Patient/{id}"} for id in chance.sample(ids, chance.choice([1, 2, 5]))],
        }


def twins() -> list[str]:
    """Two ids that get one order key, and so tie in every order but that of ids."""
    met: dict[int, str] = {}
    for number in count():
        id = f"twin{number}"
        if (other := met.setdefault(dated_order(0, id), id)) != id:
            return [other, id]
    raise AssertionError


def conditions(chance: Random, patient: str) -> Iterator[dict[str, Any]]:
    for place in range(chance.choice([0, 1, 3, 8])):
        code = chance.choice("abc")
        yield {
            "resourceType": "Condition",
            "id": f"{place}-{patient}",
            "subject": {"reference": f"Patient/{patient}"},
            "code": {"coding": [{"system": "urn:c", "code": code, "display": f"{code} b {code}"}]},
            "onsetDateTime": chance.choice(["2020-06", "2020-06-01", f"20{chance.randint(10, 29)}-03-01"]),
        }


@pytest.fixture(scope="module")
async def context(own_settings: Settings) -> AsyncIterator[Context]:
    chance = Random(5)
    async with open_context(own_settings) as context:
        people = [a_patient(chance, number) for number in range(45)]
        people += [{**people[0], "id": id} for id in twins()]
        ids = [one["id"] for one in people]
        others = [one for id in ids for one in conditions(chance, id)] + list(observations(chance, ids[-12:]))
        drafts = [await draft(context, one, one["id"]) for one in (*people, *others)]
        await context.store.transact(lambda transaction: transaction.apply([Put(one) for one in drafts]))
        yield context


async def asked(context: Context, finding: Finder, query: str, reach: Reach = NOWHERE) -> tuple[Plan, tuple[Part, ...]]:
    """query: of a Patient when no type stands in front."""
    type, _, text = query.rpartition("?")
    parsed = parse(context.search.parameters, [type or "Patient"], query_pairs(text), strict=True)
    plan = await finding.plan(type or "Patient", parsed.trees[0][1], reach)
    return plan, context.search.parts(plan, parsed.results.sort, context.store.registry, False)


async def walked(finding: Finder, part: Part, walk: Walk, size: int) -> list[str]:
    found: list[str] = []
    cursor = None
    while page := await finding.page(part.plan, size, walk, cursor):
        found += [stored.id for stored in page]
        cursor = advance(walk.order, page, cursor)
    return found


@pytest.mark.parametrize("query", [*QUERIES, *JOINED, *CHAINED])
async def test_every_walk_of_every_part_finds_each_match_once(context: Context, query: str) -> None:
    finding = Finder(context)
    plan, parts = await asked(context, finding, query)
    wanted = {stored.id for stored in await finding.page(plan, 1000)}
    found: list[str] = []
    sizes = (1, 50) if plan.type == "Observation" else (5, 50)
    for part in parts:
        ways = [await walked(finding, part, walk, size) for walk in part.walks for size in sizes]
        for way in ways:
            assert len(way) == len(set(way)) == len(ways[0])
            assert set(way) == set(ways[0])
        found += ways[0]
    assert len(found) == len(set(found))
    assert set(found) == wanted
    assert wanted
    if query in (*JOINED, *CHAINED):
        assert any(walk.through for part in parts for walk in part.walks)


@pytest.mark.parametrize("query", CHAINED)
async def test_what_points_at_a_list_of_resources_is_met_once(context: Context, query: str) -> None:
    finding, resolving = Finder(context), Finder(context)
    plan, _ = await asked(context, finding, query)
    wanted = {stored.id for stored in await finding.page(plan, 1000)}
    _, parts = await asked(context, resolving, query, AT_FIRST)
    for size in (1, 3, 50):
        found: list[str] = []
        for part in parts:
            ways = [await walked(resolving, part, walk, size) for walk in part.walks]
            assert all(sorted(way) == sorted(ways[0]) for way in ways)
            found += ways[0]
        assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize("direction", ["", "-"])
@pytest.mark.parametrize(
    "query",
    [
        "Condition?code=a&onset-date=ge2020-06-10&_sort={}onset-date",
        "gender=male&birthdate=ge1985-06-10&_sort={}birthdate",
    ],
)
async def test_every_walk_of_a_sorted_part_gives_the_same_order(context: Context, query: str, direction: str) -> None:
    finding = Finder(context)
    _, parts = await asked(context, finding, query.format(direction))
    found: list[str] = []
    for part in parts:
        ways = [await walked(finding, part, walk, size) for walk in part.walks for size in (3, 50)]
        assert ways == [ways[0]] * len(ways)
        found += ways[0] if part.plan.reaching and len(part.walks) == 2 else []
    assert found


@pytest.mark.parametrize("query", [*QUERIES, *JOINED, *CHAINED])
async def test_a_view_leads_no_walk_astray(context: Context, query: str) -> None:
    letters = context.search.letters("Patient", "gender", context.store.registry)
    view = View({"Patient": {"k": f"{letters}male"}, "Condition": {"u": {"$mod": [2, 0]}}})
    finding, narrow = Finder(context), Finder(context, view=view)
    seen = {
        type: {stored.id for stored in await context.store.find(Find(type, {}, limit=1000), view)}
        for type in ("Patient", "Condition", "Observation")
    }
    _, parts = await asked(context, finding, query)
    for part in parts:
        for walk in part.walks:
            told = await walked(narrow, part, walk, 4)
            assert len(told) == len(set(told))
            if walk.through is None and part.plan.joins is None:
                whole = await walked(finding, part, walk, 50)
                assert told == [id for id in whole if id in seen[part.plan.type]]
            else:
                assert set(told) == set(await walked(narrow, part, Walk(BY_DATE), 50))


@pytest.mark.parametrize("query", ["gender=male&active=false", "active=false&gender=male"])
async def test_the_shortest_list_is_walked(context: Context, query: str) -> None:
    finding = Finder(context)
    _, (part,) = await asked(context, finding, query)
    walk = await finding.walk_of(part, None)
    weights = [await context.store.weigh("Patient", one.driver or {}, 1000) for one in part.walks]
    assert len(weights) == 2
    assert walk is part.walks[weights.index(min(weights))]
