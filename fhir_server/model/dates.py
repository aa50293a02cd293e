"""R4 dates, dateTimes and instants as ranges on one time line (R4 Data Types, primitive types; R4 Search, date)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache

from fhir_server.model.remember import remembered

# One tick is 100 ns: the finest step that still lets the year 9999 fit 64 bits.
TICKS_PER_MS = 10_000
TICKS_PER_SECOND = 10_000_000
TICKS_PER_DAY = 86_400 * TICKS_PER_SECOND

# Open ends: before every date and after every date that R4 can write.
BEGINNING = -(2**62)
END = 2**62

_EPOCH = date(1970, 1, 1).toordinal()
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d|60)(?:\.(\d+))?)?(Z|[+-](?:0\d|1[0-4]):[0-5]\d)?",
    re.ASCII,
)
_DAYS = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)

# The first and the last tick of a value, both inside.
Span = tuple[int, int]


@lru_cache(maxsize=64)
def offset_of(zone: str) -> int:
    """`+07:00`, `Z` or `UTC` as ticks east of UTC."""
    if zone in ("Z", "UTC"):
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return (-seconds if zone[0] == "-" else seconds) * TICKS_PER_SECOND


@remembered(32_768)
def span_of(text: str, zone: str) -> Span | None:
    """The ticks since the epoch that a date, dateTime or instant covers by its precision; None when it is no date.

    zone: where the value itself names none. Hours and minutes without seconds are read too (R4 Search, date).
    A value with a fraction of a second is one tick wide; digits after the seventh are dropped.
    """
    if "T" in text:
        return _moment(text, zone)
    found = _DAYS.fullmatch(text)
    if found is None:
        return None
    year, month, day = found.groups()
    try:
        first = date(int(year), int(month or 1), int(day or 1)).toordinal()
        if day:
            last = first
        elif month:
            last = first + _days_in_month(int(year), int(month)) - 1
        else:
            last = date(int(year), 12, 31).toordinal()
    except ValueError:
        return None
    shift = offset_of(zone)
    return (first - _EPOCH) * TICKS_PER_DAY - shift, (last + 1 - _EPOCH) * TICKS_PER_DAY - shift - 1


def _days_in_month(year: int, month: int) -> int:
    if month == 12:
        return 31
    return date(year, month + 1, 1).toordinal() - date(year, month, 1).toordinal()


def _moment(text: str, zone: str) -> Span | None:
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, own = found.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:
        return None
    seconds = days * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(second or 0)
    low = seconds * TICKS_PER_SECOND - offset_of(own or zone)
    if fraction is not None:
        low += int(fraction[:7].ljust(7, "0"))
        return low, low
    return low, low + (1 if second else 60) * TICKS_PER_SECOND - 1


def range_of(text: str, zone: str) -> tuple[int, int] | None:
    """The same in milliseconds: the first one inside and the first one after; None when it is no date."""
    span = span_of(text, zone)
    return (span[0] // TICKS_PER_MS, span[1] // TICKS_PER_MS + 1) if span else None


def instant(ms: int) -> str:
    """Milliseconds since the epoch as an R4 instant in UTC, `2026-01-31T17:00:00.123Z`."""
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def day_of(text: str, zone: str) -> date | None:
    """The first day, in the zone, that a date, dateTime or instant covers; None when it is no date."""
    span = span_of(text, zone)
    return date.fromordinal(_EPOCH + (span[0] + offset_of(zone)) // TICKS_PER_DAY) if span else None


def day_at(ms: int, zone: str) -> date:
    """The day in the zone. ms: since the epoch."""
    return date.fromordinal(_EPOCH + (ms * TICKS_PER_MS + offset_of(zone)) // TICKS_PER_DAY)
