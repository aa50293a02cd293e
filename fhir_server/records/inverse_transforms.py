"""The transforms of mapping rows backwards: from a FHIR value to the source text that made it.

Each takes a FHIR value, the row's options (`with`) and what is known of the record to be written, and gives the text
and a rank: 0 when only this row makes such a value, more when another row has a better claim to it. A value that the
transform would not have made raises NotMade.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import unescape

from fhir_server.model.resources import Digits
from fhir_server.records.codes import Codes
from fhir_server.terminology.naming import NamingSystems

Options = Mapping[str, Any]
Text = tuple[str, int]
UNSURE = 60  # the rank of a code that is one of several
FIRST = -2  # the rank of what the record itself wrote
LAST = 90  # the rank of a row that would take nearly anything


class NotMade(Exception):
    """The value is not one that the transform makes."""


@dataclass(slots=True)
class Known:
    """naming and codes: the terminology. systems: kind of code list -> its URIs in any guide. chains: extension kind ->
    its chains of URLs in any guide. zone: of local times. facility: whose record is written. on: the record's day."""

    naming: NamingSystems
    codes: Codes
    systems: Mapping[str, frozenset[str]]
    chains: Mapping[str, tuple[tuple[str, ...], ...]]
    zone: str
    facility: str = ""
    on: date | None = None
    facilities: Mapping[str, str] = field(default_factory=dict)  # `Organization/id` -> its code


Inverse = Callable[[Any, Options, Known], Text]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise NotMade
    return value


def text(value: Any, options: Options, known: Known) -> Text:
    return _text(value), LAST


def as_written(value: Any, options: Options, known: Known) -> Text:
    return _text(value), FIRST


def lines(value: Any, options: Options, known: Known) -> Text:
    start = f"{options['label']}: "
    if not _text(value).startswith(start):
        raise NotMade
    return value[len(start) :], 0


def integer(value: Any, options: Options, known: Known) -> Text:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise NotMade
    return str(getattr(value, "text", value)), 0


def decimal_text(value: Any, options: Options, known: Known) -> Text:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise NotMade
    return value.text if isinstance(value, Digits) else str(value), 0


def quantity(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict) or "value" not in value:
        raise NotMade
    if options["code"] not in (value.get("code"), value.get("unit")):
        raise NotMade
    return decimal_text(value["value"], options, known)


def money(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict) or value.get("currency", "VND") != "VND" or "value" not in value:
        raise NotMade
    return decimal_text(value["value"], options, known)


_TAG = re.compile(r"<[^>]*>")


def narrative(value: Any, options: Options, known: Known) -> Text:
    """The text of a Narrative, a line for each `<br/>`."""
    shown = _text(value.get("div") if isinstance(value, dict) else None)
    return _text(unescape(_TAG.sub("", shown.replace("<br/>", "\n"))).strip()), 0


def flag(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, bool):
        raise NotMade
    return "1" if value else "0", 0


# --- dates -----------------------------------------------------------------------------------------------------------

_MOMENT = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?", re.ASCII)


def _parts(value: Any, zone: str) -> list[str]:
    """Year, month, day, hour, minute, second as far as they are known, in the local time of `zone`."""
    found = _MOMENT.fullmatch(_text(value))
    if found is None:
        raise NotMade
    if found[7] and found[7] != zone and not (found[7] == "Z" and zone == "UTC"):
        local = datetime.fromisoformat(value).astimezone(_offset(zone))
        return local.strftime("%Y %m %d %H %M %S").split()
    return [part for part in found.groups()[:6] if part is not None]


def _offset(zone: str) -> Any:
    from datetime import timezone

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


# --- numbers and people ----------------------------------------------------------------------------------------------


def _kind(value: Any, known: Known) -> str | None:
    if not isinstance(value, dict) or not isinstance(value.get("value"), str):
        raise NotMade
    system = value.get("system")
    return known.naming.kind(system) if isinstance(system, str) else None


def identifier_by_shape(value: Any, options: Options, known: Known) -> Text:
    kind = _kind(value, known)
    kinds = [*options["kinds"], *([options["otherwise"]] if options.get("otherwise") else [])]
    if kind in kinds:
        return value["value"], kinds.index(kind)
    if kind is None and "system" not in value and (value.get("type") or {}).get("text") == options.get("title"):
        return value["value"], 0
    raise NotMade


def identifier(value: Any, options: Options, known: Known) -> Text:
    """A number of one facility is that of the facility whose record is written, where the row names no other."""
    if _kind(value, known) != options["kind"]:
        raise NotMade
    system = known.naming.by_kind[options["kind"]]
    if system.scoped and "facility_from" not in options and _facility(value, known) not in ("", known.facility):
        raise NotMade
    return value["value"], 0


def _facility(number: Mapping[str, Any], known: Known) -> str:
    """The facility whose number it is, "" when its system does not say."""
    system = number["system"]
    return "" if system in known.naming.by_uri else str(system.rpartition("/")[2])


def facility_of(value: Any, known: Known) -> str | None:
    """What a row's option `facility_from` was read from: the facility of the number, None for the record's own."""
    if not isinstance(value, dict) or "system" not in value:
        return None
    found = _facility(value, known)
    return found if found and found != known.facility else None


def logical_reference(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict):
        raise NotMade
    number = value.get("identifier")
    if isinstance(number, dict) and _kind(number, known) == options["kind"]:
        return number["value"], 0
    code = known.facilities.get(value.get("reference", ""))
    if code is None:
        raise NotMade
    return code, 0


def shared_reference(value: Any, options: Options, known: Known) -> Text:
    reference = value.get(options["in"]) if "in" in options and isinstance(value, dict) else value
    if not isinstance(reference, dict):
        raise NotMade
    return identifier_by_shape(reference.get("identifier"), {"title": options["type"], **options}, known)


def person_name(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict):
        raise NotMade
    words = value.get("text") or " ".join(filter(None, [value.get("family"), *value.get("given", ())]))
    return _text(words), 0


def phone(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict) or value.get("system") != "phone":
        raise NotMade
    return _text(value.get("value")), 0 if value.get("use") == options.get("use") else 10


def email(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict) or value.get("system") != "email":
        raise NotMade
    return _text(value.get("value")), 0


# --- codes -----------------------------------------------------------------------------------------------------------


def code(value: Any, options: Options, known: Known) -> Text:
    return _first_of(
        [
            source
            for source in known.codes.sources_of(options["map"])
            if (targets := known.codes.translate(options["map"], source, known.on)) and targets[0]["code"] == value
        ]
    )


def _first_of(sources: list[str]) -> Text:
    """Of several codes that were mapped to one, the first; any row that says it for sure knows better."""
    if not sources:
        raise NotMade
    return sources[0], 0 if len(sources) == 1 else UNSURE


def coding(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict):
        raise NotMade
    return _first_of(
        [
            source
            for source in known.codes.sources_of(options["map"])
            if (targets := known.codes.translate(options["map"], source, known.on)) and _same(targets[0], value)
        ]
    )


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.get("code") == other.get("code") and one.get("system") == other.get("system")


def _codings(value: Any) -> list[Mapping[str, Any]]:
    held = value.get("coding") if isinstance(value, dict) else None
    return [one for one in held if isinstance(one, dict)] if isinstance(held, list) else []


def concept(value: Any, options: Options, known: Known) -> Text:
    """The source's own coding; where there is none, the one code that the maps lead from."""
    uris = known.codes.uris(options["list"])
    own = [one["code"] for one in _codings(value) if one.get("system") in uris and "code" in one]
    if own and not options.get("only_mapped"):
        return own[-1], 0
    for name in options.get("maps", ()):
        sources = [source for source in known.codes.sources_of(name) if _leads_to(name, source, value, known)]
        if sources:
            return sources[0], 20 if len(sources) == 1 else UNSURE
    raise NotMade


def _leads_to(map: str, source: str, value: Any, known: Known) -> bool:
    targets = known.codes.translate(map, source, known.on)
    return any(_same(target, one) for target in targets for one in _codings(value))


def concept_by_text(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict):
        raise NotMade
    shown = (one.get("display") for one in reversed(_codings(value)))
    return _text(value.get("text") or next(filter(None, shown), None)), LAST


def list_display(value: Any, options: Options, known: Known) -> Text:
    found = known.codes.by_name(options["list"], _text(value), known.on)
    if found is None:
        raise NotMade
    return found["code"], 50


def list_coding(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict) or value.get("system") not in known.codes.uris(options["list"]):
        raise NotMade
    return _text(value.get("code")), 0


def local_coding(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict) or value.get("system") != options["system"]:
        raise NotMade
    return _text(value.get("code")), 0


_CODE_LIKE = re.compile(r"[!-~]{1,8}", re.ASCII)


def icd10(value: Any, options: Options, known: Known) -> Text:
    """The code as it was written, where the text is a code; else as its coding is."""
    found = [one["code"] for one in _codings(value) if one.get("system") in known.systems["icd10"] and "code" in one]
    written = value.get("text") if isinstance(value, dict) else None
    if found:
        same = isinstance(written, str) and _bare(written) == _bare(found[0])
        return (str(written) if same else found[0]), 0
    if not _codings(value) and _CODE_LIKE.fullmatch(_text(written)):
        return _text(written), LAST  # a code that had not the shape of one; words are a diagnosis without a code
    raise NotMade


def _bare(code: str) -> str:
    return re.sub(r"[.†*\s]", "", code)


def blood_group(value: Any, options: Options, known: Known) -> Text:
    if not _codings(value):
        if options["part"] != "abo" or not isinstance(value, dict):
            raise NotMade
        return _text(value.get("text")), LAST
    if isinstance(value.get("text"), str):
        return value["text"], 0
    return concept(value, options, known)


def same_text(value: Any, options: Options, known: Known) -> Text:
    """Of transforms from text to text, whose result the mapping reads as the source."""
    return _text(value), 0


INVERSES: Mapping[str, Inverse] = {
    "text": text,
    "as_written": as_written,
    "lines": lines,
    "integer": integer,
    "decimal_text": decimal_text,
    "quantity": quantity,
    "money": money,
    "narrative": narrative,
    "flag": flag,
    "zero_pad": same_text,
    "last_two": same_text,
    "semicolon_list": same_text,
    "date_from_ymd": date_to_ymd,
    "datetime_from_ymdhm": datetime_to_ymdhm,
    "date_from_dmy": date_to_dmy,
    "datetime_from_dmy": datetime_to_dmy,
    "date_from_iso": date_to_iso,
    "datetime_from_iso": datetime_to_iso,
    "date_from_any": date_to_iso,
    "datetime_from_any": datetime_to_iso,
    "birth_date": birth_date,
    "birth_time": birth_time,
    "identifier_by_shape": identifier_by_shape,
    "identifier": identifier,
    "logical_reference": logical_reference,
    "shared_reference": shared_reference,
    "person_name": person_name,
    "phone": phone,
    "email": email,
    "code": code,
    "coding": coding,
    "concept": concept,
    "concept_by_text": concept_by_text,
    "list_display": list_display,
    "list_coding": list_coding,
    "local_coding": local_coding,
    "icd10": icd10,
    "blood_group": blood_group,
}


def invert(names: list[str], value: Any, options: Options, known: Known) -> Text:
    """What a chain of transforms made the value of. Raises NotMade, and KeyError for a transform without an inverse."""
    rank = FIRST
    for name in reversed(names):
        value, own = INVERSES[name](value, options, known)
        rank = max(rank, own)
    return value, rank
