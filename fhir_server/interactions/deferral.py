"""Prefer: respond-async: a request that is answered later, at the URL that Content-Location names.

R4 Asynchronous Request Pattern: 202 with Content-Location; there 202 until it is done, then 200; DELETE cancels.
R4 lays down the answer for bulk data alone, so the answer here is that of R5 (Asynchronous Interaction Request
Pattern): a batch-response of one entry.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.background import while_leased
from fhir_server.interactions.content import resource_of
from fhir_server.interactions.entries import answered, refused
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse, Pairs
from fhir_server.interactions.headers import http_date, prefer
from fhir_server.interactions.once import Once, told_again
from fhir_server.interactions.rights import ALL_RIGHTS
from fhir_server.model.bundles import bundle
from fhir_server.model.resources import encode

log = structlog.get_logger("fhir_server.deferral")

PATH = "_async"
AT_ONCE = 2  # deferred requests that one process works on at a time; they are the heavy ones
MOST_WAITING = 100  # deferred requests that one process has taken in and not finished
LEASE_SECONDS = 20.0
RENEW_SECONDS = 5.0
_RETRY_AFTER = {"Retry-After": "1"}
OF_FILES = ("$import-records",)  # an operation whose body is a file and no resource
_KEPT_HEADERS = ("prefer", "content-type")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as it is kept. base: the URL by which its client reached the server."""

    method: str
    segments: tuple[str, ...]
    query: Pairs
    headers: dict[str, str]
    body: bytes
    base: str
    once: Once | None


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Asked)


class Deferrals:
    """The deferred requests that this process works on. owner: its name among all processes."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    async def accept(self, context: Context, request: FhirRequest) -> FhirResponse:
        """202 with the URL of the answer. Raises FhirError THROTTLED when too many wait, or what makes no sense at
        once."""
        if request.method == "POST" and request.segments[-1:] not in (("_search",), OF_FILES):
            resource_of(request)
        if len(self._running) >= MOST_WAITING:
            raise FhirError(
                Kind.THROTTLED, "too many requests wait to be answered later", headers={"Retry-After": "30"}
            )
        id = context.new_id()
        await context.store.defer(id, context.caller.fingerprint, _encode(_asked(context, request)))
        self.go_on(context, id)
        headers = {"Content-Location": f"{context.base}/{PATH}/{id}", "Preference-Applied": "respond-async"}
        return FhirResponse(202, b"", headers)

    def go_on(self, context: Context, id: str) -> None:
        """Works on it unless this process does already. Another that has the lease is left alone."""
        if id not in self._running and len(self._running) < MOST_WAITING:
            task = asyncio.create_task(self._work(context, id))
            self._running[id] = task
            task.add_done_callback(lambda _: self._running.pop(id, None))

    async def close(self) -> None:
        """Stops at once: another process, or this one when it runs again, goes on when it is asked for the answer."""
        self._closed = True
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _work(self, context: Context, id: str) -> None:
        try:
            async with self._gate:
                kept = await context.store.lease(id, self._owner, LEASE_SECONDS)
                if kept is not None and not self._closed:
                    work = self._answer(context, id, _decoder.decode(kept))
                    await while_leased(work, partial(self._renewed, context, id), RENEW_SECONDS)
        except Exception as fault:  # nobody awaits this task: what is not logged here is lost
            log.error("a deferred request was left undone", id=id, exc_info=fault)

    async def _renewed(self, context: Context, id: str) -> bool:
        try:
            return await context.store.renew(id, self._owner, LEASE_SECONDS)
        except FhirError:
            return True  # a database that does not answer now takes no lease away

    async def _answer(self, context: Context, id: str, asked: _Asked) -> None:
        once = asked.once or Once(f"deferred/{id}", b"")
        request = FhirRequest(asked.method, asked.segments, asked.query, asked.headers, asked.body)
        try:
            response = await context.dispatch(context.with_(base=asked.base, once=once), request)
            told = answered(response, request, {"prefer": "return=representation"})
        except FhirError as fault:
            told = refused(fault, asked.headers)
        except Exception as fault:
            log.error("unexpected error", deferred=id, exc_info=fault)
            unexpected = FhirError(Kind.UNEXPECTED, f"an unexpected error; the log tells it under deferred={id}")
            told = refused(unexpected, asked.headers)
        await context.store.settle(id, self._owner, bundle("batch-response", [told]))


def is_deferred(request: FhirRequest) -> bool:
    """True when the request prefers an answer later."""
    return "respond-async" in prefer(request.headers)


async def deferred_answer(context: Context, request: FhirRequest) -> FhirResponse:
    """202 while it is not done; then 200 with a batch-response of one entry, for a day."""
    id = request.segments[1]
    found = await context.store.deferred(id, context.caller.fingerprint)
    if found is None:
        raise _unknown()
    if not found.done:
        if not found.held:
            context.deferrals.go_on(context, id)
        return FhirResponse(202, b"", {"X-Progress": "working" if found.held else "waiting", **_RETRY_AFTER})
    is_hidden = context.rights is not ALL_RIGHTS and await told_again(context, found.answer or b"") is None
    if found.answer is None or is_hidden:
        raise _unknown()
    return FhirResponse(200, found.answer, {"Expires": http_date(found.expires)})


async def cancel_deferred(context: Context, request: FhirRequest) -> FhirResponse:
    """202: what has not begun will not, and the answer is forgotten. A transaction that commits just now may do so."""
    if not await context.store.cancel(request.segments[1], context.caller.fingerprint):
        raise _unknown()
    return FhirResponse(202)


def _unknown() -> FhirError:
    text = "no request waits here; it was never made, was cancelled, its day is over, or it tells what is hidden now"
    return FhirError(Kind.NOT_FOUND, text)


def _asked(context: Context, request: FhirRequest) -> _Asked:
    body = encode(request.resource) if request.resource is not None else request.body
    headers = {name: request.headers[name] for name in _KEPT_HEADERS if name in request.headers}
    return _Asked(request.method, request.segments, request.query, headers, body, context.base, context.once)
