"""What unit tests of search ask for: an index over a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from pymongo import MongoClient
from search_index import Index

# A test never asserts times, so neither does hypothesis; function-scoped fixtures are emptied by each example.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="module")
def index(mongodb: MongoClient[dict[str, object]]) -> Iterator[Index]:
    name = f"test_{uuid4().hex}"
    yield Index(mongodb[name])
    mongodb.drop_database(name)
