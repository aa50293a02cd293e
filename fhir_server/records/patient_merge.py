"""Two Patients that are one person joined into one.

R4 has no operation for it; `Patient.link` says what became of whom (R4 Patient, link), and the operation follows
Patient-merge of FHIR R6. Both records stay: the source is inactive and `replaced-by` the target, which `replaces` it.
What referred to the source refers to the target. A Provenance names every version that was made: by it
`patient_unmerge` takes them apart again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.interactions.integrity import holders
from fhir_server.interactions.planning import check, draft
from fhir_server.model.references import by_table, rewriter
from fhir_server.model.resources import Resource, decode, same_content
from fhir_server.records.doubts import doubts_between, settled, who
from fhir_server.records.lifecycle import entity, lifecycle_event
from fhir_server.records.merging import add_missing, differing
from fhir_server.records.patient_joins import MOST_REFERRING, Merged, Name, carry_out, counted, live, seen_of
from fhir_server.records.patient_links import replaced_by, with_link
from fhir_server.store.contract import Transaction
from fhir_server.store.values import EVERYTHING, LEDGER_TYPE, Put, Stored

# Who wrote what of whom at the time stays as it was; links of other Patients lead on through the source.
_UNTOUCHED = frozenset({"Provenance", "Patient"})


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
    return await carry_out(context, _Merge(context, source, target, result, context.new_id()), preview)


class _Merge:
    def __init__(self, context: Context, source: str, target: str, result: Resource | None, id: str) -> None:
        self.named: tuple[str, ...] = (source, target)
        self.both: tuple[str, ...] = self.named
        self.id = id
        self._context = context
        self._result = result

    async def plan(self, transaction: Transaction) -> tuple[list[Put], Merged]:
        """What is to be written, the two Patients first."""
        source, target = [await live(self._context, transaction, id) for id in self.both]
        old, kept = decode(source.raw), decode(target.raw)
        for one in (old, kept):
            if (other := replaced_by(one)) is not None:
                text = f"Patient/{one['id']} was joined into Patient/{other} already"
                raise FhirError(Kind.BUSINESS_RULE, text)
        joined = self._joined(old, kept)
        old = with_link({**old, "active": False}, f"Patient/{target.id}", "replaced-by")
        puts = [await self._put(old, source.version), await self._put(joined, target.version)]
        moved: list[Name] = []
        rewrite = _rewriting(self._context, source.id, target.id)
        doubts = {one.id for one in await doubts_between(self._context, transaction, self.both)}
        by, now = who(self._context), self._context.clock()
        for stored in await _referring(self._context, transaction, ("Patient", source.id)):
            before = decode(stored.raw)
            after = settled(before, "same-person", by, now) if stored.id in doubts else rewrite(before)
            if not same_content(before, after):
                puts.append(await self._put(after, stored.version))
                moved.append((stored.type, stored.id))
        counts = counted(await seen_of(self._context, transaction, moved))
        return puts, Merged(joined, counts, tuple(_disagreements(decode(source.raw), kept)))

    async def _put(self, resource: Resource, expected: int | None) -> Put:
        signed = self._context.rights.sign(resource) if resource["resourceType"] == "Patient" else resource
        return Put(await draft(self._context, signed, resource["id"]), expected)

    def _joined(self, source: Resource, target: Resource) -> Resource:
        return with_link(self._result or add_missing(target, source), f"Patient/{source['id']}", "replaces")

    def provenance(self, versions: Sequence[str]) -> Resource:
        source, target = self.both
        entities = [entity("source", f"Patient/{source}"), entity("revision", f"Patient/{target}")]
        return lifecycle_event(self._context, "merge", versions, entities)


async def _check_result(context: Context, result: Resource, target: str) -> None:
    if result.get("id") != target:
        raise FhirError(Kind.BUSINESS_RULE, "result-patient must have the id of the target", ("result-patient",))
    await check(context, result, "Patient")


async def _referring(context: Context, transaction: Transaction, held: tuple[str, str]) -> list[Stored]:
    """All that refers to the Patient. Raises FhirError TOO_COSTLY."""
    # What the caller may not see is moved too: half a record must not stay behind.
    finder = Finder(context, transaction, EVERYTHING)
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


def _disagreements(source: Resource, target: Resource) -> Iterator[str]:
    for name in differing(target, source):
        yield f"the two disagree on {name}; the target's stays"
