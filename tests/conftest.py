"""What every test may ask for: a real MongoDB for the session, and a database of its own for the test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pymongo import MongoClient

from fhir_server.config import Settings
from fhir_server.model.rare_collections import collect_rarely
from fhir_server.store.embedded import Embedded
from fhir_server.store.mongo import MongoStore, open_store

TEST_CACHE_MB = 256

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
def mongodb(mongodb_uri: str) -> Iterator[MongoClient[dict[str, object]]]:
    """A client past the store, for what a test must see or do behind its back."""
    with MongoClient[dict[str, object]](mongodb_uri) as client:
        yield client


@pytest.fixture
def database_name(mongodb: MongoClient[dict[str, object]]) -> Iterator[str]:
    """A database that does not exist yet, dropped after the test."""
    name = f"test_{uuid4().hex}"
    yield name
    mongodb.drop_database(name)


@pytest.fixture
def settings(mongodb_uri: str, database_name: str) -> Settings:
    return Settings(mongodb_uri=mongodb_uri, mongodb_database=database_name)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[MongoStore]:
    """A store over an empty database."""
    opened = await open_store(str(settings.mongodb_uri), settings)
    yield opened
    await opened.close()
