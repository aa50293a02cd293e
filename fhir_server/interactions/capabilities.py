"""capabilities: GET /metadata, made from capability_statement.json.

R4 RESTful API, capabilities; R4 CapabilityStatement and TerminologyCapabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from fhir_server.config import FHIR_VERSION, VERSION
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.resources import Resource, encode
from fhir_server.terminology.load import Terminology

_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_EXPAND = "http://hl7.org/fhir/OperationDefinition/ValueSet-expand"
MODES = ("full", "normative", "terminology")
# The elements that R4 marks as trial use in its definition of CapabilityStatement; mode=normative leaves them out.
_TRIAL_USE = {
    "statement": frozenset({"useContext", "imports", "messaging", "document"}),
    "rest": frozenset({"security"}),
    "resource": frozenset(
        {
            "supportedProfile",
            "versioning",
            "readHistory",
            "updateCreate",
            "conditionalCreate",
            "conditionalRead",
            "conditionalUpdate",
            "conditionalDelete",
            "referencePolicy",
            "searchInclude",
            "searchRevInclude",
        }
    ),
}


async def capabilities(context: Context, request: FhirRequest) -> FhirResponse:
    """The statement with this installation's own facts. mode: full, normative or terminology."""
    mode = dict(request.query).get("mode", "full")
    if mode not in MODES:
        raise FhirError(Kind.VALUE, f"mode is one of {', '.join(MODES)}, not {mode[:32]!r}", ("mode",))
    if mode == "terminology":
        return FhirResponse(200, encode(terminology(context)))
    told = await statement(context)
    return FhirResponse(200, encode(_normative(told) if mode == "normative" else told))


async def smart_configuration(context: Context, request: FhirRequest) -> FhirResponse:
    """What an app must know to get an access token: SMART App Launch 2, section "Conformance". 404 in open mode."""
    if context.smart is None:
        raise FhirError(Kind.NOT_FOUND, "this server is in open mode: nobody is asked who they are")
    return FhirResponse(200, encode(_told(context, await context.smart())), media_type="application/json")


def token_endpoint(context: Context) -> str:
    """Where registered systems get their tokens: beside the base URL, at `/token` of the same host."""
    parts = urlsplit(context.base)
    return f"{parts.scheme}://{parts.netloc}/token"


def _told(context: Context, smart: Mapping[str, Any]) -> dict[str, Any]:
    """With our own token endpoint, where no authorization server has one."""
    own = {"token_endpoint": token_endpoint(context)} if "client_credentials" in smart["grant_types_supported"] else {}
    return {**own, **smart}


async def statement(context: Context) -> Resource:
    """The CapabilityStatement: what is declared, where it is served, its version and its time zone."""
    told = {**context.capability.statement, "fhirVersion": FHIR_VERSION, **_installation(context)}
    guides = context.validator.conformance.guides if context.validator.conformance else ()
    if guides:
        told["implementationGuide"] = [*told.get("implementationGuide", ()), *guides]
    smart = _told(context, await context.smart()) if context.smart is not None else None
    rest = [_with_additions(context, one) for one in told.get("rest", ())]
    return {**told, "rest": rest if smart is None else [{**one, "security": _security(context, smart)} for one in rest]}


def _security(context: Context, smart: Mapping[str, Any]) -> Resource:
    """CapabilityStatement.rest.security, as apps of SMART App Launch 1 read it."""
    uris = [
        {"url": name, "valueUri": smart[member]}
        for name, member in (("authorize", "authorization_endpoint"), ("token", "token_endpoint"))
        if member in smart
    ]
    service = {"coding": [{"system": _SERVICE, "code": "SMART-on-FHIR"}], "text": "SMART App Launch 2, OAuth 2"}
    security: Resource = {"cors": bool(context.settings.cors_origins), "service": [service]}
    if uris:
        security["extension"] = [{"url": _OAUTH_URIS, "extension": uris}]
    return security


def _with_additions(context: Context, rest: Resource) -> Resource:
    """What is declared, the search parameters that stored SearchParameter resources have added, and the profiles that
    are loaded."""
    supported = context.validator.conformance.supported if context.validator.conformance else {}
    resources = []
    for entry in rest.get("resource", ()):
        added = context.search.parameters.added(entry["type"]).values()
        more = [{"name": param.code, "definition": param.url, "type": param.type} for param in added]
        profiles = [*entry.get("supportedProfile", ()), *supported.get(entry["type"], ())]
        entry = {**entry, "supportedProfile": profiles} if profiles else entry
        resources.append({**entry, "searchParam": [*entry.get("searchParam", ()), *more]} if more else entry)
    return {**rest, "resource": resources}


def terminology(context: Context) -> Resource:
    """The TerminologyCapabilities: every code system that is known with its versions, and what can be asked."""
    declared = context.capability.statement
    known = context.terminology.scope()
    systems = groupby(known.versions("CodeSystem"), key=lambda pair: pair[0])
    return {
        "resourceType": "TerminologyCapabilities",
        "name": f"{declared['name']}Terminology",
        "status": declared["status"],
        "date": declared["date"],
        "kind": "instance",
        **_installation(context),
        "codeSystem": [_system(known, url, [version for _, version in pairs if version]) for url, pairs in systems],
        "expansion": {
            "hierarchical": False,
            "paging": True,
            "incomplete": False,
            "parameter": [{"name": one.name} for one in context.definitions.operation_parameters(_EXPAND)],
            "textFilter": "Each word of the filter must begin a word of one of the names; letter case and marks do not "
            "matter (`than` finds Thành). One word alone may begin the code instead.",
        },
        "codeSearch": "explicit",
        "validateCode": {"translations": True},
        "translation": {"needsMap": False},
    }


def _installation(context: Context) -> Resource:
    zone = context.settings.zone
    return {
        "software": {"name": "fhir-server-vn", "version": VERSION},
        "implementation": {
            "description": f"FHIR server for Vietnamese health records; dates without a time zone are read as {zone}",
            "url": context.base,
        },
    }


def _system(known: Terminology, url: str, versions: list[str]) -> Resource:
    """isDefault: the version that is meant today by the URL alone."""
    if not versions:
        return {"uri": url}
    meant = known.entry("CodeSystem", url)
    default = meant.head.version if meant is not None else None
    return {"uri": url, "version": [{"code": one, "isDefault": one == default} for one in versions]}


def _normative(told: Resource) -> Resource:
    rest = [
        _without("rest", {**one, "resource": [_without("resource", item) for item in one.get("resource", [])]})
        for one in told.get("rest", [])
    ]
    return _without("statement", {**told, "rest": rest})


def _without(level: str, value: Resource) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name not in _TRIAL_USE[level]}
