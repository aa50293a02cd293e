"""Warns of codes that their lists do not have: where somebody asks how a write went, and in $validate."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from fhir_server.definitions.load import Definitions
from fhir_server.errors import Issue
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.headers import language, prefer_return
from fhir_server.interactions.planning import faults
from fhir_server.model.outcomes import outcome
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.terminology.unlisted import Steps, day_of_record, unlisted


async def unlisted_codes(context: Context, resource: Resource) -> list[Issue]:
    """A warning for each code that its list does not have on the day of the resource, with its nearest neighbours."""
    on = day_of_record(resource, context.settings.zone)
    found = await context.terminology.ask(lambda known: unlisted(known, resource, on))
    return [one.issue(_fhirpath(context.definitions, resource, one.steps)) for one in found]


def _fhirpath(definitions: Definitions, resource: Resource, steps: Steps) -> str:
    """FHIRPath names a choice without its type."""
    value: Any = resource
    path = type = str(resource["resourceType"])
    names: list[str] = []
    for step in steps:
        value = value[step]
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            names.append(step)
            element = definitions.element(type, ".".join(names))
            path += f".{element.name if element is not None else step}"
        if isinstance(value, dict) and "resourceType" in value:
            type, names = value["resourceType"], []
    return path


async def with_warnings(
    context: Context, request: FhirRequest, resource: Resource, response: FhirResponse
) -> FhirResponse:
    """The answer to a write; with Prefer: return=OperationOutcome it tells of such codes, too, and what validation has
    to say that is no error."""
    if not response.body or prefer_return(request.headers, "") != "OperationOutcome":
        return response
    found = await faults(context, resource, str(resource.get("resourceType")))
    issues = [*(one for one in found if not one.is_error), *await unlisted_codes(context, resource)]
    if not issues:
        return response
    told = outcome(issues, language(request.headers))["issue"]
    body = decode(response.body)
    return replace(response, body=encode({**body, "issue": [*body["issue"], *told]}))
