"""Faults as OperationOutcomes: ours, the framework's own, and the unexpected, which tells nothing but a request id."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.errors import FhirError, Issue, Kind
from fhir_server.interactions.exchange import FhirResponse
from fhir_server.interactions.headers import language
from fhir_server.model.outcomes import outcome
from fhir_server.model.resources import encode

log = structlog.get_logger("fhir_server.http")

_KINDS = {
    404: Kind.NOT_FOUND,
    405: Kind.METHOD_NOT_ALLOWED,
    413: Kind.TOO_LONG,
    415: Kind.MEDIA_TYPE,
    422: Kind.INVALID,
}


def refusal(fault: FhirError, headers: Mapping[str, str]) -> FhirResponse:
    """The response for a fault: its status, its headers, its issues. headers: of the request."""
    body = encode(outcome(fault.all_issues(), language(headers)))
    return FhirResponse(fault.kind.status, body, fault.headers)


def unexpected(fault: Exception, request_id: str) -> FhirResponse:
    """500 with the request id; the log gets the rest."""
    log.error("unexpected error", request_id=request_id, exc_info=fault)
    text = f"an unexpected error; the operator finds it in the log under request id {request_id}"
    return FhirResponse(500, encode(outcome([Issue("fatal", "exception", text)])))


async def framework_fault(request: Request, fault: Exception) -> Response:
    """Starlette's own 404 and 405, and FastAPI's 422, in FHIR's form."""
    status = fault.status_code if isinstance(fault, HTTPException) else 422
    kind = _KINDS.get(status, Kind.INVALID)
    text = "there is nothing at this path" if status == 404 else f"the request was refused: HTTP {status}"
    body = encode(outcome([Issue("error", kind.code, text)]))
    headers = dict(getattr(fault, "headers", None) or {})
    return Response(body, status, headers, media_type="application/fhir+json")
