"""HTTP/1.1 as uvicorn reads it, with bounds on the head of a request and refusals in FHIR's form."""

from __future__ import annotations

import asyncio
import re
from itertools import chain
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fhir_server.errors import Issue
from fhir_server.model.outcomes import outcome
from fhir_server.model.resources import encode
from fhir_server.security.certificates import as_header

HEAD_LIMIT = 128 * 1024  # bytes of request line and headers; the query alone may take half
HEAD_SECONDS = 20.0  # in which they must be there, from the first byte or the opening of the connection on
PATIENCE_SECONDS = 30.0  # in which the rest of a body may come that was answered before it was whole
REFUSED_SECONDS = 2.0  # in which a client may go on with what was refused

_CERTIFICATE = "client_certificate"  # in the state of a request's scope

_TOO_LARGE = f"the head of the request is larger than {HEAD_LIMIT // 1024} KiB"
_HOST = re.compile(rb"[A-Za-z0-9.\-_~%!$&'()*+,;=:\[\]]*")  # the characters of RFC 3986, host and port
_PHRASES = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}
_CODES = {400: "structure", 408: "timeout", 431: "too-long"}


def certificate_of(scope: Scope) -> str | None:
    """Of the client that TLS of the server's own has let in, as in a header; None without one."""
    found: str | None = scope.get("state", {}).get(_CERTIFICATE)
    return found


class _Refused(Exception):
    """The request has been answered already."""


class Joining:
    """A transport that writes two pieces at once: uvicorn writes head and body apart, and each system call wakes the
    client. A piece that none follows is written before the loop waits again."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        held = self._held
        if held is None:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            self._held = None
            self._transport.write(held + data)

    def _flush(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._transport.write(held)

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        self._flush()
        self._transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """One connection. uvicorn itself waits for ever for a head that never ends, and takes one of any size.

    A client that is refused while it still sends is read on for a while, so that it meets the answer and not a reset.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head = 0  # bytes of a head that is not complete
        self._timer: asyncio.TimerHandle | None = None  # for the head
        self._patience: asyncio.TimerHandle | None = None  # for what comes after the answer
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(Joining(transport, self.loop))  # type: ignore[arg-type]  # it stands in for one
        encrypted = transport.get_extra_info("ssl_object")
        certificate = encrypted.getpeercert(binary_form=True) if encrypted is not None else None
        if certificate is not None:
            self.app_state = {**self.app_state, _CERTIFICATE: as_header(certificate)}
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_patience()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._head += len(data)
        super().data_received(data)
        if self._head > HEAD_LIMIT:
            self._refuse(431, _TOO_LARGE)
        elif self._head:
            self._start_timer()

    def on_headers_complete(self) -> None:
        if self._head > HEAD_LIMIT and len(self.url) + sum(map(len, chain.from_iterable(self.headers))) > HEAD_LIMIT:
            self._refuse(431, _TOO_LARGE)
            raise _Refused  # which ends the parser
        hosts = [value for name, value in self.headers if name == b"host"]
        is_told = len(hosts) == 1 and _HOST.fullmatch(hosts[0])
        if not is_told and (hosts or self.parser.get_http_version() != "1.0"):
            self._refuse(400, "a request says once which host it is for (RFC 9112 section 3.2)")
            raise _Refused
        self._head_is_over()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_is_over()
        if self.cycle.response_complete and self._patience is None:
            self._patience = self.loop.call_later(PATIENCE_SECONDS, self.transport.close)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_is_over()
        self._stop_patience()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to what its parser refuses."""
        self._refuse(400, "this is not HTTP/1.1 as this server reads it")

    def _head_is_over(self) -> None:
        self._head = 0
        self._stop_timer()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._head:
            self._refuse(408, f"the head of the request did not arrive within {HEAD_SECONDS:g} seconds")
        else:
            self.transport.close()

    def _refuse(self, status: int, text: str) -> None:
        """Answers and closes: what follows on this connection cannot be told apart any more. What is sent behind a
        whole request that waits for its answer must not be taken for that."""
        self._head_is_over()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        if self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete:
            self.cycle.keep_alive = False  # the answer to the request before comes first, and ends the connection
            return
        body = encode(outcome([Issue("error", _CODES[status], text)]))
        head = (
            f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: application/fhir+json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._patience = self.loop.call_later(REFUSED_SECONDS, self.transport.close)
