"""Resources as plain dicts, and their JSON bytes with every decimal kept digit for digit (R4 Data Types)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import orjson

from fhir_server.errors import FhirError, Kind

# A FHIR resource: parsed JSON, never changed once read. Decimals are `Digits`, integers are int.
Resource = dict[str, Any]


LARGEST_EXPONENT = 308


class Digits(Decimal):
    """A decimal that remembers how it was written (`1.10`, `1e2`), since R4 makes precision part of the value."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str | Decimal) -> Digits:
        number = super().__new__(cls, text)
        number.text = text.text if isinstance(text, Digits) else str(text)  # copying hands in a Digits
        return number

    @property
    def is_huge(self) -> bool:
        """True for what no double comes near to: the limits of XML Schema apply (R4 Data Types, decimal)."""
        return not -LARGEST_EXPONENT <= self.adjusted() < LARGEST_EXPONENT


_decoder = msgspec.json.Decoder(float_hook=Digits)


def _write_number(value: Any) -> Any:
    if isinstance(value, Digits):
        return orjson.Fragment(value.text.encode())
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f").encode())
    raise TypeError(f"{type(value).__name__} has no JSON form")


def decode(body: bytes) -> Any:
    """JSON bytes to Python values. Raises FhirError(STRUCTURE) with line and column for malformed JSON."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError) as fault:
        raise FhirError(Kind.STRUCTURE, f"the body is not valid JSON: {_describe(body, fault)}") from None


def encode(value: Any) -> bytes:
    """Python values to compact JSON bytes in the order given; decimals as they were written."""
    try:
        return orjson.dumps(value, default=_write_number)
    except TypeError:  # an integer over 64 bits, which orjson refuses before it asks
        return orjson.dumps(_wrap_long_integers(value), default=_write_number)


def _wrap_long_integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _wrap_long_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_wrap_long_integers(item) for item in value]
    if type(value) is int and value.bit_length() > 63:
        return orjson.Fragment(str(value).encode())
    return value


def pretty(body: bytes) -> bytes:
    """The same JSON with two-space indents."""
    return orjson.dumps(decode(body), default=_write_number, option=orjson.OPT_INDENT_2)


def _describe(body: bytes, fault: Exception) -> str:
    try:
        body.decode()
        orjson.loads(body)
    except UnicodeDecodeError as same:
        line, column = body.count(b"\n", 0, same.start) + 1, same.start - body.rfind(b"\n", 0, same.start)
        return f"it is not UTF-8 at line {line}, column {column}"
    except orjson.JSONDecodeError as same:
        return f"{same.msg} at line {same.lineno}, column {same.colno}"
    return str(fault) or type(fault).__name__


def copy_of(value: Any) -> Any:
    """The same, with objects and arrays of its own."""
    if isinstance(value, dict):
        return {key: copy_of(item) for key, item in value.items()}
    return [copy_of(item) for item in value] if isinstance(value, list) else value


META_OF_SERVER = ("versionId", "lastUpdated")


def content_of(resource: Resource) -> bytes:
    """The sender's content, the same in every version, for `render`: the JSON from within meta on."""
    sent = resource.get("meta")
    meta = {key: value for key, value in sent.items() if key not in META_OF_SERVER} if isinstance(sent, dict) else {}
    first = {"meta": meta}
    body = {**first, **resource, **first}
    del body["resourceType"]
    body.pop("id", None)
    text = encode(body)[len(b'{"meta":{') :]
    return b"," + text if meta else text


def render(type: str, id: str, version: int, updated: str, content: bytes) -> bytes:
    """The bytes that are stored and served: the sender's content with the server's id, versionId and lastUpdated.

    `updated` is an R4 instant. resourceType, id and meta come first; all else keeps the sender's order.
    """
    meta = {"versionId": str(version), "lastUpdated": updated}
    return encode({"resourceType": type, "id": id, "meta": meta})[: -len(b"}}")] + content


def same_content(one: Resource, other: Resource) -> bool:
    """True when two versions differ in nothing but the server's own id, versionId and lastUpdated."""
    return encode(_content(one)) == encode(_content(other))


def _content(resource: Resource) -> Resource:
    body = {key: value for key, value in resource.items() if key not in ("id", "meta")}
    meta = {key: value for key, value in (resource.get("meta") or {}).items() if key not in META_OF_SERVER}
    body["meta"] = meta
    return dict(sorted(body.items()))
