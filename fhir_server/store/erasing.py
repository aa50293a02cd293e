"""Takes a patient's compartment away for good, current versions, old ones and tombstones; the id stays taken."""

from __future__ import annotations

from collections.abc import Collection

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.compartments import COMPARTMENTS
from fhir_server.store.documents import Document, history_id
from fhir_server.store.indexes import HISTORY

PATIENT = "Patient"


async def erase(
    database: AsyncDatabase[Document], types: set[str], patient: str, beside: Collection[tuple[str, str]]
) -> int:
    """Gives how many versions there were. Cut off and run again it completes what is missing: the Patient goes last.

    beside: type and id of what goes too and stands outside the compartment. What comes in for this patient meanwhile is
    not met; nothing should.
    """
    count = 0
    for type, id in beside:
        current, old = database[type], database[type + HISTORY]
        count += (await old.delete_many({"_id": {"$gte": history_id(id, 0), "$lt": f"{id}0"}})).deleted_count
        count += (await current.delete_one({"_id": id})).deleted_count
    for type in sorted(types - {PATIENT}):
        current, old = database[type], database[type + HISTORY]
        count += (await old.delete_many({"p": patient})).deleted_count
        count += (await current.delete_many({"k": f"@{patient}", "p": patient})).deleted_count
        count += (await current.delete_many({"p": patient, "d": True})).deleted_count
    people, past = database[PATIENT], database[PATIENT + HISTORY]
    count += (await past.delete_many({"p": patient})).deleted_count
    found = await people.find_one({"_id": patient})
    if found is not None and "raw" in found:
        left = {name: found[name] for name in ("_id", "u", "g", "b")}
        nobody = {
            "v": 1,
            "k": [],
            "p": patient,
            "w": None,
            "s": 0,
            "c": 0,
            "a": [],
            "m": "DELETE",
            "d": True,
        }
        await people.replace_one({"_id": patient}, {**left, **nobody})
        count += 1
    nothing: Document = {"w": None, "c": 0, "a": [], "t": []}
    await database[COMPARTMENTS].update_one({"_id": patient}, {"$set": nothing})
    return count
