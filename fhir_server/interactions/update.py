"""update, update as create, and conditional update. R4 RESTful API, update."""

from __future__ import annotations

from functools import partial

from fhir_server.interactions.content import answer, resource_of
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.headers import if_match, is_create_only
from fhir_server.interactions.planning import writable_type
from fhir_server.interactions.unlisted import with_warnings
from fhir_server.interactions.write import Write
from fhir_server.interactions.writing import perform


async def update(context: Context, request: FhirRequest) -> FhirResponse:
    """200, or 201 when it is new. If-Match makes it version-aware (412), If-None-Match: * create only (412)."""
    type, id = request.segments
    writable_type(context, type, "update")
    write = Write(
        "PUT",
        type,
        id=id,
        resource=resource_of(request),
        expected=if_match(request.headers),
        create_only=is_create_only(request.headers),
    )
    response = await perform(context, write, partial(answer, context, request, type))
    return await with_warnings(context, request, write.resource or {}, response)


async def conditional_update(context: Context, request: FhirRequest) -> FhirResponse:
    """The criteria are the query of the URL; none at all is refused, for it would match everything."""
    type = request.segments[0]
    writable_type(context, type, "update")
    write = Write(
        "PUT",
        type,
        criteria=request.query,
        resource=resource_of(request),
        expected=if_match(request.headers),
        create_only=is_create_only(request.headers),
    )
    response = await perform(context, write, partial(answer, context, request, type))
    return await with_warnings(context, request, write.resource or {}, response)
