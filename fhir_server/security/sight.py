"""How far callers of each kind see and write, as filters over the fields that stored documents are narrowed by.

Citizens: their own compartment and those of the people they represent. Facilities: what they sent, what names them, and
the patients in their care. Officers: the people whose residence lies in their unit. A directory of organisations,
practitioners and definitions is open to all who have the scope.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.interactions.consenting import ANY, UNSAID
from fhir_server.interactions.narrowing import carer, party, sender
from fhir_server.interactions.residence import COUNTRY, WARD
from fhir_server.interactions.rights import Action
from fhir_server.store.values import NOTHING, Filter

Sights = dict[str, Filter | None]  # by resource type; a type that is absent is not seen at all


@dataclass(frozen=True, slots=True)
class TypeLists:
    """The resource types as access control divides them. every: all that are served. compartment: of the Patient
    compartment, and what is secured as if it were. See profiles/vn_basic/access.json for the others."""

    every: frozenset[str]
    compartment: frozenset[str]
    directory: frozenset[str]
    facility_writes: frozenset[str]
    citizen_hides: frozenset[str]
    citizen_writes: frozenset[str]
    administrative: frozenset[str]
    patient_reported: Mapping[str, str]
    unconfirmed: Mapping[str, str]

    @classmethod
    def of(cls, data: Mapping[str, Any], every: frozenset[str], compartment: frozenset[str]) -> TypeLists:
        return cls(
            every,
            compartment & every,
            frozenset(data["directory"]) & every,
            frozenset(data["facilityWrites"]) & every,
            frozenset(data["citizenHides"]),
            frozenset(data["citizenWrites"]) & every,
            frozenset(data["administrative"]),
            data["patientReported"],
            data["unconfirmed"],
        )


def everything(types: TypeLists, action: Action) -> Sights:
    return dict.fromkeys(types.every)


def of_patients(types: TypeLists, action: Action, patients: Sequence[str], reported: Mapping[str, Filter]) -> Sights:
    """Citizens read their compartments, change their own Patient, and write what they report of themselves.

    reported: by type, what bears the label of a patient's own report.
    """
    if not patients:
        return directory(types) if action in ("read", "search") else {}
    own: Filter = {"p": patients[0]} if len(patients) == 1 else {"p": {"$in": list(patients)}}
    if action in ("read", "search"):
        return directory(types) | dict.fromkeys(types.compartment - types.citizen_hides, own)
    sights: Sights = {type: {"$and": [own, label]} for type, label in reported.items()}
    return sights | {"Patient": own} if action == "update" else sights


def of_organisation(types: TypeLists, action: Action, organisation: str) -> Sights:
    """Facilities read what they sent, what names them and their patients; they write only what they sent."""
    sent: Filter = {"a": sender(organisation)}
    if action not in ("read", "search"):
        return dict.fromkeys(types.compartment | types.facility_writes, sent)
    seen: Filter = {"a": {"$in": [party(organisation), sender(organisation), carer(organisation)]}}
    return dict.fromkeys(types.every, seen) | directory(types)


def of_unit(types: TypeLists, action: Action, unit: str) -> Sights:
    """Officers read and write the records of the people who live in their unit. unit: `ward:14797`."""
    name, _, code = unit.partition(":")
    lives: Filter | None = {"w": code} if name == WARD else None if unit == COUNTRY else {"a": unit}
    if unit == COUNTRY:
        return everything(types, action) if action in ("read", "search") else dict.fromkeys(types.compartment)
    seen: Sights = dict.fromkeys(types.compartment, lives)
    return directory(types) | seen if action in ("read", "search") else seen


def directory(types: TypeLists) -> Sights:
    return dict.fromkeys(types.directory)


def either(one: Sights, other: Sights) -> Sights:
    """What is seen one way or the other."""
    both = dict(one)
    for type, filter in other.items():
        if type not in both:
            both[type] = filter
        elif both[type] != filter:
            first = both[type]
            both[type] = None if first is None or filter is None else {"$or": [first, filter]}
    return both


def within(one: Sights, other: Sights) -> Sights:
    """What is seen both ways."""
    return {type: conjoined(filter, other[type]) for type, filter in one.items() if type in other}


def with_consent(types: TypeLists, sights: Sights, asked: Consented) -> Sights:
    """The sights as the patients' Consents leave them: of a compartment what none restricts, and what one permits and
    none denies."""
    return {
        type: conjoined(filter, asked.filter(type)) if type in types.compartment else filter
        for type, filter in sights.items()
    }


@dataclass(frozen=True, slots=True)
class Consented:
    """Who asks, as Consents name them (see interactions.consenting). actors: `Organization:12`; purposes: those asked
    for, and what they are kinds of; classes: bit of each class of sensitivity to the values of `s` that have it."""

    actors: tuple[str, ...]
    purposes: tuple[str, ...]
    classes: Mapping[int, list[int]]

    def filter(self, type: str) -> Filter:
        """Without any Consent all is seen. A denial counts for those who do not say what they ask for."""
        parts = ("", f"#{type}")
        permits = [code for part in parts for code in self._codes("+", part)]
        denies = [code for part in parts for code in self._codes("-", part)]
        denied = [{"a": {"$in": denies}}, *self._of_classes("-")]
        permitted = [{"a": {"$ne": "="}}, {"a": {"$in": permits}}, *self._of_classes("+")]
        return {"$or": [{"c": 0}, {"$and": [{"$or": permitted}, {"$nor": denied}]}]}

    def _of_classes(self, sign: str) -> Iterator[Filter]:
        """What is said of a class of sensitivity counts for what belongs to it."""
        for bit, values in self.classes.items():
            yield {"$and": [{"a": {"$in": list(self._codes(sign, f"!{bit}"))}}, {"s": {"$in": values}}]}

    def _codes(self, sign: str, part: str) -> Iterator[str]:
        purposes = (ANY, *(self.purposes or (UNSAID,)))
        return (f"{sign}{actor}@{purpose}{part}" for actor in (ANY, *self.actors) for purpose in purposes)


def conjoined(one: Filter | None, other: Filter | None) -> Filter | None:
    if one is None or other is None:
        return other if one is None else one
    if NOTHING in (one, other):
        return NOTHING
    return one if one == other else {"$and": [one, other]}
