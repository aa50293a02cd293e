"""The rows of a CSV or XLSX file, one at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from fhir_server.errors import FhirError, Kind

_DELIMITERS = (",", ";", "\t", "|")
_FIELD_LIMIT = 1 << 20

Cells = list[str]


def sheets(path: Path) -> Iterator[Iterator[Cells]]:
    """Each sheet of a workbook, or the one of a CSV file (UTF-8; comma, semicolon, tab or bar between cells).

    Cells are texts without space around them. Raises FhirError(INVALID) for a file that is neither.
    """
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        yield from _workbook(path)
    else:
        yield _csv(path)


def _workbook(path: Path) -> Iterator[Iterator[Cells]]:
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (BadZipFile, InvalidFileException, KeyError, ValueError, OSError) as fault:
        raise FhirError(Kind.INVALID, f"{path.name} is no XLSX workbook: {fault}") from None
    try:
        for sheet in book.worksheets:
            yield ([_text(value) for value in row] for row in sheet.iter_rows(values_only=True))
    finally:
        book.close()


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _csv(path: Path) -> Iterator[Cells]:
    csv.field_size_limit(_FIELD_LIMIT)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        try:
            first = stream.readline(_FIELD_LIMIT)
            delimiter = max(_DELIMITERS, key=first.count)
            stream.seek(0)
            for row in csv.reader(stream, delimiter=delimiter):
                yield [cell.strip() for cell in row]
        except (UnicodeDecodeError, csv.Error) as fault:
            raise FhirError(Kind.INVALID, f"{path.name} is no CSV file in UTF-8: {fault}") from None
