"""For whom a citizen may act: themselves, and the people they represent by RelatedPerson, Person and Consent.

Law 91/2025: for a child under seven the representative decides alone; from seven on both do, until the child is of age
(FHIR_ADULT_AGE). An adult is represented only by their own Consent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import date

from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.interactions.rights import Caller
from fhir_server.model.dates import TICKS_PER_MS, offset_of, range_of
from fhir_server.model.resources import Resource, decode
from fhir_server.search.compartments import patient_key
from fhir_server.search.tree import Leaf
from fhir_server.security.consents import Grant, in_force
from fhir_server.store.values import EVERYTHING, Find

ALONE_AGE = 7  # below it the representative alone decides
MOST = 50  # people that one person represents, at most
RELATED = "RelatedPerson"
GROWN_MS = 600_000  # after which a birth date that was corrected counts
MOST_GROWN = 100_000
_DAY = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()


class People:
    """Looks up representation, with a view of everything. grown: patients who are known to be seven or older, with the
    ms until which that is not asked again."""

    def __init__(self, context: Context, grown: dict[str, int]) -> None:
        self._context = context.with_(view=EVERYTHING)
        self._here = context.rules.here
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
        if type == RELATED:
            return await self._children([id], await self._by_consent({f"{RELATED}/{id}"}))
        return await self._of_person(id) if type == "Person" else []

    async def _of_patient(self, own: str) -> list[str]:
        """The patient, then those that a Person who links both, or a Consent that names the patient, adds."""
        people = Find("Person", {"k": patient_key(own)}, limit=MOST)
        stored, granted = await asyncio.gather(
            self._context.store.find(people, EVERYTHING), self._by_consent({f"Patient/{own}"})
        )
        persons = [person for one in stored if own in self._linked(person := decode(one.raw), "Patient")]
        related = [
            id for person in persons if person.get("active") is not False for id in self._linked(person, RELATED)
        ]
        found = [*([own] if await self._acts_alone(own) else []), *await self._children(related, granted), *granted]
        return list(dict.fromkeys(found))[:MOST]

    async def _of_person(self, id: str) -> list[str]:
        person = (await self._read("Person", [id])).get(id)
        if person is None or person.get("active") is False:
            return []
        patients = self._linked(person, "Patient")[:MOST]
        granted = await self._by_consent({f"Person/{id}", *(f"Patient/{own}" for own in patients)})
        found = [own for own in patients if await self._acts_alone(own)]
        found += [*await self._children(self._linked(person, RELATED), granted), *granted]
        return list(dict.fromkeys(found))[:MOST]

    async def _children(self, related: Sequence[str], granted: Collection[str]) -> list[str]:
        """The patients of RelatedPersons that are active and in force: children, and adults who consent."""
        found = (await self._read(RELATED, related[:MOST])).values()
        valid = [one for one in found if one.get("active") is not False and self._is_in_force(one)]
        named = [self._here(one.get("patient")) for one in valid]
        ids = [one.id for one in named if one is not None and one.type == "Patient"]
        patients = await self._read("Patient", ids)
        adult = self._context.settings.adult_age
        return [id for id in ids if id in patients and (id in granted or not self._is_older(patients[id], adult))]

    def _is_in_force(self, related: Resource) -> bool:
        return in_force(related.get("period"), self._now, self._zone)

    async def _by_consent(self, actors: Collection[str]) -> list[str]:
        """The patients whose own Consent lets one of the actors act for them."""
        param = self._context.search.parameters.of("Consent").get("actor")
        if param is None:
            return []
        finder = Finder(self._context)
        found = await finder.page(
            await finder.plan("Consent", Leaf("Consent", param, None, tuple(sorted(actors)))), MOST
        )
        consents = [decode(stored.raw) for stored in found]
        return sorted(Grant(frozenset(actors), self._now, self._zone, self._here).given_by(consents))

    async def _acts_alone(self, patient: str) -> bool:
        """True from the seventh birthday on."""
        if self._grown.get(patient, 0) > self._now:
            return True
        found = (await self._read("Patient", [patient])).get(patient)
        if found is None or not self._is_older(found, ALONE_AGE):
            return False
        if len(self._grown) >= MOST_GROWN:
            self._grown.clear()
        self._grown[patient] = self._now + GROWN_MS
        return True

    def _is_older(self, patient: Resource, years: int) -> bool:
        """True from the birthday on. Who has no birth date counts as old."""
        span = range_of(patient.get("birthDate") or "", self._zone)
        if span is None:
            return True
        shift = offset_of(self._zone) // TICKS_PER_MS
        born = date.fromordinal((span[1] - 1 + shift) // _DAY + _EPOCH)
        today = date.fromordinal((self._now + shift) // _DAY + _EPOCH)
        return today.year - born.year - ((today.month, today.day) < (born.month, born.day)) >= years

    def _linked(self, person: Resource, type: str) -> list[str]:
        """The ids of one type that a Person links to."""
        found = (self._here(link.get("target")) for link in person.get("link") or ())
        return [one.id for one in found if one is not None and one.type == type]

    async def _read(self, type: str, ids: Sequence[str]) -> dict[str, Resource]:
        """Those of the resources that are there."""
        found = await self._context.store.read_many(type, ids, EVERYTHING) if ids else {}
        return {id: decode(stored.raw) for id, stored in found.items() if not stored.deleted}
