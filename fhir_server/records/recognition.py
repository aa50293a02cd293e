"""Which record format a JSON or CSV file is of, told by the names at its beginning."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

from fhir_server.records.formats import Format

_MEMBER = re.compile(rb'"([A-Za-z_][A-Za-z0-9_]*)"\s*:')


def format_of_json(head: bytes, formats: Iterable[Format]) -> Format:
    """The format of which a telling member is there (`container.known_by`); the one without any for all other files.
    head: the first bytes."""
    candidates = [one for one in formats if one.kind == "json"]
    names = {name.decode() for name in _MEMBER.findall(head)}
    return next((one for one in candidates if one.known_by & names), _for_all_others(candidates))


def format_of_csv(head: bytes, formats: Iterable[Format]) -> Format:
    """The format whose telling columns are all in the header line, the one with most of them."""
    candidates = [one for one in formats if one.csv is not None]
    line = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].decode("utf-8", "replace")
    delimiter = max(",;\t", key=line.count)
    columns = {cell.strip() for row in csv.reader(io.StringIO(line), delimiter=delimiter) for cell in row}
    fitting = [one for one in candidates if one.csv is not None and one.csv.known_by <= columns]
    known = max(fitting, key=lambda one: len(one.csv.known_by) if one.csv else 0, default=None)
    return known or next(one for one in candidates if not one.known_by)


def _for_all_others(candidates: list[Format]) -> Format:
    return next(one for one in candidates if not one.known_by)
