"""Applies ops inside a transaction: reads what is there, plans each op, and writes in one batch a collection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
from msgspec.structs import replace
from pymongo import ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.errors import Faults, FhirError, Kind
from fhir_server.store.compartments import Compartments, Shared, consented, members_of
from fhir_server.store.contract import Guard
from fhir_server.store.documents import (
    Document,
    history_document,
    index_fields,
    live_document,
    narrowing_fields,
    same_version,
    stored,
    tombstone,
)
from fhir_server.store.faults import RunAgain
from fhir_server.store.indexes import HISTORY, Collections
from fhir_server.store.inserts import insert
from fhir_server.store.reads import MOST_IDS_A_QUERY, Reads, is_id
from fhir_server.store.values import ANY_VERSION, Op, Put, Remove, Stored, Written

Identity = tuple[str, str]


class _Step(msgspec.Struct, frozen=True):
    """An op with what it found (`previous`) and what it leaves (`document`, None when nothing is written).

    same_version: only keys or narrowing are written anew.
    """

    op: Op
    type: str
    id: str
    previous: Document | None
    document: Document | None
    same_version: bool = False

    def joins(self, patients: Mapping[str, Shared]) -> bool:
        """True when it enters the compartment of a patient who does not say something new in this very batch."""
        if self.document is None or self.type == "Patient" or self.document["p"] is None:
            return False
        entered = self.previous is None or self.previous["p"] != self.document["p"]
        return entered and self.document["p"] not in patients

    @property
    def ends_a_version(self) -> bool:
        return self.previous is not None and self.document is not None and not self.same_version


@dataclass(frozen=True, slots=True)
class Writes:
    """What writing needs within one transaction. now: ms since the epoch. careful: look before writing new ids."""

    reads: Reads
    collections: Collections
    session: AsyncClientSession
    compartments: Compartments
    generation: int
    now: int
    careful: bool

    async def apply(self, ops: Sequence[Op], guard: Guard | None = None) -> list[Written]:
        """As contract.Transaction.apply. Raises RunAgain, FhirError and errors of the driver."""
        written: dict[int, Written] = {}
        for places in _rounds(ops):
            batch = [ops[place] for place in places]
            written.update(zip(places, await self._apply_batch(batch, guard), strict=True))
        return [written[place] for place in range(len(ops))]

    async def examine(self, ops: Sequence[Op], guard: Guard | None = None) -> None:
        """As contract.Transaction.examine."""
        for places in _rounds(ops):
            await self._planned([ops[place] for place in places], guard, careful=True)

    async def _apply_batch(self, ops: Sequence[Op], guard: Guard | None) -> list[Written]:
        """Ops on different identities."""
        self._require(self.reads.collection(type).name for type in {_identity(op)[0] for op in ops})
        steps, patients = await self._planned(ops, guard, self.careful)
        self._require({step.type + HISTORY for step in steps if step.ends_a_version})
        await self._write(steps)
        await self._settle(steps, patients)
        return [_written(step) for step in steps]

    async def _planned(
        self, ops: Sequence[Op], guard: Guard | None, careful: bool
    ) -> tuple[list[_Step], dict[str, Shared]]:
        """With what changed Patients say. Raises FhirError with every op that cannot be."""
        found = await self._previous(ops, guard is not None, careful)
        faults, steps = Faults(), []
        for op in ops:
            try:
                previous = found.get(_identity(op))
                known = previous if guard is None or guard.finds(op, previous) else None
                steps.append(_plan(op, known, self.now, self.generation))
            except FhirError as fault:
                faults.keep(fault, partial(_about, op))
        patients = _changed_patients(steps)
        steps = await self._narrow(steps, patients)
        for step in steps if guard is not None else ():
            if step.document is not None and guard is not None:
                with faults.gathering(partial(_about, step.op)):
                    guard.admit(step.op, step.previous, step.document)
        faults.refuse()
        return steps, patients

    def _require(self, names: Iterable[str]) -> None:
        missing = self.collections.missing(names)
        if missing:
            raise RunAgain(collections=missing)

    async def _previous(self, ops: Iterable[Op], guarded: bool, careful: bool) -> dict[Identity, Document]:
        """The documents of the ops' identities. What must be new is looked for only with `careful`, or when the client
        chose the id and is held to what it may know."""
        wanted: dict[str, list[str]] = defaultdict(list)
        for op in ops:
            is_new = isinstance(op, Put) and op.expected == 0 and not (guarded and op.method == "PUT")
            if careful or not is_new:
                type, id = _identity(op)
                wanted[type].append(id)
        found: dict[Identity, Document] = {}
        for type, ids in sorted(wanted.items()):
            collection = self.reads.collection(type)
            for start in range(0, len(ids), MOST_IDS_A_QUERY):
                query = {"_id": {"$in": ids[start : start + MOST_IDS_A_QUERY]}}
                documents = await collection.find(query, session=self.session).to_list()
                found.update(((type, document["_id"]), document) for document in documents)
        return found

    async def _narrow(self, steps: list[_Step], patients: Mapping[str, Shared]) -> list[_Step]:
        """Gives each resource of a compartment what its Patient says: written here, read, or known from before."""
        joining = [(step.type, step.document) for step in steps if step.document and step.joins(patients)]
        given = {**await self.compartments.join(members_of(joining)), **patients} if joining else patients
        return [_without_needless(_narrowed(step, given)) for step in steps]

    async def _write(self, steps: Iterable[_Step]) -> None:
        inserts: dict[str, list[Document]] = defaultdict(list)
        replacements: dict[str, list[ReplaceOne[Document]]] = defaultdict(list)
        for step in sorted(steps, key=lambda step: (step.type, step.id)):
            if step.document is None:
                continue
            if step.previous is None:
                inserts[step.type].append(step.document)
            else:
                # By `_id` alone, which needs no query planner: `previous` was read in this snapshot, so a version that
                # somebody else has written since is a write conflict.
                replacements[step.type].append(ReplaceOne({"_id": step.document["_id"]}, step.document))
            if step.previous is not None and step.ends_a_version:
                inserts[step.type + HISTORY].append(history_document(step.previous, step.document["u"]))
        database = self.reads.database
        for name, documents in sorted(inserts.items()):
            await insert(database, name, documents, self.session)
        for name, requests in sorted(replacements.items()):
            result = await database[name].bulk_write(requests, session=self.session)
            if result.matched_count != len(requests):
                raise RunAgain

    async def _settle(self, steps: Sequence[_Step], patients: Mapping[str, Shared]) -> None:
        """Keeps what the Patients of this batch say now, and brings it to what is stored already."""
        if not patients:
            return
        members = members_of(
            (step.type, step.document) for step in steps if step.document and step.document["p"] in patients
        )
        new = {step.id for step in steps if step.type == "Patient" and step.previous is None} & patients.keys()
        unseen = new - await self.compartments.known(new) if self.careful and new else new
        await self.compartments.begin({id: patients[id] for id in unseen}, members)
        for id in sorted(patients.keys() - unseen):
            await self.compartments.change(id, patients[id], members.get(id, set()))


def _rounds(ops: Sequence[Op]) -> list[list[int]]:
    """Places of the ops in rounds of different identities: a second op on one identity waits for the next round."""
    rounds: list[list[int]] = []
    times: dict[Identity, int] = defaultdict(int)
    for place, op in enumerate(ops):
        identity = _identity(op)
        turn = times[identity]
        times[identity] += 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(place)
    return rounds


def _identity(op: Op) -> Identity:
    return (op.draft.type, op.draft.id) if isinstance(op, Put) else (op.type, op.id)


def _about(op: Op, fault: FhirError) -> FhirError:
    """The fault of an op with its identity, for who knows where that was asked for."""
    where = ("/".join(_identity(op)),)
    issues = tuple(replace(issue, expression=where) for issue in fault.all_issues())
    return FhirError(fault.kind, fault.diagnostics, issues=issues, headers=fault.headers)


def _plan(op: Op, previous: Document | None, now: int, generation: int) -> _Step:
    """What the op leaves, before narrowing. Raises FhirError PRECONDITION, TOO_LONG, VALUE."""
    type, id = _identity(op)
    is_live = previous is not None and not previous.get("d", False)
    version = previous["v"] if previous is not None and is_live else 0
    if not _is_expected(op.expected, version):
        current = f"version {version} is current" if version else "it does not exist"
        wanted = _WANTED.get(op.expected) or f"version {op.expected}"
        raise FhirError(Kind.PRECONDITION, f"{wanted} of {type}/{id} was expected and {current}")
    if isinstance(op, Remove):
        left = tombstone(previous, now, generation) if previous is not None and is_live else None
        return _Step(op, type, id, previous, left)
    if not is_id(id):
        raise FhirError(Kind.VALUE, f"{id[:80]!r} is no id of R4 (Data Types, primitive types)")
    if previous is not None and is_live and same_version(op.draft, previous):
        fields = index_fields(op.draft.id, op.draft.indexed, previous["b"]) | narrowing_fields(op.draft)
        document = {**previous, **fields, "g": generation}
        return _Step(op, type, id, previous, _of_patient(op, document, previous), same_version=True)
    document = live_document(op.draft, previous, now, op.method, generation)
    return _Step(op, type, id, previous, _of_patient(op, document, previous))


def _of_patient(op: Put, document: Document, previous: Document | None) -> Document:
    return _consented(document, previous) if op.draft.type == "Patient" else document


_WANTED: Mapping[int | None, str] = {0: "a new resource", ANY_VERSION: "some version"}


def _is_expected(expected: int | None, version: int) -> bool:
    """version: the current one, 0 when there is none."""
    return version > 0 if expected == ANY_VERSION else expected in (None, version)


def _changed_patients(steps: Iterable[_Step]) -> dict[str, Shared]:
    """What those Patients say whose compartment has to hear of it: new ones and those that say something else."""
    changed = {}
    for step in steps:
        if step.document is not None and step.type == "Patient":
            shared = Shared.of(step.document)
            if shared is not None and (step.previous is None or Shared.of(step.previous) != shared):
                changed[step.id] = shared
    return changed


def _consented(document: Document, previous: Document | None) -> Document:
    """A Patient with what the Consents have said before: the Patient itself does not say it."""
    codes = consented(previous["a"]) if previous is not None else []
    return document | {"c": 1, "a": [*document["a"], *codes]} if codes else document


def _narrowed(step: _Step, given: Mapping[str, Shared]) -> _Step:
    """With what its Patient gives: told now, or the same as its previous version."""
    document = step.document
    if document is None or step.type == "Patient" or document["p"] is None:
        return step
    shared = given.get(document["p"])
    if shared is None and step.previous is not None and step.previous["p"] == document["p"]:
        shared = Shared.of(step.previous)
    return replace(step, document=shared.give(document)) if shared else step


def _without_needless(step: _Step) -> _Step:
    return replace(step, document=None) if step.same_version and step.document == step.previous else step


def _written(step: _Step) -> Written:
    kept = step.document or step.previous
    if kept is None:
        return Written(Stored(step.type, step.id, 0, 0, b"", deleted=True), created=False, changed=False)
    changed = step.document is not None and not step.same_version
    was_live = step.previous is not None and not step.previous.get("d", False)
    return Written(stored(step.type, kept), created=changed and not was_live, changed=changed)
