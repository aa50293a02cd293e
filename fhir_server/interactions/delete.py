"""delete and conditional delete. R4 RESTful API, delete."""

from __future__ import annotations

from functools import partial

from fhir_server.interactions.content import told
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.headers import if_match, prefer_return, version_headers
from fhir_server.interactions.planning import writable_type
from fhir_server.interactions.write import Done, Write
from fhir_server.interactions.writing import perform


async def delete(context: Context, request: FhirRequest) -> FhirResponse:
    """204 with the tombstone's ETag; also 204 when there is nothing to delete, as R4 has it."""
    type, id = request.segments
    writable_type(context, type, "delete")
    return await _delete(context, request, Write("DELETE", type, id=id, expected=if_match(request.headers)))


async def conditional_delete(context: Context, request: FhirRequest) -> FhirResponse:
    """One match is deleted; several are refused (412) unless the statement says conditionalDelete `multiple`."""
    type = request.segments[0]
    writable_type(context, type, "delete")
    write = Write("DELETE", type, criteria=request.query, expected=if_match(request.headers))
    return await _delete(context, request, write)


async def _delete(context: Context, request: FhirRequest, write: Write) -> FhirResponse:
    return await perform(context, write, partial(deleted, request, write.type))


def deleted(request: FhirRequest, type: str, done: Done) -> FhirResponse:
    """204 with the tombstone's ETag, or 200 with an outcome when Prefer asks for one."""
    stored = done.stored
    headers = version_headers(stored) if stored and stored.version else {}
    if prefer_return(request.headers, "minimal") != "OperationOutcome":
        return FhirResponse(204, b"", headers, updated=stored.updated if headers and stored else None)
    if stored is None:
        return FhirResponse(200, told(f"no {type} matched; nothing was deleted"))
    more = f" and {len(done.more)} more" if done.more else ""
    return FhirResponse(200, told(f"{type}/{stored.id}{more} deleted"), headers, updated=stored.updated)
