"""ConceptMap/$translate, R4."""

from __future__ import annotations

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.resources import Resource
from fhir_server.operations.coded import answered, codings, instance, refuse_two, versioned
from fhir_server.operations.parameters import Arguments, arguments
from fhir_server.terminology.concept_maps import ConceptMap, Dependency
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.translate import Asked, fitting, translation

DEFINITION = "http://hl7.org/fhir/OperationDefinition/ConceptMap-translate"


async def translate_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """`ConceptMap/$translate`: codes of one system or value set in another, by the map that is named or by all that
    fit; with `reverse` from target to source."""
    asked = arguments(context, request, DEFINITION)
    given = await instance(context, request)
    refuse_two(asked, given, "conceptMap", "url")
    given = given or asked.one("conceptMap")
    wanted = _wanted(asked)
    if given is None and "url" not in asked and not any(coding.system for coding in wanted.codings):
        raise FhirError(Kind.REQUIRED, "name the map by url, or the system of the code", asked.at("url"))

    def question(known: Terminology) -> Resource:
        return translation(known, _maps(known, asked, given, wanted), wanted)

    return await answered(context, question, asked.at("url"))


def _maps(known: Terminology, asked: Arguments, given: Resource | None, wanted: Asked) -> list[ConceptMap]:
    if given is not None:
        return [ConceptMap(given)]
    if "url" not in asked:
        return fitting(known, wanted)
    key = versioned(asked.one("url"), asked.one("conceptMapVersion"))
    found = known.concept_map(key)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"the concept map {key[:200]!r} is not loaded", asked.at("url"))
    return [found]


def _wanted(asked: Arguments) -> Asked:
    return Asked(
        codings=codings(asked),
        target=asked.one("targetsystem"),
        target_set=asked.one("target"),
        source_set=asked.one("source"),
        reverse=asked.one("reverse") is True,
        known=tuple(one for parts in asked.all("dependency") for one in _dependencies(parts)),
    )


def _dependencies(parts: Arguments) -> list[Dependency]:
    element, concept = parts.one("element") or "", parts.one("concept") or {}
    codings = [(one.get("system"), one.get("code", "")) for one in concept.get("coding", ())]
    return [Dependency(element, *pair) for pair in codings or [(None, concept.get("text", ""))]]
