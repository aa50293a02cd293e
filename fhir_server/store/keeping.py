"""Small things kept beside the resources: secrets, long queries, and the collections whose documents expire.

secrets: {_id: name, value}     kept: {_id: sha256, content, at}     claims: {_id: sha256, n, at}
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from datetime import UTC, datetime

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.answers import ANSWER_SECONDS, ANSWERS
from fhir_server.store.buckets import BUCKET_SECONDS, BUCKETS
from fhir_server.store.compartments import COMPARTMENTS
from fhir_server.store.deferrals import DEFERRALS
from fhir_server.store.documents import Document
from fhir_server.store.faults import wrapped
from fhir_server.store.gates import GATES
from fhir_server.store.indexes import create
from fhir_server.store.packages import PACKAGES, RESOURCES
from fhir_server.store.registers import REGISTERS
from fhir_server.store.transactions import CLAIMS

KEPT_SECONDS = 7 * 24 * 3600
CLAIM_SECONDS = 3600  # far beyond the life of any transaction
_EXPIRING = {
    "kept": KEPT_SECONDS,
    CLAIMS: CLAIM_SECONDS,
    GATES: CLAIM_SECONDS,
    ANSWERS: ANSWER_SECONDS,
    DEFERRALS: ANSWER_SECONDS,
    BUCKETS: BUCKET_SECONDS,
}


class Keeping:
    """The small collections of one database."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._database = database
        self._secrets = database["secrets"]
        self._known: dict[str, bytes] = {}  # a secret never changes
        self._kept = database["kept"]

    async def open(self) -> set[str]:
        """Makes the collections that no transaction may have to make; gives those that were there."""
        existing = set(await self._database.list_collection_names())
        made = {"registry", "systems", "secrets", COMPARTMENTS, REGISTERS, PACKAGES, RESOURCES, *_EXPIRING}
        # Together, so that they wait for the disk once and not each by itself.
        await asyncio.gather(*[create(self._database, name) for name in made - existing])
        await asyncio.gather(
            *[
                self._database[name].create_index("at", name="expiry", expireAfterSeconds=seconds)
                for name, seconds in _EXPIRING.items()
            ]
        )
        return existing

    async def secret(self, name: str) -> bytes:
        """The same 32 random bytes for all who ask, whoever asked first."""
        if name in self._known:
            return self._known[name]
        with wrapped("reading a secret"):
            found = await self._secrets.find_one_and_update(
                {"_id": name},
                {"$setOnInsert": {"value": secrets.token_bytes(32)}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        self._known[name] = bytes(found["value"]) if found else b""
        return self._known[name]

    async def keep(self, content: bytes) -> str:
        """The hash under which the content is found; its time begins anew."""
        key = hashlib.sha256(content).hexdigest()
        await self._kept.update_one(
            {"_id": key}, {"$set": {"at": datetime.now(UTC)}, "$setOnInsert": {"content": content}}, upsert=True
        )
        return key

    async def kept(self, hash: str) -> bytes | None:
        """None when it is unknown or its time is over. A hash is plain text, so it is no query."""
        found = await self._kept.find_one({"_id": str(hash)})
        return bytes(found["content"]) if found else None
