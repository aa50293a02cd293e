"""A merge of two Patients undone: by its Provenance, which names every version that it made.

What nobody has changed since is as it was; of the rest only what the merge did is taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.interactions.integrity import holders
from fhir_server.interactions.planning import draft
from fhir_server.model.references import literal
from fhir_server.model.resources import Resource, decode
from fhir_server.records.lifecycle import entity, event_of, lifecycle_event
from fhir_server.records.patient_joins import MOST_REFERRING, Merged, Name, carry_out, counted, live, seen_of
from fhir_server.records.patient_links import replaced_by
from fhir_server.store.contract import Transaction
from fhir_server.store.values import EVERYTHING, Put, Stored


async def unmerge_patients(context: Context, source: str) -> Merged:
    """Takes the Patient `source` out of the one it was joined into.

    Raises FhirError NOT_FOUND, DELETED, BUSINESS_RULE when it is not joined to any, or the merge is not on record.
    """
    context.rights.require("update", "Patient")
    return await carry_out(context, _Unmerge(context, source, context.new_id()), preview=False)


class _Unmerge:
    def __init__(self, context: Context, source: str, id: str) -> None:
        self.named: tuple[str, ...] = (source,)
        self.both: tuple[str, ...] = (source,)
        self.id = id
        self._context = context
        self._merge = ""

    async def plan(self, transaction: Transaction) -> tuple[list[Put], Merged]:
        source = self.named[0]
        patient = decode((await live(self._context, transaction, source)).raw)
        target = replaced_by(patient)
        if target is None:
            raise FhirError(Kind.BUSINESS_RULE, f"Patient/{source} was not joined into any other")
        self.both = (source, target)
        merge = await self._record(transaction)
        self._merge = merge["id"]
        puts, moved, told = list[Put](), list[Name](), list[tuple[Name, str]]()
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
        seen = await seen_of(self._context, transaction, [*moved, *(name for name, _ in told)])
        counts = counted(seen & set(moved))
        return puts, Merged(alone, counts, tuple(text for name, text in told if name in seen))

    async def _record(self, transaction: Transaction) -> Resource:
        """The Provenance of the merge: the last one that joined these two."""
        source, target = self.both
        finder = Finder(self._context, transaction, EVERYTHING)
        found = await holders(finder, "Provenance", ("Patient", source), MOST_REFERRING)
        wanted = [f"Patient/{source}", f"Patient/{target}"]
        merges = [
            one
            for one in (decode(stored.raw) for stored in found)
            if event_of(one) == "merge" and [entity["what"]["reference"] for entity in one["entity"]] == wanted
        ]
        if not merges:
            raise FhirError(Kind.BUSINESS_RULE, f"how Patient/{source} was joined is not on record; it stays as it is")
        return max(merges, key=lambda one: (one["recorded"], one["id"]))

    def provenance(self, versions: Sequence[str]) -> Resource:
        return lifecycle_event(self._context, "unmerge", versions, [entity("revision", f"Provenance/{self._merge}")])


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


async def _current(transaction: Transaction, type: str, made: Iterable[tuple[str, str, int]]) -> dict[str, Stored]:
    """Those of a type as they are now, by id."""
    return await transaction.read_many(type, [id for one, id, _ in made if one == type], EVERYTHING)


def _versions(merge: Resource) -> Iterator[tuple[str, str, int]]:
    for target in merge["target"]:
        named = literal(target["reference"])
        if named is not None and named.version is not None:
            yield named.type, named.id, int(named.version)
