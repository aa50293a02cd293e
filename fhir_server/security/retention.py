"""Until when a record of care is kept: each resource by its class, from the latest date that it tells (TT 33/2025)."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from fhir_server.model.resources import Resource
from fhir_server.security.data_subjects import RetentionClass, RetentionRules

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:T.*)?")


@dataclass(frozen=True, slots=True)
class Kept:
    """A resource that has to be kept. until: the day on which its time is over."""

    name: str
    until: date
    why: str


def kept(rules: RetentionRules, resource: Resource, updated: int, deceased: bool, today: date) -> Kept | None:
    """None when its time is over. updated: when it was written, ms since the epoch, for what tells no date."""
    found = next(one for one in rules.classes if _fits(one, resource, deceased))
    last = max(_days(resource, today), default=_day(updated))
    until = _years_after(last, found.years)
    if until <= today:
        return None
    name = f"{resource['resourceType']}/{resource['id']}"
    return Kept(name, until, f"{found.name}, {found.years} years, {rules.law}")


def _fits(one: RetentionClass, resource: Resource, deceased: bool) -> bool:
    if one.deceased:
        return deceased
    if not one.codes and not one.labels:
        return True
    labels = {(label.system, label.code) for label in one.labels}
    return any(
        (coding.get("system"), coding.get("code")) in labels
        or any(coding["system"] == own.system and str(coding["code"]).startswith(own.prefixes) for own in one.codes)
        for coding in _codings(resource)
    )


def _codings(value: Any) -> Iterator[dict[str, Any]]:
    """Whatever has a system and a code, at any depth."""
    if isinstance(value, dict):
        if "system" in value and "code" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _codings(item)


def _days(value: Any, today: date) -> Iterator[date]:
    """Every date up to today that is told, at any depth; of a year or a month its last day. What merely looks like one
    keeps a record longer, never less long."""
    if isinstance(value, dict):
        value = [item for name, item in value.items() if name not in ("meta", "birthDate")]
    if isinstance(value, list):
        for item in value:
            yield from _days(item, today)
    elif isinstance(value, str) and (found := _DATE.fullmatch(value)):
        year, month, day = (int(part) if part else None for part in found.groups())
        try:
            first = date(year or 1, month or 1, day or 1)
            last = first.replace(month=month or 12, day=day or monthrange(first.year, month or 12)[1])
        except ValueError:
            return
        if first <= today:
            yield min(last, today)


def _day(ms: int) -> date:
    return datetime.fromtimestamp(ms / 1000, UTC).date()


def _years_after(day: date, years: int) -> date:
    """The 29th of February becomes the 28th."""
    return day.replace(year=day.year + years, day=28 if (day.month, day.day) == (2, 29) else day.day)
