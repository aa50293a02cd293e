"""CodeSystem/$lookup: what is known of a code. R4 section 4.8.16."""

from __future__ import annotations

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.resources import encode
from fhir_server.operations.parameters import Arguments, arguments
from fhir_server.terminology.lookup import lookup

DEFINITION = "http://hl7.org/fhir/OperationDefinition/CodeSystem-lookup"


async def lookup_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """`CodeSystem/$lookup`: name, version, display, designations and properties of one code."""
    asked = arguments(context, request, DEFINITION)
    system, code = _coded(asked)
    return FhirResponse(200, encode(lookup(context.terminology, system, code)))


def _coded(asked: Arguments) -> tuple[str, str]:
    """The system and the code: as two parameters, or as one Coding."""
    coding = asked.one("coding")
    if coding is None:
        coding = {"system": asked.one("system"), "code": asked.one("code")}
    elif "code" in asked or "system" in asked:
        raise FhirError(Kind.INVALID, "give either coding, or system and code", asked.at("coding", "code"))
    if not coding.get("system") or not coding.get("code"):
        raise FhirError(Kind.REQUIRED, "a code needs its system: give system and code, or coding", asked.at("coding"))
    return coding["system"], coding["code"]
