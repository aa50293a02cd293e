"""What a patient's whole compartment is narrowed by, kept in one small document a patient.

    compartments: {_id: patient id, w: ward, c: denied, a: tier codes, t: [types with members], n: times locked,
                   said: {c, a} of Consents that were there before the Patient}

A transaction that adds a member writes to this document, and so does one that changes the Patient; so the two can
never pass each other by under snapshot isolation and leave a member with what the Patient said before.
`w c a` are absent until a Patient of that id is stored.

Transactions that add members at the same time would meet in that one document. One that has met another there passes a
gate of the patient instead (`gates`); a transaction that changes the Patient passes them all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from pymongo import ReturnDocument, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.documents import Document, organisations, tiers
from fhir_server.store.gates import Gates
from fhir_server.store.indexes import HISTORY
from fhir_server.store.inserts import insert
from fhir_server.store.values import Narrowing

COMPARTMENTS = "compartments"
_SINGLY = 2  # up to so many patients, one find-and-modify each costs less than an update and a find
Members = Mapping[str, set[str]]


class Shared(msgspec.Struct, frozen=True):
    """What a Patient gives to every resource of its compartment."""

    ward: str | None
    denied: int
    tiers: tuple[str, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Shared | None:
        """Of a resource's document or of a document of `compartments`; None when no Patient has said it yet."""
        return cls(document.get("w"), document["c"], tuple(tiers(document["a"]))) if "c" in document else None

    def give(self, document: Document) -> Document:
        return document | {"w": self.ward, "c": self.denied, "a": [*organisations(document["a"]), *self.tiers]}

    def fields(self) -> Document:
        return {"w": self.ward, "c": self.denied, "a": list(self.tiers)}


class Compartments:
    """The compartments of one database, within one transaction. crowded: it has met another one already."""

    def __init__(self, database: AsyncDatabase[Document], session: AsyncClientSession, crowded: bool) -> None:
        self._database = database
        self._patients = database[COMPARTMENTS]
        self._gates = Gates(database, session)
        self._session = session
        self._crowded = crowded
        self._locked: dict[str, Document] = {}  # those that this transaction has joined, as it has left them

    async def join(self, members: Members) -> dict[str, Shared]:
        """Locks the compartments that get new members and tells what each gives; dangling patients are left out.

        members: patient ids and the types that join them.
        """
        joined = {id: one for id, types in members.items() if (one := self._locked.get(id)) and types <= set(one["t"])}
        others = {id: types for id, types in members.items() if id not in joined}
        told = await self._join_by_gates(others) if others and self._crowded else {}
        left = {id: types for id, types in others.items() if id not in told}
        return told | _shared(joined.values()) | (await self._join_as_known(left) if left else {})

    async def _join_by_gates(self, members: Members) -> dict[str, Shared]:
        """Those that join a stored Patient whose compartment lists their type already: nothing else is written."""
        found = await self._patients.find({"_id": {"$in": list(members)}}, session=self._session).to_list()
        listed = [one for one in found if "c" in one and members[one["_id"]] <= set(one["t"])]
        await self._gates.pass_one([one["_id"] for one in listed])
        return _shared(listed)

    async def _join_as_known(self, members: Members) -> dict[str, Shared]:
        if len(members) <= _SINGLY:
            found = [await self._join_one(patient, types) for patient, types in sorted(members.items())]
        else:
            await self._patients.bulk_write(
                [UpdateOne({"_id": patient}, _joining(types), upsert=True) for patient, types in members.items()],
                ordered=False,
                session=self._session,
            )
            found = await self._patients.find({"_id": {"$in": list(members)}}, session=self._session).to_list()
        self._locked.update((document["_id"], document) for document in found)
        return _shared(found)

    async def _join_one(self, patient: str, types: set[str]) -> Document:
        after = await self._patients.find_one_and_update(
            {"_id": patient},
            _joining(types),
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=self._session,
        )
        return after or {}

    async def begin(self, patients: Mapping[str, Shared], members: Members) -> None:
        """The compartments of Patients whose ids have never been seen. A duplicate key tells that one has been."""
        documents = [
            {"_id": patient, **shared.fields(), "t": sorted(members.get(patient, ())), "n": 0}
            for patient, shared in sorted(patients.items())
        ]
        if documents:
            await insert(self._database, COMPARTMENTS, documents, self._session)

    async def known(self, patients: Iterable[str]) -> set[str]:
        cursor = self._patients.find({"_id": {"$in": list(patients)}}, {"_id": 1}, session=self._session)
        return {document["_id"] async for document in cursor}

    async def consent(self, patient: str, restricts: bool, codes: Iterable[str]) -> None:
        """What the patient's Consents say from now on, or as soon as a Patient of the id is stored.

        The compartment is locked in any case: of two transactions that change Consents of one patient, the second
        must see what the first has left."""
        found = await self._stored(patient)
        if found is None:
            await self._lock(patient, {"$set": {"said": {"c": int(restricts), "a": list(codes)}}})
            return
        own = [party for party in tiers(found["a"]) if not party.startswith(CONSENT)]
        shared = Shared(found["w"], int(restricts), (*own, *codes))
        if Shared.of(found) != shared:
            await self.change(patient, shared, set())
        else:
            await self._lock(patient, {})

    async def resettle(self, patient: str, narrowing: Narrowing) -> None:
        """As contract.Transaction.resettle."""
        found = await self._stored(patient)
        if found is not None:
            shared = Shared(narrowing.ward, found["c"], (*tiers(narrowing.parties), *consented(found["a"])))
            if Shared.of(found) != shared:
                await self.change(patient, shared, set())

    async def _stored(self, patient: str) -> Document | None:
        fields = {"w": 1, "c": 1, "a": 1}
        return await self._database["Patient"].find_one({"_id": patient}, fields, session=self._session)

    async def change(self, patient: str, shared: Shared, types: set[str]) -> None:
        """Writes what the Patient says now into every version of every resource of its compartment."""
        known = await self._lock(patient, {"$set": shared.fields(), "$unset": {"said": 1}}, types)
        if "said" in known:
            shared = Shared(shared.ward, known["said"]["c"], (*shared.tiers, *known["said"]["a"]))
            await self._lock(patient, {"$set": shared.fields()})
        await self._gates.pass_all([patient])
        rewrite = _rewrite(shared)
        for type in sorted({"Patient", *types, *known.get("t", ())}):
            current, old = self._database[type], self._database[type + HISTORY]
            await current.update_many({"k": f"@{patient}", "p": patient}, rewrite, session=self._session)
            await current.update_many({"p": patient, "d": True}, rewrite, session=self._session)
            await old.update_many({"p": patient}, rewrite, session=self._session)

    async def _lock(self, patient: str, update: Mapping[str, Any], types: Iterable[str] = ()) -> Document:
        """What was known of the compartment before."""
        self._locked.pop(patient, None)
        before = await self._patients.find_one_and_update(
            {"_id": patient}, {**_joining(types), **update}, upsert=True, session=self._session
        )
        return before or {}


def _shared(found: Iterable[Document]) -> dict[str, Shared]:
    """What each of these documents of `compartments` gives."""
    told = {one["_id"]: Shared.of(one) for one in found}
    return {patient: shared for patient, shared in told.items() if shared is not None}


CONSENT = ("+", "-", "=")  # with which the codes begin that Consents have given


def consented(parties: Iterable[str]) -> list[str]:
    """What Consents have given, among parties."""
    return [party for party in parties if party.startswith(CONSENT)]


def members_of(documents: Iterable[tuple[str, Document]]) -> dict[str, set[str]]:
    """Patient ids and the types of (type, document) pairs that belong to them."""
    members: dict[str, set[str]] = defaultdict(set)
    for type, document in documents:
        members[document["p"]].add(type)
    return dict(members)


def _joining(types: Iterable[str]) -> dict[str, Any]:
    return {"$addToSet": {"t": {"$each": sorted(types)}}, "$inc": {"n": 1}}


def _rewrite(shared: Shared) -> list[dict[str, Any]]:
    """Replaces the tier codes among the parties and leaves the organisations."""
    own = {"$filter": {"input": "$a", "as": "party", "cond": {"$gte": [{"$indexOfCP": ["$$party", "/"]}, 0]}}}
    parties = {"$concatArrays": [own, {"$literal": list(shared.tiers)}]}
    return [{"$set": {"w": {"$literal": shared.ward}, "c": shared.denied, "a": parties}}]
