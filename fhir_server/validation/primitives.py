"""The formats of R4's primitive types as regular expressions and ranges, R4 Data Types.

The expressions use only what Python's `re` and Rust's linear-time `regex` have in common: the JSON Schema of the gate
and the closures that name faults are made from the same table, and no text of a sender can make them slow.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

# R4: strings SHALL NOT exceed 1 MB (1024*1024 characters).
_LONGEST_STRING = 1_048_576
_LARGEST = 2**31 - 1

_YEAR = r"(?:[0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_MONTH = r"(?:0[1-9]|1[0-2])"
_DAY = (
    rf"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    rf"|{_LEAP_YEAR}-02-29)"
)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_BASE64 = r"[0-9A-Za-z+/][ \t\r\n]*"
# Below 32 R4 allows tab, line feed and carriage return alone.
_NOT_BLANK = r"[ \t\r\n]*[^\x00- ][^\x00-\x08\x0b\x0c\x0e-\x1f]*"
_NO_SPACE = r"[^\x00- ]+"


@dataclass(frozen=True)
class Primitive:
    """The JSON form of one primitive type.

    json: string | boolean | integer | number. pattern: what the whole text must match. low, high: range of an integer.
    example: one good value, for the message.
    """

    json: str
    pattern: str | None = None
    max_length: int | None = None
    low: int | None = None
    high: int | None = None
    example: str = ""
    is_base64: bool = False

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(self.pattern or r"[\s\S]*")

    def matches(self, text: str) -> bool:
        """True for a text of this format; its length is not looked at."""
        if self.is_base64:
            return _is_base64(text)
        return self._expression.fullmatch(text) is not None


def _is_base64(text: str) -> bool:
    """What the pattern says, in a time that a text of many megabytes cannot stretch (`re` needs 0.4 s a megabyte)."""
    try:
        packed = text.encode("ascii").translate(None, b" \t\r\n")
        binascii.a2b_base64(packed, strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        return False
    return packed != b""


_URI = Primitive("string", _NO_SPACE, example="http://example.org/path")

PRIMITIVES: Mapping[str, Primitive] = {
    "boolean": Primitive("boolean", example="true"),
    "integer": Primitive("integer", low=-_LARGEST - 1, high=_LARGEST, example="-2,147,483,648..2,147,483,647"),
    "unsignedInt": Primitive("integer", low=0, high=_LARGEST, example="0..2,147,483,647"),
    "positiveInt": Primitive("integer", low=1, high=_LARGEST, example="1..2,147,483,647"),
    "decimal": Primitive("number", example="36.60"),
    "string": Primitive("string", _NOT_BLANK, _LONGEST_STRING, example="text that is not blank"),
    "markdown": Primitive("string", _NOT_BLANK, _LONGEST_STRING, example="text that is not blank"),
    "xhtml": Primitive("string", example='<div xmlns="http://www.w3.org/1999/xhtml">text</div>'),
    "code": Primitive("string", rf"{_NO_SPACE}(?:[ \t\r\n]{_NO_SPACE})*", _LONGEST_STRING, example="final"),
    "id": Primitive("string", r"[A-Za-z0-9\-.]{1,64}", example="A-Z, a-z, 0-9, '-', '.': 1..64"),
    "uri": _URI,
    "url": _URI,
    "canonical": _URI,
    "oid": Primitive("string", r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+", example="urn:oid:1.2.3"),
    "uuid": Primitive(
        "string",
        r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        example="urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
    ),
    "date": Primitive("string", rf"{_YEAR}(?:-{_MONTH})?|{_DAY}", example="2026, 2026-06, 2026-06-30"),
    "dateTime": Primitive(
        "string",
        rf"{_YEAR}(?:-{_MONTH})?|{_DAY}(?:T{_TIME}{_ZONE})?",
        example="2026-06-30, 2026-06-30T07:30:00+07:00",
    ),
    "instant": Primitive("string", rf"{_DAY}T{_TIME}{_ZONE}", example="2026-06-30T07:30:00+07:00"),
    "time": Primitive("string", _TIME, example="07:30:00"),
    "base64Binary": Primitive(
        "string",
        rf"[ \t\r\n]*(?:(?:{_BASE64}){{4}})*"
        rf"(?:(?:{_BASE64}){{2}}(?:=[ \t\r\n]*){{2}}|(?:{_BASE64}){{3}}=[ \t\r\n]*|(?:{_BASE64}){{4}})",
        example="UkVE",
        is_base64=True,
    ),
}
