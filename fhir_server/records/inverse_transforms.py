"""The transforms of mapping rows backwards: from a FHIR value to the source text that made it.

Each takes a FHIR value, the row's options (`with`) and what is known of the record to be written, and gives the text
and a rank: 0 when only this row makes such a value, more when another row has a better claim to it. A value that the
transform would not have made raises NotMade.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import unescape

from fhir_server.model.resources import Digits
from fhir_server.records.inverse_codes import (
    blood_group,
    code,
    coding,
    concept,
    concept_by_text,
    icd10,
    list_coding,
    list_display,
    local_coding,
)
from fhir_server.records.inverse_dates import (
    birth_date,
    birth_time,
    date_to_dmy,
    date_to_iso,
    date_to_ymd,
    datetime_to_dmy,
    datetime_to_iso,
    datetime_to_ymdhm,
)
from fhir_server.records.inverse_facts import FIRST, LAST, Inverse, Known, NotMade, Options, Text, text_of


def text(value: Any, options: Options, known: Known) -> Text:
    return text_of(value), LAST


def as_written(value: Any, options: Options, known: Known) -> Text:
    return text_of(value), FIRST


def lines(value: Any, options: Options, known: Known) -> Text:
    start = f"{options['label']}: "
    if not text_of(value).startswith(start):
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
    shown = text_of(value.get("div") if isinstance(value, dict) else None)
    return text_of(unescape(_TAG.sub("", shown.replace("<br/>", "\n"))).strip()), 0


def flag(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, bool):
        raise NotMade
    return "1" if value else "0", 0


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
    return text_of(words), 0


def phone(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict) or value.get("system") != "phone":
        raise NotMade
    return text_of(value.get("value")), 0 if value.get("use") == options.get("use") else 10


def email(value: Any, options: Options, known: Known) -> Text:
    if not isinstance(value, dict) or value.get("system") != "email":
        raise NotMade
    return text_of(value.get("value")), 0


# --- all of them -----------------------------------------------------------------------------------------------------


def same_text(value: Any, options: Options, known: Known) -> Text:
    """Of transforms from text to text, whose result the mapping reads as the source."""
    return text_of(value), 0


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
