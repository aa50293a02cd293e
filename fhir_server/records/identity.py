"""Whose record it is: the numbers that tell a person, in order, and what speaks against being the same person.

Order: số định danh, BHXH number, insurance card with birth date, identity card or passport with birth date, patient
number of the facility, then with birth date the resident number of the record store and the number on the immunisation
platform. Never a name. Sex and year of birth must not contradict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.model.resources import Resource
from fhir_server.records.ids import named_id
from fhir_server.records.personal_number import number_facts
from fhir_server.records.record import Record
from fhir_server.records.source import Problem
from fhir_server.terminology.folding import fold_words
from fhir_server.terminology.naming import NamingSystems

# Kind of number, and whether the birth date must agree too.
ORDER: tuple[tuple[str, bool], ...] = (
    ("cccd", False),
    ("bhxh", False),
    ("bhyt", True),
    ("cmnd", True),
    ("passport", True),
    ("mrn", False),
    ("resident", True),
    ("immunization-person", True),
)
_PLACE = {kind: (place, with_birth) for place, (kind, with_birth) in enumerate(ORDER)}


@dataclass(frozen=True, slots=True)
class Number:
    """A number that may tell a person. system: the canonical URI, with the facility for numbers of one facility."""

    kind: str
    system: str
    value: str


@dataclass(slots=True)
class Known:
    """What is stored, or is about to be: version 0 is not stored yet.

    fixed: the sender of this import may not change it; hidden: nor know of it. into: the Patient that this one was
    joined into. borne: its numbers as they are stored. linked: ids of RelatedPersons that it was linked with just now.
    """

    id: str
    version: int
    resource: Resource
    changed: bool = False
    fixed: bool = False
    hidden: bool = False
    into: Known | None = None
    borne: frozenset[Number] = frozenset()
    linked: tuple[str, ...] = ()

    @property
    def lasting(self) -> Known:
        """The Patient that stands for this one today."""
        found = self
        while found.into is not None:
            found = found.into
        return found


@dataclass(frozen=True, slots=True)
class Choice:
    """Who a person is. known: the Patient, None for a new one. apart: others who bear a number of the same person and
    are kept apart, with the reason (of `doubts.REASONS`)."""

    known: Known | None
    apart: tuple[tuple[Number, str, Known], ...] = ()


def numbers(patient: Resource, naming: NamingSystems) -> list[Number]:
    """The matching numbers of a Patient, strongest first."""
    found = []
    for one in patient.get("identifier", ()):
        system, value = one.get("system"), one.get("value")
        kind = naming.kind(system) if system and value else None
        # A patient number without its facility tells nobody.
        if kind in _PLACE and not (naming.by_kind[kind].scoped and system in naming.by_uri):
            found.append(Number(kind, naming.canonical(system), value))
    return sorted(dict.fromkeys(found), key=lambda number: _PLACE[number.kind][0])


def contradicts(one: Resource, other: Resource) -> str:
    """`sex` or `birth year` where two Patients cannot be one person, else ""."""
    sexes = {one.get("gender"), other.get("gender")}
    if sexes == {"male", "female"}:
        return "sex"
    years = {one.get("birthDate", "")[:4], other.get("birthDate", "")[:4]} - {""}
    return "birth year" if len(years) > 1 else ""


def choose(
    patient: Resource, known: Mapping[Number, Iterable[Known]], before: Known | None, naming: NamingSystems
) -> Choice:
    """Who a person is: by the first of the numbers, in their order, that tells.

    known: the Patients that bear each number. before: who it was when the same record was stored last time. Whoever was
    joined into another stands for that one, with all that was said of both.
    """
    chosen = before.lasting if before is not None and not contradicts(patient, before.resource) else None
    met: list[tuple[Number, str, Known]] = []
    for number in numbers(patient, naming):
        fitting = []
        for one in known.get(number, ()):
            reason = contradicts(patient, one.resource) or _birth_differs(number, patient, one.resource)
            if reason:
                met.append((number, reason, one.lasting))
            elif not _PLACE[number.kind][1] or ("birthDate" in patient and "birthDate" in one.resource):
                fitting.append(one.lasting)
        if fitting and chosen is None:
            chosen = min(fitting, key=lambda one: one.id)
        met += [(number, "number", one) for one in fitting]
    seen: dict[str, tuple[Number, str, Known]] = {}
    for number, reason, one in met:
        if chosen is None or one.id != chosen.id:
            seen.setdefault(one.id, (number, reason, one))
    return Choice(chosen, tuple(seen.values()))


def _birth_differs(number: Number, one: Resource, other: Resource) -> str:
    """`birth date` for a number that tells nobody without it, where the dates differ as far as the coarser one goes."""
    first, second = one.get("birthDate", ""), other.get("birthDate", "")
    same = not first or not second or first.startswith(second) or second.startswith(first)
    return "" if same or not _PLACE[number.kind][1] else "birth date"


_APART = {
    "sex": "another person bears this number with another sex; the two are kept apart",
    "birth year": "another person bears this number with another birth year; the two are kept apart",
    "birth date": "another person bears this number with another birth date; the two are kept apart",
    "number": "several people bear this number; they are kept apart",
}
_APART_VI = {
    "sex": "số này đã thuộc về người khác có giới tính khác; giữ thành hai người",
    "birth year": "số này đã thuộc về người khác có năm sinh khác; giữ thành hai người",
    "birth date": "số này đã thuộc về người khác có ngày sinh khác; giữ thành hai người",
    "number": "nhiều người cùng mang số này; giữ thành các người riêng",
}


def tell_apart(record: Record, choice: Choice) -> None:
    """Whom the sender may not know of, it is not told of."""
    for number, reason in dict.fromkeys((number, reason) for number, reason, one in choice.apart if not one.hidden):
        rule = "several-people" if reason == "number" else "kept-apart"
        text = (_APART[reason], _APART_VI[reason])
        record.mapped.problems.append(Problem("warning", rule, text, number.kind, number.value))


def new_id(record: Record, taken: bool, naming: NamingSystems) -> str:
    """The id of a Patient who is not known yet. It follows from the strongest number, or from the record itself when
    there is none or somebody else bears the number (`taken`)."""
    patient = record.patient.resource
    found = [] if taken else numbers(patient, naming)
    if not found:
        return named_id("Patient", record.id)
    birth = patient.get("birthDate", "") if _PLACE[found[0].kind][1] else ""
    return named_id("Patient", found[0].system, found[0].value, birth)


def same_name(one: Resource, other: Resource) -> bool:
    """Whether two Patients have a name in common, however it is written."""
    names, others = ({fold_words(name.get("text", "")) for name in patient.get("name", ())} for patient in (one, other))
    return not names.isdisjoint(others)


def apart_id(record: Record) -> str:
    """The id of a record beside that of another person with the same key."""
    patient = record.patient.resource
    return named_id(record.id, patient.get("gender", ""), patient.get("birthDate", "")[:4])


def put_aside_foreign_numbers(record: Record, naming: NamingSystems) -> list[Mapping[str, Any]]:
    """Takes from a newborn's Patient the numbers that are a parent's, and gives them back.

    TT 30/2020: until it has papers a newborn stands under its mother's name, and often under her numbers. Its own are
    the patient number, a child's card (TE), and a personal number whose year of birth is its own.
    """
    patient = record.patient.resource
    if not record.newborn:
        return []
    held = [(naming.kind(one["system"]) if "system" in one else None, one) for one in patient.get("identifier", ())]
    doubtful = record.marked_newborn or any(
        kind == "cccd" and not _is_born_with(one["value"], patient) for kind, one in held
    )
    own: list[Mapping[str, Any]] = []
    foreign: list[Mapping[str, Any]] = []
    for kind, one in held:
        (own if _is_own(kind, one["value"], patient, doubtful) else foreign).append(one)
    if foreign:
        if own:
            patient["identifier"] = own
        else:
            patient.pop("identifier")
        for one in foreign:
            text = (
                "a newborn's record bears the number of another person; it is kept with a RelatedPerson",
                "hồ sơ trẻ sơ sinh ghi số của người khác; số này được giữ ở người thân (RelatedPerson)",
            )
            record.mapped.problems.append(Problem("warning", "number-of-another", text, "identifier", one["value"]))
    return foreign


def _is_born_with(cccd: str, patient: Resource) -> bool:
    return number_facts(cccd)[1] == int(patient.get("birthDate", "0")[:4])


def _is_own(kind: str | None, value: str, patient: Resource, doubtful: bool) -> bool:
    """doubtful: the record is marked as one under a parent's name, or its personal number is a parent's; then numbers
    that say nothing of age are a parent's too."""
    if kind == "cccd":
        return _is_born_with(value, patient)
    if kind == "bhyt" and not value.isdigit():
        return value.startswith("TE")  # the cards of children; a newborn has no other of its own
    return not (doubtful and kind in ("cmnd", "passport", "bhxh", "bhyt"))


def check_numbers(record: Record, naming: NamingSystems) -> None:
    """Tells a personal number whose digits of sex or year are not those of the record: a warning, never more."""
    patient = record.patient.resource
    for one in patient.get("identifier", ()):
        if "system" not in one or naming.kind(one["system"]) != "cccd":
            continue
        sex, year = number_facts(one["value"])
        if patient.get("gender") in ("male", "female") and sex != patient["gender"]:
            text = (
                "the fourth digit of the number says another sex",
                "chữ số thứ tư của số định danh không khớp giới tính",
            )
            record.mapped.problems.append(Problem("warning", "number-against-sex", text, "identifier", one["value"]))
        if "birthDate" in patient and year != int(patient["birthDate"][:4]):
            text = (
                "digits 5 and 6 of the number say another year of birth",
                "chữ số 5–6 của số định danh không khớp năm sinh",
            )
            record.mapped.problems.append(Problem("warning", "number-against-year", text, "identifier", one["value"]))
