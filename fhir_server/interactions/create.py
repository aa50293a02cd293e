"""create and conditional create. R4 RESTful API, create."""

from __future__ import annotations

from functools import partial

from fhir_server.interactions.content import answer, resource_of
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.planning import writable_type
from fhir_server.interactions.unlisted import with_warnings
from fhir_server.interactions.write import Write
from fhir_server.interactions.writing import perform
from fhir_server.search.parse import query_pairs


async def create(context: Context, request: FhirRequest) -> FhirResponse:
    """201 with the new resource; with If-None-Exist, 200 with the one that matched. An id in the body is ignored."""
    type = request.segments[0]
    writable_type(context, type, "create")
    write = write_of(request, type)
    response = await perform(context, write, partial(answer, context, request, type))
    return await with_warnings(context, request, write.resource or {}, response)


def write_of(request: FhirRequest, type: str) -> Write:
    condition = request.headers.get("if-none-exist")
    # fhirpy's get-or-create posts the condition in the URL; R4 leaves a query on create undefined.
    criteria = query_pairs(condition.partition("?")[2] or condition) if condition is not None else request.query or None
    return Write("POST", type, criteria=criteria, resource=resource_of(request))
