"""Promises of the registry: short names that are durable, never doubled and never given twice."""

from __future__ import annotations

import asyncio

import pytest

from fhir_server.config import Settings
from fhir_server.store.mongo import MongoStore, open_store
from fhir_server.store.registry import letters_of
from fhir_server.store.values import StartError
from tests.contract.drafts import a_draft, put

DEFINITIONS = {(type, code): f"{type}.{code}" for type in ("Patient", "Condition", "Slot") for code in "abcdefgh"}


async def opened(settings: Settings, times: int) -> list[MongoStore]:
    return [await open_store(str(settings.mongodb_uri), settings) for _ in range(times)]


async def test_workers_that_start_together_agree_on_all_letters(settings: Settings) -> None:
    workers = await opened(settings, 4)
    try:
        await asyncio.gather(*[worker.ensure_letters(DEFINITIONS) for worker in workers])
        first = workers[0].registry.letters
        assert first.keys() == DEFINITIONS.keys()
        assert all(worker.registry.letters == first for worker in workers)
        for type in ("Patient", "Condition", "Slot"):
            of_type = [letters for name, letters in first.items() if name[0] == type]
            assert len(set(of_type)) == len(of_type)
            assert all(len(letters) == 2 for letters in of_type)
    finally:
        for worker in workers:
            await worker.close()


async def test_letters_outlive_the_process_and_a_parameter_that_comes_later_takes_none_of_them(
    store: MongoStore, settings: Settings
) -> None:
    await store.ensure_letters(DEFINITIONS)
    (later,) = await opened(settings, 1)
    try:
        assert later.registry.letters == store.registry.letters
        await later.ensure_letters({("Patient", "new"): "x"})
        assert later.registry.letters["Patient", "new"] not in {
            letters for (type, _), letters in store.registry.letters.items() if type == "Patient"
        }
        assert store.registry.letters.items() <= later.registry.letters.items()
    finally:
        await later.close()


async def test_a_changed_definition_of_a_type_without_resources_takes_new_letters_at_once(store: MongoStore) -> None:
    await store.ensure_letters({("Patient", "name"): "old"})
    old = store.registry.letters["Patient", "name"]
    await store.ensure_letters({("Patient", "name"): "new"})
    assert store.registry.letters["Patient", "name"] != old
    assert store.registry.pending == {}


async def test_a_changed_definition_of_a_type_in_use_waits_for_a_re_index(store: MongoStore) -> None:
    await store.ensure_letters({("Organization", "name"): "old"})
    old = store.registry.letters["Organization", "name"]
    await put(store, a_draft())
    await store.ensure_letters({("Organization", "name"): "new"})
    pending = store.registry.pending["Organization", "name"]
    assert (store.registry.letters["Organization", "name"], pending != old) == (old, True)
    await store.ensure_letters({("Organization", "name"): "new"})
    assert store.registry.pending["Organization", "name"] == pending


async def test_a_new_parameter_of_a_type_in_use_waits_for_a_re_index(store: MongoStore) -> None:
    await put(store, a_draft())
    await store.ensure_letters({("Organization", "name"): "new", ("Slot", "start"): "new"})
    assert ("Organization", "name") not in store.registry.letters
    assert ("Organization", "name") in store.registry.pending
    assert ("Slot", "start") in store.registry.letters


async def test_only_what_was_re_indexed_is_switched(store: MongoStore) -> None:
    await put(store, a_draft())
    await store.ensure_letters({("Organization", "name"): "x"})
    done = dict(store.registry.pending)
    await store.ensure_letters({("Organization", "name"): "x", ("Organization", "alias"): "y"})
    await store.switch_letters(done)
    assert store.registry.letters["Organization", "name"] == done["Organization", "name"]
    assert store.registry.pending.keys() == {("Organization", "alias")}


async def test_a_definition_that_changed_again_during_a_re_index_stays_pending(store: MongoStore) -> None:
    await put(store, a_draft())
    await store.ensure_letters({("Organization", "name"): "x"})
    done = dict(store.registry.pending)
    await store.ensure_letters({("Organization", "name"): "y"})
    await store.switch_letters(done)
    assert ("Organization", "name") not in store.registry.letters
    assert store.registry.pending["Organization", "name"] != done["Organization", "name"]


async def test_every_process_is_told_of_changed_parameters(settings: Settings) -> None:
    one, other = await opened(settings, 2)
    try:
        before = await other.announced()
        await put(one, a_draft())
        await one.ensure_letters({("Organization", "name"): "x"})
        announced = await other.announced()
        assert announced > before
        await one.switch_letters(dict(one.registry.pending))
        assert await other.announced() > announced
        await other.ensure_letters({("Organization", "name"): "x"})
        assert (other.registry.pending, other.registry.letters) == ({}, one.registry.letters)
    finally:
        await one.close()
        await other.close()


async def test_who_has_not_heard_of_a_definition_does_not_take_its_letters_for_pending(settings: Settings) -> None:
    one, other = await opened(settings, 2)
    try:
        await put(one, a_draft())
        await other.ensure_letters({("Organization", "name"): "old"})
        await one.ensure_letters({("Organization", "name"): "new", ("Organization", "alias"): "new"})
        await other.switch_letters({})
        assert other.registry.pending == {}
        assert one.registry.pending.keys() == {("Organization", "name"), ("Organization", "alias")}
    finally:
        await one.close()
        await other.close()


async def test_one_process_re_indexes_until_it_stops_to_ask(settings: Settings) -> None:
    one, other = await opened(settings, 2)
    try:
        assert await one.lead_reindex("one", 30)
        assert await one.lead_reindex("one", 30)
        assert not await other.lead_reindex("other", 30)
        await one.note_reindexed(5, 9)
        assert await other.reindexed() == (5, 9)
        assert await one.lead_reindex("one", 0)
        assert await other.lead_reindex("other", 30)
    finally:
        await one.close()
        await other.close()


async def test_workers_that_see_a_change_together_agree_on_the_pending_letters(settings: Settings) -> None:
    workers = await opened(settings, 3)
    try:
        await workers[0].ensure_letters({("Organization", "name"): "old"})
        await put(workers[0], a_draft())
        await asyncio.gather(*[worker.ensure_letters({("Organization", "name"): "new"}) for worker in workers])
        assert len({worker.registry.pending["Organization", "name"] for worker in workers}) == 1
    finally:
        for worker in workers:
            await worker.close()


async def test_a_system_has_one_number_whoever_meets_it_first(settings: Settings) -> None:
    workers = await opened(settings, 4)
    uris = [f"http://example.org/{number}" for number in range(20)]
    try:
        await asyncio.gather(*[worker.intern(uris[place:] + uris[:place]) for place, worker in enumerate(workers)])
        first = workers[0].registry.systems
        assert first.keys() == set(uris)
        assert len(set(first.values())) == len(uris)
        assert all(worker.registry.systems == first for worker in workers)
    finally:
        for worker in workers:
            await worker.close()


async def test_a_system_that_another_worker_met_is_known_when_asked_for(store: MongoStore, settings: Settings) -> None:
    (other,) = await opened(settings, 1)
    try:
        await other.intern(["urn:oid:1.2.3"])
        assert "urn:oid:1.2.3" not in store.registry.systems
        assert await store.known_system("urn:oid:1.2.3") == other.registry.systems["urn:oid:1.2.3"]
        assert await store.known_system("urn:oid:9.9.9") is None
    finally:
        await other.close()


def test_letters_are_two_characters_and_end_with_a_sentence() -> None:
    given = [letters_of(number) for number in range(62 * 62)]
    assert len(set(given)) == 62 * 62
    assert {len(letters) for letters in given} == {2}
    with pytest.raises(StartError, match="is the most"):
        letters_of(62 * 62)
