"""$accesses: who looked at a patient's record, for the patient and for those who may read it. An operation of our own.

Each AuditEvent is told without what it says of other patients, and without the query, which may speak of them.
"""

from __future__ import annotations

from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.bundles import bundle, entry
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.search.compartments import patient_key
from fhir_server.store.contract import EVERYTHING, Filter, Find

TYPE = "AuditEvent"


async def accesses_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """A searchset of AuditEvents, newest first. `_count`; `before`: the id that the last page ended with."""
    id, asked = request.segments[1], dict(request.query)
    if await context.store.read("Patient", id, context.view) is None:
        raise FhirError(Kind.NOT_FOUND, f"Patient/{id} is not known here")
    limit = _limit(context, asked.get("_count"))
    filter: Filter = {"$and": [{"k": patient_key(id)}, *await _older(context, asked.get("before"))]}
    found = await context.store.find(Find(TYPE, filter, (("u", -1), ("_id", -1)), limit + 1), EVERYTHING)
    told, url = found[:limit], f"{context.base}/Patient/{id}/$accesses"
    links = [("self", url)]
    if len(found) > limit:
        links.append(("next", f"{url}?_count={limit}&before={told[-1].id}"))
    entries = [entry(raw=encode(_of_one(decode(one.raw), f"Patient/{id}")), search={"mode": "match"}) for one in told]
    return FhirResponse(200, bundle("searchset", entries, links=links))


async def _older(context: Context, before: str | None) -> list[Filter]:
    if before is None:
        return []
    last = await context.store.read(TYPE, before, EVERYTHING)
    if last is None:
        raise FhirError(Kind.VALUE, "before is the id of no event", ("before",))
    return [{"$or": [{"u": {"$lt": last.updated}}, {"u": last.updated, "_id": {"$lt": last.id}}]}]


def _limit(context: Context, text: str | None) -> int:
    if text is None:
        return context.settings.page_size
    if not text.isdigit() or not 0 < int(text[:9]) <= context.settings.page_limit:
        raise FhirError(Kind.VALUE, f"_count is a number up to {context.settings.page_limit}", ("_count",))
    return int(text)


def _of_one(event: Resource, patient: str) -> dict[str, Any]:
    """The event as this patient may see it: the agents, and of the entities those that are the patient's own."""
    entities = [one for one in event.get("entity") or () if (one.get("what") or {}).get("reference") == patient]
    kept = {name: value for name, value in event.items() if name != "entity"}
    return {**kept, **({"entity": entities} if entities else {})}
