"""What joining two Patients and taking them apart have in common: one transaction, what it comes to, who may know."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fhir_server.audit.access import Touched
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.consenting import settle_consents
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.guard import RightsGuard
from fhir_server.interactions.planning import draft
from fhir_server.interactions.recording import accesses
from fhir_server.interactions.rights import ALL_RIGHTS
from fhir_server.model.resources import Resource, decode
from fhir_server.store.contract import Transaction
from fhir_server.store.ledger_contract import Event
from fhir_server.store.values import Put, Stored

MOST_REFERRING = 5_000  # resources that one merge rewrites: they share a transaction


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge, or its undoing, came to. patient: the target, or the source that stands alone again. rewritten:
    type -> how many resources. told: what a person should look at."""

    patient: Resource
    rewritten: Mapping[str, int]
    told: tuple[str, ...] = ()


Name = tuple[str, str]  # type and id


class _Undone(Exception):
    """Ends the transaction of a preview without a trace."""

    def __init__(self, merged: Merged) -> None:
        super().__init__()
        self.merged = merged


class Join(Protocol):
    """A merge, or the undoing of one. named: ids of the Patients that it is asked for; both: of the two that it
    changes, known once it is planned. id: of its Provenance."""

    named: tuple[str, ...]
    both: tuple[str, ...]
    id: str

    async def plan(self, transaction: Transaction) -> tuple[list[Put], Merged]: ...

    def provenance(self, versions: Sequence[str]) -> Resource: ...


async def carry_out(context: Context, work: Join, preview: bool) -> Merged:
    """All of it in one transaction. preview: tells what would be done and does nothing."""
    events: list[Event] = []

    async def run(transaction: Transaction) -> Merged:
        puts, merged = await work.plan(transaction)
        guard = None if context.rights is ALL_RIGHTS else RightsGuard(context.rights, ())
        written = await transaction.apply([put for put in puts if put.draft.type == "Patient"], guard)
        if preview:
            raise _Undone(merged)
        # What refers to them is moved as a whole, also what the caller may not see or change.
        written += await transaction.apply([put for put in puts if put.draft.type != "Patient"])
        made = (one.stored for one in written if one.changed)
        versions = [f"{one.type}/{one.id}/_history/{one.version}" for one in made]
        record = await transaction.apply([Put(await draft(context, work.provenance(versions), work.id), 0, "POST")])
        if any(one.stored.type == "Consent" for one in written):
            await settle_consents(context, transaction, work.both)
        changed = [one.stored for one in (*written, *record) if one.changed]
        outcomes = [("PUT", 200, Touched(one.type, one.id, one.version), one.patient) for one in changed]
        events[:] = await context.trail.write(transaction, accesses(context, outcomes))
        current = next(one.stored for one in written if one.stored.id == merged.patient["id"])
        return Merged(decode(current.raw), merged.rewritten, merged.told)

    try:
        merged = await context.store.transact(run, about=[f"Patient/{id}" for id in work.named])
    except _Undone as undone:
        return undone.merged
    context.trail.committed(events)
    return merged


async def seen_of(context: Context, transaction: Transaction, names: Iterable[Name]) -> set[Name]:
    """Those that the caller may know of: the answer neither names nor counts the others."""
    by_type: dict[str, list[str]] = defaultdict(list)
    for type, id in names:
        by_type[type].append(id)
    seen: set[Name] = set()
    for type, ids in by_type.items():
        narrowed = context.view.of(type) is not None
        known = await transaction.read_many(type, ids, context.view) if narrowed else ids
        seen.update((type, id) for id in known)
    return seen


def counted(names: Iterable[Name]) -> dict[str, int]:
    return dict(sorted(Counter(type for type, _ in names).items()))


async def live(context: Context, transaction: Transaction, id: str) -> Stored:
    """Raises FhirError NOT_FOUND or DELETED, as for one that the caller may not see."""
    found = await transaction.read("Patient", id, context.view)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"Patient/{id} is not known here")
    if found.deleted:
        raise FhirError(Kind.DELETED, f"Patient/{id} has been deleted")
    return found
