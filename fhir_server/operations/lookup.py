"""CodeSystem/$lookup, R4."""

from __future__ import annotations

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.operations.coded import answered, codings, day, language, versioned
from fhir_server.operations.parameters import arguments
from fhir_server.terminology.lookup import lookup

DEFINITION = "http://hl7.org/fhir/OperationDefinition/CodeSystem-lookup"


async def lookup_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """`CodeSystem/$lookup`: name, version, display, designations and properties of one code."""
    asked = arguments(context, request, DEFINITION)
    coding, on = codings(asked)[0], day(context, asked)
    if not coding.system:
        raise FhirError(Kind.REQUIRED, "a code means nothing without its system", asked.at("system"))
    system = versioned(coding.system, coding.version)
    wanted, spoken = asked.all("property"), language(asked, request)
    return await answered(
        context,
        lambda known: lookup(known, system, coding.code, on, spoken, wanted),
        asked.at("coding" if "coding" in asked else "code"),
    )
