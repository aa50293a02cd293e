"""Dates of FHIR as the texts that the transforms of mapping rows made them of."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from fhir_server.records.inverse_facts import Known, NotMade, Options, Text, text_of

_MOMENT = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?", re.ASCII)


def _parts(value: Any, zone: str) -> list[str]:
    """Year, month, day, hour, minute, second as far as they are known, in the local time of `zone`."""
    found = _MOMENT.fullmatch(text_of(value))
    if found is None:
        raise NotMade
    if found[7] and found[7] != zone and not (found[7] == "Z" and zone == "UTC"):
        local = datetime.fromisoformat(value).astimezone(_offset(zone))
        return local.strftime("%Y %m %d %H %M %S").split()
    return [part for part in found.groups()[:6] if part is not None]


def _offset(zone: str) -> Any:
    if zone in ("Z", "UTC"):
        return UTC
    sign = -1 if zone[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6])))


def date_to_ymd(value: Any, options: Options, known: Known) -> Text:
    parts = _parts(value, known.zone)[:3]
    return parts[0] + "".join(parts[1:]).ljust(4, "0"), 0


def datetime_to_ymdhm(value: Any, options: Options, known: Known) -> Text:
    parts = _parts(value, known.zone)
    if len(parts) < 6:
        return date_to_ymd(value, options, known)
    return "".join(parts[:5]) + (parts[5] if parts[5] != "00" else ""), 0


def date_to_dmy(value: Any, options: Options, known: Known) -> Text:
    return "/".join(reversed(_parts(value, known.zone)[:3])), 0


def datetime_to_dmy(value: Any, options: Options, known: Known) -> Text:
    parts = _parts(value, known.zone)
    day = "/".join(reversed(parts[:3]))
    if len(parts) < 6:
        return day, 0
    return f"{day} {parts[3]}:{parts[4]}" + (f":{parts[5]}" if parts[5] != "00" else ""), 0


def date_to_iso(value: Any, options: Options, known: Known) -> Text:
    return "-".join(_parts(value, known.zone)[:3]), 0


def datetime_to_iso(value: Any, options: Options, known: Known) -> Text:
    parts = _parts(value, known.zone)
    day = "-".join(parts[:3])
    return (f"{day}T{':'.join(parts[3:6])}{known.zone}" if len(parts) == 6 else day), 0


def birth_date(value: Any, options: Options, known: Known) -> Text:
    made, rank = {"ymd": date_to_ymd, "dmy": date_to_dmy, "iso": date_to_iso, "any": date_to_iso}[options["form"]](
        value, options, known
    )
    return (made.ljust(12, "0") if options["form"] == "ymd" else made), rank


def birth_time(value: Any, options: Options, known: Known) -> Text:
    forms = {"ymd": datetime_to_ymdhm, "dmy": datetime_to_dmy, "iso": datetime_to_iso, "any": datetime_to_iso}
    return forms[options["form"]](value, options, known)
