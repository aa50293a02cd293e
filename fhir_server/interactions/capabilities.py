"""capabilities: GET /metadata, made from capability_statement.json. R4 sections 3.1.0.10 and 5.2."""

from __future__ import annotations

from fhir_server.config import FHIR_VERSION, VERSION
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.resources import Resource, encode


async def capabilities(context: Context, request: FhirRequest) -> FhirResponse:
    """The statement with this installation's own facts: where it is, its version, its time zone."""
    mode = dict(request.query).get("mode", "full")
    if mode not in ("full", "normative"):
        raise FhirError(Kind.NOT_IMPLEMENTED, f"/metadata has the modes full and normative, not {mode[:32]!r}")
    return FhirResponse(200, encode(statement(context)))


def statement(context: Context) -> Resource:
    declared = context.capability.statement
    zone = context.settings.zone
    return {
        **declared,
        "fhirVersion": FHIR_VERSION,
        "software": {"name": "fhir-server-vn", "version": VERSION},
        "implementation": {
            "description": f"FHIR server for Vietnamese health records; dates without a time zone are read as {zone}",
            "url": context.base,
        },
    }
