"""The entries of a batch or transaction as requests, and their answers. R4 RESTful API, batch/transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from msgspec.structs import replace

from fhir_server.errors import FhirError, Issue, Kind, refuse_faults
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.headers import language, prefer_return
from fhir_server.model.bundles import entry
from fhir_server.model.dates import instant
from fhir_server.model.outcomes import outcome
from fhir_server.model.resources import Resource, decode
from fhir_server.search.parse import query_pairs
from fhir_server.validation.links import check_full_url
from fhir_server.validation.messages import Report

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# Bundle.entry.request elements and the headers they stand for.
_HEADERS = {
    "ifMatch": "if-match",
    "ifNoneMatch": "if-none-match",
    "ifModifiedSince": "if-modified-since",
    "ifNoneExist": "if-none-exist",
}

_OF_ENTRY = frozenset({"fullUrl", "request"})
_OF_REQUEST = frozenset({"method", "url", "ifNoneExist", "ifMatch", "ifNoneMatch"})


def entries_of(bundle: Resource, base: str, asked: Mapping[str, str]) -> tuple[dict[int, FhirRequest], list[Issue]]:
    """Every entry as a request by its number, and every fault of their shape with its `Bundle.entry[i]` place.

    asked: the headers that the bundle came with; its Prefer counts for each entry.
    """
    requests: dict[int, FhirRequest] = {}
    issues: list[Issue] = []
    for place, item in enumerate(bundle["entry"]):
        try:
            requests[place] = entry_request(item, f"Bundle.entry[{place}]", base, asked)
        except FhirError as fault:
            issues += fault.all_issues()
    return requests, issues


def entry_request(item: Any, place: str, base: str, asked_with: Mapping[str, str]) -> FhirRequest:
    """One entry as a request. Raises FhirError with the place of the first fault."""
    asked = item.get("request") if isinstance(item, dict) else None
    if not isinstance(asked, dict):
        raise FhirError(Kind.REQUIRED, "an entry of a batch or transaction needs a request", (f"{place}.request",))
    method, url = asked.get("method"), asked.get("url")
    if method not in METHODS:
        raise FhirError(Kind.VALUE, f"method must be one of {', '.join(METHODS)}", (f"{place}.request.method",))
    if not isinstance(url, str) or not url:
        raise FhirError(Kind.REQUIRED, "request.url is missing", (f"{place}.request.url",))
    resource = item.get("resource")
    if resource is not None and not (isinstance(resource, dict) and isinstance(resource.get("resourceType"), str)):
        raise FhirError(Kind.STRUCTURE, "a resource is an object with a resourceType", (f"{place}.resource",))
    path, _, query = url.removeprefix(f"{base}/").removeprefix("/").partition("?")
    segments = tuple(part for part in path.split("/") if part)
    if resource is None and method in ("POST", "PUT", "PATCH") and not _asks(method, segments):
        raise FhirError(Kind.REQUIRED, f"{method} needs a resource", (f"{place}.resource",))
    _refuse_other_than_texts(item, asked, place)
    _refuse_another_url(item, place)
    headers = {header: asked[name] for name, header in _HEADERS.items() if name in asked}
    headers |= {name: asked_with[name] for name in ("prefer", "accept-language") if name in asked_with}
    return FhirRequest(method, segments, query_pairs(query), headers, resource=resource)


def asks(request: FhirRequest) -> bool:
    """True for what is asked for its answer: a read, a search, an operation; false for a write of a resource."""
    return _asks(request.method, request.segments)


def _asks(method: str, segments: tuple[str, ...]) -> bool:
    if method == "POST" and segments:
        return segments[-1] == "_search" or segments[-1].startswith("$")
    return method in ("GET", "HEAD")


def _refuse_other_than_texts(item: Resource, asked: Resource, place: str) -> None:
    for holder, names, where in ((item, ("fullUrl",), place), (asked, _HEADERS, f"{place}.request")):
        for name in names:
            if name in holder and not isinstance(holder[name], str):
                raise FhirError(Kind.STRUCTURE, "this is written as a JSON string", (f"{where}.{name}",))


def _refuse_another_url(item: Resource, place: str) -> None:
    report = Report()
    check_full_url(item, place, report)
    refuse_faults(report.issues)


def answered(response: FhirResponse, request: FhirRequest, asked: Mapping[str, str]) -> bytes:
    """The JSON of one response entry. What was asked for is there; writes carry it, or an outcome in its place, when
    the Prefer among the headers asked with does."""
    told: Resource = {"status": status_line(response.status)}
    for name, header in (("location", "Location"), ("etag", "ETag")):
        if header in response.headers:
            told[name] = response.headers[header]
    if response.updated is not None:
        told["lastModified"] = instant(response.updated)
    wanted = "representation" if asks(request) else prefer_return(asked, "minimal")
    if wanted == "OperationOutcome" and response.body:
        told["outcome"] = decode(response.body)
    is_carried = wanted == "representation" and request.method != "HEAD"
    return entry(raw=response.body if is_carried else b"", response=told)


def refused(fault: FhirError, asked: Mapping[str, str]) -> bytes:
    """The JSON of the response entry for an entry of a batch that failed. asked: the headers of the request."""
    told = {"status": status_line(fault.kind.status), "outcome": outcome(fault.all_issues(), language(asked))}
    return entry(response=told)


def status_line(status: int) -> str:
    """`201 Created`: Bundle.entry.response.status starts with the three digits."""
    return f"{status} {HTTPStatus(status).phrase}"


def placed(issues: Iterable[Issue], place: str, type: str | None = None) -> list[Issue]:
    """Issues with `place` in front of each expression, so that the sender finds them in the bundle.

    type: the type of the entry's resource, whose name the expressions may start with.
    """

    def at(path: str) -> str:
        if path.startswith("Bundle."):
            return path
        root, dot, below = path.partition(".")
        return f"{place}.resource{dot}{below}" if type is not None and root == type else f"{place}.{path}"

    return [replace(issue, expression=tuple(map(at, issue.expression)) or (place,)) for issue in issues]


def with_entries(context: Context, bundle: Resource) -> Resource:
    """The bundle with a list of entries, be it empty. Refuses one over the limit before anything is done."""
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise FhirError(Kind.STRUCTURE, "entry is a JSON array", ("Bundle.entry",))
    if (count := len(entries)) > context.settings.bundle_limit:
        text = f"the bundle has {count} entries; the limit is {context.settings.bundle_limit}"
        raise FhirError(Kind.TOO_COSTLY, text, ("Bundle.entry",))
    return {**bundle, "entry": entries}


def outline(bundle: Resource) -> Resource:
    """The bundle without the resources of its entries, which are checked each on its own, and without entries at all
    when none of them can break a rule of Bundle: most bundles have hundreds, all of one simple form."""
    entries = [{name: value for name, value in item.items() if name != "resource"} for item in bundle["entry"]]
    head = {name: value for name, value in bundle.items() if name != "entry"}
    return head if all(map(_is_simple, entries)) else {**head, "entry": entries}


def _is_simple(entry: Resource) -> bool:
    """True for a request and perhaps a fullUrl, all their elements texts without a space or a version."""
    request = entry.get("request")
    if not isinstance(request, dict) or not (entry.keys() <= _OF_ENTRY and request.keys() <= _OF_REQUEST):
        return False
    texts = (*request.values(), entry.get("fullUrl", "-"))
    return all(text.__class__ is str and len(text.split()) == 1 and "/_history/" not in text for text in texts)
