"""What a patient's Consents say, as codes that stand on every resource of the compartment (R4 Consent).

`+Organization:12@TREAT#Condition` permits, `-…` denies: the actor or `*`, the purpose or `*` (`?` for who does not say
one, where a denial names any), and, where the provision names them, a resource type (`#`) or a class of sensitivity
(`!` and its bit). Of what is not told apart here a permit permits nothing, and a denial denies all. The codes are
written anew in the transaction that changes a Consent, and when a period of one begins or ends; so a View asks them
like any other field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.model.dates import range_of
from fhir_server.model.resources import Resource, decode
from fhir_server.search.compartments import patient_key
from fhir_server.store.contract import Transaction
from fhir_server.store.values import EVERYTHING, Find

TYPE = "Consent"
TIMES = "consent-times"
MOST = 200  # Consents of one patient
ANY, UNSAID = "*", "?"
# Of which tokens say that a caller is one.
_ACTORS = frozenset({"Organization", "Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Person"})


@dataclass(frozen=True, slots=True)
class Said:
    """All that a patient's Consents say now. restricts: whether anything but plain access follows from them. changes:
    ms at which a period begins or ends next."""

    restricts: bool
    codes: tuple[str, ...]
    changes: int | None


async def settle_consents(context: Context, transaction: Transaction, patients: Iterable[str]) -> None:
    """Brings what the Consents of these patients say now to their compartments. Raises FhirError BUSINESS_RULE."""
    now = context.clock()
    for patient in sorted(set(patients)):
        found = await transaction.find(Find(TYPE, {"k": patient_key(patient)}, limit=MOST + 1), EVERYTHING)
        if len(found) > MOST:
            raise FhirError(Kind.BUSINESS_RULE, f"a patient has at most {MOST} Consents", (TYPE,))
        said = say(context, [decode(stored.raw) for stored in found], patient, now)
        await transaction.consent(patient, said.restricts, said.codes)
        if said.changes is not None:
            await transaction.enter(TIMES, f"{said.changes:015d} {patient}", {"patient": patient})


async def settle(context: Context, patient: str) -> None:
    """The same in a transaction of its own."""
    await context.store.transact(lambda transaction: settle_consents(context, transaction, [patient]))


def say(context: Context, consents: Iterable[Resource], patient: str, now: int) -> Said:
    """consents: of the patient, in any state."""
    codes: list[str] = []
    changes: list[int] = []
    for consent in consents:
        named = context.rules.here(consent.get("patient"))
        if consent.get("status") != "active" or named is None or named.id != patient:
            continue
        for provision in _provisions(consent.get("provision") or {}):
            start, end = _period(provision.get("period") or {}, context.settings.zone)
            changes += [moment for moment in (start, end) if moment is not None and moment > now]
            if (start is None or start <= now) and (end is None or now < end):
                codes += _codes(context, provision)
    told = tuple(dict.fromkeys(codes))
    return Said(bool(told), told, min(changes, default=None))


def _provisions(base: Resource) -> Iterator[Resource]:
    """The base rule, then its exceptions, each with what it inherits: an exception says what the base rule does not."""
    exceptions = base.get("provision") or ()
    if base.get("type") in ("permit", "deny"):
        yield base
    elif any(one.get("type") == "permit" for one in exceptions):
        yield {"type": "deny", "period": base.get("period")}
    for one in exceptions:
        yield from _nested({"period": base.get("period"), **one})


def _nested(provision: Resource) -> Iterator[Resource]:
    """An exception and those within it, which mean the same but for what they say themselves."""
    yield provision
    inherited = {name: value for name, value in provision.items() if name not in ("id", "type", "provision")}
    for one in provision.get("provision") or ():
        yield from _nested({**inherited, **one})


def _period(period: Resource, zone: str) -> tuple[int | None, int | None]:
    start, end = (range_of(period.get(name) or "", zone) for name in ("start", "end"))
    return start[0] if start else None, end[1] if end else None


def _codes(context: Context, provision: Resource) -> list[str]:
    """A base rule that denies everybody needs no code of its own: without a permit nothing is seen. It is `=`."""
    sign = {"permit": "+", "deny": "-"}.get(provision.get("type", ""))
    if sign is None or (sign == "+" and not _permits_access(provision)):
        return []
    purposes = [one["code"] for one in provision.get("purpose") or () if "code" in one]
    if purposes and sign == "-":
        purposes.append(UNSAID)
    actors, parts = set(_actors(context, provision, sign)), set(_parts(context, provision, sign))
    if sign == "-" and actors == {ANY} and not purposes and parts == {""}:
        return ["="]
    return [f"{sign}{actor}@{purpose}{part}" for actor, purpose, part in product(actors, purposes or [ANY], parts)]


def _permits_access(provision: Resource) -> bool:
    """False for a permit of less than is told apart here: to permit all of it would be more than the patient said. A
    denial of less counts for all that it names beside that."""
    actions = {one.get("code") for action in provision.get("action") or () for one in action.get("coding") or ()}
    limits = ("code", "data", "dataPeriod")
    both = "class" in provision and "securityLabel" in provision  # what is of a type and has a label, and not either
    return not both and not any(name in provision for name in limits) and (not actions or "access" in actions)


def _actors(context: Context, provision: Resource, sign: str) -> Iterator[str]:
    """Whom it names; everybody where it denies somebody who cannot be told here: a team, or a name in words."""
    named = provision.get("actor")
    if not named:
        yield ANY
    for one in named or ():
        found = context.rules.here(one.get("reference"))
        if found is not None and found.type in _ACTORS:
            yield f"{found.type}:{found.id}"
        elif sign == "-":
            yield ANY


def _parts(context: Context, provision: Resource, sign: str) -> Iterator[str]:
    """What of the record is meant: all of it, resource types, classes of sensitivity; all of it, too, where a class or
    a label is denied by which nothing is told apart here."""
    types = [one.get("code") for one in provision.get("class") or ()]
    known = [f"#{type}" if type in context.capability.types else None for type in types]
    for label in provision.get("securityLabel") or ():
        name = (label.get("system"), label.get("code"))
        known += [f"!{one.bit}" for one in context.rules.restricted if name in one.labels] or [None]
    if not known or (sign == "-" and None in known):
        yield ""
    yield from (part for part in known if part is not None)
