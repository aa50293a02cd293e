"""LOINC from the release archive of its publisher. R4 page "Using LOINC with FHIR" names what is told."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from zipfile import ZipFile

from fhir_server.errors import FhirError, Kind
from fhir_server.terminology.staging import Staging

_TERMS = re.compile(r"(^|/)Loinc\.csv$")
_HIERARCHY = re.compile(r"(^|/)(ComponentHierarchyBySystem|MultiAxialHierarchy)\.csv$")
_ANSWERS = re.compile(r"(^|/)AnswerList\.csv$")
_RELEASE = re.compile(r"(\d\.\d{2,})")

Row = Mapping[str, str]


def is_release(archive: ZipFile) -> bool:
    return any(_TERMS.search(name) for name in archive.namelist())


def release_version(file_name: str) -> str | None:
    """`2.80` of `Loinc_2.80.zip`."""
    found = _RELEASE.search(file_name)
    return found[1] if found else None


def read_release(
    archive: ZipFile, description: Mapping[str, Any], staging: Staging, on_row: Callable[[int], None]
) -> None:
    """Puts terms, answers, parts and their hierarchy into the staging. description: terminology/tables/loinc.json.

    Raises FhirError(INVALID) when a column is missing.
    """
    properties, names = description["properties"], description["designations"]
    done = 0
    for name, row in _rows(archive, _TERMS):
        try:
            _term(staging, row, properties, names)
        except KeyError as column:
            raise FhirError(Kind.INVALID, f"{name} has no column {column}") from None
        done += 1
        on_row(done)
    for read, pattern in ((_place, _HIERARCHY), (_answer, _ANSWERS)):
        for name, row in _rows(archive, pattern):
            try:
                read(staging, row)
            except KeyError as column:
                raise FhirError(Kind.INVALID, f"{name} has no column {column}") from None
            done += 1
            on_row(done)


def _rows(archive: ZipFile, pattern: re.Pattern[str]) -> Iterator[tuple[str, Row]]:
    for name in archive.namelist():
        if pattern.search(name):
            with archive.open(name) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
                for row in csv.DictReader(text):
                    yield name, row


def _term(staging: Staging, row: Row, properties: Sequence[str], names: Sequence[str]) -> None:
    code, status = row["LOINC_NUM"], row["STATUS"]
    staging.concept(code, row["LONG_COMMON_NAME"], inactive=status == "DEPRECATED")
    for name in names:
        if row.get(name):
            staging.designation(code, row[name], "en", {"system": "http://loinc.org", "code": name})
    for name in properties:
        if row.get(name):
            staging.property(code, name, "valueString", row[name])


def _place(staging: Staging, row: Row) -> None:
    """A part (LP…) or a term in the hierarchy; the parts are codes of their own."""
    staging.concept(row["CODE"], row["CODE_TEXT"])
    if row["IMMEDIATE_PARENT"]:
        staging.edge(row["CODE"], row["IMMEDIATE_PARENT"])


def _answer(staging: Staging, row: Row) -> None:
    """An answer (LA…) and the list it is of (LL…)."""
    list, answer = row["AnswerListId"], row["AnswerStringId"]
    staging.concept(list, row["AnswerListName"])
    if answer:
        staging.concept(answer, row["DisplayText"])
        staging.property(answer, "answer-list", "valueCode", list)
