"""$import-records: files of Vietnamese records taken in, answered with the report as an OperationOutcome.

An operation of our own. The body is a file as it is (XML, JSON, NDJSON, CSV, or a .zip of such files), or several as
multipart/form-data. name: what the report calls a single file. With Prefer: respond-async the report is fetched later.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import File, create_form_parser

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.resources import encode
from fhir_server.records.importing import import_records
from fhir_server.records.report import ImportReport
from fhir_server.records.requests import CONFLICT

# Content types and the file suffix that tells the reader what a body is.
SUFFIXES = {
    "application/xml": ".xml",
    "text/xml": ".xml",
    "application/json": ".json",
    "application/x-ndjson": ".ndjson",
    "text/csv": ".csv",
    "application/zip": ".zip",
}
MULTIPART = "multipart/form-data"
_NAME = re.compile(r"[\w.\- ]{1,100}")
_MOST_FILES = 1_000


async def import_records_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """200 with the outcome of each record that has something to tell, 422 when every record was refused, 409 when all
    were because their REQUEST_ID was used for other content. Raises
    FhirError MEDIA_TYPE, VALUE, INVALID for a body that is no form."""
    with tempfile.TemporaryDirectory(prefix="fhir-records-") as folder:
        for name, content in _files(request):
            path = Path(folder) / name
            while path.exists():
                path = path.with_stem(f"{path.stem}_")
            path.write_bytes(content)
        report = await import_records(context, [Path(folder)])
    report.name_files()
    return FhirResponse(status_of(report), encode(report.as_outcome()))


def status_of(report: ImportReport) -> int:
    """Of HTTP: 409 when numbers of messages came with other content before, and nothing else was in the files."""
    if report.read and report.rules[("error", CONFLICT)] == report.read:
        return 409
    return 422 if not report.read or report.refused == report.read else 200


def file_name(name: str, suffix: str) -> str:
    """The name that the report tells, with the suffix of its content type. Raises FhirError VALUE."""
    if not _NAME.fullmatch(name):
        raise FhirError(Kind.VALUE, "name is a file name of letters, digits, dots and dashes", ("name",))
    return f"{Path(name).stem.lstrip('.') or 'records'}{suffix}"


def _files(request: FhirRequest) -> Iterator[tuple[str, bytes]]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == MULTIPART:
        yield from _parts(request)
        return
    if kind not in SUFFIXES:
        raise FhirError(Kind.MEDIA_TYPE, f"send one of {', '.join(SUFFIXES)}, or {MULTIPART}, not {kind[:64]!r}")
    name = next((value for key, value in request.query if key == "name"), "records")
    yield file_name(name, SUFFIXES[kind]), request.body


def _parts(request: FhirRequest) -> list[tuple[str, bytes]]:
    """The files of a form; fields that are no files are passed over."""
    found: list[tuple[str, bytes]] = []

    def take(file: File) -> None:
        if len(found) == _MOST_FILES:
            raise FhirError(Kind.TOO_LONG, f"a form holds at most {_MOST_FILES} files")
        held = file.file_object
        held.seek(0)
        name = Path((file.file_name or b"records").decode("utf-8", "replace").replace("\\", "/")).name
        suffix = Path(name).suffix.lower()
        known = suffix if suffix in {*SUFFIXES.values(), ".jsonl"} else ".xml"
        found.append((file_name(re.sub(r"[^\w.\- ]", "_", name)[-100:], known), held.read()))
        file.close()

    headers = {"Content-Type": request.headers["content-type"].encode("latin-1")}
    try:
        parser = create_form_parser(headers, lambda field: None, take)
        parser.write(request.body)
        parser.finalize()
    except (FormParserError, ValueError) as fault:
        raise FhirError(Kind.INVALID, f"the body is no {MULTIPART}: {fault}") from None
    if not found:
        raise FhirError(Kind.REQUIRED, "the form holds no file")
    return found
