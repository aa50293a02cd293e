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
from fhir_server.records.record import Record
from fhir_server.records.source import Problem
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
    """What is stored, or is about to be: version 0 is not stored yet. fixed: the sender of this import may not change
    it; hidden: nor know of it."""

    id: str
    version: int
    resource: Resource
    changed: bool = False
    fixed: bool = False
    hidden: bool = False


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


def number_facts(cccd: str) -> tuple[str, int]:
    """(sex, year of birth) that a personal identification number says: its digits 4 to 6."""
    digit = int(cccd[3])
    return ("female" if digit % 2 else "male"), 1900 + 100 * (digit // 2) + int(cccd[4:6])


def contradicts(one: Resource, other: Resource) -> str:
    """`sex` or `birth year` where two Patients cannot be one person, else ""."""
    sexes = {one.get("gender"), other.get("gender")}
    if sexes == {"male", "female"}:
        return "sex"
    years = {one.get("birthDate", "")[:4], other.get("birthDate", "")[:4]} - {""}
    return "birth year" if len(years) > 1 else ""


def _same_birth(one: Resource, other: Resource) -> bool:
    """True when both dates agree as far as the coarser one goes."""
    first, second = one.get("birthDate", ""), other.get("birthDate", "")
    return bool(first and second) and (first.startswith(second) or second.startswith(first))


def choose(
    record: Record, known: Mapping[Number, Iterable[Known]], before: Known | None, naming: NamingSystems
) -> Known | None:
    """The Patient that the record is about, None for a new one.

    known: the Patients that bear each number. before: the Patient that this same record was stored for last time.
    What is found and kept apart is told in the record's problems.
    """
    patient = record.patient.resource
    apart: list[tuple[Number, str]] = []
    if before is not None and not contradicts(patient, before.resource):
        return before
    for number in numbers(patient, naming):
        fitting = []
        for one in known.get(number, ()):
            reason = contradicts(patient, one.resource)
            if reason:
                apart += [] if one.hidden else [(number, reason)]
            elif not _PLACE[number.kind][1] or _same_birth(patient, one.resource):
                fitting.append(one)
        if fitting:
            _tell_apart(record, apart)
            if len({one.id for one in fitting if not one.hidden}) > 1:
                _tell_several(record, number)
            return min(fitting, key=lambda one: one.id)
    _tell_apart(record, apart)
    return None


def _tell_apart(record: Record, apart: list[tuple[Number, str]]) -> None:
    for number, reason in dict.fromkeys(apart):
        vi = "giới tính" if reason == "sex" else "năm sinh"
        text = (
            f"another person bears this number with another {reason}; the two are kept apart",
            f"số này đã thuộc về người khác có {vi} khác; giữ thành hai người",
        )
        record.mapped.problems.append(Problem("warning", "kept-apart", text, number.kind, number.value))


def _tell_several(record: Record, number: Number) -> None:
    text = ("several people bear this number", "nhiều người cùng mang số này")
    record.mapped.problems.append(Problem("warning", "several-people", text, number.kind, number.value))


def new_id(record: Record, taken: bool, naming: NamingSystems) -> str:
    """The id of a Patient who is not known yet. It follows from the strongest number, or from the record itself when
    there is none or somebody else bears the number (`taken`)."""
    patient = record.patient.resource
    found = [] if taken else numbers(patient, naming)
    if not found:
        return named_id("Patient", record.id)
    birth = patient.get("birthDate", "") if _PLACE[found[0].kind][1] else ""
    return named_id("Patient", found[0].system, found[0].value, birth)


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
