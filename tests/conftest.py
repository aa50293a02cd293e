"""What every test may ask for: a real MongoDB for the session, and a database of its own for the test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from fhir_server.config import Settings
from fhir_server.model.rare_collections import collect_rarely
from fhir_server.store.embedded import Embedded
from fhir_server.store.mongo import MongoStore, open_store

TEST_CACHE_MB = 256
OF_REQUESTS = ("compartments", "gates", "claims", "answers", "deferrals")  # collections beside those of resources

collect_rarely()  # definitions and collected tests stay to the end


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded | None]:
    """The session's own mongod (one for each xdist worker), None when FHIR_MONGODB_URI names another server."""
    if os.environ.get("FHIR_MONGODB_URI"):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="fhir-test-") as folder:
        server = Embedded(Path(folder), TEST_CACHE_MB, {"enableTestCommands": "1"})
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def mongodb_uri(embedded: Embedded | None) -> str:
    return embedded.uri if embedded else os.environ["FHIR_MONGODB_URI"]


@pytest.fixture(scope="session")
def mongodb(mongodb_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client past the store, for what a test must see or do behind its back."""
    with MongoClient[dict[str, Any]](mongodb_uri, readPreference="primary", w="majority") as client:
        yield client


@contextmanager
def new_database(mongodb: MongoClient[dict[str, Any]]) -> Iterator[str]:
    """The name of a database that does not exist yet, dropped after the block."""
    name = f"test_{uuid4().hex}"
    yield name
    mongodb.drop_database(name)


def empty(database: Database[dict[str, Any]]) -> None:
    """Takes away all that requests have written; what every start of a server makes stays."""
    names = database.list_collection_names()
    remove_from(database, [name for name in names if name[0].isupper() or name in OF_REQUESTS])


def remove_from(database: Database[dict[str, Any]], names: list[str]) -> None:
    """Empties these collections."""
    # Which hold anything is asked at once: to delete from every collection would take longer than most tests.
    any_of = {name: [{"$limit": 1}, {"$project": {"_id": {"$literal": name}}}] for name in names}
    others = [{"$unionWith": {"coll": name, "pipeline": any_of[name]}} for name in names[1:]]
    for found in database[names[0]].aggregate([*any_of[names[0]], *others]) if names else ():
        database[found["_id"]].delete_many({})


@pytest.fixture(scope="session")
async def made_once(mongodb_uri: str, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[tuple[str, list[str]]]:
    """A database in which a store has been opened, and the collections that this makes: a sixth of a second of work,
    and as long a wait for the disk."""
    with new_database(mongodb) as name:
        await (await open_store(mongodb_uri, Settings(mongodb_uri=mongodb_uri, mongodb_database=name))).close()
        yield name, mongodb[name].list_collection_names()


@pytest.fixture
def database_name(mongodb: MongoClient[dict[str, Any]], made_once: tuple[str, list[str]]) -> Iterator[str]:
    """A database for the test alone, with nothing in it."""
    name, kept = made_once
    yield name
    database = mongodb[name]
    for other in set(database.list_collection_names()) - set(kept):
        database.drop_collection(other)
    remove_from(database, kept)


@pytest.fixture(scope="module")
def own_settings(mongodb_uri: str, mongodb: MongoClient[dict[str, Any]]) -> Iterator[Settings]:
    """A database of the file's own."""
    with new_database(mongodb) as name:
        yield Settings(mongodb_uri=mongodb_uri, mongodb_database=name)


@pytest.fixture
def settings(mongodb_uri: str, database_name: str) -> Settings:
    return Settings(mongodb_uri=mongodb_uri, mongodb_database=database_name)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[MongoStore]:
    """A store over an empty database."""
    opened = await open_store(str(settings.mongodb_uri), settings)
    yield opened
    await opened.close()
