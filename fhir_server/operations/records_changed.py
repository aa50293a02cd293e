"""$records-changed: the basic group of everybody who changed since a moment, each once, in the order of commits.

An operation of our own, for synchronising with another platform. _since: an instant, or the token of the last answer;
without it everybody is read first. _count: people a page. The answer is a transaction Bundle that the other side can
post as it is: PUT for what is there, DELETE for what is gone; its identifier is the token to go on with, and it has a
link `next` while there is more. format=basic: the same people as records, one JSON object a line, the token last.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import quote

import orjson
import structlog

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.background import again_and_again
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.model.resources import Resource, encode
from fhir_server.operations.record import export_named
from fhir_server.records.changed import ChangedPeople, changed_people
from fhir_server.records.export import Export
from fhir_server.records.export_people import became, compartments, records_of, types_of

LOOK_SECONDS = 5.0
PEOPLE, MOST_PEOPLE = 100, 1_000
_PARAMETERS = ("_since", "_count", "format")
_SYSTEM = "urn:vn-basic:changes"

log = structlog.get_logger("fhir_server.changes")


@asynccontextmanager
async def numbering(context: Context, owner: str) -> AsyncIterator[None]:
    """While it is open this process numbers changes whenever no other one does. owner: its name among all."""
    if not context.settings.number_changes:
        yield
        return
    async with again_and_again(partial(context.store.follow_changes, owner), LOOK_SECONDS, "numbering of changes", log):
        yield


async def records_changed_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """200 with a page. Raises FhirError VALUE, DELETED for a token that is no longer known, UNAVAILABLE."""
    asked = dict(request.query)
    unknown = sorted(set(asked) - set(_PARAMETERS))
    if unknown:
        text = f"$records-changed takes {', '.join(_PARAMETERS)}, not {unknown[0][:64]!r}"
        raise FhirError(Kind.INVALID, text, (unknown[0][:64],))
    export = export_named(context, "basic")
    count = _count(asked.get("_count", str(PEOPLE)))
    page = await changed_people(context, asked.get("_since", ""), count, types_of(export)[0])
    await context.count_people(len(page.people))
    form = asked.get("format", "fhir")
    if form == "fhir":
        return FhirResponse(200, encode(await _bundle(context, export, page, count)))
    if form != "basic":
        raise FhirError(Kind.VALUE, "format is fhir or basic", ("format",))
    lines = [orjson.dumps(line) + b"\n" async for line in _lines(context, export, page)]
    return FhirResponse(200, b"".join(lines), media_type="application/x-ndjson")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_PEOPLE):
        raise FhirError(Kind.VALUE, f"_count is 1 to {MOST_PEOPLE}", ("_count",))
    return int(text)


async def _bundle(context: Context, export: Export, page: ChangedPeople, count: int) -> Resource:
    found = await compartments(context, export, page.people)
    left = await _gone(context, page, found)
    entries: dict[str, Resource] = {}
    for id in page.people:
        for resource in found.get(id, ()):
            name = f"{resource['resourceType']}/{resource['id']}"
            put = {"method": "PUT", "url": name}
            entries.setdefault(name, {"fullUrl": f"{context.base}/{name}", "resource": resource, "request": put})
        for name in left.get(id, ()):
            entries.setdefault(name, {"request": {"method": "DELETE", "url": name}})
    made: Resource = {"resourceType": "Bundle", "identifier": {"system": _SYSTEM, "value": page.token}}
    made["type"] = "transaction"
    if page.more:
        url = f"{context.base}/$records-changed?_since={quote(page.token)}&_count={count}"
        made["link"] = [{"relation": "next", "url": url}]
    return {**made, "entry": list(entries.values())} if entries else made


async def _gone(
    context: Context, page: ChangedPeople, found: Mapping[str, list[Resource]]
) -> Mapping[str, tuple[str, ...]]:
    """What is to be deleted, of people whom the caller may see or might have seen: their own resources, or all."""
    missing = [id for id in page.people if id not in found]
    stored = await context.store.read_many("Patient", missing, context.view) if missing else {}
    gone = {id: (*page.gone.get(id, ()), f"Patient/{id}") for id in stored if stored[id].deleted}
    return {**gone, **{id: page.gone[id] for id in page.gone if id in found}}


async def _lines(context: Context, export: Export, page: ChangedPeople) -> AsyncIterator[Resource]:
    by_person = {one.patient: one.content async for one in records_of(context, export, page.people)}
    no_more = await became(context, page.people)
    for id in page.people:
        if id in by_person:
            yield {"patient": id, "record": by_person[id]}
        elif id in no_more:
            into = no_more[id]
            yield {"patient": id, "deleted": True} if into is None else {"patient": id, "replaced_by": into}
    yield {"since": page.token, "more": page.more}
