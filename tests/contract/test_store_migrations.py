"""A database is brought to the version of the program step by step, and a newer one is refused."""

from __future__ import annotations

import pytest
from pymongo import MongoClient
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.config import Settings
from fhir_server.store.documents import Document
from fhir_server.store.migrations import STEPS, migrate
from fhir_server.store.mongo import open_store
from fhir_server.store.registry import SCHEMA_VERSION
from fhir_server.store.values import StartError


class Cut(Exception):
    """What a test throws in the middle of a step."""


async def mark(database: AsyncDatabase[Document]) -> None:
    await database["marks"].update_one({"_id": "step"}, {"$inc": {"runs": 1}}, upsert=True)


async def mark_and_fail(database: AsyncDatabase[Document]) -> None:
    await mark(database)
    raise Cut


def runs(mongodb: MongoClient[dict[str, object]], name: str) -> object:
    return (mongodb[name]["marks"].find_one({"_id": "step"}) or {}).get("runs")


async def test_a_database_of_this_version_needs_nothing(settings: Settings) -> None:
    assert await migrate(str(settings.mongodb_uri), settings) == (SCHEMA_VERSION, SCHEMA_VERSION)


def test_there_is_a_step_from_every_version_to_the_next() -> None:
    assert set(STEPS) == set(range(1, SCHEMA_VERSION))


async def test_a_step_runs_once_and_one_that_was_cut_off_runs_again(
    mongodb: MongoClient[dict[str, object]], settings: Settings
) -> None:
    await migrate(str(settings.mongodb_uri), settings)
    first, second = SCHEMA_VERSION, SCHEMA_VERSION + 1
    with pytest.raises(Cut):
        await migrate(str(settings.mongodb_uri), settings, {first: mark, second: mark_and_fail}, SCHEMA_VERSION + 2)
    assert await migrate(str(settings.mongodb_uri), settings, {first: mark, second: mark}, SCHEMA_VERSION + 2) == (
        second,
        second + 1,
    )
    assert runs(mongodb, settings.mongodb_database) == 3


async def test_an_older_program_refuses_a_newer_database(settings: Settings) -> None:
    await migrate(str(settings.mongodb_uri), settings)
    await migrate(str(settings.mongodb_uri), settings, {SCHEMA_VERSION: mark}, SCHEMA_VERSION + 1)
    with pytest.raises(StartError, match="newer"):
        await migrate(str(settings.mongodb_uri), settings)
    with pytest.raises(StartError, match="newer"):
        await open_store(str(settings.mongodb_uri), settings)
