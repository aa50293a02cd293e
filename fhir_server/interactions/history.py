"""history of an instance, a type or the whole system, R4 section 3.1.0.12."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.planning import writable_type
from fhir_server.model.bundles import bundle, entry
from fhir_server.model.dates import instant, range_of
from fhir_server.store.contract import HistoryQuery, Stored

_CURSOR = re.compile(r"(\d{1,15})\.([A-Za-z]{1,64}/[A-Za-z0-9\-.]{1,64})\.(\d{1,9})")


async def history(context: Context, request: FhirRequest) -> FhirResponse:
    """Newest first, deletions shown; `_count`, `_since`, `_at`; the next link continues where this page ends."""
    scope = [part for part in request.segments if part != "_history"]
    if scope:
        writable_type(context, scope[0], ("history-type", "history-instance")[len(scope) - 1])
    query = _query(context, scope, dict(request.query))
    total = await context.store.history_count(query, context.view)
    if len(scope) == 2 and total == 0 and await context.store.read(scope[0], scope[1], context.view) is None:
        raise FhirError(Kind.NOT_FOUND, f"{scope[0]}/{scope[1]} is not known here")
    versions = await context.store.history(query, context.view) if query.limit else []
    links = [("self", _link(context, request, {}))]
    if query.limit and len(versions) == query.limit:
        last = versions[-1]
        cursor = f"{last.updated}.{last.type}/{last.id}.{last.version}"
        links.append(("next", _link(context, request, {"_page": cursor})))
    body = bundle("history", [_entry(context, version) for version in versions], total=total, links=links)
    return FhirResponse(200, body)


def _query(context: Context, scope: list[str], pairs: dict[str, str]) -> HistoryQuery:
    type, id = (*scope, None, None)[:2]
    since, at = _moment(context, "_since", pairs), _moment(context, "_at", pairs)
    return HistoryQuery(
        type,
        id,
        since=since[0] if since else None,
        at=at[0] if at else None,
        at_end=at[1] if at else None,
        limit=_limit(context, pairs.get("_count")),
        before=_before(pairs.get("_page")),
    )


def _moment(context: Context, name: str, pairs: dict[str, str]) -> tuple[int, int] | None:
    """The ms that a date or instant covers: the first one inside and the first one after."""
    text = pairs.get(name)
    if text is None:
        return None
    span = range_of(text.replace(" ", "+"), context.settings.zone)  # a plus that nobody encoded
    if span is None:
        raise FhirError(Kind.VALUE, f"{name} must be a date or an instant, not {text[:64]!r}", (name,))
    return span


def _limit(context: Context, text: str | None) -> int:
    if text is None:
        return context.settings.page_size
    if not text.isdigit() or len(text) > 9:
        raise FhirError(Kind.VALUE, f"_count must be a whole number, not {text[:64]!r}", ("_count",))
    return min(int(text), context.settings.page_limit)


def _before(text: str | None) -> tuple[int, str, int] | None:
    if text is None:
        return None
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise FhirError(Kind.VALUE, "this is no page link of this server", ("_page",))
    return int(found[1]), found[2], int(found[3])


def _link(context: Context, request: FhirRequest, changes: dict[str, str]) -> str:
    pairs = {**dict(request.query), **changes}
    path = "/".join((context.base, *request.segments))
    return f"{path}?{urlencode(pairs)}" if pairs else path


def _entry(context: Context, version: Stored) -> bytes:
    """request and response as of the write that made the version (R4 section 3.1.0.12, the entry's request)."""
    name = f"{version.type}/{version.id}"
    created = version.method == "POST" or (version.version == 1 and version.method == "PUT")
    status = "204" if version.deleted else "201" if created else "200"
    return entry(
        full_url=f"{context.base}/{name}",
        raw=b"" if version.deleted else version.raw,
        request={"method": version.method, "url": version.type if version.method == "POST" else name},
        response={"status": status, "etag": f'W/"{version.version}"', "lastModified": instant(version.updated)},
    )
