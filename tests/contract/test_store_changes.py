"""The sequence of changes: every version once, in the order of commits, whoever writes and whoever follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from pymongo import MongoClient, WriteConcern

from fhir_server.config import Settings
from fhir_server.store.mongo import MongoStore, open_store
from fhir_server.store.values import Change
from tests.contract.drafts import a_patient, put, remove

END = 1 << 60


@asynccontextmanager
async def following(store: MongoStore, owner: str) -> AsyncIterator[None]:
    task = asyncio.create_task(store.follow_changes(owner))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def told(store: MongoStore) -> list[Change]:
    await store.catch_up_changes("test")
    return await store.changes(0, END, 10_000)


def names(changes: list[Change]) -> list[str]:
    return [f"{one.type}/{one.id}/{one.version}" for one in changes]


@pytest.fixture
async def sequence(store: MongoStore) -> MongoStore:
    """A store whose changes are numbered from the first one."""
    assert await store.catch_up_changes("test")
    return store


async def test_every_version_has_one_number_in_the_order_of_commits(sequence: MongoStore) -> None:
    await put(sequence, a_patient("a"))
    await put(sequence, a_patient("b"), a_patient("c"))
    await put(sequence, a_patient("a", name="Another"))
    found = await told(sequence)
    assert names(found)[0] == "Patient/a/1"
    assert set(names(found)[1:3]) == {"Patient/b/1", "Patient/c/1"}
    assert names(found)[3:] == ["Patient/a/2"]
    assert [one.seq for one in found] == [1, 2, 3, 4]
    assert {one.patient for one in found} == {"a", "b", "c"}
    assert names(await told(sequence)) == names(found)


async def test_a_deletion_is_a_change_and_an_identical_write_is_none(sequence: MongoStore) -> None:
    await put(sequence, a_patient("a"))
    await put(sequence, a_patient("a"))
    await remove(sequence, "Patient", "a")
    found = await told(sequence)
    assert [(one.version, one.deleted) for one in found] == [(1, False), (2, True)]
    assert [one.id for one in await sequence.deleted_of(["a"], 0, END)] == ["a"]


async def test_keys_written_anew_are_no_change(
    sequence: MongoStore, mongodb: MongoClient[dict[str, Any]], settings: Settings
) -> None:
    await put(sequence, a_patient("a"))
    assert len(await told(sequence)) == 1
    collection = mongodb[settings.mongodb_database]["Patient"]
    document = collection.find_one({"_id": "a"})
    assert document is not None
    collection.replace_one({"_id": "a"}, {**document, "k": ["changed"]})
    collection.update_one({"_id": "a"}, {"$set": {"w": "00001"}})
    assert len(await told(sequence)) == 1


async def test_what_is_created_again_after_it_was_erased_is_told_with_each_of_its_versions(
    sequence: MongoStore, mongodb: MongoClient[dict[str, Any]], settings: Settings
) -> None:
    once = ["Patient/a/1", "Patient/a/2"]
    for lives in (1, 2):
        await put(sequence, a_patient("a"))
        await put(sequence, a_patient("a", name="Another"))
        assert names(await told(sequence)) == once * lives
        for name in ("Patient", "Patient_history"):
            mongodb[settings.mongodb_database][name].delete_many({})


async def test_nothing_is_missed_or_told_twice_while_several_write_and_followers_take_turns(
    sequence: MongoStore, settings: Settings
) -> None:
    async def write(writer: int) -> None:
        for number in range(20):
            await put(sequence, a_patient(f"w{writer}-{number % 5}", name=f"{writer} {number}"))

    other = await open_store(str(settings.mongodb_uri), settings)
    try:
        writing = asyncio.gather(*(write(writer) for writer in range(4)))
        seen: list[Change] = []
        for turn in range(6):
            await (sequence if turn % 2 else other).catch_up_changes(f"follower {turn % 2}")
            seen += await sequence.changes(seen[-1].seq if seen else 0, END, 10_000)
        await writing
        await sequence.catch_up_changes("follower 1")
        seen += await sequence.changes(seen[-1].seq if seen else 0, END, 10_000)
    finally:
        await other.close()
    assert [one.seq for one in seen] == list(range(1, len(seen) + 1))
    expected = {
        f"Patient/w{writer}-{id}/{version}" for writer in range(4) for id in range(5) for version in range(1, 5)
    }
    assert sorted(names(seen)) == sorted(expected)
    last: dict[str, int] = {}
    for one in seen:  # versions of one resource come in their order
        assert one.version == last.get(one.id, 0) + 1
        last[one.id] = one.version


async def test_one_of_two_followers_numbers_and_the_other_stands_by(
    sequence: MongoStore, settings: Settings, mongodb: MongoClient[dict[str, Any]], database_name: str
) -> None:
    other = await open_store(str(settings.mongodb_uri), settings)
    try:
        async with following(sequence, "one"):
            while not mongodb[database_name]["follower"].find_one({"owner": "one"}):
                await asyncio.sleep(0.01)
            assert not await other.catch_up_changes("two")
            await put(other, a_patient("a"))
            while not (found := await other.changes(0, END, 10)):
                await asyncio.sleep(0.02)
            assert names(found) == ["Patient/a/1"]
    finally:
        await other.close()


async def test_after_a_lost_oplog_changes_are_numbered_from_the_resources(
    sequence: MongoStore, failpoints: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await put(sequence, a_patient("a"))
    await told(sequence)
    await put(sequence, a_patient("b"))
    with failpoints("failCommand", times=1, failCommands=["aggregate"], errorCode=286):  # ChangeStreamHistoryLost
        await told(sequence)
    assert "no longer reaches back" in caplog.text
    await put(sequence, a_patient("c"))
    found = await told(sequence)
    assert {"Patient/a/1", "Patient/b/1", "Patient/c/1"} == set(names(found))
    assert [one.seq for one in found] == list(range(1, len(found) + 1))


async def test_a_number_is_told_only_with_its_change(
    sequence: MongoStore, mongodb: MongoClient[dict[str, Any]], settings: Settings, failpoints: Any
) -> None:
    """A commit is there for local reads a moment before it is there for majority reads: here the moment lasts."""
    await put(sequence, a_patient("a"))
    (first,) = await told(sequence)
    database = mongodb[settings.mongodb_database]
    with failpoints("disableSnapshotting"), mongodb.start_session() as session:
        with session.start_transaction(write_concern=WriteConcern(w=1)):
            database["changes"].insert_one({"_id": 2, "t": "Patient", "i": "b", "v": 1, "p": "b"}, session=session)
            database["follower"].update_one({"_id": "changes"}, {"$set": {"seq": 2}}, session=session)
        assert database["changes"].count_documents({}) == 2
        span = await sequence.change_span()
        assert span is not None
        assert await sequence.changes(0, END, 10) == [first]
        assert span.last == first.seq


async def test_a_moment_leads_to_the_changes_from_then_on(sequence: MongoStore) -> None:
    await put(sequence, a_patient("a"))
    (first,) = await told(sequence)
    span = await sequence.change_span()
    assert span is not None
    assert (span.first, span.last) == (1, 1)
    assert await sequence.changes_before(first.at + 1000) == 0  # whole seconds, and one to be sure
    assert await sequence.changes_before(first.at + 60_000) == 1
    assert await sequence.changes_before(span.begun - 60_000) is None


async def test_of_a_person_changed_often_the_last_change_is_known(sequence: MongoStore) -> None:
    for name in ("x", "y", "z"):
        await put(sequence, a_patient("a", name=name))
    await put(sequence, a_patient("b"))
    await told(sequence)
    assert await sequence.latest_changes(["a", "b"], 0, 4, ["Patient"]) == {"a": 3, "b": 4}
    assert await sequence.latest_changes(["a", "b"], 0, 2, ["Patient"]) == {"a": 2}
    assert await sequence.latest_changes(["a", "b"], 0, 4, ["Condition"]) == {}
