"""Paging while others write: nothing that stays as it is may be skipped or told twice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from running_server import RunningServer, environment, running_server

from fhir_server.config import Settings
from tests.api.search.conftest import Searcher, fill, following, names, serving
from tests.many_clients import Caller, callers, until_all_answer

# `make soak` walks 100,000 resources of a server with eight processes.
RESOURCES = int(os.environ.get("FHIR_TEST_RESOURCES", "2000"))
WORKERS = int(os.environ.get("FHIR_TEST_WORKERS", "2"))
WRITERS = 8
ORDERS = ["", "&_sort=_id", "&_sort=-_lastUpdated", "&_sort=birthdate", "&_sort=family,-birthdate", "&_sort=-family"]


def person(number: int, tag: str, **more: Any) -> dict[str, Any]:
    """Every third has no birth date, many share one, and there are only seven families."""
    born = {} if number % 3 == 0 else {"birthDate": f"19{60 + number % 20}-0{1 + number % 9}-1{number % 9}"}
    return {
        "resourceType": "Patient",
        "id": f"{tag}-{number:06}",
        "name": [{"family": f"Họ {number % 7}", "given": [f"Người {number}"]}],
        "meta": {"tag": [{"system": "urn:test", "code": tag}]},
        **born,
        **more,
    }


@pytest.fixture(scope="module")
def crowd(own_settings: Settings, mongodb: MongoClient[dict[str, Any]]) -> Settings:
    """A database with as many people, written as documents: to send them all would take most of the test's time."""
    asyncio.run(fill(own_settings, mongodb, (person(number, "still") for number in range(RESOURCES))))
    return own_settings


@pytest.fixture(scope="module")
def server(crowd: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = environment(
        tmp_path_factory.mktemp("paging"),
        FHIR_MONGODB_URI=crowd.mongodb_uri or "",
        FHIR_MONGODB_DATABASE=crowd.mongodb_database,
        FHIR_SEARCH_WORK="1000000",
    )
    with running_server(env, "--no-sample", "--workers", str(WORKERS)) as started:
        asyncio.run(until_all_answer(started.base, WORKERS))
        yield started


@pytest.fixture
async def clients(server: RunningServer) -> AsyncIterator[list[Caller]]:
    async with callers(server.base, WRITERS + WORKERS) as made:
        yield made


async def disturb(client: Caller, number: int, over: asyncio.Event) -> int:
    """Creates, moves and deletes other people that the same searches match, until it is over."""
    done = 0
    while not over.is_set():
        one = person(number * 10_000 + done % 50, "busy", birthDate=f"19{60 + done % 20}-05-05")
        if done % 3 == 2:
            answer = await client.ask("DELETE", f"Patient/{one['id']}")
        else:
            answer = await client.ask("PUT", f"Patient/{one['id']}", one)
        assert answer.status < 300, answer.body
        done += 1
    return done


async def walk(readers: list[Caller], query: str) -> list[str]:
    """Every match of every page; each page is asked of the next connection, so of another process before long."""
    told: list[str] = []
    path: str | None = query
    while path is not None:
        answer = await readers[len(told) % len(readers)].ask("GET", path)
        assert answer.status == 200, answer.body
        told += names(answer.json)
        link = following(answer.json)
        path = link and link.partition("/fhir/")[2]
    return told


@pytest.mark.timeout(3600)
async def test_no_match_that_stays_as_it_is_is_skipped_or_repeated_while_others_write(clients: list[Caller]) -> None:
    over = asyncio.Event()
    writers = [asyncio.create_task(disturb(one, number, over)) for number, one in enumerate(clients[:WRITERS])]
    try:
        size = min(RESOURCES // 12, 1000)
        for order in ORDERS:
            told = await walk(clients[WRITERS:], f"Patient?_tag=still,busy&_count={size}{order}")
            still = sorted(name for name in told if "/still-" in name)
            assert still == [f"Patient/still-{number:06}" for number in range(RESOURCES)], order
    finally:
        over.set()
        assert min(await asyncio.gather(*writers)) > 0


async def load(searcher: Searcher, count: int) -> None:
    await searcher.put(*(person(number, "still") for number in range(count)))


async def test_a_walk_by_id_meets_everyone_once_even_when_their_content_changes(empty: Searcher) -> None:
    await load(empty, 60)
    told: list[str] = []
    link: str | None = "Patient?_sort=_id&_count=7"
    while link is not None:
        page = await empty.bundle(link)
        told += names(page)
        await empty.put(*(person(number, "still", birthDate="2001-01-01") for number in range(0, 60, 11)))
        link = next((one["url"] for one in page["link"] if one["relation"] == "next"), None)
    assert told == [f"Patient/still-{number:06}" for number in range(60)]


async def test_a_page_link_works_on_another_worker_and_after_a_restart_but_nowhere_else(
    world: Searcher, empty: Searcher, own_settings: Settings
) -> None:
    first = await world.bundle("Patient?_id=an,binh,cuong,dung&_sort=_id&_count=2")
    link = following(first)
    assert link is not None
    async with serving(own_settings) as another:
        assert names(await another.bundle(link)) == ["Patient/cuong", "Patient/dung"]
    assert "page link" in await empty.refusal(link)
