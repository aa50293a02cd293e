"""delete and conditional delete, R4 section 3.1.0.7."""

from __future__ import annotations

from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.headers import if_match, version_headers
from fhir_server.interactions.planning import writable_type
from fhir_server.interactions.writing import Write, perform


async def delete(context: Context, request: FhirRequest) -> FhirResponse:
    """204 with the tombstone's ETag; also 204 when there is nothing to delete, as R4 has it."""
    type, id = request.segments
    writable_type(context, type, "delete")
    return await _delete(context, Write("DELETE", type, id=id, expected=if_match(request.headers)))


async def conditional_delete(context: Context, request: FhirRequest) -> FhirResponse:
    """One match is deleted; several are refused (412) unless the statement says conditionalDelete `multiple`."""
    type = request.segments[0]
    writable_type(context, type, "delete")
    return await _delete(context, Write("DELETE", type, criteria=request.query))


async def _delete(context: Context, write: Write) -> FhirResponse:
    (done,) = await perform(context, [write])
    return FhirResponse(204, b"", version_headers(done.stored) if done.stored else {})
