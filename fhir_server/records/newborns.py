"""Newborns that stand under another person's number, and the link from that person to each (R4 Patient, link).

Whoever comes second is linked: where the newborn came first, a register keeps under the number which RelatedPerson
stands for whoever bears it, until somebody does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from fhir_server.audit.access import Touched
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.planning import draft
from fhir_server.interactions.recording import accesses
from fhir_server.model.references import literal
from fhir_server.model.resources import Resource, decode
from fhir_server.records.bearers import Bearers
from fhir_server.records.bundle import HOLDER
from fhir_server.records.filing import hold
from fhir_server.records.identity import Known, Number, contradicts, numbers
from fhir_server.records.ids import named_id
from fhir_server.records.lifecycle import entity, lifecycle_event
from fhir_server.records.patient_links import with_link
from fhir_server.store.contract import Store, Transaction
from fhir_server.store.ledger_contract import Event
from fhir_server.store.values import EVERYTHING, Put
from fhir_server.terminology.naming import NamingSystems

REGISTER = "newborns-by-number"
RELATIVE = "RelatedPerson"
_STEP = 200  # numbers that are looked up together

Noted = Mapping[Number, set[str]]  # number -> ids of the RelatedPersons that stand for whoever bears it


def link_bearer(bearer: Known, relative: str, newborn: Resource) -> None:
    """Links a person to the RelatedPerson that stands for them, unless the two may be one person."""
    if bearer.fixed or not contradicts(newborn, bearer.resource):
        return
    linked = with_link(bearer.resource, f"{RELATIVE}/{relative}", "seealso")
    if linked is not bearer.resource:
        bearer.resource, bearer.changed = linked, True
        bearer.linked += (relative,)


def link_events(context: Context, bearer: Known) -> Iterator[Resource]:
    """The Provenances of the links that a person has got just now."""
    for relative in bearer.linked:
        event = lifecycle_event(context, "link", [f"Patient/{bearer.id}"], [entity("source", f"{RELATIVE}/{relative}")])
        yield event | {"id": named_id("link", bearer.id, relative)}


async def claim(transaction: Transaction, wanted: Iterable[Number]) -> None:
    """Of two that claim a number, to give it to somebody or to note a newborn under it, one waits for the other."""
    await transaction.claim_all(f"person {number.system}|{number.value}" for number in wanted)


async def noted(store: Store | Transaction, wanted: Iterable[Number]) -> Noted:
    """What is known of these numbers from newborns that came before."""
    names = {_name(number): number for number in wanted}
    found = await store.entries_named(REGISTER, list(names)) if names else {}
    return {names[name]: set(entry["relatives"]) for name, entry in found.items()}


async def note(transaction: Transaction, fresh: Noted, before: Noted) -> None:
    """Keeps what newborns say that are stored now, with what was known. The numbers must be claimed."""
    known = {number: before.get(number, set()) for number in fresh}
    entries = {
        _name(number): {"relatives": sorted(known[number] | ids)}
        for number, ids in fresh.items()
        if not ids <= known[number]
    }
    if entries:
        await transaction.enter_all(REGISTER, entries)


async def link_to_earlier(context: Context, known: Noted, people: Iterable[Known], naming: NamingSystems) -> None:
    """Links people to the newborns that came before them under a number which they bear now."""
    if not known:
        return
    ids = sorted(set().union(*known.values()))
    stored = await context.store.read_many(RELATIVE, ids, EVERYTHING)
    relatives = {id: Known(id, one.version, decode(one.raw)) for id, one in stored.items() if not one.deleted}
    await hold(context, RELATIVE, relatives)
    children = {id: _child(one.resource) for id, one in relatives.items() if not one.hidden}
    newborns = await context.store.read_many("Patient", sorted(set(children.values())), EVERYTHING)
    bearers = [one for one in people if one.resource and one.into is None]
    for id, child in sorted(children.items()):
        newborn = newborns.get(child)
        if newborn is None or newborn.deleted:
            continue
        told = set(numbers(relatives[id].resource, naming)) & known.keys()  # what it says today
        for bearer in bearers:
            if not told.isdisjoint(numbers(bearer.resource, naming)):
                link_bearer(bearer, id, decode(newborn.raw))


async def link_stored(context: Context, naming: NamingSystems) -> int:
    """Links people and newborns that a program stored which did not link them, and registers those newborns. Gives how
    many people were linked. Raises FhirError CONFLICT when somebody writes to them meanwhile."""
    linked = 0
    told: defaultdict[Number, set[str]] = defaultdict(set)
    async for stored in context.store.walk(RELATIVE, EVERYTHING):
        relative = decode(stored.raw)
        if any(one.get("text") == HOLDER for one in relative.get("relationship", ())):
            for number in numbers(relative, naming):
                told[number].add(stored.id)
        if len(told) >= _STEP:
            linked += await _link(context, told, naming)
            told.clear()
    return linked + (await _link(context, told, naming) if told else 0)


async def _link(context: Context, told: Noted, naming: NamingSystems) -> int:
    _, people = await Bearers(context, naming).known(set(told), ())
    await link_to_earlier(context, told, people.values(), naming)
    linked = [one for one in people.values() if one.linked]
    puts = [Put(await draft(context, one.resource, one.id), one.version) for one in linked]
    puts += [Put(await draft(context, event, event["id"])) for one in linked for event in link_events(context, one)]
    events: list[Event] = []

    async def work(transaction: Transaction) -> None:
        await claim(transaction, told)
        await note(transaction, told, await noted(transaction, told))
        written = [one.stored for one in await transaction.apply(puts) if one.changed]
        outcomes = [("PUT", 200, Touched(one.type, one.id, one.version), one.patient) for one in written]
        events[:] = await context.trail.write(transaction, accesses(context, outcomes))

    await context.store.transact(work)
    context.trail.committed(events)
    return len(linked)


def _child(relative: Resource) -> str:
    named = literal(relative["patient"].get("reference", ""))
    return named.id if named is not None else ""


def _name(number: Number) -> str:
    """The number itself is not kept."""
    return named_id("newborn", number.system, number.value)
