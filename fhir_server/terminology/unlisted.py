"""Codes that their list does not have on the day of the record, with the nearest ones that it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from fhir_server.errors import Issue
from fhir_server.model.dates import day_of
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import Coding
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.loaded import LoadedSystem
from fhir_server.terminology.validate_code import Asked, Judgement, judge

# Codings of one resource that are looked at: no honest one has more.
_MOST = 1_000
# The day of a record, by the elements that tell it best; of a period its end, by which the insurance counts a visit.
_DAYS = (
    "recordedDate",
    "period",
    "occurrenceDateTime",
    "effectiveDateTime",
    "effectivePeriod",
    "performedDateTime",
    "performedPeriod",
    "authoredOn",
    "date",
    "issued",
    "onsetDateTime",
)


# JSON names, and places in arrays.
Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A code that is not right. steps: to its coding. title: of its code system."""

    steps: Steps
    title: str
    coding: Coding
    judgement: Judgement

    @property
    def names(self) -> tuple[str, ...]:
        """The JSON names on the way."""
        return tuple(step for step in self.steps if isinstance(step, str))

    def issue(self, path: str) -> Issue:
        """A warning: what is recorded stays as it was written, and nobody guesses what was meant. path: FHIRPath of the
        coding."""
        return Issue("warning", "code-invalid", self.judgement.message, (f"{path}.code",), self.judgement.vi or None)


def unlisted(terminology: Terminology, resource: Resource, on: date | None, of_tables: bool = False) -> list[Unlisted]:
    """Every coding of a resource whose code system is known here, and does not have the code on that day.

    Nothing is said of systems that are not loaded or only in part. of_tables: only codes of systems that are loaded as
    tables. Raises Unread.
    """
    found: list[Unlisted] = []
    for number, (steps, coding) in enumerate(codings(resource)):
        if number == _MOST:
            break
        key = f"{coding.system}|{coding.version}" if coding.version else coding.system
        system = terminology.code_system(key, on) or terminology.code_system(coding.system, on)
        if system is None or (of_tables and not isinstance(system, LoadedSystem)):
            continue
        judgement = judge(terminology, system, coding.code, Asked(on=on))
        if judgement.valid is False:
            found.append(Unlisted(steps, system.title, coding, judgement))
    return found


def codings(value: Any, steps: Steps = ()) -> Iterator[tuple[Steps, Coding]]:
    """(steps to it, Coding) of each value that has a system and a code and no value of its own, as a Quantity has."""
    if isinstance(value, dict):
        system, code = value.get("system"), value.get("code")
        if isinstance(system, str) and isinstance(code, str) and "value" not in value:
            display, version = value.get("display"), value.get("version")
            yield steps, Coding(system, code, display, version)
        for name, item in value.items():
            if isinstance(item, dict | list):
                yield from codings(item, (*steps, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from codings(item, (*steps, number))


def day_of_record(resource: Resource, zone: str) -> date | None:
    """The day that decides which version of a list counts; None when the resource tells none."""
    for name in _DAYS:
        value = resource.get(name)
        text = (value.get("end") or value.get("start")) if isinstance(value, dict) else value
        day = day_of(text, zone) if isinstance(text, str) else None
        if day is not None:
            return day
    return None
