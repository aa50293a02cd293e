"""Promises of the store about FHIR packages: whole or not there, the same for every process, gone when removed."""

from __future__ import annotations

import asyncio

from fhir_server.config import Settings
from fhir_server.store.mongo import MongoStore, open_store
from fhir_server.store.values import Installed

FACTS = {"name": "x", "version": "1"}


async def test_a_package_is_there_for_every_process_and_in_its_order(store: MongoStore, settings: Settings) -> None:
    contents = [f'{{"n":{number}}}'.encode() for number in range(1200)]
    other = await open_store(str(settings.mongodb_uri), settings)
    try:
        before = await other.announced()
        await store.install(Installed("x#1 http://a", FACTS), contents)
        assert await other.announced() > before, "the other process is told"
        (found,) = await other.packages()
        assert (found.identity, found.facts) == ("x#1 http://a", FACTS)
        assert await other.package_resources(found) == contents
    finally:
        await other.close()


async def test_packages_of_one_name_are_kept_apart_by_their_identity(store: MongoStore) -> None:
    for identity, content in (("x#1 http://a", b"a"), ("x#1 http://b", b"b"), ("x#2 http://a", b"c")):
        await store.install(Installed(identity, FACTS), [content])
    found = {one.identity: await store.package_resources(one) for one in await store.packages()}
    assert found == {"x#1 http://a": [b"a"], "x#1 http://b": [b"b"], "x#2 http://a": [b"c"]}


async def test_installing_again_takes_the_place_of_what_was_there(store: MongoStore) -> None:
    await store.install(Installed("x#1", FACTS), [b"1", b"2"])
    (before,) = await store.packages()
    await store.install(Installed("x#1", FACTS), [b"3"])
    (after,) = await store.packages()
    assert before.revision != after.revision
    assert await store.package_resources(after) == [b"3"]
    assert await store.package_resources(before) == []


async def test_what_is_removed_is_gone(store: MongoStore) -> None:
    await store.install(Installed("x#1", FACTS), [b"1"])
    (package,) = await store.packages()
    assert await store.uninstall("x#1")
    assert await store.packages() == []
    assert await store.package_resources(package) == []
    assert not await store.uninstall("x#1")


async def test_of_two_who_install_and_one_who_removes_at_once_nobody_takes_the_resources_of_another(
    store: MongoStore,
) -> None:
    contents = [b"1", b"2", b"3"]
    for _ in range(10):
        await asyncio.gather(
            store.install(Installed("x#1", FACTS), contents),
            store.uninstall("x#1"),
            store.install(Installed("x#1", FACTS), contents),
        )
        assert [await store.package_resources(one) for one in await store.packages()] in ([], [contents])
    await store.uninstall("x#1")
    assert await store._database["package_resources"].count_documents({}) == 0
