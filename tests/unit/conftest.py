"""What unit tests ask for: of search an index over a database of its own, of records a store to import into."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from pymongo import MongoClient
from pymongo.database import Database
from records_desk import Desk
from search_index import Index

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from tests.conftest import empty, new_database

# A test never asserts times, so neither does hypothesis; function-scoped fixtures are emptied by each example.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="module")
def index(mongodb: MongoClient[dict[str, Any]]) -> Iterator[Index]:
    with new_database(mongodb) as name:
        yield Index(mongodb[name])


@pytest.fixture(scope="session")
async def shared(
    mongodb_uri: str, mongodb: MongoClient[dict[str, Any]]
) -> AsyncIterator[tuple[Context, Database[dict[str, Any]]]]:
    """One context for all tests of records, since most of a test's time would go into opening one, and its database."""
    with new_database(mongodb) as name:
        async with open_context(Settings(mongodb_uri=mongodb_uri, mongodb_database=name)) as opened:
            yield opened, mongodb[name]


@pytest.fixture
def desk(shared: tuple[Context, Database[dict[str, Any]]], tmp_path: Path) -> Desk:
    """The shared context over an empty store."""
    context, database = shared
    empty(database)
    return Desk(context, tmp_path)
