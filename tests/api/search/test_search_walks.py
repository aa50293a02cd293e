"""Whichever list of the index a search walks, page after page, it finds each match once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

import pytest

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.interactions import finder
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.interactions.joins import Reach
from fhir_server.interactions.planning import draft
from fhir_server.search.paging import advance
from fhir_server.search.parse import parse, query_pairs
from fhir_server.search.plan import Part, Walk
from fhir_server.store.contract import Put, View

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


def conditions(chance: Random, number: int) -> Iterator[dict[str, Any]]:
    for place in range(chance.choice([0, 1, 3, 8])):
        code = chance.choice("abc")
        yield {
            "resourceType": "Condition",
            "id": f"c{number:03}-{place}",
            "subject": {"reference": f"Patient/p{number:03}"},
            "code": {"coding": [{"system": "urn:c", "code": code, "display": f"{code} b {code}"}]},
            "onsetDateTime": chance.choice(["2020-06", "2020-06-01", f"20{chance.randint(10, 29)}-03-01"]),
        }


@pytest.fixture(scope="module")
async def context(shared_settings: Settings) -> AsyncIterator[Context]:
    chance = Random(5)
    async with open_context(shared_settings) as context:
        people = [one for n in range(120) for one in (a_patient(chance, n), *conditions(chance, n))]
        drafts = [await draft(context, one, one["id"]) for one in people]
        await context.store.transact(lambda transaction: transaction.apply([Put(one) for one in drafts]))
        yield context


async def parts_of(context: Context, finding: Finder, query: str) -> tuple[Part, ...]:
    ((_, tree),) = parse(context.search.parameters, ["Patient"], query_pairs(query), strict=True).trees
    return context.search.parts(await finding.plan("Patient", tree), (), context.store.registry, False)


async def walked(finding: Finder, part: Part, walk: Walk, size: int) -> list[str]:
    found: list[str] = []
    cursor = None
    while page := await finding.page(part.plan, size, walk, cursor):
        found += [stored.id for stored in page]
        cursor = advance(walk.order, page, cursor)
    return found


@pytest.fixture(autouse=True)
def _no_short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joins are walked however short their other side is."""
    monkeypatch.setattr(finder, "AT_ONCE", Reach(0, 0))


@pytest.mark.parametrize("query", [*QUERIES, *JOINED])
async def test_every_walk_of_every_part_finds_each_match_once(context: Context, query: str) -> None:
    finding = Finder(context)
    ((_, tree),) = parse(context.search.parameters, ["Patient"], query_pairs(query), strict=True).trees
    plan = await finding.plan("Patient", tree)
    wanted = {stored.id for stored in await finding.page(plan, 1000)}
    found: list[str] = []
    for part in await parts_of(context, finding, query):
        ways = [await walked(finding, part, walk, size) for walk in part.walks for size in (2, 50)]
        for way in ways:
            assert len(way) == len(set(way)) == len(ways[0])
            assert set(way) == set(ways[0])
        found += ways[0]
    assert len(found) == len(set(found))
    assert set(found) == wanted
    assert wanted


@pytest.mark.parametrize("query", [*QUERIES, *JOINED])
async def test_a_view_by_keys_leads_no_walk_astray(context: Context, query: str) -> None:
    letters = context.search.letters("Patient", "gender", context.store.registry)
    view = View({"Patient": {"k": f"{letters}male"}})
    finding, narrow = Finder(context), Finder(context, view=view)
    men = {stored.id for stored in await finding.page((await parts_of(context, finding, "gender=male"))[0].plan, 1000)}
    for part in await parts_of(context, finding, query):
        for walk in part.walks:
            whole = await walked(finding, part, walk, 50)
            told = await walked(narrow, part, walk, 2)
            assert told == [id for id in whole if id in men]


@pytest.mark.parametrize("query", ["gender=male&active=false", "active=false&gender=male"])
async def test_the_shortest_list_is_walked(context: Context, query: str) -> None:
    finding = Finder(context)
    (part,) = await parts_of(context, finding, query)
    walk = await finding.walk_of(part, None)
    weights = [await context.store.weigh("Patient", one.driver or {}, 1000) for one in part.walks]
    assert len(weights) == 2
    assert walk is part.walks[weights.index(min(weights))]
