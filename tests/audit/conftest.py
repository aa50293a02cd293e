"""A context on a database of its own for the module, and the application on one for the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from tests.api.conftest import Client, serving


@pytest.fixture(scope="module")
async def context(own_settings: Settings) -> AsyncIterator[Context]:
    async with open_context(own_settings) as opened:
        yield opened


@pytest.fixture(scope="module")
async def served(own_settings: Settings) -> AsyncIterator[Client]:
    async with serving(own_settings) as client:
        yield client


@pytest.fixture(scope="module")
def database(own_settings: Settings, mongodb: MongoClient[dict[str, Any]]) -> Database[dict[str, Any]]:
    return mongodb[own_settings.mongodb_database]
