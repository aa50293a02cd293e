"""Promises of the store about history: instance, type and system, by time, in pages."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from itertools import count

import pytest

from fhir_server.config import Settings
from fhir_server.store.mongo import MongoStore, open_store
from fhir_server.store.values import EVERYTHING, HistoryQuery, Stored
from tests.contract.drafts import a_draft, put, remove

START = 1_800_000_000_000


@pytest.fixture
async def ticking(settings: Settings) -> AsyncIterator[MongoStore]:
    """A store whose clock moves one second a transaction, from START on."""
    times = count(START, 1000)
    opened = await open_store(str(settings.mongodb_uri), settings, clock=lambda: next(times))
    yield opened
    await opened.close()


def names(page: list[Stored]) -> list[str]:
    return [f"{one.type}/{one.id}/{one.version}" for one in page]


async def pages(store: MongoStore, query: HistoryQuery, size: int) -> list[list[Stored]]:
    told: list[list[Stored]] = []
    before = None
    while True:
        page = await store.history(
            HistoryQuery(query.type, query.id, query.since, query.at, query.at_end, size, before), EVERYTHING
        )
        if not page:
            return told
        told.append(page)
        before = (page[-1].updated, f"{page[-1].type}/{page[-1].id}", page[-1].version)


async def a_busy_store(store: MongoStore) -> list[str]:
    """Writes 60 versions of 12 resources in 3 types, several at one time; the names newest first."""
    chance = random.Random(5)
    written = []
    for _ in range(20):
        drafts = {(type, str(chance.randrange(4))) for type in ("Organization", "Location", "Slot")}
        written += await put(store, *[a_draft(type, id, value=chance.random()) for type, id in sorted(drafts)])
    written.append(await remove(store, written[0].stored.type, written[0].stored.id))
    stored = [one.stored for one in written]
    stored.sort(key=lambda one: (one.updated, f"{one.type}/{one.id}"), reverse=True)
    return names(stored)


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_pages_of_the_system_tell_every_version_once_newest_first(ticking: MongoStore, size: int) -> None:
    expected = await a_busy_store(ticking)
    told = await pages(ticking, HistoryQuery(), size)
    assert [name for page in told for name in names(page)] == expected
    assert all(len(page) == size for page in told[:-1])
    assert await ticking.history_count(HistoryQuery(), EVERYTHING) == len(expected)


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_pages_of_a_type_tell_every_version_once_newest_first(ticking: MongoStore, size: int) -> None:
    expected = [name for name in await a_busy_store(ticking) if name.startswith("Location/")]
    query = HistoryQuery("Location")
    assert [name for page in await pages(ticking, query, size) for name in names(page)] == expected
    assert await ticking.history_count(query, EVERYTHING) == len(expected)


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_pages_of_an_instance_tell_every_version_once_newest_first(ticking: MongoStore, size: int) -> None:
    for number in range(12):
        await put(
            ticking, a_draft(id="a", value=number), a_draft(id="a-b", value=number), a_draft(id="a.b", value=number)
        )
    query = HistoryQuery("Organization", "a")
    told = [name for page in await pages(ticking, query, size) for name in names(page)]
    assert told == [f"Organization/a/{version}" for version in range(12, 0, -1)]
    assert await ticking.history_count(query, EVERYTHING) == 12


async def test_every_version_is_told_with_its_bytes_method_and_deletion(ticking: MongoStore) -> None:
    (first,) = await put(ticking, a_draft(name="A"), method="POST")
    (second,) = await put(ticking, a_draft(name="B"), method="PATCH")
    gone = await remove(ticking, "Organization", "1")
    told = await ticking.history(HistoryQuery("Organization", "1"), EVERYTHING)
    assert [(one.raw, one.method, one.deleted) for one in told] == [
        (b"", "DELETE", True),
        (second.stored.raw, "PATCH", False),
        (first.stored.raw, "POST", False),
    ]
    assert told[0].updated == gone.stored.updated


async def test_since_leaves_out_what_is_older(ticking: MongoStore) -> None:
    for number in range(4):
        await put(ticking, a_draft(value=number), a_draft("Location", value=number))
    for query in (HistoryQuery(), HistoryQuery("Organization"), HistoryQuery("Organization", "1")):
        since = HistoryQuery(query.type, query.id, since=START + 2000)
        told = await ticking.history(since, EVERYTHING)
        assert {one.version for one in told} == {3, 4}
        assert await ticking.history_count(since, EVERYTHING) == len(told)


async def test_at_tells_the_version_that_was_current_then(ticking: MongoStore) -> None:
    for number in range(3):
        await put(ticking, a_draft(id="a", value=number))  # at START + 0, 1, 2 seconds
    await put(ticking, a_draft(id="b"))  # at 3
    await remove(ticking, "Organization", "a")  # at 4

    async def at(start: int, end: int | None = None) -> list[str]:
        query = HistoryQuery("Organization", at=START + start, at_end=None if end is None else START + end)
        told = names(await ticking.history(query, EVERYTHING))
        assert await ticking.history_count(query, EVERYTHING) == len(told)
        return told

    assert await at(-1) == []
    assert await at(0) == ["Organization/a/1"]
    assert await at(999) == ["Organization/a/1"]
    assert await at(1000) == ["Organization/a/2"]
    assert await at(3500) == ["Organization/b/1", "Organization/a/3"]
    assert await at(9000) == ["Organization/a/4", "Organization/b/1"]
    assert await at(1500, 3000) == ["Organization/a/3", "Organization/a/2"]


async def test_a_page_boundary_in_the_middle_of_one_time_loses_and_repeats_nothing(ticking: MongoStore) -> None:
    await put(ticking, *[a_draft(type, str(id)) for type in ("Organization", "Location") for id in range(25)])
    told = [name for page in await pages(ticking, HistoryQuery(), 7) for name in names(page)]
    assert len(told) == len(set(told)) == 50


async def test_writes_between_two_pages_move_nothing_that_is_still_to_come(ticking: MongoStore) -> None:
    for number in range(6):
        await put(ticking, a_draft(id=str(number)))
    first = await ticking.history(HistoryQuery(limit=3), EVERYTHING)
    for number in range(6):
        await put(ticking, a_draft(id=str(number), name="later"))
    last = first[-1]
    rest = await ticking.history(
        HistoryQuery(before=(last.updated, f"{last.type}/{last.id}", last.version)), EVERYTHING
    )
    assert names([*first, *rest]) == [f"Organization/{number}/1" for number in range(5, -1, -1)]


async def test_an_unknown_instance_has_no_history(ticking: MongoStore) -> None:
    await put(ticking, a_draft(id="a"))
    assert await ticking.history(HistoryQuery("Organization", "b"), EVERYTHING) == []
    assert await ticking.vread("Organization", "a", 2, EVERYTHING) is None
    assert await ticking.vread("Organization", "a", 0, EVERYTHING) is None
    assert await ticking.vread("Organization", "a", 10**12, EVERYTHING) is None
