"""ValueSet/$expand, R4."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.dates import instant
from fhir_server.model.resources import Resource
from fhir_server.operations.coded import answered, day, instance, language
from fhir_server.operations.parameters import Arguments, arguments
from fhir_server.operations.value_set import value_set
from fhir_server.terminology.expand import Expansion, expand
from fhir_server.terminology.load import Terminology

DEFINITION = "http://hl7.org/fhir/OperationDefinition/ValueSet-expand"

# What an expansion tells of how it was asked for (R4 ValueSet, expansion), with the name of the value[x].
_TOLD = {
    "filter": "valueString",
    "date": "valueDateTime",
    "offset": "valueInteger",
    "count": "valueInteger",
    "includeDesignations": "valueBoolean",
    "designation": "valueString",
    "includeDefinition": "valueBoolean",
    "activeOnly": "valueBoolean",
    "excludeNested": "valueBoolean",
    "excludeNotForUI": "valueBoolean",
    "excludePostCoordinated": "valueBoolean",
    "displayLanguage": "valueCode",
    "exclude-system": "valueUri",
    "system-version": "valueUri",
    "check-system-version": "valueUri",
    "force-system-version": "valueUri",
}


async def expand_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """`ValueSet/$expand`: the codes of a value set, by page, by words of their names, as of a day."""
    asked = arguments(context, request, DEFINITION)
    wanted = _wanted(context, asked, language(asked, request))
    find = value_set(context, asked, await instance(context, request), wanted.on)
    pinned, forced = _versions(asked, "system-version"), _versions(asked, "force-system-version")
    told = partial(expand, asked=wanted, timestamp=instant(context.clock()), identifier=f"urn:uuid:{context.new_id()}")

    def question(known: Terminology) -> Resource:
        meant = known.pinned(pinned, forced) if pinned or forced else known
        return told(meant, find(meant))

    return await answered(context, question, asked.at("url" if "url" in asked else "valueSet"))


def _wanted(context: Context, asked: Arguments, spoken: str | None) -> Expansion:
    for name in ("offset", "count"):
        if (asked.one(name) or 0) < 0:
            raise FhirError(Kind.VALUE, f"{name} must not be negative", asked.at(name))
    return Expansion(
        filter=asked.one("filter"),
        offset=asked.one("offset") or 0,
        count=asked.one("count"),
        active_only=asked.one("activeOnly") is True,
        include_designations=asked.one("includeDesignations") is True,
        include_definition=asked.one("includeDefinition") is True,
        designations=asked.all("designation"),
        display_language=spoken,
        selectable=asked.one("excludeNotForUI") is True,
        without=frozenset(url.partition("|")[0] for url in asked.all("exclude-system")),
        checked=_versions(asked, "check-system-version"),
        on=day(context, asked),
        told=tuple(_told(asked)),
    )


def _told(asked: Arguments) -> Iterable[tuple[str, str, Any]]:
    for name, key in _TOLD.items():
        for value in asked.all(name):
            yield name, key, value


def _versions(asked: Arguments, name: str) -> dict[str, str]:
    """`url|version`, as several parameters of this name. Raises FhirError(VALUE) for one without a version."""
    found = {}
    for canonical in asked.all(name):
        url, _, version = canonical.partition("|")
        if not version:
            raise FhirError(Kind.VALUE, f"{name} is system|version", asked.at(name))
        found[url] = version
    return found
