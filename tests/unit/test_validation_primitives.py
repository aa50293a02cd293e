"""Primitive formats: the same for the schema of the gate and for the closures."""

from __future__ import annotations

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.validation.primitives import PRIMITIVES

GOOD = {
    "date": ["2026", "2026-02", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"],
    "dateTime": ["2026", "2026-12", "2026-12-31", "2026-12-31T23:59:60Z", "2026-01-01T00:00:00.000000001-14:00"],
    "instant": ["2026-12-31T23:59:59Z", "2026-12-31T00:00:00.5+07:00"],
    "time": ["00:00:00", "23:59:60", "07:30:00.25"],
    "id": ["a", "A-1.b", "x" * 64],
    "code": ["a", "a b", "đường-uống"],
    "uri": ["http://a.b/c?d#e", "urn:uuid:x", "#a", "Đ"],
    "oid": ["urn:oid:1.2.840", "urn:oid:0.0"],
    "uuid": ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
    "base64Binary": ["QUJD", "QUI=", "QQ==", "QU JD\r\nQUJD", " QUJD "],
    "string": ["a", " a ", "\n.\n", "Đ" * 100],
    "markdown": ["# a\n\nb"],
}
BAD = {
    "date": ["1900-02-29", "2023-02-29", "2026-04-31", "2026-00", "2026-1", "0000", "2026-01-01 ", "２０２６"],
    "dateTime": ["2026-12T10:00:00Z", "2026-01-01T10:00Z", "2026-01-01T24:00:00Z", "2026-01-01T10:00:00"],
    "instant": ["2026", "2026-01-01", "2026-01-01T10:00:00", "2026-02-30T10:00:00Z", "2026-01-01t10:00:00z"],
    "time": ["24:00:00", "10:00", "10:60:00", "10:00:00Z"],
    "id": ["", "x" * 65, "a_b", "a/b", "a\n"],
    "code": ["", " a", "a ", "a  b"],
    "uri": ["", "a b", "a\n"],
    "oid": ["urn:oid:3.1", "1.2", "urn:oid:1", "urn:oid:1.01"],
    "uuid": ["urn:uuid:C757873D-EC9A-4326-A141-556F43239520", "c757873d-ec9a-4326-a141-556f43239520"],
    "base64Binary": ["", "QUJ", "QQ=", "=QQQ", "QQ==QQ==", "QU_D", "\u00a0QUJD"],
    "string": ["", " ", "\t\r\n"],
    "markdown": ["", "\n"],
}  # fmt: skip


def schema_of(type: str) -> jsonschema_rs.Draft202012Validator:
    schema = {"type": "string", "pattern": f"^(?:{PRIMITIVES[type].pattern})$"}
    return jsonschema_rs.Draft202012Validator(schema, pattern_options=jsonschema_rs.RegexOptions())


@pytest.mark.parametrize(("type", "text"), [(type, text) for type, texts in GOOD.items() for text in texts])
def test_a_good_text_matches(type: str, text: str) -> None:
    assert PRIMITIVES[type].matches(text)
    assert schema_of(type).is_valid(text)


@pytest.mark.parametrize(("type", "text"), [(type, text) for type, texts in BAD.items() for text in texts])
def test_a_bad_text_does_not(type: str, text: str) -> None:
    assert not PRIMITIVES[type].matches(text)
    assert not schema_of(type).is_valid(text)


_SCHEMAS = {type: schema_of(type) for type, one in PRIMITIVES.items() if one.pattern}
_LETTERS = st.text(alphabet="0123456789-:.TZ+=/abcxyzđ \n\tQA", max_size=24)


@settings(max_examples=300, deadline=None)
@given(type=st.sampled_from(sorted(_SCHEMAS)), text=_LETTERS)
def test_the_gate_and_the_closures_read_every_text_alike(type: str, text: str) -> None:
    assert PRIMITIVES[type].matches(text) == _SCHEMAS[type].is_valid(text)


@settings(max_examples=150, deadline=None)
@given(day=st.dates())
def test_every_day_of_the_calendar_is_a_date(day: object) -> None:
    assert PRIMITIVES["date"].matches(str(day))
    assert PRIMITIVES["instant"].matches(f"{day}T12:00:00Z")


@settings(max_examples=100, deadline=None)
@given(year=st.integers(1, 9999), month=st.integers(1, 12), day=st.integers(28, 31))
def test_only_days_of_the_calendar_are_dates(year: int, month: int, day: int) -> None:
    from calendar import monthrange

    exists = day <= monthrange(year, month)[1]
    assert PRIMITIVES["date"].matches(f"{year:04}-{month:02}-{day:02}") == exists


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=40))
def test_whatever_base64_writes_is_base64(content: bytes) -> None:
    from base64 import b64encode

    text = b64encode(content).decode()
    assert PRIMITIVES["base64Binary"].matches(text) == bool(content)
