"""batch: every entry on its own, several at a time. R4 RESTful API, batch."""

from __future__ import annotations

import asyncio

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.content import resource_of
from fhir_server.interactions.entries import answered, entry_request, placed, refused, with_entries
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse, Shown
from fhir_server.interactions.transaction import transaction
from fhir_server.model.bundles import bundle
from fhir_server.store.cancellation import heed_cancellation

AT_ONCE = 8  # entries of one batch in flight: enough to hide the database's latency, few enough to be fair to others


async def batch_or_transaction(context: Context, request: FhirRequest) -> FhirResponse:
    """POST of a Bundle to the base URL; its type says which of the two is meant."""
    received = resource_of(request)
    if received.get("resourceType") != "Bundle":
        raise FhirError(Kind.INVALID, "only a Bundle can be posted to the base URL", ("resourceType",))
    kind = received.get("type")
    if kind not in ("batch", "transaction"):
        text = "Bundle.type must be batch or transaction here; other bundles are stored by POST to /Bundle"
        raise FhirError(Kind.INVALID, text, ("Bundle.type",))
    received = with_entries(context, received)
    if kind == "transaction":
        return await transaction(context, request, received)
    return await batch(context, request, received["entry"])


async def batch(context: Context, request: FhirRequest, items: list[object]) -> FhirResponse:
    """200 with a batch-response of one entry an entry; a failed entry fails alone."""
    answers = [b""] * len(items)
    places = iter(range(len(items)))

    async def some() -> None:
        for place in places:
            heed_cancellation()
            answers[place] = await _run(context, request, place, items[place])

    # A group, so that nothing is still being written after an answer, whatever goes wrong.
    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(items))):
            group.create_task(some())
    return FhirResponse(200, bundle("batch-response", answers), shown=Shown(interaction="batch"))


async def _run(context: Context, request: FhirRequest, place: int, item: object) -> bytes:
    at = f"Bundle.entry[{place}]"
    try:
        asked = entry_request(item, at, context.base, request.headers)
        if not asked.segments and asked.method == "POST":
            raise FhirError(Kind.INVALID, "a bundle inside a batch is not allowed", (at,))
        within = context.with_(once=context.once.part(str(place))) if context.once else context
        response = await context.dispatch(within, asked)
        return answered(response, asked, request.headers)
    except FhirError as fault:
        resource = item.get("resource") if isinstance(item, dict) else None
        type = resource.get("resourceType") if isinstance(resource, dict) else None
        issues = placed(fault.all_issues(), at, type if isinstance(type, str) else None)
        return refused(FhirError(fault.kind, fault.diagnostics, issues=tuple(issues)), request.headers)
