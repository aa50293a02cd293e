"""JSON as clients send it: what a decoder would let pass in silence is refused, with its place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

from fhir_server.errors import FhirError, Kind
from fhir_server.model.duplicates import Duplicate, first_duplicate
from fhir_server.model.resources import decode, encode

# Objects and arrays inside each other: 115 elements that repeat. What stands around a resource when it is served (an
# entry, a bundle) must fit into what the encoder can write.
DEEPEST = 230
_WRITABLE = 254
_LOCATED = 1 << 20  # bytes up to which the place of a duplicate is looked for, since that is slow
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def decode_body(body: bytes) -> Any:
    """The value of a body; a byte order mark is passed over.

    Raises FhirError STRUCTURE with line and column for malformed JSON, for a name that stands twice in one object,
    since one of its values would be lost (R4 JSON Representation of Resources), and for what is nested more than
    DEEPEST deep.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    value = decode(body)
    twins = twins_in(body, value) if isinstance(value, dict | list) else None
    if twins is None:
        return value
    text = f"the name {twins.name[:64]!r} stands twice in one object"
    if twins.second is None:
        raise FhirError(Kind.STRUCTURE, f"{text}; one value would be lost")
    root = value.get("resourceType") if isinstance(value, dict) else None
    place = f"{root if isinstance(root, str) else ''}{twins.second.path}".removeprefix(".")
    text += f" at line {twins.second.line}, column {twins.second.column}; one value would be lost"
    raise FhirError(Kind.STRUCTURE, text, (place,))


@dataclass(frozen=True, slots=True)
class Twins:
    """Two members of one object that have the same name. second: where it stands again; None in a very long body."""

    name: str
    second: Duplicate | None


def twins_in(body: bytes, value: Any) -> Twins | None:
    """The first twins of a JSON body. value: the object or array that it was read as. Raises FhirError as
    `refuse_deep` does."""
    # Written anew, the value has every name once: a duplicate shows as a colon that is missing. Only escaped colons in
    # texts could make up for one.
    if body.count(b":") == _written(value).count(b":") and b"\\u003" not in body:
        return None
    try:
        json.loads(body, object_pairs_hook=_refuse_twins, parse_int=str, parse_float=str)
    except _TwinsError as fault:
        return Twins(fault.args[0], first_duplicate(body) if len(body) <= _LOCATED else None)
    return None


def refuse_deep(value: Any) -> None:
    """Raises FhirError STRUCTURE when objects and arrays are nested more than DEEPEST deep."""
    _written(value)


def _written(value: Any) -> bytes:
    """The value as JSON, its numbers as null. Raises FhirError STRUCTURE when it is too deep."""
    nested = value
    for _ in range(_WRITABLE - DEEPEST):
        nested = [nested]
    try:
        return orjson.dumps(nested, default=_as_null)  # a microsecond for a Patient, where a walk would take ten
    except TypeError:  # too deep, or an integer over 64 bits
        if _is_deep(value):
            text = f"objects and arrays are nested more than {DEEPEST} deep"
            raise FhirError(Kind.STRUCTURE, text) from None
        return encode(value)


def _as_null(value: Any) -> None:
    """In place of a decimal, which has no colon."""


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return any(isinstance(one, dict | list) for one in level)


class _TwinsError(Exception):
    """Two members of one object have the same name."""


def _refuse_twins(pairs: list[tuple[str, Any]]) -> None:
    names = set()
    for name, _ in pairs:
        if name in names:
            raise _TwinsError(name)
        names.add(name)
