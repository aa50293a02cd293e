"""The stored resources of people, and the records that a format makes of them: one a person, or one a visit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.model.dates import day_at
from fhir_server.model.references import literal
from fhir_server.model.resources import Resource, decode
from fhir_server.records.export import Export
from fhir_server.records.formats import Format
from fhir_server.records.heads import targets
from fhir_server.records.ids import shared_name
from fhir_server.records.inverse import walk_groups
from fhir_server.records.patient_links import replaced_by
from fhir_server.records.source import Tree
from fhir_server.search.compartments import patient_key
from fhir_server.store.values import INDEX_KEYS, Find

PAGE = 1000
MOST_OF_A_PERSON = 50_000  # resources; nobody's record has more, and memory is bounded
PEOPLE_AT_ONCE = 50
ORGANIZATION = "Organization"
_SOURCE = "urn:vn-basic:source:"


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """One record of a person. facility: whose record it is. left: with the first record of each person, `Type/id` of
    what found no place in any."""

    patient: str
    facility: str
    content: Tree
    left: tuple[str, ...]


async def records_of(
    context: Context, export: Export, patients: Sequence[str], facility: str = ""
) -> AsyncIterator[PersonRecord]:
    """The records of people whom the caller may see, in the order given.

    patients: ids. facility: in whose name to write, "" for who sent most of it. Raises FhirError TOO_COSTLY.
    """
    for start in range(0, len(patients), PEOPLE_AT_ONCE):
        some = patients[start : start + PEOPLE_AT_ONCE]
        for id, resources in (await compartments(context, export, some)).items():
            if replaced_by(resources[0]) is not None:
                continue  # who was joined to somebody else comes with that one
            made = list(_records(context, export, resources, facility))
            # What one visit's record leaves may stand in that of another.
            left = set.intersection(*(set(left) for _, _, left in made)) if made else set()
            for number, (sender, content, _) in enumerate(made):
                yield PersonRecord(id, sender, content, () if number else tuple(sorted(left)))


async def became(context: Context, patients: Sequence[str]) -> dict[str, str | None]:
    """Of people who are no more, as far as the caller may know: who stands for each today, None for one who was
    deleted. Whoever is still there is left out."""
    stored = await context.store.read_many("Patient", patients, context.view) if patients else {}
    gone: dict[str, str | None] = {id: None for id, one in stored.items() if one.deleted}
    joined = {id: replaced_by(decode(one.raw)) for id, one in stored.items() if not one.deleted}
    return gone | {id: into for id, into in joined.items() if into is not None}


def _records(
    context: Context, export: Export, resources: list[Resource], facility: str
) -> Iterator[tuple[str, Tree, tuple[str, ...]]]:
    day = today(context)
    roots = [one for one in resources if one["resourceType"] == export.root]
    for root in sorted(roots, key=lambda one: (str((one.get("period") or {}).get("start", "")), one["id"])):
        bag = [one for one in resources if one is root or _belongs(export, one, root)]
        sender = facility or _sender(root, bag, export.format)
        made = export.record(bag, sender, _day(root) or day, day, root["id"])
        yield sender, made.content, made.left


def _belongs(export: Export, one: Resource, root: Resource) -> bool:
    """False for another root, and where the format is about one thing alone for what another record made."""
    if one["resourceType"] == export.root:
        return False
    return not (export.alone and one["resourceType"] in export.own and _record_of(one) != _record_of(root))


def _record_of(resource: Resource) -> str:
    return str((resource.get("meta") or {}).get("source", ""))


def today(context: Context) -> date:
    """The day in the zone of the setting."""
    return day_at(context.clock(), context.settings.zone)


def _day(root: Resource) -> date | None:
    start = (root.get("period") or {}).get("start", "")
    return date.fromisoformat(start[:10]) if len(start) >= 10 else None


def _sender(root: Resource, bag: Sequence[Resource], format: Format) -> str:
    """The facility whose record it is: the one that numbers the visit, else one that sent of this person in this very
    format, else any that sent of this person; "" where none is known."""
    naming = format.tools.naming
    for number in root.get("identifier", ()) if root["resourceType"] == "Encounter" else ():
        system = number.get("system", "")
        if naming.kind(system) == "ma-lk" and system not in naming.by_uri:
            return str(system.rpartition("/")[2])
    sources = [source for source in map(_source, [root, *bag]) if source[1]]
    return next((code for name, code in sources if name == format.name), sources[0][1] if sources else "")


def _source(resource: Resource) -> tuple[str, str]:
    """(format, facility) that the import noted, "" where it knew none."""
    source = (resource.get("meta") or {}).get("source", "")
    if not source.startswith(_SOURCE):
        return "", ""
    name, _, code = source.removeprefix(_SOURCE).partition("#")[0].partition(":")
    return name, "" if code == "unknown" else code


async def compartments(context: Context, export: Export, ids: Sequence[str]) -> dict[str, list[Resource]]:
    """The resources of each person that the format knows, the Patient first, with what all people share behind them.
    Those who are gone and whom the caller may not see are left out."""
    people = await context.store.read_many("Patient", ids, context.view)
    found: dict[str, list[Resource]] = {}
    for id in ids:
        stored = people.get(id)
        if stored is not None and not stored.deleted:
            found[id] = [decode(stored.raw)]
    own, shared = types_of(export)
    for type in sorted((own - {"Patient"}) & await context.store.types()):
        await _add_members(context, type, found)
    if any(group.type == "Patient" and group.owner != "person" for group in walk_groups(export.groups)):
        await _add_further_people(context, export, found)
    await _add_shared(context, shared, found)
    return found


def types_of(export: Export) -> tuple[frozenset[str], frozenset[str]]:
    """The types of a person's own resources that a format knows, and of those that all people share."""
    groups = list(walk_groups(export.groups))
    shared = frozenset(group.type for group in groups if group.owner == "shared")
    return frozenset(group.type for group in groups) - shared, shared


async def _add_members(context: Context, type: str, found: dict[str, list[Resource]]) -> None:
    marks = {patient_key(id): id for id in found}
    last = ""
    while marks:
        members = {"k": {"$in": sorted(marks)}, "_id": {"$gt": last}}
        query = Find(type, members, (("_id", 1),), PAGE, want_keys=True, hint=INDEX_KEYS)
        page = await context.store.find(query, context.view)
        for stored in page:
            resource = decode(stored.raw)
            for id in {marks[key] for key in stored.keys or () if key in marks}:
                found[id].append(resource)
                if len(found[id]) > MOST_OF_A_PERSON:
                    raise FhirError(Kind.TOO_COSTLY, f"Patient/{id} has more than {MOST_OF_A_PERSON} resources")
        if len(page) < PAGE:
            return
        last = page[-1].id


async def _add_further_people(context: Context, export: Export, found: dict[str, list[Resource]]) -> None:
    """What records of somebody made of further people, such as the newborn of a birth certificate: the heads of those
    records name it."""
    heads = {
        source.partition("#")[2]: id
        for id, resources in found.items()
        for one in resources
        if one["resourceType"] == export.root
        and (source := (one.get("meta") or {}).get("source", "")).startswith(f"{_SOURCE}{export.format.name}:")
    }
    stored = await context.store.read_many("Provenance", sorted(heads), context.view) if heads else {}
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for head in stored.values():
        made = targets(head)
        if sum(type == "Patient" for type, _ in made) > 1:
            held = {(one["resourceType"], one["id"]) for one in found[heads[head.id]]}
            for type, id in made:
                if (type, id) not in held:
                    wanted[type][id] = heads[head.id]
    for type, ids in wanted.items():
        for one in (await context.store.read_many(type, sorted(ids), context.view)).values():
            if not one.deleted:
                found[ids[one.id]].append(decode(one.raw))


async def _add_shared(context: Context, types: Collection[str], found: dict[str, list[Resource]]) -> None:
    wanted: dict[str, set[str]] = defaultdict(set)
    named: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for id, resources in found.items():
        for code in {code for _, code in map(_source, resources) if code} if ORGANIZATION in types else ():
            sender = shared_name(ORGANIZATION, code).partition("/")[2]
            wanted[ORGANIZATION].add(sender)
            named[id].add((ORGANIZATION, sender))
        for target in (literal(one) for resource in resources for one in _references(resource)):
            if target is not None and target.type in types:
                wanted[target.type].add(target.id)
                named[id].add((target.type, target.id))
    for type, ids in wanted.items():
        stored = await context.store.read_many(type, sorted(ids), context.view)
        for id, resources in found.items():
            for one in stored.values():
                if (type, one.id) in named[id] and not one.deleted:
                    resources.append(decode(one.raw))


def _references(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            if isinstance(one.get("reference"), str):
                yield one["reference"]
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
