"""Two Patients that are one person joined into one, and taken apart again as they were before.

R4 has no operation for it; `Patient.link` says what became of whom (R4 Patient, link), and the operation follows
Patient-merge of FHIR R6. Both records stay: the source is inactive and `replaced-by` the target, which `replaces` it.
What referred to the source refers to the target. A Provenance names every version that was made; by it the merge is
undone: what nobody has changed since is as it was, of the rest the references alone are put back.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.audit.access import Touched
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.consenting import settle_consents
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.interactions.guard import RightsGuard
from fhir_server.interactions.integrity import holders
from fhir_server.interactions.planning import check, draft
from fhir_server.interactions.recording import accesses
from fhir_server.interactions.rights import ALL_RIGHTS
from fhir_server.model.dates import instant
from fhir_server.model.references import by_table, literal, rewriter
from fhir_server.model.resources import Resource, decode, same_content
from fhir_server.records.doubts import doubts_between, settled, who
from fhir_server.records.merging import add_missing, differing
from fhir_server.store.contract import Transaction
from fhir_server.store.ledger_contract import Event
from fhir_server.store.values import EVERYTHING, LEDGER_TYPE, Put, Stored, Written

MOST_REFERRING = 5_000  # resources that one merge rewrites: they share a transaction
ACTIVITY = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_AGENT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
# Who wrote what of whom at the time stays as it was; links of other Patients lead on through the source.
_UNTOUCHED = frozenset({"Provenance", "Patient"})


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge, or its undoing, came to. patient: the target, or the source that stands alone again. rewritten:
    type -> how many resources. told: what a person should look at."""

    patient: Resource
    rewritten: Mapping[str, int]
    told: tuple[str, ...] = ()


async def merge_patients(
    context: Context, source: str, target: str, result: Resource | None = None, preview: bool = False
) -> Merged:
    """Joins Patient `source` into Patient `target`, ids of two that the caller may see.

    result: what the target shall be, as the caller made it; else it is the target with what only the source says.
    preview: tells what would be done and does nothing. Raises FhirError NOT_FOUND, DELETED, BUSINESS_RULE for two that
    cannot be joined, TOO_COSTLY, CONFLICT.
    """
    context.rights.require("update", "Patient")
    if source == target:
        raise FhirError(Kind.BUSINESS_RULE, "source and target are the same Patient", ("source-patient",))
    if result is not None:
        await _check_result(context, result, target)
    return await _carried_out(context, _Merge(context, source, target, result, context.new_id()), preview)


async def unmerge_patients(context: Context, source: str) -> Merged:
    """Takes the Patient `source` out of the one it was joined into.

    Raises FhirError NOT_FOUND, DELETED, BUSINESS_RULE when it is not joined to any, or the merge is not on record.
    """
    context.rights.require("update", "Patient")
    return await _carried_out(context, _Unmerge(context, source, context.new_id()), preview=False)


def replaced_by(patient: Resource) -> str | None:
    """The id of the Patient that a Patient was joined into."""
    return next(_linked(patient, "replaced-by"), None)


def replaced(patient: Resource) -> list[str]:
    """The ids of the Patients that were joined into a Patient."""
    return list(_linked(patient, "replaces"))


def _linked(patient: Resource, type: str) -> Iterator[str]:
    for link in patient.get("link", ()):
        named = literal((link.get("other") or {}).get("reference", ""))
        if link.get("type") == type and named is not None and named.type == "Patient":
            yield named.id


_Name = tuple[str, str]  # type and id


class _Undone(Exception):
    """Ends the transaction of a preview without a trace."""

    def __init__(self, merged: Merged) -> None:
        super().__init__()
        self.merged = merged


async def _carried_out(context: Context, work: _Merge | _Unmerge, preview: bool) -> Merged:
    events: list[Event] = []

    async def run(transaction: Transaction) -> Merged:
        puts, merged = await work.plan(transaction)
        guard = None if context.rights is ALL_RIGHTS else RightsGuard(context.rights, ())
        written = await transaction.apply([put for put in puts if put.draft.type == "Patient"], guard)
        if preview:
            raise _Undone(merged)
        # What refers to them is moved as a whole, also what the caller may not see or change.
        written += await transaction.apply([put for put in puts if put.draft.type != "Patient"])
        record = await transaction.apply([Put(await draft(context, work.provenance(written), work.id), 0, "POST")])
        if any(one.stored.type == "Consent" for one in written):
            await settle_consents(context, transaction, work.both)
        changed = [one for one in (*written, *record) if one.changed]
        outcomes = [("PUT", 200, _touched(one), one.stored.patient) for one in changed]
        events[:] = await context.trail.write(transaction, accesses(context, outcomes))
        current = next(one.stored for one in written if one.stored.id == merged.patient["id"])
        return Merged(decode(current.raw), merged.rewritten, merged.told)

    try:
        merged = await context.store.transact(run, about=[f"Patient/{id}" for id in work.named])
    except _Undone as undone:
        return undone.merged
    context.trail.committed(events)
    return merged


class _Merge:
    def __init__(self, context: Context, source: str, target: str, result: Resource | None, id: str) -> None:
        self.named = self.both = (source, target)
        self.id = id
        self._context = context
        self._result = result

    async def plan(self, transaction: Transaction) -> tuple[list[Put], Merged]:
        """What is to be written, the two Patients first."""
        source, target = [await _live(self._context, transaction, id) for id in self.both]
        old, kept = decode(source.raw), decode(target.raw)
        for one in (old, kept):
            if (other := replaced_by(one)) is not None:
                text = f"Patient/{one['id']} was joined into Patient/{other} already"
                raise FhirError(Kind.BUSINESS_RULE, text)
        joined = self._joined(old, kept)
        old = with_link({**old, "active": False}, f"Patient/{target.id}", "replaced-by")
        puts = [await self._put(old, source.version), await self._put(joined, target.version)]
        moved: list[_Name] = []
        rewrite = _rewriting(self._context, source.id, target.id)
        doubts = {one.id for one in await doubts_between(self._context, transaction, self.both)}
        by, now = who(self._context), self._context.clock()
        for stored in await _referring(self._context, transaction, ("Patient", source.id)):
            before = decode(stored.raw)
            after = settled(before, "same-person", by, now) if stored.id in doubts else rewrite(before)
            if not same_content(before, after):
                puts.append(await self._put(after, stored.version))
                moved.append((stored.type, stored.id))
        counts = _counts(await _seen(self._context, transaction, moved))
        return puts, Merged(joined, counts, tuple(_disagreements(decode(source.raw), kept)))

    async def _put(self, resource: Resource, expected: int | None) -> Put:
        signed = self._context.rights.sign(resource) if resource["resourceType"] == "Patient" else resource
        return Put(await draft(self._context, signed, resource["id"]), expected)

    def _joined(self, source: Resource, target: Resource) -> Resource:
        return with_link(self._result or add_missing(target, source), f"Patient/{source['id']}", "replaces")

    def provenance(self, written: Sequence[Written]) -> Resource:
        source, target = self.both
        entities = [_entity("source", f"Patient/{source}"), _entity("revision", f"Patient/{target}")]
        return _provenance(self._context, "merge", "Merge Record Lifecycle Event", written, entities)


class _Unmerge:
    def __init__(self, context: Context, source: str, id: str) -> None:
        self.named = (source,)
        self.both: tuple[str, ...] = (source,)
        self.id = id
        self._context = context
        self._merge = ""

    async def plan(self, transaction: Transaction) -> tuple[list[Put], Merged]:
        source = self.named[0]
        patient = decode((await _live(self._context, transaction, source)).raw)
        target = replaced_by(patient)
        if target is None:
            raise FhirError(Kind.BUSINESS_RULE, f"Patient/{source} was not joined into any other")
        self.both = (source, target)
        merge = await self._record(transaction)
        self._merge = merge["id"]
        puts, moved, told = list[Put](), list[_Name](), list[tuple[_Name, str]]()
        made = list(_versions(merge))
        now = {type: await _current(transaction, type, made) for type in {type for type, _, _ in made}}
        for type, id, version in made:
            current = now[type].get(id)
            before = await transaction.vread(type, id, version - 1, EVERYTHING)
            is_as_merged = current is not None and current.version == version
            after = current if is_as_merged else await transaction.vread(type, id, version, EVERYTHING)
            if current is None or current.deleted or before is None or after is None:
                told.append(((type, id), f"{type}/{id} is gone and stays so"))
                continue
            if not is_as_merged:
                text = f"{type}/{id} was changed since the merge: only what the merge did is taken back"
                told.append(((type, id), text))
            restored = taken_back(decode(before.raw), decode(after.raw), decode(current.raw))
            puts.append(Put(await draft(self._context, restored, id), current.version))
            moved += [(type, id)] if type != "Patient" else []
        alone = next(put.draft.resource for put in puts if put.draft.id == source)
        seen = await _seen(self._context, transaction, [*moved, *(name for name, _ in told)])
        counts = _counts(seen & set(moved))
        return puts, Merged(alone, counts, tuple(text for name, text in told if name in seen))

    async def _record(self, transaction: Transaction) -> Resource:
        """The Provenance of the merge: the last one that joined these two."""
        source, target = self.both
        finder = _all_seeing(self._context, transaction)
        found = await holders(finder, "Provenance", ("Patient", source), MOST_REFERRING)
        wanted = [f"Patient/{source}", f"Patient/{target}"]
        merges = [
            one
            for one in (decode(stored.raw) for stored in found)
            if _code(one) == "merge" and [entity["what"]["reference"] for entity in one["entity"]] == wanted
        ]
        if not merges:
            raise FhirError(Kind.BUSINESS_RULE, f"how Patient/{source} was joined is not on record; it stays as it is")
        return max(merges, key=lambda one: (one["recorded"], one["id"]))

    def provenance(self, written: Sequence[Written]) -> Resource:
        return _provenance(
            self._context, "unmerge", "Unmerge Record Lifecycle Event", written,
            [_entity("revision", f"Provenance/{self._merge}")],
        )  # fmt: skip


def taken_back(before: Any, after: Any, now: Any) -> Any:
    """`now` without what made `after` of `before`: `before` itself where nothing has changed since."""
    if now == after:
        return before
    if isinstance(before, dict) and isinstance(after, dict) and isinstance(now, dict):
        names = dict.fromkeys((*now, *before))
        made = {name: taken_back(before.get(name), after.get(name), now.get(name)) for name in names}
        return {name: value for name, value in made.items() if value is not None}
    if isinstance(before, list | None) and isinstance(after, list) and isinstance(now, list):
        return _items_back(before or [], after, now) or None
    return now


def _items_back(before: list[Any], after: list[Any], now: list[Any]) -> list[Any]:
    if len(before) == len(after) == len(now):
        return [taken_back(*three) for three in zip(before, after, now, strict=True)]
    kept = [one for one in now if one in before or one not in after]
    return [*kept, *(one for one in before if one not in after and one not in kept)]


async def _seen(context: Context, transaction: Transaction, names: Iterable[_Name]) -> set[_Name]:
    """Those that the caller may know of: the answer neither names nor counts the others."""
    by_type: dict[str, list[str]] = defaultdict(list)
    for type, id in names:
        by_type[type].append(id)
    seen: set[_Name] = set()
    for type, ids in by_type.items():
        narrowed = context.view.of(type) is not None
        known = await transaction.read_many(type, ids, context.view) if narrowed else ids
        seen.update((type, id) for id in known)
    return seen


def _counts(names: Iterable[_Name]) -> dict[str, int]:
    return dict(sorted(Counter(type for type, _ in names).items()))


async def _live(context: Context, transaction: Transaction, id: str) -> Stored:
    """Raises FhirError NOT_FOUND or DELETED, as for one that the caller may not see."""
    found = await transaction.read("Patient", id, context.view)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"Patient/{id} is not known here")
    if found.deleted:
        raise FhirError(Kind.DELETED, f"Patient/{id} has been deleted")
    return found


async def _check_result(context: Context, result: Resource, target: str) -> None:
    if result.get("id") != target:
        raise FhirError(Kind.BUSINESS_RULE, "result-patient must have the id of the target", ("result-patient",))
    await check(context, result, "Patient")


def _all_seeing(context: Context, transaction: Transaction) -> Finder:
    """What the caller may not see is moved too: half a record must not stay behind."""
    return Finder(context, transaction, EVERYTHING)


async def _referring(context: Context, transaction: Transaction, held: tuple[str, str]) -> list[Stored]:
    """All that refers to the Patient. Raises FhirError TOO_COSTLY."""
    finder = _all_seeing(context, transaction)
    found: list[Stored] = []
    for type in sorted(await context.store.types() - _UNTOUCHED - {LEDGER_TYPE}):
        found += await holders(finder, type, held, MOST_REFERRING + 1 - len(found))
        if len(found) > MOST_REFERRING:
            text = f"more than {MOST_REFERRING} resources refer to {'/'.join(held)}: too many to be rewritten together"
            raise FhirError(Kind.TOO_COSTLY, text)
    return found


def _rewriting(context: Context, source: str, target: str) -> Callable[[Resource], Resource]:
    bases = ("", f"{context.base}/")
    return rewriter(by_table({f"{base}Patient/{source}": f"{base}Patient/{target}" for base in bases}), ())


def with_link(patient: Resource, reference: str, type: str) -> Resource:
    """The Patient with a link (R4 Patient, link); the same object where it has that link already."""
    link, held = {"other": {"reference": reference}, "type": type}, patient.get("link", [])
    return patient if link in held else {**patient, "link": [*held, link]}


def _disagreements(source: Resource, target: Resource) -> Iterator[str]:
    for name in differing(target, source):
        yield f"the two disagree on {name}; the target's stays"


async def _current(transaction: Transaction, type: str, made: Iterable[tuple[str, str, int]]) -> dict[str, Stored]:
    """Those of a type as they are now, by id."""
    return await transaction.read_many(type, [id for one, id, _ in made if one == type], EVERYTHING)


def _touched(written: Written) -> Touched:
    return Touched(written.stored.type, written.stored.id, written.stored.version)


def _versions(merge: Resource) -> Iterator[tuple[str, str, int]]:
    for target in merge["target"]:
        named = literal(target["reference"])
        if named is not None and named.version is not None:
            yield named.type, named.id, int(named.version)


def _code(provenance: Resource) -> str:
    codings = (provenance.get("activity") or {}).get("coding") or ()
    return next((str(one.get("code")) for one in codings if one.get("system") == ACTIVITY), "")


def _entity(role: str, reference: str) -> Resource:
    return {"role": role, "what": {"reference": reference}}


def _provenance(
    context: Context, code: str, display: str, written: Iterable[Written], entities: Sequence[Resource]
) -> Resource:
    """R4 Provenance; the codes are those of the record lifecycle (ISO 21089)."""
    named = {"reference": context.caller.user} if context.caller.user else {"display": who(context)}
    return {
        "resourceType": "Provenance",
        "target": [
            {"reference": f"{one.stored.type}/{one.stored.id}/_history/{one.stored.version}"}
            for one in written
            if one.changed
        ],
        "recorded": instant(context.clock()),
        "activity": {"coding": [{"system": ACTIVITY, "code": code, "display": display}]},
        "agent": [{"type": {"coding": [{"system": _AGENT, "code": "author"}]}, "who": named}],
        "entity": list(entities),
    }
