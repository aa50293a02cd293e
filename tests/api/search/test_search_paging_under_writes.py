"""Paging while others write: nothing that stays as it is may be skipped or told twice."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from fhir_server.config import Settings
from tests.api.search.conftest import Searcher, following, names, serving

# `make test` walks a few hundred resources; the long form of the same test is set from outside.
RESOURCES = int(os.environ.get("FHIR_TEST_RESOURCES", "250"))
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


async def load(searcher: Searcher, count: int) -> None:
    for start in range(0, count, 200):
        people = [person(number, "still") for number in range(start, min(start + 200, count))]
        entries = [{"resource": one, "request": {"method": "PUT", "url": f"Patient/{one['id']}"}} for one in people]
        answer = await searcher.http.post(
            "/fhir/", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}
        )
        assert answer.status_code == 200, answer.text


async def disturb(searcher: Searcher, number: int, over: asyncio.Event) -> int:
    """Creates, moves and deletes other people that the same searches match, until it is over."""
    done = 0
    while not over.is_set():
        one = person(number * 10_000 + done % 50, "busy", birthDate=f"19{60 + done % 20}-05-05")
        if done % 3 == 2:
            await searcher.http.delete(f"/fhir/Patient/{one['id']}")
        else:
            await searcher.put(one)
        done += 1
    return done


@pytest.mark.timeout(600)
async def test_no_match_that_stays_as_it_is_is_skipped_or_repeated_while_others_write(empty: Searcher) -> None:
    await load(empty, RESOURCES)
    expected = [f"Patient/still-{number:06}" for number in range(RESOURCES)]
    over = asyncio.Event()
    writers = [asyncio.create_task(disturb(empty, number, over)) for number in range(WRITERS)]
    try:
        size = max(RESOURCES // 25, 7)
        for order in ORDERS:
            told: list[str] = []
            for page in await empty.pages(f"Patient?_tag=still,busy&_count={size}{order}"):
                told += names(page)
            still = [name for name in told if "/still-" in name]
            assert sorted(still) == expected, order
    finally:
        over.set()
        assert sum(await asyncio.gather(*writers)) > 0


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
    world: Searcher, empty: Searcher, shared_settings: Settings
) -> None:
    first = await world.bundle("Patient?_sort=_id&_count=2")
    link = following(first)
    assert link is not None
    async with serving(shared_settings) as another:
        assert names(await another.bundle(link)) == ["Patient/cuong", "Patient/dung"]
    assert "page link" in await empty.refusal(link)
