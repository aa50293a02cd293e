"""What the synthetic people have had: diseases by age, allergies, doses by birth date, visits with diagnoses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from fhir_server.records.population import HOSPITAL, STATION, TODAY, Draw, Household, Person, lists

# How far ahead a dose is written down as due.
_DUE_DAYS = 75


@dataclass(frozen=True, slots=True)
class Allergy:
    group: str
    agent: str
    reaction: str
    since: date


@dataclass(frozen=True, slots=True)
class Disease:
    """A lasting disease, or one that is over (current=False)."""

    code: str
    name: str
    short: str
    group: str
    since: date
    current: bool = True


@dataclass(frozen=True, slots=True)
class Relative:
    """A disease or an allergy in the family; kin: who has it, in words."""

    kin: str
    disease: Disease | None = None
    allergy: Allergy | None = None


@dataclass(frozen=True, slots=True)
class Dose:
    """A dose given, or (given=None) one that is due."""

    code: str
    name: str
    number: int
    given: date | None
    due: date | None
    programme: str
    lot: str
    reaction: str = ""
    month: int | None = None  # of pregnancy


@dataclass(frozen=True, slots=True)
class Vitals:
    pulse: int
    temperature: str
    systolic: int
    diastolic: int
    breaths: int
    height: str  # cm
    weight: str  # kg
    bmi: str
    waist: int


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit. kind: MA_LOAI_KCB. others: accompanying diagnoses (code, name). measured: with all vital signs.
    births: numbers of the children born."""

    key: str
    facility: str
    start: datetime
    end: datetime
    kind: str
    category: str
    reason: str
    code: str
    name: str
    others: tuple[tuple[str, str], ...]
    vitals: Vitals
    result: str = "2"
    discharge: str = "1"
    measured: bool = False
    advice: str = "Uống thuốc theo đơn, tái khám khi cần"
    births: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Birth:
    caesarean: bool
    preterm: bool
    grams: int
    length: int


@dataclass(frozen=True, slots=True)
class Health:
    allergies: tuple[Allergy, ...]
    diseases: tuple[Disease, ...]
    relatives: tuple[Relative, ...]
    doses: tuple[Dose, ...]
    station: tuple[Visit, ...]
    hospital: tuple[Visit, ...]
    birth: Birth | None
    smokes: str  # 0 no, 1 yes, 2 regularly
    drinks: str


def household_health(household: Household, seed: int) -> dict[int, Health]:
    """The health of each member by number; the family history follows from the parents' own."""
    own = {one.number: _own(one, Draw(f"{seed}/h/{one.number}")) for one in household.members}
    for child in household.members:
        if child.age() < 1 and child.mother is not None and child.mother in own:
            own[child.mother] = _with_birth(own[child.mother], household, child)
    return {one.number: _with_family(one, own) for one in household.members}


def _own(person: Person, draw: Draw) -> Health:
    diseases = tuple(_diseases(person, draw))
    man = person.sex == "1" and person.age() >= 18
    return Health(
        allergies=tuple(_allergies(person, draw)),
        diseases=diseases,
        relatives=(),
        doses=tuple(_doses(person, draw)),
        station=tuple(_visits(person, diseases, draw, hospital=False)),
        hospital=tuple(_visits(person, diseases, draw, hospital=True)),
        birth=_birth(draw) if person.age() < 6 else None,
        smokes=draw.weighted((("0", 58), ("1", 12), ("2", 30))) if man else "0",
        drinks=draw.weighted((("0", 40), ("1", 45), ("2", 15))) if man else "0",
    )


def _with_birth(health: Health, household: Household, child: Person) -> Health:
    """The mother's health with an examination before and the stay in which the child was born, where she is insured."""
    mother = household.by_number(child.mother)
    if mother is None or mother.card is None:
        return health
    vitals = _vitals(mother, Draw(f"birth/{child.number}"), child.born, False)
    born = datetime(child.born.year, child.born.month, child.born.day, 1, 10)
    before = born.replace(hour=8) - timedelta(days=60)
    examination = Visit(
        key=f"{HOSPITAL}.{before.year % 100:02d}.{mother.number:07d}7",
        facility=HOSPITAL,
        start=before,
        end=before + timedelta(minutes=50),
        kind="01",
        category="1.1",
        reason="Khám thai",
        code="Z34.9",
        name="Theo dõi thai nghén bình thường",
        others=(),
        vitals=vitals,
        result="7",
    )
    stay = replace(
        examination,
        key=f"{HOSPITAL}.{born.year % 100:02d}.{mother.number:07d}8",
        start=born,
        end=min(born + timedelta(days=3, hours=7), datetime(TODAY.year, TODAY.month, TODAY.day, 17)),
        kind="03",
        reason="Chuyển dạ",
        code="O80",
        name="Đẻ thường cho một thai",
        result="1",
        births=(child.number,),
    )
    return replace(health, hospital=(*health.hospital, stay, examination))


def _with_family(person: Person, own: Mapping[int, Health]) -> Health:
    health = own[person.number]
    relatives = []
    for kin, number in (("Bố", person.father), ("Mẹ", person.mother)):
        if number is not None and number in own:
            relatives += [Relative(kin, disease=one) for one in own[number].diseases[:2]]
            relatives += [Relative(kin, allergy=one) for one in own[number].allergies[:1]]
    return Health(
        health.allergies,
        health.diseases,
        tuple(relatives),
        health.doses,
        health.station,
        health.hospital,
        health.birth,
        health.smokes,
        health.drinks,
    )


def _days(person: Person) -> int:
    return (TODAY - person.born).days


def _allergies(person: Person, draw: Draw) -> Iterator[Allergy]:
    clinical = lists("clinical")
    if _days(person) < 180 or not draw.happens(clinical["allergy_share"]):
        return
    known: set[str] = set()
    for _ in range(draw.weighted(((1, 80), (2, 20)))):
        group, agent, reaction = draw.one_of(clinical["allergies"])
        if agent not in known:
            known.add(agent)
            yield Allergy(group, agent, reaction, person.born + timedelta(days=draw.between(90, _days(person))))


def _diseases(person: Person, draw: Draw) -> Iterator[Disease]:
    age = person.age()
    for one in lists("clinical")["chronic"]:
        share = next((part for least, part in reversed(one["share"]) if age >= least), 0.0)
        if one.get("sex", person.sex) == person.sex and draw.happens(share):
            least = one["share"][0][0]
            years = draw.between(0, min(12, max(0, age - least)))
            since = TODAY - timedelta(days=years * 365 + draw.between(10, 300))
            since = max(since, person.born + timedelta(days=3))
            current = not one.get("past", False)
            yield Disease(one["code"], one["name"], one["short"], one["group"], since, current)


def _birth(draw: Draw) -> Birth:
    preterm = draw.happens(0.08)
    grams = draw.between(1800, 2600) if preterm else draw.between(2600, 3900)
    return Birth(draw.happens(0.36), preterm, grams, draw.between(42, 47) if preterm else draw.between(47, 53))


def _doses(person: Person, draw: Draw) -> Iterator[Dose]:
    clinical = lists("clinical")
    if person.born >= _date(clinical["first_birth"]):
        yield from _childhood(person, draw, clinical)
    for one in clinical["adult"]:
        if one.get("sex", person.sex) == person.sex and draw.happens(one["share"]):
            yield from _series(person, draw, one, clinical)


def _childhood(person: Person, draw: Draw, clinical: Mapping[str, Any]) -> Iterator[Dose]:
    late = draw.between(0, 9)
    for one in clinical["schedule"]:
        wanted = person.born + timedelta(days=one["day"])
        day = wanted if one["day"] < 3 else wanted + timedelta(days=late + draw.between(0, 6))
        if wanted < _date(one.get("since", "1900-01-01")) or (wanted - TODAY).days > _DUE_DAYS:
            continue
        name = draw.one_of(one["names"])
        if day > TODAY or not draw.happens(clinical["coverage"]):
            # Not given yet, or missed: the record says when it was or is due.
            if (TODAY - wanted).days < _DUE_DAYS:
                yield Dose(one["code"], name, one["dose"], None, max(day, wanted), one["site"], "")
            continue
        yield _given(one["code"], name, one["dose"], day, one["site"], draw, clinical)


def _series(person: Person, draw: Draw, one: Mapping[str, Any], clinical: Mapping[str, Any]) -> Iterator[Dose]:
    first = _date(one["first"]) + timedelta(days=draw.between(0, 150))
    low, high = one["ages"]
    if not low <= person.age(first) <= high:
        return
    name = draw.one_of(one["names"])
    for number in range(1, one["doses"] + 1):
        day = first + timedelta(days=one["gap"] * (number - 1))
        if day <= TODAY:
            month = 4 + number if one.get("pregnant") else None
            given = _given(one["code"], name, number, day, "", draw, clinical, month)
            following = day + timedelta(days=one["gap"]) if number < one["doses"] else None
            yield replace(given, due=following)


def _given(
    code: str,
    name: str,
    number: int,
    day: date,
    programme: str,
    draw: Draw,
    clinical: Mapping[str, Any],
    month: int | None = None,
) -> Dose:
    reaction = draw.one_of(clinical["reactions"]) if draw.happens(0.08) else ""
    lot = f"M{day.year % 100:02d}{day.month:02d}-{draw.between(100, 999)}"
    return Dose(code, name, number, day, None, programme, lot, reaction, month)


def _visits(person: Person, diseases: tuple[Disease, ...], draw: Draw, hospital: bool) -> Iterator[Visit]:
    if hospital:
        count = draw.weighted(((0, 78), (1, 16), (2, 6))) if person.card else 0
    else:
        count = draw.weighted(((0, 20), (1, 55), (2, 25)))
    for place in range(count):
        day = TODAY - timedelta(days=draw.between(place * 240 + 2, place * 240 + 220))
        if day > person.born:
            yield _visit(person, diseases, draw, day, place, hospital)


def _visit(person: Person, diseases: tuple[Disease, ...], draw: Draw, day: date, place: int, hospital: bool) -> Visit:
    start = datetime(day.year, day.month, day.day, draw.between(7, 16), draw.between(0, 59))
    current = [one for one in diseases if one.current and one.since <= day]
    facility = HOSPITAL if hospital else STATION
    others = tuple((one.code, one.name) for one in current[:3])
    main: Mapping[str, Any]
    if current and draw.happens(0.5):
        main, stay = {"code": others[0][0], "name": others[0][1], "reason": "Tái khám theo hẹn"}, False
        others = others[1:]
    else:
        main, stay = _acute(person, draw, person.age(day), hospital)
        others = tuple(one for one in others if one[0] != main["code"])
    kind = "03" if stay else ("05" if hospital and main["reason"] == "Tái khám theo hẹn" else "01")
    days = draw.between(2, 9) if stay else 0
    end = start + timedelta(days=days, minutes=draw.between(20, 110))
    emergency = stay and draw.happens(0.5)
    category = "2" if emergency else draw.one_of(("1.1", "1.1", "1.2", "1.3", "1.5"))
    return Visit(
        key=f"{facility}.{day.year % 100:02d}.{person.number:07d}{place}",
        facility=facility,
        start=start,
        end=min(end, datetime(TODAY.year, TODAY.month, TODAY.day, 17)),
        kind=kind,
        category=category,
        reason=main["reason"],
        code=main["code"],
        name=main["name"],
        others=others,
        vitals=_vitals(person, draw, day, any(one.code == "I10" for one in current)),
        measured=draw.happens(0.2),
        result=draw.weighted((("1", 45), ("2", 45), ("3", 8), ("7", 2))),
    )


def _acute(person: Person, draw: Draw, age: int, hospital: bool) -> tuple[Mapping[str, Any], bool]:
    table = [
        (one, one["weight"])
        for one in lists("clinical")["acute"]
        if one["ages"][0] <= age <= one["ages"][1]
        and one.get("sex", person.sex) == person.sex
        and (hospital or not one.get("stay"))
    ]
    found = draw.weighted(table)
    return found, bool(found.get("stay"))


def _vitals(person: Person, draw: Draw, day: date, hypertension: bool) -> Vitals:
    years = (day - person.born).days / 365.25
    height = _height(years, person.sex) + draw.between(-5, 5) * min(1.0, years / 5 + 0.2)
    share = 15.5 + min(years, 20) * 0.3 + draw.between(-15, 25) / 10
    weight = max(2.6, share * (height / 100) ** 2)
    grown = min(years / 18, 1.0)
    systolic = int(75 + 40 * grown + draw.between(-8, 8) + (25 if hypertension else 0))
    return Vitals(
        pulse=int(130 - 55 * grown) + draw.between(-8, 8),
        temperature=f"{36 + draw.between(3, 12) / 10:.1f}",
        systolic=systolic,
        diastolic=int(systolic * 0.63),
        breaths=int(40 - 22 * grown) + draw.between(-2, 2),
        height=f"{height:.1f}",
        weight=f"{weight:.2f}",
        bmi=f"{weight / (height / 100) ** 2:.1f}",
        waist=int(40 + 38 * grown + draw.between(-5, 8)),
    )


def _height(years: float, sex: str) -> float:
    """A rough curve in cm: 50 at birth, 75 at one, then six a year up to an adult's height."""
    adult = 156.0 if sex == "2" else 167.0
    return min(50 + 25 * years, 75.0) if years < 1 else min(75 + 6.4 * (years - 1), adult)


def _date(text: str) -> date:
    year, month, day = text.split("-")
    return date(int(year), int(month), int(day))
