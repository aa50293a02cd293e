"""CodeSystem/$validate-code and ValueSet/$validate-code, R4."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.resources import Resource
from fhir_server.operations.coded import answered, code_system, codings, day, instance, language, refuse_two, versioned
from fhir_server.operations.parameters import Arguments, arguments
from fhir_server.operations.value_set import value_set
from fhir_server.terminology.code_systems import Coding
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.validate_code import Asked, Judgement, judge, member

OF_CODE_SYSTEM = "http://hl7.org/fhir/OperationDefinition/CodeSystem-validate-code"
OF_VALUE_SET = "http://hl7.org/fhir/OperationDefinition/ValueSet-validate-code"


async def validate_in_code_system(context: Context, request: FhirRequest) -> FhirResponse:
    """`CodeSystem/$validate-code`: whether a code is one of a code system, and whether its display is right."""
    asked = arguments(context, request, OF_CODE_SYSTEM)
    given = await instance(context, request)
    refuse_two(asked, given, "codeSystem", "url")
    given = given or asked.one("codeSystem")
    wanted, code = _wanted(context, asked, request), codings(asked)
    url = asked.one("url") or (given or {}).get("url")

    def one(known: Terminology, coding: Coding) -> Judgement:
        system = url or coding.system
        if not system:
            raise FhirError(Kind.REQUIRED, "name the code system by url", asked.at("url"))
        if coding.system not in ("", system):
            return Judgement(False, f"{coding.system} is not {system}", f"{coding.system} không phải là {system}")
        version = asked.one("version") or coding.version or (given or {}).get("version")
        found = code_system(known, versioned(system, version), given, wanted.on)
        return judge(known, found, coding.code, _with_display(wanted, coding))

    return await answered(context, _question(code, one, language(asked, request)), asked.at("url"))


async def validate_in_value_set(context: Context, request: FhirRequest) -> FhirResponse:
    """`ValueSet/$validate-code`: whether a code is one of a value set, and whether its display is right."""
    asked = arguments(context, request, OF_VALUE_SET)
    given = await instance(context, request)
    wanted, code = _wanted(context, asked, request), codings(asked, "systemVersion")
    if "code" in asked and not asked.one("system") and "context" not in asked:
        raise FhirError(Kind.REQUIRED, "a code needs its system, or a context that tells it", asked.at("system"))
    find = value_set(context, asked, given, wanted.on)

    def one(known: Terminology, coding: Coding) -> Judgement:
        return member(known, find(known), coding, _with_display(wanted, coding))

    return await answered(context, _question(code, one, language(asked, request)), asked.at("url"))


def _wanted(context: Context, asked: Arguments, request: FhirRequest) -> Asked:
    """An abstract code is good only where the caller says so (R4: parameter `abstract`)."""
    abstract = asked.one("abstract") is True
    return Asked(asked.one("display"), abstract, day(context, asked), language(asked, request))


def _with_display(wanted: Asked, coding: Coding) -> Asked:
    return Asked(wanted.display or coding.display, wanted.abstract, wanted.on, wanted.language)


def _question(
    codes: Iterable[Coding], judged: Callable[[Terminology, Coding], Judgement], language: str | None
) -> Callable[[Terminology], Resource]:
    """One good coding of a CodeableConcept is enough; where none is, what is told of the first."""

    def question(known: Terminology) -> Resource:
        judgements = [judged(known, coding) for coding in codes]
        best = next((one for one in judgements if one.valid), judgements[0])
        return best.resource(language)

    return question
