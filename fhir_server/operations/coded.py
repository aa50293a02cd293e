"""What the terminology operations are asked in common: codes, a day, and the definition that is meant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.dates import day_of
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.operations.parameters import Arguments
from fhir_server.terminology.code_systems import CodeSystem, Coding
from fhir_server.terminology.load import Terminology


async def answered(
    context: Context, question: Callable[[Terminology], Resource], place: tuple[str, ...] = ()
) -> FhirResponse:
    """The answer to a question. place: what a fault that names no place is about."""
    try:
        return FhirResponse(200, encode(await context.terminology.ask(question)))
    except FhirError as fault:
        if fault.expression or fault.issues or not place:
            raise
        raise FhirError(fault.kind, fault.diagnostics, place, headers=fault.headers) from None


async def instance(context: Context, request: FhirRequest) -> Resource | None:
    """The definition at the path of an instance operation, stored or shipped; None at the type level.

    Raises FhirError(NOT_FOUND) or FhirError(DELETED).
    """
    if len(request.segments) < 3:
        return None
    type, id = request.segments[:2]
    found = await context.store.read(type, id, context.view)
    if found is not None and found.deleted:
        raise FhirError(Kind.DELETED, f"{type}/{id} was deleted")
    if found is not None:
        resource: Resource = decode(found.raw)
        return resource
    shipped = context.terminology.shipped.resource(type, id)
    if shipped is None or shipped["id"] != id:
        raise FhirError(Kind.NOT_FOUND, f"there is no {type}/{id}")
    return shipped


def refuse_two(asked: Arguments, given: Resource | None, *names: str) -> None:
    """Of a definition in the path, sent along, and named by URL only one is meant. Raises FhirError(INVALID)."""
    sent = [name for name in names if name in asked]
    if len(sent) + (given is not None) > 1:
        meant = ["the one of the path"] if given is not None else []
        raise FhirError(Kind.INVALID, f"only one may be given: {', '.join([*meant, *sent])}", asked.at(*sent))


def code_system(terminology: Terminology, key: str, given: Resource | None, on: date | None = None) -> CodeSystem:
    """The one that was sent along or stands at the path; else, and where that has no concepts of its own, the one that
    is known by URL or `url|version`. Raises FhirError(NOT_FOUND) for one that is not, and Unread."""
    if given is not None and given.get("content") != "not-present":
        return CodeSystem(given)
    found = terminology.code_system(key, on)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"the code system {key[:200]!r} is not loaded")
    return found


def day(context: Context, asked: Arguments) -> date | None:
    """The parameter `date` as a day in the zone of the server; None, for no day in particular, when it is not given."""
    text = asked.one("date")
    return day_of(text, context.settings.zone) if text else None


def versioned(url: str, version: str | None) -> str:
    """`url|version`."""
    return f"{url}|{version}" if version and "|" not in url else url


def codings(asked: Arguments, version: str = "version") -> tuple[Coding, ...]:
    """The codes that are asked about: of `code` (with `system` and a version), `coding` or `codeableConcept`.

    Raises FhirError(REQUIRED) when none is given, FhirError(INVALID) for several.
    """
    given = [name for name in ("code", "coding", "codeableConcept") if name in asked]
    if len(given) > 1:
        raise FhirError(Kind.INVALID, f"only one may be given: {', '.join(given)}", asked.at(*given))
    if not given:
        raise FhirError(Kind.REQUIRED, "give a code with its system, or a coding", ("code",))
    if given == ["code"]:
        return (Coding(asked.one("system") or "", asked.one("code"), asked.one("display"), asked.one(version)),)
    value = asked.one(given[0])
    found = tuple(coding_of(one) for one in (value.get("coding", ()) if given[0] != "coding" else (value,)))
    if not any(one.code for one in found):
        raise FhirError(Kind.REQUIRED, "there is no coding with a code", asked.at(given[0]))
    return tuple(one for one in found if one.code)


def coding_of(value: Resource) -> Coding:
    """A Coding of FHIR JSON; system and code are "" where it has none."""
    return Coding(value.get("system", ""), value.get("code", ""), value.get("display"), value.get("version"))


def language(asked: Arguments, request: FhirRequest) -> str | None:
    """Of names and messages: `displayLanguage`, else the first of Accept-Language; None when neither names one."""
    preferred = request.headers.get("accept-language", "").split(",")[0].split(";")[0].strip()
    return asked.one("displayLanguage") or (preferred if preferred != "*" else None) or None
