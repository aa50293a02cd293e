"""Brings a database from the store version it was written with to the one of this program, step by step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from fhir_server.config import Settings
from fhir_server.store.concerns import database_of
from fhir_server.store.documents import Document
from fhir_server.store.registry import SCHEMA_VERSION, DurableRegistry
from fhir_server.store.values import StartError

# A step may be cut off anywhere and is then run again from its start: it must be able to meet its own work.
Step = Callable[[AsyncDatabase[Document]], Awaitable[None]]

# The version a step starts from -> the step to the next one. Version 1 is the first.
STEPS: Mapping[int, Step] = MappingProxyType({})


async def migrate(
    uri: str, settings: Settings, steps: Mapping[int, Step] = STEPS, target: int = SCHEMA_VERSION
) -> tuple[int, int]:
    """Runs what is missing and gives the versions before and after. No server may be running on the database.

    Raises StartError when the database is newer than this program, or does not answer.
    """
    async with AsyncMongoClient[Document](uri, serverSelectionTimeoutMS=5_000) as client:
        database = database_of(client, settings.mongodb_database)
        registry = DurableRegistry(database)
        try:
            found = await registry.schema_version()
            if found > target:
                raise StartError(
                    f"The database has store version {found}, which is newer than this program knows ({target})."
                )
            for version in range(found, target):
                await steps[version](database)
                await registry.set_schema_version(version + 1)
        except PyMongoError as fault:
            raise StartError(f"The migration was cut off ({type(fault).__name__}); run it again.") from None
    return found, target
