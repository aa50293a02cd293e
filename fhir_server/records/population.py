"""A commune of people who do not exist: households, names, numbers and addresses that agree with each other."""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from fhir_server.config import DATA_ROOT
from fhir_server.terminology.load import Terminology

T = TypeVar("T")

# The day on which the commune stands still. Not the wall clock: the same seed writes the same files for ever.
TODAY = date(2026, 6, 30)
PROVINCE = "38"
# Two digits of a province before 2025-07-01, then 9: facilities that do not exist.
STATION, HOSPITAL = "38901", "38990"
STATION_NAME, HOSPITAL_NAME = "Trạm Y tế {ward} (mẫu)", "Bệnh viện Đa khoa khu vực mẫu"
PEOPLE_A_WARD = 10_000

_ETHNIC = (("01", 800), ("06", 110), ("03", 65), ("08", 15), ("24", 6), ("02", 4))
_RELIGION = ((None, 880), ("2", 60), ("1", 50), ("3", 8), ("5", 2))
_BLOOD = (("O", 43), ("A", 21), ("B", 30), ("AB", 6))
# Where older numbers were issued: mostly Thanh Hóa, else provinces in the codes before 2025-07-01.
_BIRTH_PROVINCE = (("038", 900), ("040", 30), ("037", 25), ("001", 20), ("035", 10), ("079", 10), ("015", 5))
# Of those, the one whose code is another since 2025-07-01: Hà Nam went into Ninh Bình.
_MERGED_INTO = {"35": "37"}
_KINDS = (("family", 50), ("three generations", 20), ("old couple", 12), ("alone", 5), ("young", 6), ("one parent", 7))


class Draw:
    """The chances of one household; each has a generator of its own, so that any of them can be made alone."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)
        self.chance = self._random.random

    def happens(self, share: float) -> bool:
        return self.chance() < share

    def between(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self.chance() * (high - low + 1))

    def one_of(self, items: Sequence[T]) -> T:
        return items[int(self.chance() * len(items))]

    def weighted(self, table: Sequence[tuple[T, int]]) -> T:
        sums = _sums(tuple(weight for _, weight in table))
        return table[bisect(sums, self.chance() * sums[-1])][0]


@cache
def _sums(weights: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(accumulate(weights))


@dataclass(frozen=True, slots=True)
class Place:
    """An address: a real ward of today, a hamlet that any commune may have."""

    ward: str
    ward_name: str
    province: str
    province_name: str
    hamlet: str = ""

    @property
    def text(self) -> str:
        return ", ".join(part for part in (self.hamlet, self.ward_name, self.province_name) if part)


@dataclass(frozen=True, slots=True)
class Person:
    """One person. number: place in the commune, from 0. role: in the household. father, mother, spouse: numbers of
    people of the same household. Numbers of papers are None where the person has none."""

    number: int
    household: int
    role: str
    family: str
    middle: str
    given: str
    sex: str  # 1 male, 2 female, 3 not determined
    born: date
    place: Place
    ethnic: str
    religion: str | None
    occupation: str
    abo: str
    rh: str
    phone: str | None
    cccd: str | None
    bhxh: str
    card: str | None
    cmnd: str | None = None
    passport: str | None = None
    father: int | None = None
    mother: int | None = None
    spouse: int | None = None
    odd: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return " ".join(part for part in (self.family, self.middle, self.given) if part)

    def age(self, on: date = TODAY) -> int:
        return on.year - self.born.year - ((on.month, on.day) < (self.born.month, self.born.day))

    @property
    def birth_province(self) -> str | None:
        """Where the number was issued, in the province codes of today."""
        return _MERGED_INTO.get(self.cccd[1:3], self.cccd[1:3]) if self.cccd else None

    @property
    def patient_number(self) -> str:
        return f"BN{self.number + 1:07d}"


@dataclass(frozen=True, slots=True)
class Household:
    number: int
    members: tuple[Person, ...]

    def by_number(self, number: int | None) -> Person | None:
        return next((one for one in self.members if one.number == number), None)


@cache
def lists(name: str, root: Path = DATA_ROOT) -> Mapping[str, Any]:
    """The lists of samples/`name`.json."""
    found: Mapping[str, Any] = json.loads((root / "samples" / f"{name}.json").read_text(encoding="utf-8"))
    return found


@cache
def _pairs(key: str, second: str | None = None) -> tuple[tuple[str, int], ...]:
    table = lists("names")[key]
    return tuple((name, weight) for name, weight in (table[second] if second else table))


def places(terminology: Terminology) -> list[Place]:
    """The communes (xã) of the province, which the people are put into, PEOPLE_A_WARD in each."""
    wards, provinces = terminology.code_system("ward"), terminology.code_system("province")
    assert wards is not None
    assert provinces is not None
    name = provinces.concepts[PROVINCE].display or ""
    return [
        Place(ward.code, ward.display or "", PROVINCE, name)
        for ward in wards.concepts.values()
        if ward.values("province") == (PROVINCE,) and ward.values("type") == ("xa",)
    ]


def population(people: int, seed: int, terminology: Terminology) -> Iterator[Household]:
    """The households of a commune of exactly `people`, in order; one household in memory at a time."""
    communes = places(terminology)
    made = number = 0
    while made < people:
        commune = communes[(made // PEOPLE_A_WARD) % len(communes)]
        household = _household(Draw(f"{seed}/{number}"), number, made, people - made, commune)
        yield household
        made += len(household.members)
        number += 1


@dataclass(frozen=True, slots=True)
class _Seat:
    """A place at the table: role, sex and age, before there is a person."""

    role: str
    sex: str
    age: int


def _household(draw: Draw, number: int, first: int, most: int, commune: Place) -> Household:
    seats = _seats(draw, draw.weighted(_KINDS))[:most]
    ethnic, religion = draw.weighted(_ETHNIC), draw.weighted(_RELIGION)
    place = replace(commune, hamlet=draw.one_of(lists("clinical")["hamlets"]))
    table = _pairs("family_of_groups", ethnic) if ethnic in lists("names")["family_of_groups"] else _pairs("family")
    house_name = draw.weighted(table)
    members = []
    for offset, seat in enumerate(seats):
        # Wives and the mothers of the head keep the names of their own families.
        own_name = house_name if seat.role in ("chu-ho", "con", "cha") or seat.sex == "1" else draw.weighted(table)
        person = _person(draw, seat, first + offset, number, own_name, place)
        members.append(replace(person, ethnic=ethnic, religion=religion))
    return Household(number, _related(members))


def _seats(draw: Draw, kind: str) -> list[_Seat]:
    if kind == "alone":
        return [_Seat("chu-ho", draw.weighted((("2", 7), ("1", 3))), draw.between(62, 92))]
    if kind == "old couple":
        age = draw.between(58, 84)
        return [_Seat("chu-ho", "1", age), _Seat("vo", "2", age - draw.between(0, 5))]
    if kind == "one parent":
        age = draw.between(24, 50)
        return [_Seat("chu-ho", "2", age), *_children(draw, age, draw.between(1, 2))]
    woman = draw.between(20, 29) if kind == "young" else draw.between(24, 53)
    couple = [_Seat("chu-ho", "1", woman + draw.between(-1, 7)), _Seat("vo", "2", woman)]
    if kind == "young":
        return couple + ([_Seat("con", draw.one_of("12"), draw.between(0, 1))] if draw.happens(0.6) else [])
    seats = couple + _children(draw, woman, draw.weighted(((1, 25), (2, 50), (3, 25))))
    if kind == "three generations":
        old = couple[0].age + draw.between(21, 30)
        seats.append(_Seat("me", "2", min(old, 98)))
        if old < 90 and draw.happens(0.6):
            seats.append(_Seat("cha", "1", min(old + draw.between(0, 6), 98)))
    return seats


def _children(draw: Draw, mother_age: int, count: int) -> list[_Seat]:
    """Children still at home, oldest first, born when the mother was 19 to 38."""
    oldest = min(mother_age - 19, 27)
    youngest = max(mother_age - 38, 0)
    ages = sorted({draw.between(youngest, oldest) for _ in range(count)}, reverse=True) if oldest >= youngest else []
    return [_Seat("con", draw.weighted((("1", 526), ("2", 474))), age) for age in ages]


def _person(draw: Draw, seat: _Seat, number: int, household: int, family: str, place: Place) -> Person:
    born = _birthday(draw, seat.age)
    bhxh = f"{PROVINCE}9{number:07d}"
    person = Person(
        number=number,
        household=household,
        role=seat.role,
        family=family,
        middle=_middle(draw, seat),
        given=draw.weighted(_pairs("given", seat.sex)),
        sex=seat.sex,
        born=born,
        place=place,
        ethnic="01",
        religion=None,
        occupation=_occupation(draw, seat.age),
        abo=draw.weighted(_BLOOD),
        rh="-" if draw.happens(0.0007) else "+",
        phone=f"0999{number:06d}" if seat.age >= 14 else None,
        cccd=None,
        bhxh=bhxh,
        card=None,
    )
    birth_province = draw.weighted(_BIRTH_PROVINCE) if seat.age > 15 else "038"
    card = _card(draw, person) if draw.happens(0.95) else None
    return replace(person, cccd=personal_number(person, birth_province), card=card)


def _birthday(draw: Draw, age: int) -> date:
    """A day of birth that gives this age today."""
    last = date(TODAY.year - age, TODAY.month, TODAY.day)
    return last - timedelta(days=draw.between(0, 364))


def _middle(draw: Draw, seat: _Seat) -> str:
    if seat.age >= 50 and draw.happens(0.6):
        return "Văn" if seat.sex == "1" else "Thị"
    return draw.weighted(_pairs("middle", seat.sex))


def _occupation(draw: Draw, age: int) -> str:
    table = lists("clinical")["occupations"]
    if age < 18:
        return str(table["child"])
    return str(draw.one_of(table["old"] if age >= 60 else table["adult"]))


def personal_number(person: Person, province: str) -> str:
    """Twelve digits: province of registration (codes before 2025-07-01), century and sex, year, six serial digits.

    The serial begins with 9 for the first 100,000 people, then 8, and so on: no two of a commune are equal.
    """
    century = 2 * (person.born.year // 100 - 19) + (person.sex == "2")
    serial = (9 - person.number // 100_000 % 10) * 100_000 + person.number % 100_000
    return f"{province}{century}{person.born.year % 100:02d}{serial:06d}"


def _card(draw: Draw, person: Person) -> str:
    """An insurance card of 15 characters: group, benefit level, province, social insurance number."""
    age = person.age()
    if age < 6:
        group = "TE1"
    elif age < 18:
        group = "HS4"
    elif age >= 80:
        group = "BT2"
    else:
        group = draw.weighted((("GD4", 45), ("DN4", 30), ("HT3", 8), ("CN3", 10), ("HN2", 7)))
    return group + PROVINCE + person.bhxh


def _related(members: list[Person]) -> tuple[Person, ...]:
    """The members with their father, mother and spouse, as far as these belong to the household."""
    at = {one.role: one for one in members if one.role != "con"}
    head, wife = at["chu-ho"], at.get("vo")
    man, woman = (head, wife) if head.sex == "1" else (None, head)
    found = []
    for one in members:
        if one.role == "con":
            one = replace(one, father=man.number if man else None, mother=woman.number if woman else None)
        elif one.role == "chu-ho":
            parents = {role: at[role].number if role in at else None for role in ("cha", "me")}
            one = replace(one, father=parents["cha"], mother=parents["me"], spouse=wife.number if wife else None)
        elif one.role == "vo":
            one = replace(one, spouse=head.number)
        elif one.role in ("cha", "me"):
            other = at.get("me" if one.role == "cha" else "cha")
            one = replace(one, spouse=other.number if other else None)
        found.append(one)
    return tuple(found)
