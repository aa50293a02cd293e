"""The FHIR endpoint: bytes in, a FhirRequest through the route table, bytes out. Plain ASGI."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any
from urllib.parse import unquote

import structlog
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from fhir_server.audit.access import Touched
from fhir_server.definitions.xml_format import XmlFormat
from fhir_server.errors import FhirError, Kind
from fhir_server.http.binary import as_resource, content, sends_content, wants_content
from fhir_server.http.body import Bodies, Disconnected
from fhir_server.http.errors import refusal, unexpected
from fhir_server.http.negotiate import JSON, XML, sent, takes_gzip, wanted
from fhir_server.http.protocol import certificate_of
from fhir_server.interactions.deferral import OF_FILES
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse, Shown
from fhir_server.interactions.recording import note
from fhir_server.model.remember import remembered
from fhir_server.model.resources import decode, pretty
from fhir_server.routes import respond
from fhir_server.search.parse import query_pairs
from fhir_server.security.gate import Gate

log = structlog.get_logger("fhir_server.access")

PATH_LIMIT = 2_000
WORTH_PACKING = 1_400  # bytes; below one network packet gzip wins nothing
QUERY_LIMIT = 64_000  # longer queries belong into POST _search
_REQUEST_ID = re.compile(r"[A-Za-z0-9\-_.]{1,64}")
_WORD = re.compile(r"[_$][a-z\-]{1,40}|metadata|\.well-known|smart-configuration")  # of paths, beside types and ids
_ALWAYS = ((b"cache-control", b"no-store"), (b"vary", b"accept, accept-encoding, accept-language"))
_OWN = ("_format", "_pretty")  # what the edge itself answers to


class FhirEndpoint:
    """An ASGI application for everything at and below base_path (`/fhir`). gate_of: who lets callers in; None lets in
    everyone."""

    def __init__(
        self, base_path: str, context_of: Callable[[Scope], Context], gate_of: Callable[[], Gate | None]
    ) -> None:
        self._base_path = base_path
        self._context_of = context_of
        self._gate_of = gate_of
        self._xml: XmlFormat | None = None
        self._bodies: Bodies | None = None
        self._types: frozenset[str] | None = None

    def _xml_of(self, context: Context) -> XmlFormat:
        if self._xml is None:
            self._xml = XmlFormat(context.definitions)
        return self._xml

    def _bodies_of(self, context: Context) -> Bodies:
        if self._bodies is None:
            self._bodies = Bodies(context.settings.body_limit_mb << 20, context.settings.body_seconds)
        return self._bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        headers = _headers(scope["headers"])
        request_id = scope["request_id"] = _request_id(headers)
        try:
            response = await self._answer(scope, receive, headers)
        except Disconnected:
            return
        except Exception as fault:
            response = unexpected(fault, request_id)
        await _send(send, scope["method"], _packed(response, headers), request_id)
        log.info(
            "request",
            request_id=request_id,
            method=scope["method"],
            path=self._shown(scope),
            status=response.status,
            ms=round((perf_counter() - started) * 1000, 1),
        )

    def _shown(self, scope: Scope) -> str:
        """The shape of the path for the log: an id may be anybody's number or name, and it is on record under the
        request id."""
        if self._types is None:
            self._types = frozenset(self._context_of(scope).capability.types)
        below = str(scope["path"])[:200].removeprefix(self._base_path).split("/")
        known = (part if not part or part in self._types or _WORD.fullmatch(part) else "[id]" for part in below)
        return self._base_path + "/".join(known)

    async def _answer(self, scope: Scope, receive: Receive, headers: dict[str, str]) -> FhirResponse:
        """The response in the format asked for, refusals too; they are JSON when that format itself is the fault."""
        media_type, controls = JSON, {}
        context = self._context_of(scope)
        request = FhirRequest(scope["method"], (), (), headers)
        try:
            request = replace(request, segments=_segments(scope, self._base_path), query=_pairs(scope))
            controls = {name: value for name, value in request.query if name in _OWN}
            accept, segments = headers.get("accept", ""), request.segments
            context = await self._admitted(context, scope, segments, headers)
            if wants_content(scope["method"], segments, accept, controls.get("_format")):
                return content(await _recorded(context, replace(request, query=())))
            media_type = wanted(accept, controls.get("_format"))
            response = await self._responded(context, receive, request)
        except FhirError as fault:
            response = refusal(fault, headers)
            response = await _noted(context, request, response)
        return self._formed(context, response, media_type, controls.get("_pretty") == "true")

    async def _admitted(
        self, context: Context, scope: Scope, segments: tuple[str, ...], headers: dict[str, str]
    ) -> Context:
        """Before anything of the body is read. Raises FhirError LOGIN."""
        gate = self._gate_of()
        if gate is None:
            return context
        return await gate.admit(context, segments, headers, (scope.get("client") or ("",))[0], certificate_of(scope))

    async def _responded(self, context: Context, receive: Receive, request: FhirRequest) -> FhirResponse:
        headers = request.headers
        if "content-length" not in headers and "transfer-encoding" not in headers:
            return await _recorded(context, self._request(context, request, b""))
        bodies = self._bodies_of(context)
        with bodies.held() as account:
            body = await bodies.read(receive, headers, account)
            async with bodies.turn(body):
                return await _recorded(context, self._request(context, request, body))

    def _request(self, context: Context, request: FhirRequest, body: bytes) -> FhirRequest:
        segments, content_type = request.segments, request.headers.get("content-type", "")
        query = tuple(pair for pair in request.query if pair[0] not in _OWN)
        request = replace(request, query=query, body=body)
        if sends_content(request.method, segments, content_type):
            return as_resource(request)
        if body and segments[-1:] not in (("_search",), OF_FILES) and sent(content_type) == XML:
            return replace(request, body=b"", resource=self._xml_of(context).from_xml(body))
        return request

    def _formed(self, context: Context, response: FhirResponse, media_type: str, is_pretty: bool) -> FhirResponse:
        if not response.body or response.media_type != JSON:
            return response
        if media_type == XML:
            body = self._xml_of(context).to_xml(decode(response.body), is_pretty)
            return replace(response, body=body, media_type=XML)
        return replace(response, body=pretty(response.body)) if is_pretty else response


async def _recorded(context: Context, request: FhirRequest) -> FhirResponse:
    """The answer, refusals too, once it is on record."""
    try:
        response = await respond(context, request)
    except FhirError as fault:
        response = refusal(fault, request.headers)
        response = replace(response, shown=Shown(tuple(Touched(type, id) for type, id in fault.about)))
    except Exception:
        await note(context, request, FhirResponse(500))
        raise
    return await _noted(context, request, response)


async def _noted(context: Context, request: FhirRequest, response: FhirResponse) -> FhirResponse:
    """The response; when it cannot be put on record, that is the answer."""
    try:
        await note(context, request, response)
    except FhirError as fault:
        return refusal(fault, request.headers)
    return response


def _headers(sent: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names are in lower case already; what is sent several times is one list (RFC 9110 section 5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in sent:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _request_id(headers: dict[str, str]) -> str:
    """The caller's X-Request-Id when it is one, else a fresh one."""
    sent = headers.get("x-request-id", "")
    return sent if _REQUEST_ID.fullmatch(sent) else os.urandom(16).hex()


def _segments(scope: Scope, base_path: str) -> tuple[str, ...]:
    """The decoded segments below the base; a trailing slash is forgiven. Raises FhirError for a path too long."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.partition(b"?")[0].decode("latin-1")
    if len(path) > PATH_LIMIT:
        raise FhirError(Kind.URI_TOO_LONG, f"the path is longer than {PATH_LIMIT} characters")
    below = path.removeprefix(base_path)
    return tuple(unquote(part) for part in below.split("/") if part)


def _pairs(scope: Scope) -> tuple[tuple[str, str], ...]:
    raw: bytes = scope["query_string"]
    if len(raw) > QUERY_LIMIT:
        text = f"the query is longer than {QUERY_LIMIT} characters; use POST _search"
        raise FhirError(Kind.URI_TOO_LONG, text)
    return query_pairs(raw.decode("latin-1")) if raw else ()


def _packed(response: FhirResponse, headers: dict[str, str]) -> FhirResponse:
    """The response gzipped when the client takes that and it is worth it."""
    if len(response.body) < WORTH_PACKING or not takes_gzip(headers.get("accept-encoding", "")):
        return response
    body = gzip.compress(response.body, compresslevel=1, mtime=0)
    return replace(response, body=body, headers={**response.headers, "Content-Encoding": "gzip"})


@remembered(64)
def _content_type(media_type: str) -> bytes:
    charset = "; charset=utf-8" if media_type in (JSON, XML) else ""
    return f"{media_type}{charset}".encode("latin-1", "replace")


async def _send(send: Send, method: str, response: FhirResponse, request_id: str) -> None:
    headers: list[tuple[bytes, bytes]] = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()
    ]
    headers += (b"x-request-id", request_id.encode()), *_ALWAYS
    if response.body:
        headers.append((b"content-type", _content_type(response.media_type)))
    if response.status not in (204, 304):
        headers.append((b"content-length", str(len(response.body)).encode()))
    start: dict[str, Any] = {"type": "http.response.start", "status": response.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})
