"""What a write carries and what it answers: the body taken apart, and the response that Prefer asks for."""

from __future__ import annotations

from fhir_server.errors import FhirError, Issue, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.headers import prefer_return, version_headers
from fhir_server.interactions.write import Done
from fhir_server.model.json_body import decode_body
from fhir_server.model.outcomes import outcome
from fhir_server.model.resources import Resource, encode


def resource_of(request: FhirRequest) -> Resource:
    """The resource of a request. Raises FhirError when there is none, or the body is no JSON object."""
    if request.resource is not None:
        return request.resource
    if not request.body.strip():
        raise FhirError(Kind.REQUIRED, "the request has no body; a resource is needed")
    value = decode_body(request.body)
    if not isinstance(value, dict):
        raise FhirError(Kind.STRUCTURE, "the body must be a JSON object with a resourceType")
    if not isinstance(value.get("resourceType"), str):
        raise FhirError(Kind.STRUCTURE, "resourceType is missing", ("resourceType",))
    return value


def answer(context: Context, request: FhirRequest, type: str, done: Done) -> FhirResponse:
    """200 or 201 with the version's headers, and the body that Prefer asks for. R4 RESTful API."""
    stored = done.stored
    if stored is None:
        return FhirResponse(204)
    headers = version_headers(stored)
    headers["Location"] = f"{context.base}/{type}/{stored.id}/_history/{stored.version}"
    status = 201 if done.created else 200
    wanted = prefer_return(request.headers, "representation")
    body = stored.raw if wanted == "representation" else b""
    if wanted == "OperationOutcome":
        verb = "created" if done.created else "updated" if done.changed else "unchanged"
        body = told(f"{type}/{stored.id} version {stored.version}: {verb}")
    return FhirResponse(status, body, headers, updated=stored.updated)


def told(text: str) -> bytes:
    """An OperationOutcome that says how it went."""
    return encode(outcome([Issue("information", "informational", text)]))
