"""JSON files of records: one object, an array, several objects in a row, or one a line; each is read alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from fhir_server.errors import FhirError
from fhir_server.model.json_body import Twins, twins_in
from fhir_server.model.resources import decode
from fhir_server.records.source import (
    BOM,
    CHUNK,
    DEPTH_LIMIT,
    RECORD_LIMIT,
    Place,
    Problem,
    SourceRecord,
    Tree,
    UnreadableError,
    refusal,
    within,
)

# A whole string, a bracket, or a quote whose string does not end in the window.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]]|"', re.DOTALL)
_GAP = b" \t\r\n,"


def read_json(stream: IO[bytes], name: str, format: str) -> Iterator[SourceRecord]:
    """Every object in order, those of an outer array one by one. Memory: one record and one chunk."""
    window = stream.read(CHUNK).removeprefix(BOM)
    number, line, ended = 0, 1, False
    inside_array = False
    while True:
        skipped = len(window) - len(window.lstrip(_GAP))
        line += window.count(b"\n", 0, skipped)
        window = window[skipped:]
        if window[:1] in (b"[", b"]") and inside_array == (window[:1] == b"]"):
            inside_array = not inside_array
            window = window[1:]
            continue
        end = _end_of_object(window)
        if end is not None:
            number += 1
            yield _record(window[:end], Place(name, number, line), format)
            line += window.count(b"\n", 0, end)
            window = window[end:]
            continue
        chunk = b"" if ended or len(window) > RECORD_LIMIT else stream.read(max(CHUNK, len(window)))
        ended = not chunk
        window += chunk
        if ended:
            break
    if window or number == 0 or inside_array:
        yield _remainder(window, Place(name, number + 1 if window else 0, line), format)


def _end_of_object(window: bytes) -> int | None:
    """Where the object at the front ends; the end of the line when there is no object; None when more is needed."""
    if not window:
        return None
    if not window.startswith(b"{"):
        stop = window.find(b"\n")
        return stop if stop >= 0 else None
    depth = 0
    for token in _TOKEN.finditer(window):
        mark = token[0]
        if mark in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return token.end()
        elif mark == b'"':
            return None
    return None


def _remainder(window: bytes, place: Place, format: str) -> SourceRecord:
    if len(window) > RECORD_LIMIT:
        text = (f"larger than {RECORD_LIMIT >> 20} MB", f"lớn hơn {RECORD_LIMIT >> 20} MB")
        return SourceRecord(format, place, None, (Problem("error", "too-large", text),))
    if window:
        return _record(window, place, format)
    text = ("the file ends before its array does, or holds no record", "tệp bị cắt cụt hoặc không có hồ sơ nào")
    return SourceRecord(format, place, None, (Problem("error", "no-record", text),))


def read_lines(stream: IO[bytes], name: str, format: str) -> Iterator[SourceRecord]:
    """NDJSON: one object a line, so that a broken line harms no other. Blank lines are skipped."""
    number, line = 0, 0
    while True:
        row = stream.readline(RECORD_LIMIT)
        if not row:
            break
        line += 1
        if line == 1:
            row = row.removeprefix(BOM)
        body = row.strip()
        if body:
            number += 1
            yield _record(body, Place(name, number, line), format)
    if number == 0:
        text = ("the file holds no record", "tệp không có hồ sơ nào")
        yield SourceRecord(format, Place(name), None, (Problem("error", "no-record", text),))


def _record(body: bytes, place: Place, format: str) -> SourceRecord:
    try:
        return SourceRecord(format, place, _object(body))
    except UnreadableError as fault:
        return SourceRecord(format, within(place, fault.problem), None, (fault.problem,))


def _object(body: bytes) -> Tree:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise refusal(
            "encoding",
            "bytes that are not UTF-8; convert the file first",
            "có byte không phải UTF-8; hãy chuyển mã tệp trước",
        ) from None
    try:
        value = decode(body)
    except FhirError as fault:
        reason = fault.diagnostics.removeprefix("the body is not valid JSON: ")
        raise refusal("not-well-formed", f"not valid JSON: {reason}", f"JSON không hợp lệ: {reason}") from None
    if not isinstance(value, dict):
        raise refusal("not-an-object", "a record must be a JSON object", "hồ sơ phải là một đối tượng JSON")
    tree = _texts(value, 1)
    twins = twins_in(body, value)
    if twins is not None:
        raise UnreadableError(_twice(twins))
    return tree if isinstance(tree, dict) else {}


def _twice(twins: Twins) -> Problem:
    second = twins.second
    field = second.path.removeprefix(".").replace(".", "/") if second is not None else twins.name
    text = ("a member stands twice in one object", "một trường có hai lần trong một đối tượng")
    place = Place("", line=second.line) if second is not None else None
    return Problem("error", "not-well-formed", text, field, place=place)


def _texts(value: object, depth: int) -> object:
    """The same tree with every value as text, as it was written; null and empty values are absent."""
    if depth > DEPTH_LIMIT:
        raise refusal("too-large", f"deeper than {DEPTH_LIMIT} levels", f"lồng sâu quá {DEPTH_LIMIT} mức")
    if isinstance(value, dict):
        held = {key: _texts(item, depth + 1) for key, item in value.items()}
        return {key: item for key, item in held.items() if item not in ("", {}, [])}
    if isinstance(value, list):
        return [item for item in (_texts(one, depth + 1) for one in value) if item not in ("", {}, [])]
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return getattr(value, "text", None) or str(value).strip()
