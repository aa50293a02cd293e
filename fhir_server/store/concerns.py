"""How the store reads and writes, whatever the operator's URI says of it: writes that outlive the loss of a member, and
reads of the member that takes them, so that everybody sees what was acknowledged."""

from __future__ import annotations

from typing import Any

from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern

MAJORITY = WriteConcern("majority")


def database_of(client: AsyncMongoClient[dict[str, Any]], name: str) -> AsyncDatabase[dict[str, Any]]:
    return client.get_database(
        name, read_preference=ReadPreference.PRIMARY, write_concern=MAJORITY, read_concern=ReadConcern("local")
    )
