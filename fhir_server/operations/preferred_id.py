"""NamingSystem/$preferred-id, R4."""

from __future__ import annotations

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.resources import encode
from fhir_server.operations.parameters import arguments
from fhir_server.terminology.naming import preferred_of

DEFINITION = "http://hl7.org/fhir/OperationDefinition/NamingSystem-preferred-id"
_TYPES = ("oid", "uuid", "uri", "other")


async def preferred_id_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """`NamingSystem/$preferred-id`: the name of a kind of number or code system that is to be used, of one sort."""
    asked = arguments(context, request, DEFINITION)
    id, type = asked.one("id"), asked.one("type")
    if type not in _TYPES:
        raise FhirError(Kind.VALUE, f"type is one of {', '.join(_TYPES)}, not {type[:32]!r}", asked.at("type"))
    found = preferred_of(context.terminology.naming_systems(), id, type)
    found = found or context.terminology.naming.preferred_id(id, type)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"no naming system gives {id[:200]!r} a name of type {type}", asked.at("id"))
    told = {"resourceType": "Parameters", "parameter": [{"name": "result", "valueString": found}]}
    return FhirResponse(200, encode(told))
