"""What the law gives people over their data, as data: days for an answer, years for which records are kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache

import msgspec

from fhir_server.config import DATA_ROOT


class Days(msgspec.Struct, frozen=True):
    """For an answer, and with one extension."""

    answer: int
    extended: int


class PetitionRules(msgspec.Struct, frozen=True, rename="camel"):
    """days: by the kind of petition."""

    law: str
    acknowledge_working_days: int
    days: Mapping[str, Days]


class Holidays(msgspec.Struct, frozen=True, rename="camel"):
    """every_year: month and day. dated: what moves with the moon, and the days off in place of others, as they were
    announced for the years up to dated_until; later ones count as working days until they are added. worked_saturdays:
    those that are worked in place of a day off."""

    law: str
    every_year: frozenset[str]
    dated: frozenset[date]
    dated_until: date
    worked_saturdays: frozenset[date]

    def has_work(self, day: date) -> bool:
        is_off = day.weekday() > 4 or day in self.dated or f"{day:%m-%d}" in self.every_year
        return not is_off or day in self.worked_saturdays


class Label(msgspec.Struct, frozen=True):
    """One code of meta.security."""

    system: str
    code: str


class CodeRange(msgspec.Struct, frozen=True):
    """The codes of a system that begin so."""

    system: str
    prefixes: tuple[str, ...]


class RetentionClass(msgspec.Struct, frozen=True):
    """A class of records and the years for which they are kept. It has the records of those who died, those with such
    a code or label, or, without any of these, all."""

    name: str
    years: int
    deceased: bool = False
    codes: tuple[CodeRange, ...] = ()
    labels: tuple[Label, ...] = ()


class RetentionRules(msgspec.Struct, frozen=True):
    """administrative: types that are no record of care. classes: the first that fits counts."""

    law: str
    administrative: frozenset[str]
    classes: tuple[RetentionClass, ...]


class ErasureRules(msgspec.Struct, frozen=True, rename="camel"):
    """officer_hours: after which a new officer may act. days: for which a request stands. tries: wrong codes that end
    it. beside: what is about one person and outside the compartment, by the search parameters that say so."""

    officer_hours: int
    days: int
    tries: int
    beside: Mapping[str, tuple[str, ...]]


class DataSubjectRules(msgspec.Struct, frozen=True):
    """The file profiles/vn_basic/data_subjects.json."""

    holidays: Holidays
    petitions: PetitionRules
    retention: RetentionRules
    erasure: ErasureRules


@lru_cache(maxsize=1)
def rules() -> DataSubjectRules:
    """Those of this installation."""
    content = (DATA_ROOT / "profiles" / "vn_basic" / "data_subjects.json").read_bytes()
    return msgspec.json.decode(content, type=DataSubjectRules)
