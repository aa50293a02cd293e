"""Transforms of dates: yyyymmddHHMM, dd/MM/yyyy and ISO, as precise as the source is, local times with their offset."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any

from fhir_server.records.facts import Facts, WrongValue

Options = Mapping[str, Any]
Transform = Callable[[Any, Options, Facts], Any]

_DMY = re.compile(r"(?:(\d{1,2})/)?(?:(\d{1,2})/)?(\d{4})(?:\s+(\d{1,2}):(\d\d)(?::(\d\d))?)?", re.ASCII)
_ISO = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)
# With dashes it is no form of the decisions, but plain all the same; the checks tell it.
_YMD = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?", re.ASCII)
_YMDHM_ALLOWED = ("yyyymmddHHMM or yyyymmdd", "yyyymmddHHMM hoặc yyyymmdd")
_DMY_ALLOWED = ("dd/MM/yyyy", "dd/MM/yyyy")
_ISO_ALLOWED = ("yyyy-MM-dd, with Thh:mm for a time", "yyyy-MM-dd, thêm Thh:mm nếu có giờ")


# What a text says: the day as precise as it is told; the time behind it as `T08:15:00`, "" where none is told, None for
# one that no day has; its zone, "" where none is told. A file tells the same few days again and again.
_Told = tuple[str, str | None, str]
_MOST_KEPT = 8_192


def _day(year: str, month: str | None, day: str | None, found: str, allowed: tuple[str, str]) -> str:
    """YYYY, YYYY-MM or YYYY-MM-DD of a day that the calendar has."""
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        raise WrongValue(found, allowed) from None
    if not "1850" <= year <= "2199":
        raise WrongValue(found, allowed)
    return "-".join(part.zfill(2) for part in (year, month, day) if part)


def _clock(hour: str | None, minute: str | None, second: str | None) -> str | None:
    if hour is None:
        return ""
    minute, second = minute or "00", second or "00"
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        return None
    return f"T{hour.zfill(2)}:{minute}:{second}"


def _moment(found: str, told: _Told, facts: Facts, allowed: tuple[str, str]) -> str:
    """A dateTime with its own zone or the record's; without a time a date."""
    day, clock, zone = told
    if len(day) < 10:
        return day
    if clock is None:
        raise WrongValue(found, allowed)
    return f"{day}{clock}{zone or facts.zone}" if clock else day


@lru_cache(maxsize=_MOST_KEPT)
def _ymd(found: str) -> _Told:
    parts = _YMD.fullmatch(found)
    if parts is None:
        raise WrongValue(found, _YMDHM_ALLOWED)
    month = parts[2] if parts[2] != "00" else None
    day = parts[3] if month and parts[3] != "00" else None
    return _day(parts[1], month, day, found, _YMDHM_ALLOWED), _clock(*parts.group(4, 5, 6)), ""


@lru_cache(maxsize=_MOST_KEPT)
def _dmy(found: str) -> _Told:
    parts = _DMY.fullmatch(found)
    if parts is None:
        raise WrongValue(found, _DMY_ALLOWED)
    day, month = (parts[1], parts[2]) if parts[2] else (None, parts[1])
    month = month if month and int(month) else None
    day = day if month and day and int(day) else None
    return _day(parts[3], month, day, found, _DMY_ALLOWED), _clock(*parts.group(4, 5, 6)), ""


@lru_cache(maxsize=_MOST_KEPT)
def _iso(found: str) -> _Told:
    parts = _ISO.fullmatch(found)
    if parts is None:
        raise WrongValue(found, _ISO_ALLOWED)
    day = _day(parts[1], parts[2], parts[3], found, _ISO_ALLOWED)
    return day, _clock(*parts.group(4, 5, 6)), parts[7] or ""


def date_from_ymd(found: str, options: Options, facts: Facts) -> str:
    """yyyymmdd (a time behind it is cut off) → YYYY-MM-DD; `00` for an unknown day or month shortens it."""
    return _ymd(found)[0]


def datetime_from_ymdhm(found: str, options: Options, facts: Facts) -> str:
    """yyyymmddHHMM, local time → dateTime with the record's zone; yyyymmdd → a date."""
    return _moment(found, _ymd(found), facts, _YMDHM_ALLOWED)


def date_from_dmy(found: str, options: Options, facts: Facts) -> str:
    """dd/MM/yyyy → YYYY-MM-DD; MM/yyyy and yyyy are taken as known only so far."""
    return _dmy(found)[0]


def datetime_from_dmy(found: str, options: Options, facts: Facts) -> str:
    """dd/MM/yyyy HH:mm[:ss] → dateTime with the record's zone; without a time a date."""
    return _moment(found, _dmy(found), facts, _DMY_ALLOWED)


def date_from_iso(found: str, options: Options, facts: Facts) -> str:
    return _iso(found)[0]


def datetime_from_iso(found: str, options: Options, facts: Facts) -> str:
    """An ISO date or time; a time without a zone is Vietnamese."""
    return _moment(found, _iso(found), facts, _ISO_ALLOWED)


_ANY_ALLOWED = ("yyyy-MM-dd or dd/MM/yyyy, with a time behind it", "yyyy-MM-dd hoặc dd/MM/yyyy, có thể thêm giờ")


def date_from_any(found: str, options: Options, facts: Facts) -> str:
    """yyyy-MM-dd or dd/MM/yyyy; what stands behind is cut off."""
    return datetime_from_any(found, options, facts)[:10]


def datetime_from_any(found: str, options: Options, facts: Facts) -> str:
    """yyyy-MM-dd or dd/MM/yyyy, with a time or without."""
    for transform in (datetime_from_iso, datetime_from_dmy):
        try:
            return transform(found, options, facts)
        except WrongValue:
            continue
    raise WrongValue(found, _ANY_ALLOWED)


_BIRTH_DATES: Mapping[str, Transform] = {
    "ymd": date_from_ymd,
    "dmy": date_from_dmy,
    "iso": date_from_iso,
    "any": date_from_any,
}
_BIRTH_TIMES: Mapping[str, Transform] = {
    "ymd": datetime_from_ymdhm,
    "dmy": datetime_from_dmy,
    "iso": datetime_from_iso,
    "any": datetime_from_any,
}


def birth_date(found: str, options: Options, facts: Facts) -> str:
    """The date of birth as precise as it is known: `198500000000` is 1985. options.form: ymd | dmy | iso | any.

    A birth after the record was made is refused.
    """
    born: str = _BIRTH_DATES[options["form"]](found, options, facts)
    if facts.on and born > facts.on.isoformat():
        allowed = ("a date not after that of the record", "ngày không sau ngày của hồ sơ")
        raise WrongValue(found, allowed)
    return born


def birth_time(found: str, options: Options, facts: Facts) -> str | None:
    """The minute of birth, only when told: 00:00 cannot be told from «unknown», so it is none."""
    moment: str = _BIRTH_TIMES[options["form"]](found, options, facts)
    return moment if "T" in moment and moment[11:16] != "00:00" else None
