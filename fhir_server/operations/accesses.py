"""$accesses: who looked at a patient's record, for the patient and for those who may read it. An operation of our own.

Each AuditEvent is told without what it says of other patients, without the query, which may speak of them, and without
network addresses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta, timezone, tzinfo
from typing import Any
from urllib.parse import urlencode

from fhir_server.audit.telling import Told, agents_of, page, told
from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.bundles import bundle, entry
from fhir_server.model.dates import TICKS_PER_SECOND, offset_of
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.model.sealing import seal, unseal
from fhir_server.search.compartments import patient_key
from fhir_server.search.page_links import PARAMETER
from fhir_server.store.contract import Store
from fhir_server.store.values import EVERYTHING, LEDGER_TYPE, Filter, Find, Stored

_STEP = 200
_HTML = "text/html; charset=utf-8"


async def accesses_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """A searchset of AuditEvents, newest first. `_count`; `_page`: as the link to the next page has it; `as=page`: as a
    page for people, in Vietnamese and English."""
    id, asked = request.segments[1], dict(request.query)
    if await context.store.read("Patient", id, context.view) is None:
        raise FhirError(Kind.NOT_FOUND, f"Patient/{id} is not known here")
    await context.trail.flush()
    key, purpose = await context.store.secret("page-links"), f"accesses {id} {context.caller.fingerprint}".encode()
    older: Filter = {}
    limit = _limit(context, asked.get("_count"))
    if PARAMETER in asked:
        older, limit = _opened(asked[PARAMETER], key, purpose)
    found = await _page(context.store, id, limit + 1, [older])
    url, kept = f"{context.base}/Patient/{id}/$accesses", found[:limit]
    events = [of_one(decode(one.raw), f"Patient/{id}") for one in kept]
    sealed = seal(f"{kept[-1].id} {kept[-1].updated} {limit}".encode(), key, purpose) if len(found) > limit else None
    following = sealed and f"{url}?{PARAMETER}={sealed}"
    if asked.get("as") == "page":
        rows = await told_of(context.store, events, id, zone_of(context.settings))
        return FhirResponse(200, page(rows, id, following and f"{following}&as=page"), media_type=_HTML)
    own = f"{url}?{urlencode(request.query)}" if request.query else url
    links = [("self", own), *((("next", following),) if following else ())]
    entries = [entry(raw=encode(event), search={"mode": "match"}) for event in events]
    return FhirResponse(200, bundle("searchset", entries, links=links))


async def told_of(store: Store, events: Sequence[Resource], patient: str, zone: tzinfo) -> list[Told]:
    """The events as people read them, with the names of practitioners and organisations."""
    ids: dict[str, set[str]] = defaultdict(set)
    for reference in {reference for event in events for reference in agents_of(event)}:
        type, _, id = reference.partition("/")
        if type in ("Practitioner", "Organization"):
            ids[type].add(id)
    names = {
        f"{type}/{id}": name
        for type, wanted in ids.items()
        for id, stored in (await store.read_many(type, sorted(wanted), EVERYTHING)).items()
        if (name := _name(decode(stored.raw)))
    }
    return [told(event, f"Patient/{patient}", names, zone) for event in events]


def zone_of(settings: Settings) -> tzinfo:
    """The zone in which the installation tells times."""
    return timezone(timedelta(seconds=offset_of(settings.zone) // TICKS_PER_SECOND))


def _name(resource: Resource) -> str:
    """Of an Organization or a Practitioner; "" when it has none."""
    name = resource.get("name")
    if isinstance(name, str):
        return name
    first = name[0] if name else {}
    return str(first.get("text") or " ".join([first.get("family", ""), *first.get("given", ())]).strip())


async def accesses_of(store: Store, patient: str, since: int | None) -> AsyncIterator[Stored]:
    """All of them, the latest first. since: from this time on, ms."""
    older: list[Filter] = [{"u": {"$gte": since}}] if since is not None else []
    more: list[Filter] = []
    while True:
        found = await _page(store, patient, _STEP, [*older, *more])
        for event in found:
            yield event
        if len(found) < _STEP:
            return
        more = [_before(found[-1].updated, found[-1].id)]


async def _page(store: Store, patient: str, limit: int, more: list[Filter]) -> list[Stored]:
    filter: Filter = {"$and": [{"k": patient_key(patient)}, *more]}
    return await store.find(Find(LEDGER_TYPE, filter, (("u", -1), ("_id", -1)), limit), EVERYTHING)


def _opened(text: str, key: bytes, purpose: bytes) -> tuple[Filter, int]:
    """What comes after the last page, and how many a page has. Raises FhirError VALUE."""
    opened = unseal(text, key, purpose)
    if opened is None:
        raise FhirError(Kind.VALUE, "this is no page link of this server", (PARAMETER,))
    id, updated, limit = opened.decode().split(" ")
    return _before(int(updated), id), int(limit)


def _before(updated: int, id: str) -> Filter:
    earlier = {"$or": [{"u": {"$lt": updated}}, {"u": updated, "_id": {"$lt": id}}]}
    return {"$and": [{"u": {"$lte": updated}}, earlier]}


def _limit(context: Context, text: str | None) -> int:
    if text is None:
        return context.settings.page_size
    if not text.isdigit() or not 0 < int(text[:9]) <= context.settings.page_limit:
        raise FhirError(Kind.VALUE, f"_count is a number up to {context.settings.page_limit}", ("_count",))
    return int(text)


def of_one(event: Resource, patient: str) -> dict[str, Any]:
    """The event as this patient may see it: the agents, and of the entities those that are the patient's own."""
    entities = [one for one in event.get("entity") or () if _names(one, patient)]
    agents = [{name: value for name, value in agent.items() if name != "network"} for agent in event["agent"]]
    kept = {name: value for name, value in event.items() if name != "entity"} | {"agent": agents}
    return {**kept, **({"entity": entities} if entities else {})}


def _names(entity: Resource, patient: str) -> bool:
    reference: str = (entity.get("what") or {}).get("reference", "")
    return reference.partition("/_history/")[0] == patient
