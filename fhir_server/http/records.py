"""POST /records: a file of Vietnamese records taken in over HTTP, answered with the report of the import."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from fhir_server.errors import FhirError, Kind
from fhir_server.http.errors import refusal
from fhir_server.http.protocol import certificate_of
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.recording import note
from fhir_server.model.resources import encode
from fhir_server.operations.import_records import SUFFIXES, file_name, status_of
from fhir_server.records.formats import Formats
from fhir_server.records.importing import formats_of, import_records
from fhir_server.records.report import ImportReport
from fhir_server.records.report_files import as_csv
from fhir_server.records.report_page import page
from fhir_server.security.gate import Gate


def records(context_of: Callable[[Request], Context], gate_of: Callable[[], Gate | None]) -> APIRouter:
    """The routes of record files. Who is asked who they are needs the scope `operation/import-records`."""
    router = APIRouter()

    @router.post("/records", summary="Import a file of Vietnamese records", openapi_extra=_BODY)
    async def post_records(request: Request, name: str = "records") -> Response:
        """The body is the file: HSSK-831 or insurance XML, or the basic group as JSON, NDJSON or CSV, told by its
        Content-Type. Each record is stored whole or refused by itself; the answer is 200 with the report, 422 when
        every record was refused, 409 when the REQUEST_ID of each was used for other content. `name` is what the report
        calls the file. Accept chooses the report: JSON, CSV, a page (text/html) or an OperationOutcome
        (application/fhir+json)."""
        try:
            return await _recorded(context_of(request), gate_of(), request, name)
        except FhirError as fault:
            refused = refusal(fault, request.headers)
            return Response(refused.body, refused.status, dict(refused.headers), media_type=refused.media_type)

    return router


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in SUFFIXES},
    }
}


async def _recorded(context: Context, gate: Gate | None, request: Request, name: str) -> Response:
    """The import, on record like every access: that of a caller who is refused, too."""
    asked = FhirRequest("POST", ("$import-records",), (("name", name),))
    try:
        context = await _admitted(context, gate, request)
        answer = await _import(context, request, name)
    except FhirError as fault:
        await note(context, asked, FhirResponse(fault.kind.status))
        raise
    await note(context, asked, FhirResponse(answer.status_code))
    return answer


async def _admitted(context: Context, gate: Gate | None, request: Request) -> Context:
    if gate is None:
        return context
    headers = dict(request.headers)
    peer = request.client.host if request.client else None
    admitted = await gate.admit(context, ("records",), headers, peer, certificate_of(request.scope))
    await admitted.count_request()
    admitted.rights.require_operation("import-records")
    return admitted


async def _import(context: Context, request: Request, name: str) -> Response:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in SUFFIXES:
        raise FhirError(Kind.MEDIA_TYPE, f"send one of {', '.join(SUFFIXES)}, not {kind[:64]!r}")
    called = file_name(name, SUFFIXES[kind])
    with tempfile.TemporaryDirectory(prefix="fhir-records-") as folder:
        path = Path(folder) / called
        await _save(request, path, context.settings.body_limit_mb)
        report = await import_records(context, [path])
    report.name_files()
    media_type, body = _told(report, request, formats_of(context.settings))
    return Response(body, status_of(report), media_type=media_type)


def _told(report: ImportReport, request: Request, formats: Formats) -> tuple[str, bytes]:
    """(media type, bytes) of the report in the form that Accept names first, JSON otherwise."""
    for part in request.headers.get("accept", "").split(","):
        kind = part.partition(";")[0].strip().lower()
        if kind in ("application/fhir+json", "text/csv", "text/html"):
            return kind, told_as(report, kind, formats)
        if kind == "application/json":
            break
    return "application/json", encode(report.as_json(formats))


def told_as(report: ImportReport, kind: str, formats: Formats) -> bytes:
    """The report as an OperationOutcome, CSV or a page."""
    if kind == "text/csv":
        return as_csv(report)
    return page(report, formats) if kind == "text/html" else encode(report.as_outcome())


async def _save(request: Request, path: Path, limit_mb: int) -> None:
    """The body to a file, in parts, so that memory stays flat. Raises FhirError TOO_LONG."""
    size = 0
    with path.open("wb") as file:
        async for part in request.stream():
            size += len(part)
            if size > limit_mb << 20:
                raise FhirError(Kind.TOO_LONG, f"the file is larger than {limit_mb} MiB; use `records import`")
            file.write(part)
