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


@lru_cache(maxsize=32_768)
def _day(year: str, month: str | None, day: str | None, found: str, allowed: tuple[str, str]) -> str:
    """YYYY, YYYY-MM or YYYY-MM-DD of a day that the calendar has."""
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        raise WrongValue(found, allowed) from None
    if not "1850" <= year <= "2199":
        raise WrongValue(found, allowed)
    return "-".join(part.zfill(2) for part in (year, month, day) if part)


def _moment(day: str, clock: tuple[str | None, str | None, str | None], zone: str) -> str | None:
    hour, minute, second = clock[0] or "00", clock[1] or "00", clock[2] or "00"
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        return None
    return f"{day}T{hour.zfill(2)}:{minute}:{second}{zone}"


def date_from_ymd(found: str, options: Options, facts: Facts) -> str:
    """yyyymmdd (a time behind it is cut off) → YYYY-MM-DD; `00` for an unknown day or month shortens it."""
    parts = _YMD.fullmatch(found)
    if parts is None:
        raise WrongValue(found, _YMDHM_ALLOWED)
    month = parts[2] if parts[2] != "00" else None
    day = parts[3] if month and parts[3] != "00" else None
    return _day(parts[1], month, day, found, _YMDHM_ALLOWED)


def datetime_from_ymdhm(found: str, options: Options, facts: Facts) -> str:
    """yyyymmddHHMM, local time → dateTime with the record's zone; yyyymmdd → a date."""
    parts = _YMD.fullmatch(found)
    day = date_from_ymd(found, options, facts)
    if parts is None or parts[4] is None or len(day) < 10:
        return day
    moment = _moment(day, (parts[4], parts[5], parts[6]), facts.zone)
    if moment is None:
        raise WrongValue(found, _YMDHM_ALLOWED)
    return moment


def date_from_dmy(found: str, options: Options, facts: Facts) -> str:
    """dd/MM/yyyy → YYYY-MM-DD; MM/yyyy and yyyy are taken as known only so far."""
    parts = _DMY.fullmatch(found)
    if parts is None:
        raise WrongValue(found, _DMY_ALLOWED)
    day, month = (parts[1], parts[2]) if parts[2] else (None, parts[1])
    month = month if month and int(month) else None
    return _day(parts[3], month, day if month and day and int(day) else None, found, _DMY_ALLOWED)


def datetime_from_dmy(found: str, options: Options, facts: Facts) -> str:
    """dd/MM/yyyy HH:mm[:ss] → dateTime with the record's zone; without a time a date."""
    day = date_from_dmy(found, options, facts)
    parts = _DMY.fullmatch(found)
    if parts is None or parts[4] is None or len(day) < 10:
        return day
    moment = _moment(day, (parts[4], parts[5], parts[6]), facts.zone)
    if moment is None:
        raise WrongValue(found, _DMY_ALLOWED)
    return moment


def date_from_iso(found: str, options: Options, facts: Facts) -> str:
    parts = _ISO.fullmatch(found)
    if parts is None:
        raise WrongValue(found, _ISO_ALLOWED)
    return _day(parts[1], parts[2], parts[3], found, _ISO_ALLOWED)


def datetime_from_iso(found: str, options: Options, facts: Facts) -> str:
    """An ISO date or time; a time without a zone is Vietnamese."""
    day = date_from_iso(found, options, facts)
    parts = _ISO.fullmatch(found)
    if parts is None or parts[4] is None:
        return day
    moment = _moment(day, (parts[4], parts[5], parts[6]), parts[7] or facts.zone)
    if moment is None:
        raise WrongValue(found, _ISO_ALLOWED)
    return moment


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
