"""For whom a citizen may act: themselves, and the people they represent by RelatedPerson, Person and Consent.

Law 91/2025: for a child under seven the representative decides alone; from seven on both do, until the child is of age
(FHIR_ADULT_AGE). An adult is represented only by their own Consent.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.interactions.rights import Caller
from fhir_server.model.dates import TICKS_PER_MS, offset_of, range_of
from fhir_server.model.references import literal
from fhir_server.model.resources import Resource, decode
from fhir_server.search.compartments import patient_key
from fhir_server.search.tree import Leaf
from fhir_server.security.consents import Grant, in_force
from fhir_server.store.contract import EVERYTHING, Find

ALONE_AGE = 7  # below it the representative alone decides
MOST = 50  # people that one person represents, at most
_DAY = 86_400_000


class People:
    """Looks up representation, with a view of everything. grown: patients who are known to be seven or older; a birth
    date that is corrected later counts for them when the process starts anew."""

    def __init__(self, context: Context, grown: set[str]) -> None:
        self._context = context.with_(view=EVERYTHING)
        self._zone = context.settings.zone
        self._now = context.clock()
        self._grown = grown

    async def represented(self, caller: Caller) -> tuple[str, ...]:
        """The ids of the patients whose compartments the caller may act in. `caller.patient` narrows to that one."""
        own = self._own(caller)
        if own is not None and caller.patient == own:
            return (own,) if await self._acts_alone(own) else ()
        found = await self._all(caller, own)
        if caller.patient is not None:
            return (caller.patient,) if caller.patient in found else ()
        return tuple(found)

    def _own(self, caller: Caller) -> str | None:
        """The patient that the caller is. Who has a patient and no user is that patient."""
        type, _, id = (caller.user or "").partition("/")
        return id if type == "Patient" else caller.patient if caller.user is None else None

    async def _all(self, caller: Caller, own: str | None) -> list[str]:
        type, _, id = (caller.user or "").partition("/")
        if own is not None:
            return await self._of_patient(own)
        if type == "RelatedPerson":
            return await self._children([id], f"RelatedPerson/{id}")
        return await self._of_person(id) if type == "Person" else []

    async def _of_patient(self, own: str) -> list[str]:
        """The patient, then those that a Person who links both, or a Consent that names the patient, adds."""
        found = [own] if await self._acts_alone(own) else []
        for stored in await self._context.store.find(Find("Person", {"k": patient_key(own)}, limit=MOST), EVERYTHING):
            person = decode(stored.raw)
            if person.get("active") is not False and own in _linked(person, "Patient"):
                found += await self._children(_linked(person, "RelatedPerson"), f"Patient/{own}")
        found += await self._by_consent(frozenset({f"Patient/{own}"}))
        return list(dict.fromkeys(found))[:MOST]

    async def _of_person(self, id: str) -> list[str]:
        person = await self._read("Person", id)
        if person is None or person.get("active") is False:
            return []
        found = await self._children(_linked(person, "RelatedPerson"), f"Person/{id}")
        for own in _linked(person, "Patient")[:MOST]:
            found = [*([own] if await self._acts_alone(own) else []), *found]
        actors = frozenset((f"Person/{id}", *(f"Patient/{own}" for own in _linked(person, "Patient"))))
        return list(dict.fromkeys((*found, *await self._by_consent(actors))))[:MOST]

    async def _children(self, related: Iterable[str], actor: str) -> list[str]:
        """The patients of RelatedPersons that are active and in force: children, and adults who consent."""
        found: list[str] = []
        for id in list(related)[:MOST]:
            one = await self._read("RelatedPerson", id)
            if one is None or one.get("active") is False or not in_force(one.get("period"), self._now, self._zone):
                continue
            patient = literal((one.get("patient") or {}).get("reference") or "")
            if patient is None or patient.type != "Patient":
                continue
            is_adult = await self._is_older(patient.id, self._context.settings.adult_age)
            if not is_adult or patient.id in await self._by_consent(frozenset({f"RelatedPerson/{id}", actor})):
                found.append(patient.id)
        return found

    async def _by_consent(self, actors: frozenset[str]) -> list[str]:
        """The patients whose own Consent lets one of the actors act for them."""
        param = self._context.search.parameters.of("Consent").get("actor")
        if param is None:
            return []
        finder = Finder(self._context)
        found = await finder.page(
            await finder.plan("Consent", Leaf("Consent", param, None, tuple(sorted(actors)))), MOST
        )
        consents = [decode(stored.raw) for stored in found]
        return sorted(Grant(actors, self._now, self._zone).given_by(consents))

    async def _acts_alone(self, patient: str) -> bool:
        """True from the seventh birthday on."""
        if patient in self._grown:
            return True
        if not await self._is_older(patient, ALONE_AGE):
            return False
        self._grown.add(patient)
        return True

    async def _is_older(self, patient: str, years: int) -> bool:
        """True from the birthday on. Who has no birth date counts as old, who is not stored as a child of nobody."""
        found = await self._read("Patient", patient)
        if found is None:
            return False
        span = range_of(found.get("birthDate") or "", self._zone)
        if span is None:
            return True
        shift = offset_of(self._zone) // TICKS_PER_MS
        born = date.fromordinal((span[1] - 1 + shift) // _DAY + date(1970, 1, 1).toordinal())
        today = date.fromordinal((self._now + shift) // _DAY + date(1970, 1, 1).toordinal())
        return today.year - born.year - ((today.month, today.day) < (born.month, born.day)) >= years

    async def _read(self, type: str, id: str) -> Resource | None:
        stored = await self._context.store.read(type, id, EVERYTHING)
        return decode(stored.raw) if stored is not None and not stored.deleted else None


def _linked(person: Resource, type: str) -> list[str]:
    """The ids of one type that a Person links to."""
    found = (literal((link.get("target") or {}).get("reference") or "") for link in person.get("link") or ())
    return [one.id for one in found if one is not None and one.type == type]
