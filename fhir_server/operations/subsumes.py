"""CodeSystem/$subsumes, R4."""

from __future__ import annotations

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.resources import Resource
from fhir_server.operations.coded import answered, code_system, coding_of, instance, versioned
from fhir_server.operations.parameters import Arguments, arguments
from fhir_server.terminology.code_systems import Coding
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.subsumes import outcome

DEFINITION = "http://hl7.org/fhir/OperationDefinition/CodeSystem-subsumes"


async def subsumes_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """`CodeSystem/$subsumes`: whether one code is above, below or the same as another."""
    asked = arguments(context, request, DEFINITION)
    given = await instance(context, request)
    one, other = _side(asked, "codeA", "codingA"), _side(asked, "codeB", "codingB")
    system = _system(asked, given or {}, one, other)

    def question(known: Terminology) -> Resource:
        told = outcome(code_system(known, system, given), one.code, other.code)
        return {"resourceType": "Parameters", "parameter": [{"name": "outcome", "valueCode": told}]}

    return await answered(context, question, asked.at("codingA" if "codingA" in asked else "codeA"))


def _side(asked: Arguments, code: str, coding: str) -> Coding:
    if (code in asked) == (coding in asked):
        raise FhirError(Kind.REQUIRED, f"give either {code} or {coding}", asked.at(code))
    found = coding_of(asked.one(coding)) if coding in asked else Coding("", asked.one(code))
    if not found.code:
        raise FhirError(Kind.REQUIRED, "the coding has no code", asked.at(coding))
    return found


def _system(asked: Arguments, given: Resource, one: Coding, other: Coding) -> str:
    """The one system, with its version, that both codes are of. Raises FhirError(INVALID) for two of them."""
    urls = {url for url in (asked.one("system"), given.get("url"), one.system, other.system) if url}
    versions = {text for text in (asked.one("version"), given.get("version"), one.version, other.version) if text}
    for found, what in ((urls, "system"), (versions, "version")):
        if len(found) > 1:
            told = ", ".join(sorted(found))
            raise FhirError(Kind.INVALID, f"both codes must be of one {what}, not of {told}", asked.at(what))
    if not urls:
        raise FhirError(Kind.REQUIRED, "codes mean nothing without their system", asked.at("system"))
    return versioned(urls.pop(), versions.pop() if versions else None)
