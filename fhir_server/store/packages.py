"""FHIR packages that an operator installed, kept in the database so that every process of every host has them.

packages:          {_id: identity, revision, facts}
package_resources: {_id: "<revision> <place>", raw}

The resources of a new revision are written first and its document last, so that a package is there whole or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.documents import Document
from fhir_server.store.values import Installed

PACKAGES = "packages"
RESOURCES = "package_resources"
_BATCH = 500


class Packages:
    """The packages of one database."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._packages = database[PACKAGES]
        self._resources = database[RESOURCES]

    async def all(self) -> list[Installed]:
        rows = [row async for row in self._packages.find().sort("_id")]
        return [Installed(row["_id"], row["facts"], row["revision"]) for row in rows]

    async def resources(self, package: Installed) -> list[bytes]:
        """The JSON of each, in the order they were given."""
        found = self._resources.find(_of(package.revision)).sort("_id")
        return [bytes(row["raw"]) async for row in found]

    async def install(self, package: Installed, resources: Sequence[bytes]) -> None:
        """Puts a package in the place of one with its identity."""
        revision = token_hex(8)
        rows = [{"_id": f"{revision} {n:06d}", "raw": raw} for n, raw in enumerate(resources)]
        for start in range(0, len(rows), _BATCH):
            await self._resources.insert_many(rows[start : start + _BATCH], ordered=False)
        document = {"revision": revision, "facts": dict(package.facts)}
        await self._forget(await self._packages.find_one_and_replace({"_id": package.identity}, document, upsert=True))

    async def remove(self, identity: str) -> bool:
        gone = await self._packages.find_one_and_delete({"_id": identity})
        await self._forget(gone)
        return gone is not None

    async def _forget(self, gone: Document | None) -> None:
        """The resources of this revision alone: another process may be writing those of the next one."""
        if gone is not None:
            await self._resources.delete_many(_of(gone["revision"]))


def _of(revision: str) -> Document:
    """The resources of one revision, by the index of `_id`."""
    return {"_id": {"$gt": f"{revision} ", "$lt": f"{revision}!"}}
