"""history of an instance, a type or the whole system. R4 RESTful API, history."""

from __future__ import annotations

from urllib.parse import urlencode

from msgspec.structs import replace

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse, Pairs
from fhir_server.interactions.headers import prefer
from fhir_server.interactions.planning import writable_type
from fhir_server.interactions.recording import shown_many
from fhir_server.model.bundles import bundle, entry
from fhir_server.model.dates import instant, range_of
from fhir_server.search.page_links import PARAMETER, Page, seal, unseal
from fhir_server.search.paging import Cursor
from fhir_server.store.values import HistoryQuery, Stored

_PARAMETERS = ("_count", "_since", "_at", PARAMETER)
_SECRET = "page-links"  # noqa: S105  # its name, not the secret


async def history(context: Context, request: FhirRequest) -> FhirResponse:
    """Newest first, deletions shown; `_count`, `_since`, `_at`; the next link continues where this page ends."""
    scope = [part for part in request.segments if part != "_history"]
    if scope:
        writable_type(context, scope[0], ("history-type", "history-instance")[len(scope) - 1])
    page = await _asked_page(context, request)
    query = _query(context, scope, page)
    found = await context.store.history(replace(query, limit=query.limit + 1), context.view) if query.limit else []
    versions, more = found[: query.limit], len(found) > query.limit
    total = await _total(context, query, page, None if more else len(versions))
    if len(scope) == 2 and not versions and await context.store.read(scope[0], scope[1], context.view) is None:
        raise FhirError(Kind.NOT_FOUND, f"{scope[0]}/{scope[1]} is not known here")
    links = [("self", _link(context, request, tuple(pair for pair in request.query if pair[0] in _PARAMETERS)))]
    if more:
        links.append(("next", await _next(context, request, page, versions[-1], total)))
    body = bundle("history", [_entry(context, version) for version in versions], total=total, links=links)
    return FhirResponse(200, body, shown=shown_many(versions, page.query))


async def _asked_page(context: Context, request: FhirRequest) -> Page:
    """The first page of the request's own query, or the one that a sealed link stands for."""
    strict = prefer(request.headers).get("handling", context.settings.handling) == "strict"
    for name, _ in request.query:
        if strict and name not in _PARAMETERS:
            raise FhirError(Kind.UNSUPPORTED_PARAMETER, f"history knows no parameter {name[:64]!r}", (name,))
    sealed = dict(request.query).get(PARAMETER)
    if sealed is None:
        return Page(request.segments, tuple(pair for pair in request.query if pair[0] in _PARAMETERS))
    page = unseal(sealed, await context.store.secret(_SECRET), context.caller.fingerprint)
    if page.path != request.segments:
        raise FhirError(Kind.VALUE, "this page link belongs to another path", (PARAMETER,))
    return page


async def _total(context: Context, query: HistoryQuery, page: Page, told: int | None) -> int | None:
    """The number of versions on all pages, where it is cheap: of an instance, and where all are on one page."""
    if page.total is not None or page.cursor is not None:
        return page.total
    if told is not None and query.limit:
        return told
    return await context.store.history_count(query, context.view) if query.id is not None or not query.limit else None


async def _next(context: Context, request: FhirRequest, page: Page, last: Stored, total: int | None) -> str:
    # Plain integers: the driver has its own for 64 bits, and a link is written without it.
    cursor = Cursor((int(last.updated), f"{last.type}/{last.id}", int(last.version)), None)
    page = replace(page, cursor=cursor, total=total)
    sealed = seal(page, await context.store.secret(_SECRET), context.caller.fingerprint)
    return _link(context, request, ((PARAMETER, sealed),))


def _query(context: Context, scope: list[str], page: Page) -> HistoryQuery:
    type, id = (*scope, None, None)[:2]
    pairs = dict(page.query)
    since, at = _moment(context, "_since", pairs), _moment(context, "_at", pairs)
    updated, name, version = page.cursor.values if page.cursor else (0, "", 0)
    return HistoryQuery(
        type,
        id,
        since=since[0] if since else None,
        at=at[0] if at else None,
        at_end=at[1] if at else None,
        limit=_limit(context, pairs.get("_count")),
        before=(updated, name, version) if page.cursor else None,
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


def _link(context: Context, request: FhirRequest, pairs: Pairs) -> str:
    path = "/".join((context.base, *request.segments))
    return f"{path}?{urlencode(pairs, safe='/:,')}" if pairs else path


def _entry(context: Context, version: Stored) -> bytes:
    """request and response as of the write that made the version (R4 RESTful API, history)."""
    name = f"{version.type}/{version.id}"
    status = "204" if version.deleted else "201" if version.created else "200"
    return entry(
        full_url=f"{context.base}/{name}",
        raw=b"" if version.deleted else version.raw,
        request={"method": version.method, "url": version.type if version.method == "POST" else name},
        response={"status": status, "etag": f'W/"{version.version}"', "lastModified": instant(version.updated)},
    )
