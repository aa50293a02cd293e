"""Patient/[id]/$everything: a person's whole record, page by page. R4 operation Patient-everything.

It is the search of the patient's compartment with what its resources point at outside of it (facilities, practitioners,
medications), so rights, consents, pages and limits are those of a search.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse, Pairs
from fhir_server.interactions.search import asked_page, searchset
from fhir_server.operations.parameters import arguments
from fhir_server.search.page_links import PARAMETER, Page
from fhir_server.search.parameters import Parameters
from fhir_server.search.parse import Search, parse, parse_parameter
from fhir_server.search.primary_dates import primary_dates
from fhir_server.search.result_parameters import Inclusion
from fhir_server.search.tree import And, Node, Or
from fhir_server.store.values import LEDGER_TYPE

_DEFINITION = "http://hl7.org/fhir/OperationDefinition/Patient-everything"
_BOUNDS = (("start", "ge"), ("end", "le"))
_BORN = "birthdate"  # orders people, and is no date of care


async def everything_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """A searchset: the Patient, what is in the compartment, and what that points at. start, end: dates of care, which
    leave out what has a date outside of them. _since, _type and _count are those of a search.

    Raises FhirError NOT_FOUND, DELETED, and INVALID or VALUE for parameters that make no sense.
    """
    type, id = request.segments[:2]
    stored = await context.store.read(type, id, context.view)
    if stored is None or stored.deleted:
        kind = Kind.NOT_FOUND if stored is None else Kind.DELETED
        raise FhirError(kind, f"{type}/{id} is not here")
    if any(name == PARAMETER for name, _ in request.query):
        page = await asked_page(context, request, request.segments)
    else:
        page = Page(request.segments, _asked(context, request), strict=True)
    context.rights.require_any("search")
    context = context.with_(view=context.rights.view("search"))
    return await searchset(context, _search(context, id, page.query), page)


def _asked(context: Context, request: FhirRequest) -> Pairs:
    """The parameters as pairs, which page links carry on."""
    found = arguments(context, request, _DEFINITION)
    pairs = [(name, str(found.one(name))) for name in ("start", "end", "_since", "_count") if name in found]
    return (*pairs, *(("_type", str(type)) for type in found.all("_type")))


def _search(context: Context, id: str, asked: Pairs) -> Search:
    parameters, given = context.search.parameters, dict(asked)
    members = parameters.compartment("Patient")
    # The record of accesses, which each answer makes longer, only where it is named.
    others = members - {"Patient"} if "_type" in given else members - {"Patient", LEDGER_TYPE}
    criteria = [(name, value) for name, value in asked if name in ("_type", "_count")]
    if "_since" in given:
        criteria.append(("_lastUpdated", "ge" + given["_since"]))
    parsed = parse(
        parameters,
        ("Patient", *sorted(others)),
        tuple(criteria),
        strict=True,
        page_size=context.settings.page_size,
        page_limit=context.settings.page_limit,
        compartment=("Patient", id),
    )
    trees = tuple((type, And((tree, *_care(parameters, type, given)))) for type, tree in parsed.trees)
    beside = Inclusion("*", "*", None, reverse=False, iterate=False, besides=members)
    return replace(parsed, trees=trees, results=replace(parsed.results, inclusions=(beside,)), used=asked)


def _care(parameters: Parameters, type: str, given: Mapping[str, str]) -> list[Node]:
    """For each bound that was given: the date of care is within it, or there is none."""
    dates = [code for code in primary_dates(type) if code != _BORN]
    bounds = [prefix + given[name] for name, prefix in _BOUNDS if name in given] if dates else []
    undated = And(tuple(parse_parameter(parameters, type, f"{code}:missing", "true") for code in dates))
    return [Or((*(parse_parameter(parameters, type, code, bound) for code in dates), undated)) for bound in bounds]
