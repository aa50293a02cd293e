"""Proves a store whole: bytes, times, versions, history, search keys and narrowing agree in every document.

For a store that nobody writes to meanwhile. Memory does not grow with the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.errors import FhirError
from fhir_server.model.dates import instant
from fhir_server.model.registry import UnknownSystems
from fhir_server.model.resources import Resource, decode
from fhir_server.store.compartments import COMPARTMENTS, Shared
from fhir_server.store.documents import Document, history_id, index_fields
from fhir_server.store.indexes import HISTORY, Collections
from fhir_server.store.values import Indexed, Problem

Indexer = Callable[[Resource], Indexed]
_STEP = 200
_TOMBSTONE_LACKS = ("o", "x", "raw")


async def check(database: AsyncDatabase[Document], collections: Collections, index: Indexer) -> AsyncIterator[Problem]:
    """Every disagreement with its place. index: what a resource is found by (`search.index`)."""
    existing = await collections.existing()
    for type in sorted(await collections.types()):
        async for batch in _batches(database, type):
            for problem in await _current_faults(database, type, batch, index):
                yield problem
        if type + HISTORY in existing:
            async for problem in _history_faults(database, type):
                yield problem
    for name in sorted(existing):
        if name.endswith(HISTORY) and name.removesuffix(HISTORY) not in existing:
            yield Problem(name, "old versions without their resource type")
    for name in await collections.without_indexes():
        yield Problem(name, "an index is missing")


async def _batches(database: AsyncDatabase[Document], name: str) -> AsyncIterator[list[Document]]:
    last = ""
    while batch := await database[name].find({"_id": {"$gt": last}}).sort("_id").limit(_STEP).to_list():
        yield batch
        last = batch[-1]["_id"]


async def _current_faults(
    database: AsyncDatabase[Document], type: str, batch: Sequence[Document], index: Indexer
) -> list[Problem]:
    patients = sorted({document["p"] for document in batch if document.get("p")})
    compartments = await _by_id(database, COMPARTMENTS, patients)
    updated = [history_id(document["_id"], document["v"] - 1) for document in batch if document["v"] > 1]
    kept = await _by_id(database, type + HISTORY, updated, {"_id": 1})
    problems = []
    for document in batch:
        place = f"{type}/{document['_id']}"
        resource = _parsed(document)
        faults = [*_body_faults(type, document["_id"], document, resource)]
        faults += _key_faults(type, document, resource, index) if resource is not None else ()
        faults += _narrowing_faults(type, document, compartments.get(document.get("p")))
        before = history_id(document["_id"], document["v"] - 1)
        if document["v"] > 1 and before not in kept:
            faults.append(f"version {document['v'] - 1} is not in history")
        problems += [Problem(place, fault) for fault in faults]
    return problems


async def _by_id(
    database: AsyncDatabase[Document], name: str, ids: Sequence[str], fields: Mapping[str, int] | None = None
) -> dict[Any, Document]:
    if not ids:
        return {}
    found = await database[name].find({"_id": {"$in": list(ids)}}, fields).to_list()
    return {document["_id"]: document for document in found}


def _parsed(document: Document) -> Resource | None:
    try:
        resource = decode(document.get("raw", b""))
    except FhirError:
        return None
    return resource if isinstance(resource, dict) else None


def _body_faults(type: str, id: str, document: Document, resource: Resource | None) -> Iterator[str]:
    """The bytes are a resource that says of itself what the document says of it."""
    if document.get("d"):
        if document["k"] or any(name in document for name in _TOMBSTONE_LACKS):
            yield "a tombstone with content or search keys"
        return
    if resource is None:
        yield "the bytes are not a resource in JSON"
        return
    meta = resource.get("meta", {})
    told = (resource.get("resourceType"), resource.get("id"), meta.get("versionId"), meta.get("lastUpdated"))
    wanted = (type, id, str(document["v"]), instant(document["u"]))
    for name, one, other in zip(("resourceType", "id", "versionId", "lastUpdated"), told, wanted, strict=True):
        if one != other:
            yield f"{name} is {one!r} in the bytes and {other!r} beside them"


def _key_faults(type: str, document: Document, resource: Resource, index: Indexer) -> Iterator[str]:
    """The keys are those that the resource gives today."""
    try:
        indexed = index(resource)
    except (FhirError, UnknownSystems) as fault:
        yield f"the resource cannot be indexed: {fault}"
        return
    wanted = index_fields(document["_id"], indexed, document["b"])
    missing = set(wanted["k"]) - set(document["k"])
    needless = set(document["k"]) - set(wanted["k"])
    if missing or needless:
        yield f"search keys: {len(missing)} missing, {len(needless)} that do not belong ({_some(missing | needless)})"
    if wanted["o"] != document["o"]:
        yield "the order key is not that of its date"
    if wanted["x"] != document["x"]:
        yield "the sort values are not those of the resource"


def _narrowing_faults(type: str, document: Document, compartment: Document | None) -> Iterator[str]:
    """A member says what its patient's compartment says, and is listed there to be found when that changes."""
    patient = document.get("p")
    if patient is None:
        return
    if compartment is None:
        yield f"there is no compartment of patient {patient}"
        return
    if type != "Patient":
        if type not in compartment["t"]:
            yield f"the compartment of patient {patient} does not list {type}"
        if not document.get("d") and f"@{patient}" not in document["k"]:
            yield f"the key of the compartment of patient {patient} is missing"
    shared = Shared.of(compartment)
    if shared is not None and shared != Shared.of(document):
        yield f"it is not narrowed by what patient {patient} says"


async def _history_faults(database: AsyncDatabase[Document], type: str) -> AsyncIterator[Problem]:
    """The versions of each id are 1, 2, 3 … up to the one before the current, each ending when the next begins."""
    before: Document | None = None
    newest: list[Document] = []
    async for batch in _batches(database, type + HISTORY):
        for document in batch:
            body = _body_faults(type, document["i"], document, _parsed(document))
            for fault in (*body, *_sequence_faults(document, before)):
                yield Problem(f"{type}/{document['i']}/_history/{document['v']}", fault)
            if before is not None and before["i"] != document["i"]:
                newest.append(before)
            before = document
        for problem in await _newest_faults(database, type, newest):
            yield problem
        newest.clear()
    for problem in await _newest_faults(database, type, [before] if before is not None else []):
        yield problem


def _sequence_faults(document: Document, before: Document | None) -> Iterator[str]:
    follows = before is not None and before["i"] == document["i"]
    expected = before["v"] + 1 if before is not None and follows else 1
    if document["v"] != expected or document["_id"] != history_id(document["i"], document["v"]):
        yield f"version {expected} should stand here"
    elif before is not None and follows and before["e"] != document["u"]:
        yield "it does not begin when the version before it ends"


async def _newest_faults(database: AsyncDatabase[Document], type: str, newest: Sequence[Document]) -> list[Problem]:
    """The newest old version of each id is followed by the current one."""
    current = await _by_id(database, type, [document["i"] for document in newest], {"v": 1, "u": 1})
    problems = []
    for document in newest:
        follower = current.get(document["i"])
        if follower is None or follower["v"] != document["v"] + 1 or follower["u"] != document["e"]:
            place = f"{type}/{document['i']}/_history/{document['v']}"
            problems.append(Problem(place, "the current version does not follow it"))
    return problems


def _some(keys: set[str]) -> str:
    shown = ", ".join(repr(key) for key in sorted(keys)[:3])
    return shown if len(keys) <= 3 else f"{shown}, …"
