"""Newborns that stand under another person's number, and the link from that person to each (R4 Patient, link).

Whoever comes second is linked: where the newborn came first, a register keeps under the number which RelatedPerson
stands for whoever bears it, until somebody does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fhir_server.interactions.exchange import Context
from fhir_server.model.references import literal
from fhir_server.model.resources import Resource, decode
from fhir_server.records.filing import hold
from fhir_server.records.identity import Known, Number, contradicts, numbers
from fhir_server.records.ids import named_id
from fhir_server.records.patient_links import with_link
from fhir_server.store.contract import Store, Transaction
from fhir_server.store.values import EVERYTHING
from fhir_server.terminology.naming import NamingSystems

REGISTER = "newborns-by-number"

Noted = Mapping[Number, set[str]]  # number -> ids of the RelatedPersons that stand for whoever bears it


def link_bearer(bearer: Known, relative: str, newborn: Resource) -> None:
    """Links a person to the RelatedPerson that stands for them, unless the two may be one person."""
    if bearer.fixed or not contradicts(newborn, bearer.resource):
        return
    linked = with_link(bearer.resource, f"RelatedPerson/{relative}", "seealso")
    bearer.changed = bearer.changed or linked is not bearer.resource
    bearer.resource = linked


async def noted(store: Store | Transaction, wanted: Iterable[Number]) -> Noted:
    """What is known of these numbers from newborns that came before."""
    names = {_name(number): number for number in wanted}
    found = await store.entries_named(REGISTER, list(names)) if names else {}
    return {names[name]: set(entry["relatives"]) for name, entry in found.items()}


async def note(transaction: Transaction, fresh: Noted, before: Noted) -> None:
    """Keeps what newborns say that are stored now, with what was known. The numbers must be claimed."""
    more = {number: ids | before.get(number, set()) for number, ids in fresh.items()}
    entries = {_name(number): {"relatives": sorted(ids)} for number, ids in more.items()}
    if entries:
        await transaction.enter_all(REGISTER, entries)


async def link_to_earlier(context: Context, known: Noted, people: Iterable[Known], naming: NamingSystems) -> None:
    """Links people to the newborns that came before them under a number which they bear now."""
    ids = sorted(set().union(*known.values()))
    stored = await context.store.read_many("RelatedPerson", ids, EVERYTHING) if ids else {}
    relatives = {id: Known(id, one.version, decode(one.raw)) for id, one in stored.items() if not one.deleted}
    await hold(context, "RelatedPerson", relatives)
    children = {id: _child(one.resource) for id, one in relatives.items() if not one.hidden}
    newborns = await context.store.read_many("Patient", sorted(set(children.values())), EVERYTHING)
    bearers = [one for one in people if one.resource]
    for id, child in sorted(children.items()):
        newborn = newborns.get(child)
        if newborn is None or newborn.deleted:
            continue
        told = set(numbers(relatives[id].resource, naming)) & known.keys()  # what it says today
        for bearer in bearers:
            if not told.isdisjoint(numbers(bearer.resource, naming)):
                link_bearer(bearer, id, decode(newborn.raw))


def _child(relative: Resource) -> str:
    named = literal(relative["patient"].get("reference", ""))
    return named.id if named is not None else ""


def _name(number: Number) -> str:
    """The number itself is not kept."""
    return named_id("newborn", number.system, number.value)
