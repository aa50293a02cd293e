"""The body of a request: read within bounds of size, time and memory, and unpacked when it came gzipped."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from time import monotonic

from starlette.types import Message, Receive

from fhir_server.errors import FhirError, Kind

LEAST_RATE = 16 * 1024  # bytes a second below which a body is too slow, once its first seconds are over
AT_ONCE = 4  # of the largest body allowed, all together that this process holds at one time
LARGE = 4 << 20  # bytes of a body of which only LARGE_AT_ONCE are worked on at a time
LARGE_AT_ONCE = 2
MOST_MEMBERS = 1000  # of one gzip body; programs that pack block by block write one for each 64 KiB


class Disconnected(Exception):
    """The client went away before its request was whole; nothing was begun."""


class Bodies:
    """Reads bodies; what is held of them until their requests are answered is counted against one limit.

    limit: bytes of one body, unpacked. seconds: within which it must be there, and one more for each LEAST_RATE bytes.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._held = 0
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    @contextmanager
    def held(self) -> Iterator[list[int]]:
        """Within it bodies count as held. Yields the account that `read` writes into."""
        account = [0]
        try:
            yield account
        finally:
            self._held -= account[0]

    def turn(self, body: bytes) -> AbstractAsyncContextManager[None]:
        """Lets large bodies wait for each other: parsed they take about ten times their size."""
        return self._large if len(body) > LARGE else nullcontext()

    async def read(self, receive: Receive, headers: Mapping[str, str], account: list[int]) -> bytes:
        """The whole body. Raises FhirError TOO_LONG as soon as it passes the limit, TIMEOUT when it is too slow,
        THROTTLED when other bodies fill the memory, STRUCTURE and MEDIA_TYPE for a wrong encoding; Disconnected."""
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > self._limit:
            raise self._too_long()
        unpacker = _unpacker(headers.get("content-encoding", ""))
        parts: list[bytes] = []
        came, size, deadline = 0, 0, monotonic() + self._seconds
        while True:
            message = await _part(receive, deadline + came / LEAST_RATE)
            packed = message.get("body", b"")
            part = unpacker.unpack(packed, self._limit - size + 1)
            came, size = came + len(packed), size + len(part)
            if max(came, size) > self._limit:
                raise self._too_long()
            self._hold(account, len(part))
            parts.append(part)
            if not message.get("more_body"):
                unpacker.end()
                return b"".join(parts)

    def _hold(self, account: list[int], size: int) -> None:
        account[0] += size
        self._held += size
        if self._held > AT_ONCE * self._limit:
            text = "this process holds as many large requests as it can; send it again"
            raise FhirError(Kind.UNAVAILABLE, text, headers={"Retry-After": "2"})

    def _too_long(self) -> FhirError:
        return FhirError(Kind.TOO_LONG, f"the body is larger than {self._limit >> 20} MiB")


async def _part(receive: Receive, deadline: float) -> Message:
    try:
        async with asyncio.timeout(deadline - monotonic()):
            message = await receive()
    except TimeoutError:
        text = "the body did not arrive in time; nothing was written"
        raise FhirError(Kind.TIMEOUT, text, headers={"Connection": "close"}) from None
    if message["type"] == "http.disconnect":
        raise Disconnected
    return message


class _Plain:
    """A body that came as it is."""

    def unpack(self, part: bytes, most: int) -> bytes:
        return part

    def end(self) -> None:
        pass


class _Gzip:
    """A gzip body: one member or several after each other (RFC 1952 section 2.2)."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)
        self._members = 1

    def unpack(self, part: bytes, most: int) -> bytes:
        """At most `most` bytes; what is left over then is not unpacked, since the body is too long anyway."""
        made = b""
        try:
            while part and len(made) < most:
                if self._stream.eof:
                    self._begin_member()
                made += self._stream.decompress(part, most - len(made))
                part = self._stream.unused_data
        except zlib.error:
            raise FhirError(Kind.STRUCTURE, "the body is not valid gzip") from None
        return made

    def _begin_member(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise FhirError(Kind.TOO_LONG, f"the gzip body has more than {MOST_MEMBERS} members")

    def end(self) -> None:
        if not self._stream.eof:
            raise FhirError(Kind.STRUCTURE, "the gzip body ends too early")


_UNPACKERS: Mapping[str, Callable[[], _Plain | _Gzip]] = {
    "": _Plain,
    "identity": _Plain,
    "gzip": _Gzip,
    "x-gzip": _Gzip,
}


def _unpacker(encoding: str) -> _Plain | _Gzip:
    make = _UNPACKERS.get(encoding.strip().lower())
    if make is None:
        raise FhirError(Kind.MEDIA_TYPE, f"Content-Encoding {encoding[:32]!r} is not known; gzip is")
    return make()
