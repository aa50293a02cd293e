"""Small registers kept beside the resources: entries under a name; what they mean and who may change them, says who
keeps the register.

registers: {_id: "register/name", r: register, n: name, e: the entry}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from fhir_server.store.documents import Document

REGISTERS = "registers"


class Registers:
    """The registers of one database. Names are plain text, so they are no queries."""

    def __init__(self, database: AsyncDatabase[Document], session: AsyncClientSession | None = None) -> None:
        self._rows = database[REGISTERS]
        self._session = session

    async def enter(self, register: str, name: str, entry: Mapping[str, Any]) -> bool:
        """False when the name is taken; nothing is written then."""
        row = {"_id": f"{register}/{name}", **_row(register, name, entry)}
        try:
            await self._rows.insert_one(row, session=self._session)
        except DuplicateKeyError:
            return False
        return True

    async def put(self, register: str, name: str, entry: Mapping[str, Any]) -> None:
        """Whatever was there before; within a transaction, which a taken name would end."""
        row = {"$set": _row(register, name, entry)}
        await self._rows.update_one({"_id": f"{register}/{name}"}, row, upsert=True, session=self._session)

    async def put_all(self, register: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Several at once, as `put`."""
        rows = [
            UpdateOne(
                {"_id": f"{register}/{name}"}, {"$set": {"r": register, "n": name, "e": dict(entry)}}, upsert=True
            )
            for name, entry in entries.items()
        ]
        await self._rows.bulk_write(rows, ordered=False, session=self._session)

    async def named(self, register: str, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Those of the names that are there."""
        wanted = {"_id": {"$in": [f"{register}/{name}" for name in names]}}
        rows = await self._rows.find(wanted, session=self._session).to_list()
        return {row["n"]: dict(row["e"]) for row in rows}

    async def replace(self, register: str, name: str, entry: Mapping[str, Any], was: Mapping[str, Any]) -> bool:
        """False when the entry is not as it `was`, or not there; nothing is written then."""
        wanted = {"_id": f"{register}/{name}", "e": {"$eq": dict(was)}}
        result = await self._rows.update_one(wanted, {"$set": {"e": dict(entry)}}, session=self._session)
        return result.matched_count == 1

    async def entry(self, register: str, name: str) -> dict[str, Any] | None:
        found = await self._rows.find_one({"_id": f"{register}/{name}"}, session=self._session)
        return dict(found["e"]) if found else None

    async def due(self, register: str, until: str) -> dict[str, dict[str, Any]]:
        """Those whose names come before a text, at most a thousand."""
        span = {"$gte": f"{register}/", "$lt": f"{register}/{until}"}
        rows = await self._rows.find({"_id": span}, session=self._session).sort("_id").limit(1000).to_list()
        return {row["n"]: dict(row["e"]) for row in rows}

    async def withdraw(self, register: str, name: str) -> None:
        await self._rows.delete_one({"_id": f"{register}/{name}"}, session=self._session)

    async def entries(self, register: str) -> dict[str, dict[str, Any]]:
        """All of a register by name, sorted."""
        span = {"$gte": f"{register}/", "$lt": f"{register}0"}  # "0" follows "/"
        rows = await self._rows.find({"_id": span}, session=self._session).sort("_id").to_list()
        return {row["n"]: dict(row["e"]) for row in rows}


def _row(register: str, name: str, entry: Mapping[str, Any]) -> Document:
    return {"r": register, "n": name, "e": dict(entry)}
