"""The report of an import as a file: CSV and NDJSON line by line while it runs, JSON and a page when it has ended."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from fhir_server.model.resources import encode
from fhir_server.records.advice import advice
from fhir_server.records.formats import Formats
from fhir_server.records.report import ImportReport, RecordOutcome
from fhir_server.records.report_page import page

SUFFIXES = (".json", ".ndjson", ".csv", ".html")
COLUMNS = (
    "file", "record", "line", "key", "format", "status", "severity", "rule", "part", "field", "value",
    "message_vi", "message_en", "allowed_vi", "allowed_en", "do_vi", "do_en",
)  # fmt: skip
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"  # without it, spreadsheets do not take the file for UTF-8
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ReportFile(Protocol):
    """A report in the making."""

    def add(self, outcome: RecordOutcome) -> None: ...

    def end(self, report: ImportReport) -> None: ...


@contextmanager
def report_file(path: Path, formats: Formats) -> Iterator[ReportFile]:
    """The report that the suffix of `path` asks for; any other suffix is NDJSON. Raises OSError."""
    with path.open("wb") as stream:
        yield _KINDS.get(path.suffix.lower(), _Lines)(stream, formats)


class _Lines:
    def __init__(self, stream: IO[bytes], formats: Formats) -> None:
        self._stream = stream

    def add(self, outcome: RecordOutcome) -> None:
        self._stream.write(encode(outcome.as_json()) + b"\n")

    def end(self, report: ImportReport) -> None:
        pass


class _Csv:
    def __init__(self, stream: IO[bytes], formats: Formats) -> None:
        self._stream = stream
        stream.write(_BOM.encode() + csv_line(COLUMNS))

    def add(self, outcome: RecordOutcome) -> None:
        for row in csv_rows(outcome):
            self._stream.write(csv_line(row))

    def end(self, report: ImportReport) -> None:
        pass


class _Json:
    def __init__(self, stream: IO[bytes], formats: Formats) -> None:
        self._stream = stream
        self._formats = formats

    def add(self, outcome: RecordOutcome) -> None:
        pass

    def end(self, report: ImportReport) -> None:
        self._stream.write(encode(report.as_json(self._formats)))


class _Page(_Json):
    def end(self, report: ImportReport) -> None:
        self._stream.write(page(report, self._formats))


_KINDS: Mapping[str, Callable[[IO[bytes], Formats], ReportFile]] = {".csv": _Csv, ".html": _Page, ".json": _Json}


def as_csv(report: ImportReport) -> bytes:
    """The problems that the report holds word for word, a line each."""
    rows = (row for one in report.records for row in csv_rows(one))
    return _BOM.encode() + csv_line(COLUMNS) + b"".join(csv_line(row) for row in rows)


def csv_rows(outcome: RecordOutcome) -> Iterator[tuple[object, ...]]:
    """A row a problem, in the order of COLUMNS."""
    for problem in outcome.problems:
        place, do = outcome.place, advice(problem.rule).do
        yield (
            place.file, place.record or "", outcome.line_of(problem) or "", place.key, outcome.format,
            outcome.status_told, problem.severity, problem.rule, problem.place.part if problem.place else "",
            problem.field, problem.found, problem.text[1], problem.text[0], problem.allowed[1], problem.allowed[0],
            do[1], do[0],
        )  # fmt: skip


def csv_line(cells: tuple[object, ...]) -> bytes:
    """One line of CSV (RFC 4180). A cell that a spreadsheet would run as a formula gets an apostrophe in front."""
    made = io.StringIO()
    csv.writer(made, lineterminator="\r\n").writerow([_harmless(str(cell)) for cell in cells])
    return made.getvalue().encode("utf-8", "replace")


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
