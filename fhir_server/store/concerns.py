"""How the store reads and writes, whatever the operator's URI says of it: writes that outlive the loss of a member, and
reads of the member that takes them, so that everybody sees what was acknowledged."""

from __future__ import annotations

from typing import Any

from bson.timestamp import Timestamp
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern

MAJORITY = WriteConcern("majority")


class _AtMoment(ReadConcern):
    """Of what was committed at one moment, however long the reading takes: the driver knows no name for it."""

    def __init__(self, moment: int) -> None:
        super().__init__("snapshot")
        self._moment = moment

    @property
    def document(self) -> dict[str, Any]:
        return {"level": self.level, "atClusterTime": Timestamp(self._moment >> 32, self._moment & 0xFFFF_FFFF)}


def database_of(
    client: AsyncMongoClient[dict[str, Any]], name: str, moment: int | None = None
) -> AsyncDatabase[dict[str, Any]]:
    """moment: at which it is read, for reading alone (see contract.Store.at)."""
    concern = ReadConcern("local") if moment is None else _AtMoment(moment)
    return client.get_database(
        name, read_preference=ReadPreference.PRIMARY, write_concern=MAJORITY, read_concern=concern
    )
