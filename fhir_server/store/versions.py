"""Every version that is stored, in the order of ids: for handing everything over."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.documents import BODY, HISTORY_BODY, Document, stored
from fhir_server.store.faults import wrapped
from fhir_server.store.indexes import HISTORY
from fhir_server.store.values import Stored

_STEP = 200  # of which each may have megabytes


async def versions(
    database: AsyncDatabase[Document], type: str, old: bool, deleted: bool, after: str
) -> AsyncIterator[tuple[str, Stored]]:
    """As Store.versions."""
    collection, fields = (database[type + HISTORY], HISTORY_BODY) if old else (database[type], BODY)
    which: Document = {"d": True} if deleted else {"d": {"$ne": True}}
    while True:
        with wrapped(f"reading every version of {type}"):
            found = await collection.find({"_id": {"$gt": after}, **which}, fields).sort("_id").limit(_STEP).to_list()
        for document in found:
            yield document["_id"], stored(type, document)
        if len(found) < _STEP:
            return
        after = found[-1]["_id"]
