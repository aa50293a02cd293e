"""Promises of the store about opening: what is refused, what every store has, what small things are kept."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pymongo import MongoClient

from fhir_server.config import Settings
from fhir_server.store import embedded as embedded_module
from fhir_server.store.mongo import MongoStore, open_store
from fhir_server.store.values import EVERYTHING, Find, Narrowing, StartError
from tests.contract.drafts import a_draft, a_patient, put

Server = MongoClient[dict[str, Any]]


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[str]:
    """The URI of a mongod that is no replica set."""
    socket = tmp_path / "s.sock"
    command = [str(embedded_module._binary()), "--dbpath", str(tmp_path), "--bind_ip", str(socket), "--nounixsocket"]
    process = subprocess.Popen([*command, "--wiredTigerCacheSizeGB", "0.25"], stdout=subprocess.DEVNULL)
    yield f"mongodb://{quote(str(socket), safe='')}/"
    process.kill()
    process.wait()


async def test_a_standalone_mongod_is_refused_with_the_reason(standalone: str) -> None:
    with pytest.raises(StartError, match="transactions need a replica set"):
        await open_store(standalone, Settings())


async def test_a_server_that_does_not_answer_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.store.mongo.SELECTION_MS", 100)
    with pytest.raises(StartError, match=r"MongoDB cannot be used: .*nowhere") as refused:
        await open_store(embedded_module._uri(tmp_path / "nowhere.sock"), Settings())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("uri", ["http://localhost", "mongodb://", "mongodb://a:b:c", "mongodb://h/?w=many&nonsense"])
async def test_what_is_no_address_of_a_mongodb_is_told_so(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_server.store.mongo.SELECTION_MS", 100)
    with pytest.raises(StartError, match=r"FHIR_MONGODB_URI is no address|cannot be used"):
        await open_store(uri, Settings())


async def test_a_password_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_server.store.mongo.SELECTION_MS", 100)
    with pytest.raises(StartError) as refused:
        await open_store("mongodb://user:s3cret@127.0.0.1:9/", Settings())
    assert "s3cret" not in str(refused.value)


async def test_a_store_of_a_newer_program_is_refused(
    store: MongoStore, settings: Settings, mongodb: Server, database_name: str
) -> None:
    mongodb[database_name]["registry"].update_one({"_id": "schema"}, {"$set": {"version": 99}})
    with pytest.raises(StartError, match="written by a newer program"):
        await open_store(str(settings.mongodb_uri), settings)


async def test_a_store_of_an_older_program_asks_for_migrate(
    store: MongoStore, settings: Settings, mongodb: Server, database_name: str
) -> None:
    mongodb[database_name]["registry"].update_one({"_id": "schema"}, {"$set": {"version": 0}})
    with pytest.raises(StartError, match="run `fhir-server migrate`"):
        await open_store(str(settings.mongodb_uri), settings)


async def test_an_index_that_a_killed_process_left_out_is_made_at_the_next_start(
    store: MongoStore, settings: Settings, mongodb: Server, database_name: str
) -> None:
    await put(store, a_draft(keys=["k"]))
    mongodb[database_name]["Organization"].drop_indexes()
    again = await open_store(str(settings.mongodb_uri), settings)
    try:
        assert set(mongodb[database_name]["Organization"].index_information()) == {
            "_id_",
            "keys",
            "order",
            "updated",
            "gone",
        }
        assert await again.ready() == {"types": 1, "generation": 1}
    finally:
        await again.close()


async def test_readiness_names_the_type_whose_index_is_missing(
    store: MongoStore, mongodb: Server, database_name: str
) -> None:
    await put(store, a_draft())
    mongodb[database_name]["Organization"].drop_index("keys")
    with pytest.raises(Exception, match="Organization"):
        await store.ready()


async def test_collections_are_compressed_with_zstd(store: MongoStore, mongodb: Server, database_name: str) -> None:
    await put(store, a_draft())
    options = mongodb[database_name]["Organization"].options()
    assert options["storageEngine"]["wiredTiger"]["configString"] == "block_compressor=zstd"


async def test_a_load_into_an_empty_store_builds_its_indexes_at_the_end_and_finds_compartments_meanwhile(
    store: MongoStore, mongodb: Server, database_name: str
) -> None:
    collection = mongodb[database_name]["Organization"]
    async with store.bulk_load() as deferred:
        assert deferred
        await put(store, *[a_draft(id=str(number), keys=["k"]) for number in range(100)], expected=0)
        await put(store, a_patient("p"), a_draft("Condition", narrowing=Narrowing("p"), keys=["@p"]))
        assert set(collection.index_information()) == {"_id_", "members"}
        conditions = mongodb[database_name]["Condition"]
        found = conditions.find({"k": "@p", "p": "p"}).explain()["executionStats"]
        assert (found["totalDocsExamined"], found["totalKeysExamined"]) == (1, 1)
        assert "keys" in mongodb[database_name]["Patient"].index_information()
    assert set(collection.index_information()) == {"_id_", "gone", "keys", "order", "updated"}
    assert await store.count("Organization", {"k": "k"}, EVERYTHING) == 100


async def test_a_load_into_a_store_with_resources_keeps_its_indexes(
    store: MongoStore, mongodb: Server, database_name: str
) -> None:
    await put(store, a_draft())
    async with store.bulk_load() as deferred:
        assert not deferred
        await put(store, a_draft("Location", keys=["k"]))
        assert "keys" in mongodb[database_name]["Location"].index_information()
        assert len(await store.find(Find("Location", {"k": "k"}), EVERYTHING)) == 1


async def test_a_secret_is_the_same_for_all_who_ask_at_once_and_later(store: MongoStore, settings: Settings) -> None:
    other = await open_store(str(settings.mongodb_uri), settings)
    try:
        asked = await asyncio.gather(*[one.secret("links") for one in (store, other) for _ in range(8)])
        assert len(set(asked)) == 1
        assert len(asked[0]) == 32
        assert await store.secret("other") != asked[0]
    finally:
        await other.close()


async def test_what_is_kept_is_found_by_its_hash(store: MongoStore) -> None:
    key = await store.keep(b"name=nguyen" * 1000)
    assert await store.keep(b"name=nguyen" * 1000) == key
    assert await store.kept(key) == b"name=nguyen" * 1000
    assert await store.kept("unknown") is None


async def test_what_is_kept_and_claimed_expires_by_itself(
    store: MongoStore, mongodb: Server, database_name: str
) -> None:
    database = mongodb[database_name]
    assert database["kept"].index_information()["expiry"]["expireAfterSeconds"] == 7 * 24 * 3600
    assert database["claims"].index_information()["expiry"]["expireAfterSeconds"] == 3600


async def test_no_uri_makes_the_store_read_elsewhere_or_write_less_surely(settings: Settings) -> None:
    """With one member, who reads of secondaries finds nobody; who writes without an answer learns of no refusal."""
    store = await open_store(
        f"{settings.mongodb_uri}&readPreference=secondary&w=0&serverSelectionTimeoutMS=500", settings
    )
    try:
        await put(store, a_draft(id="o"))
        assert await store.read("Organization", "o", EVERYTHING) is not None
        assert [found.id async for found in store.walk("Organization", EVERYTHING)] == ["o"]
        assert [id async for id, _ in store.versions("Organization")] == ["o"]
        assert await store.enter("tokens", "a", {}), "the first who enters a name"
        assert not await store.enter("tokens", "a", {})
    finally:
        await store.close()
