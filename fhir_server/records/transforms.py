"""The closed list of small functions that mapping rows name: from a source text to a FHIR value.

Each takes the text, the row's options (`with`) and the facts of the record, and returns a FHIR value, a list of values
for a repeating target, or None for nothing. A text it cannot take raises WrongValue, which says what is allowed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from xml.sax.saxutils import escape

from fhir_server.model.resources import Digits
from fhir_server.records.facts import Facts, WrongValue
from fhir_server.records.ids import shared_name
from fhir_server.records.transform_dates import (
    Options,
    Transform,
    birth_date,
    birth_time,
    date_from_any,
    date_from_dmy,
    date_from_iso,
    date_from_ymd,
    datetime_from_any,
    datetime_from_dmy,
    datetime_from_iso,
    datetime_from_ymdhm,
)

_NUMBER = re.compile(r"[+-]?\d{1,15}(?:[.,]\d{1,10})?", re.ASCII)
_NUMBER_ALLOWED = ("a number", "một số")
_ICD = re.compile(r"([A-Z]\d{2})(?:\.?([0-9A-Z]{1,2}))?([†*]?)", re.ASCII)
_ZEROS = re.compile(r"^([+-]?)0+(?=\d)")
_BLANKS = re.compile(r"\s+")


def text(found: str, options: Options, facts: Facts) -> str | None:
    """The text itself; None when it is one of `options.none` (`Không`), compared without case."""
    if found.casefold() in options.get("none", ()):
        return None
    return found


def lines(found: str, options: Options, facts: Facts) -> str:
    """`Label: text`, for texts of several source fields that share one element."""
    return f"{options['label']}: {found}"


def integer(found: str, options: Options, facts: Facts) -> int:
    if not re.fullmatch(r"\d{1,9}", found, re.ASCII):
        raise WrongValue(found, ("a whole number", "số nguyên"))
    return int(found)


def decimal_text(found: str, options: Options, facts: Facts) -> Digits:
    """A decimal, digit for digit; a comma is read as the decimal sign. options.over: must be greater than this."""
    number = _decimal(found)
    if "over" in options and number <= options["over"]:
        raise WrongValue(found, _NUMBER_ALLOWED)
    return number


@lru_cache(maxsize=8_192)
def _decimal(found: str) -> Digits:
    if not _NUMBER.fullmatch(found):
        raise WrongValue(found, _NUMBER_ALLOWED)  # which is not kept
    plain = found.replace(",", ".").lstrip("+")
    return Digits(_ZEROS.sub(r"\1", plain))


def quantity(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """A UCUM Quantity. options: unit (as shown), code (UCUM), over."""
    number = decimal_text(found.removesuffix(options["unit"]).strip(), options, facts)
    return {"value": number, "unit": options["unit"], "system": "http://unitsofmeasure.org", "code": options["code"]}


def money(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """An amount in đồng, digit for digit."""
    return {"value": decimal_text(found, options, facts), "currency": "VND"}


def narrative(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """A Narrative that shows the text as it was written, line by line."""
    shown = escape(found).replace("\n", "<br/>")
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{shown}</div>'}


def flag(found: str, options: Options, facts: Facts) -> bool:
    """1 true, 0 false."""
    if found not in ("0", "1"):
        raise WrongValue(found, ("0 or 1", "0 hoặc 1"))
    return found == "1"


def zero_pad(found: str, options: Options, facts: Facts) -> str:
    """Digits filled up with zeros to options.width: `1` and `01` are one code where the list says so."""
    return found.zfill(options["width"]) if found.isascii() and found.isdigit() else found


def last_two(found: str, options: Options, facts: Facts) -> str:
    """A province code of the police list, 038, is 38 in the statistics list; two digits stay as they are."""
    return found[1:] if re.fullmatch(r"0\d\d", found, re.ASCII) else found


def semicolon_list(found: str, options: Options, facts: Facts) -> list[str]:
    """The parts of a `;` list; the transforms behind it in a row work on each part."""
    return [part.strip() for part in found.split(";") if part.strip()]


def first_of_list(found: str, options: Options, facts: Facts) -> str | None:
    """The first part of a `;` list."""
    return next(iter(semicolon_list(found, options, facts)), None)


def part(found: str, options: Options, facts: Facts) -> str:
    """One part of a text of several: 80 of `120/80`. options: parted_by, part_at (from 0)."""
    mark = options["parted_by"]
    parts = found.split(mark)
    if len(parts) <= options["part_at"]:
        raise WrongValue(found, (f"parts with {mark} between", f"các phần cách nhau bằng {mark}"))
    return parts[options["part_at"]].strip()


def identifier_by_shape(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """An Identifier whose system follows from the shape of the number, not from the field it stood in.

    options.kinds: naming systems that are tried in order; otherwise: the one of a number that none fits. Without it
    such a number keeps a type in words (options.title) and no system.
    """
    number = _BLANKS.sub("", found)
    kind = facts.naming.kind_by_shape(number, options["kinds"]) or options.get("otherwise")
    if kind is None:
        return {"type": {"text": options["title"]}, "value": found}
    return number_of_kind(number, kind, facts, options.get("facility"))


def identifier(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """An Identifier of options.kind; numbers of one facility carry its code in their system."""
    return number_of_kind(found, options["kind"], facts, options.get("facility"))


def number_of_kind(number: str, kind: str, facts: Facts, facility: str | None = None) -> Mapping[str, Any]:
    system = facts.naming.by_kind[kind]
    made: dict[str, Any] = {"use": "secondary"} if system.scoped else {}
    if system.type:
        made["type"] = {"coding": system.type["coding"]} if "coding" in system.type else system.type
    made["system"] = facts.naming.uri(kind, facts.guide, facility or facts.facility)
    made["value"] = number
    return made


def logical_reference(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """A Reference that names its target by a number (R4 Resource References). options: kind, type."""
    return {"type": options["type"], "identifier": number_of_kind(found, options["kind"], facts)}


def shared_reference(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """A Reference to a shared resource by the id that its number gives it, and by the number itself.

    options: type; kinds, otherwise as of identifier_by_shape. A group of owner `shared` with that number as its key
    makes the resource. options.in: the element that the reference stands in, where the target is a list of those.
    """
    number = identifier_by_shape(found, {"title": options["type"], **options}, facts)
    made = {"reference": shared_name(options["type"], found), "type": options["type"], "identifier": number}
    return {options["in"]: made} if "in" in options else made


def person_name(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """A HumanName: the text as written; the first word is Họ, the others Tên đệm and Tên. options.use."""
    words = found.split()
    made: dict[str, Any] = {"use": options.get("use", "official"), "text": " ".join(words)}
    if len(words) > 1:
        made["family"], made["given"] = words[0], words[1:]
    else:
        made["given"] = words
    return made


def phone(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """A ContactPoint. options.use: mobile | home | work; absent when the record does not say."""
    made: dict[str, Any] = {"system": "phone", "value": found}
    if options.get("use"):
        made["use"] = options["use"]
    return made


def email(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    return {"system": "email", "value": found}


def code(found: str, options: Options, facts: Facts) -> str | None:
    """The code that options.map gives; a code that the map does not have is wrong unless options.loose is set."""
    targets = facts.codes.translate(options["map"], found, facts.on)
    if not targets and not options.get("loose"):
        allowed = facts.codes.allowed(options["map"])
        raise WrongValue(found, (allowed, allowed))
    return targets[0]["code"] if targets else None


def coding(found: str, options: Options, facts: Facts) -> Mapping[str, Any] | None:
    """The first Coding that options.map gives. options.loose: none for an unknown code."""
    targets = facts.codes.translate(options["map"], found, facts.on)
    if targets:
        return targets[0]
    if options.get("loose"):
        return None
    allowed = facts.codes.allowed(options["map"])
    raise WrongValue(found, (allowed, allowed))


def concept(found: str, options: Options, facts: Facts) -> Mapping[str, Any] | None:
    """A CodeableConcept of a code of options.list, with the codings of options.maps first.

    A code that the list does not have on the record's day stays as it is, and is told; options.only_mapped leaves the
    source coding out.
    """
    codings: list[Mapping[str, Any]] = []
    for name in options.get("maps", ()):
        codings += facts.codes.translate(name, found, facts.on)
    if not options.get("only_mapped"):
        codings.append(_source_coding(found, options["list"], facts))
    if not codings:
        return None
    made: dict[str, Any] = {"coding": codings}
    display = codings[-1].get("display")
    if display:
        made["text"] = display
    return made


def _source_coding(found: str, list: str, facts: Facts) -> Mapping[str, Any]:
    known = facts.codes.find(list, found, facts.on)
    if known is None:
        if facts.codes.complete(list, facts.on):
            facts.tell_unknown(list, found)
        return {"system": facts.codes.uri(list, facts.on), "code": found}
    return known


def list_display(found: str, options: Options, facts: Facts) -> str | None:
    """The name that a code has in options.list on the record's day; None for an unknown code."""
    known = facts.codes.find(options["list"], found, facts.on)
    return known.get("display") if known else None


def list_coding(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """The Coding of a code of options.list; an unknown code stays as it is, and is told."""
    return _source_coding(found, options["list"], facts)


def local_coding(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """The sender's own code in options.system, for lists that are not public."""
    made = {"system": options["system"], "code": found}
    return {**made, "display": options["display"]} if options.get("display") else made


def concept_by_text(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """A CodeableConcept of a name, matched exactly after folding against the names of options.list; else text only.

    options.maps: concept maps whose codings come first. options.tell: an unmatched name is told in the report.
    """
    known = facts.codes.by_name(options["list"], found, facts.on)
    if known is None:
        if options.get("tell"):
            facts.tell_unknown(options["list"], found)
        return {"text": found}
    codings: list[Mapping[str, Any]] = []
    for name in options.get("maps", ()):
        codings += facts.codes.translate(name, known["code"], facts.on)
    return {"coding": [*codings, known], "text": found}


def icd10(found: str, options: Options, facts: Facts) -> Mapping[str, Any]:
    """A CodeableConcept of an ICD-10 code, dotted (`J029` is `J02.9`), in every system the guide asks for.

    The dagger and asterisk marks are no part of a code; a marked code is kept in the text as it was written. What has
    not the shape of a code is text alone, and told.
    """
    shape = _ICD.fullmatch(found.replace(" ", ""))
    if shape is None:
        text_of = ("not the shape of an ICD-10 code; kept as text", "không đúng dạng mã ICD-10; giữ ở dạng chữ")
        facts.tell("icd10-shape", text_of, found)
        return {"text": found}
    normal = f"{shape[1]}.{shape[2]}" if shape[2] else shape[1]
    made: dict[str, Any] = {"coding": [{"system": uri, "code": normal} for uri in facts.systems["icd10"]]}
    if found != normal:
        made["text"] = found
    return made


_BLOOD = re.compile(r"(AB|A|B|O)?(?:\(?RH\)?)?(?:\(D\))?\(?(\+|-|POS|NEG|DƯƠNG(?:TÍNH)?|ÂM(?:TÍNH)?)?\)?")
_SIGNS = {"POS": "+", "NEG": "-", "DƯƠNG": "+", "ÂM": "-", "DƯƠNGTÍNH": "+", "ÂMTÍNH": "-"}


def blood_group(found: str, options: Options, facts: Facts) -> Mapping[str, Any] | None:
    """One part, options.part abo | rh, of a blood group written freely: `A`, `O+`, `AB Rh-`, `O Rh(D) dương`.

    What cannot be read so is kept as the text of the ABO part, and told; with options.alone, of a field that tells of
    its part alone, as the text of that.
    """
    folded = unicodedata.normalize("NFC", found).upper().replace("0", "O").replace("NHÓM", "").replace(" ", "")
    shape = _BLOOD.fullmatch(folded)
    is_abo = options["part"] == "abo"
    part = shape and shape[1 if is_abo else 2]
    made = concept(_SIGNS.get(part, part), options, facts) if part else None
    if made:
        return {**made, "text": found}
    if not options.get("alone") and (shape or not is_abo):
        return None
    text_of = ("not a blood group that can be read; kept as text", "không đọc được nhóm máu; giữ ở dạng chữ")
    facts.tell("blood-group", text_of, found)
    return {"text": found}


def as_written(found: str, options: Options, facts: Facts) -> str:
    """The text itself, of what may change from one record of a person to the next: when the record is written again it
    goes before what is known of the person by then."""
    return found


TRANSFORMS: Mapping[str, Transform] = {
    made.__name__: made
    for made in (
        text, as_written, lines, integer, decimal_text, quantity, money, flag, narrative, zero_pad, last_two,
        semicolon_list, first_of_list, part, date_from_ymd, datetime_from_ymdhm, date_from_dmy,
        datetime_from_dmy, date_from_iso, datetime_from_iso, date_from_any, datetime_from_any, birth_date,
        birth_time, identifier_by_shape, identifier, logical_reference, shared_reference, person_name, phone,
        email, code, coding, concept, concept_by_text, list_display, list_coding, local_coding, icd10,
        blood_group,
    )
}  # fmt: skip
