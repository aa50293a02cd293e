"""A client that costs little itself: on each of some connections one request after the other, as fast as they go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import cycle
from typing import cast
from urllib.parse import quote, urlsplit


def request(base: str, path: str) -> bytes:
    """base: `http://host:port/fhir`. path: below it, or a whole URL; percent-encoded here, but for `%`."""
    url = urlsplit(path if path.startswith("http") else f"{base}/{path}")
    target = quote(f"{url.path}?{url.query}" if url.query else url.path, safe="/?&=%$,:+*!~();@|.-_")
    return f"GET {target} HTTP/1.1\r\nhost: {url.netloc}\r\n\r\n".encode()


class _Client(asyncio.Protocol):
    """One connection. times: seconds of each request until its whole answer is there."""

    def __init__(self, requests: Iterator[bytes], until: float, times: list[float]) -> None:
        self._requests = requests
        self._until = until
        self._times = times
        self._left = -1  # bytes of the body still to come, -1 while the head is not whole
        self._head = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._began = time.perf_counter()
        if self._began >= self._until:
            self._transport.close()
        else:
            self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self._head[:end].lower(), self._head[end + 4 :]
            if not head.startswith(b"http/1.1 200"):
                self.ended.set_exception(RuntimeError((self._head + data)[:2000].decode()))
                self._transport.close()
                return
            self._head = b""
            self._left = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self._left -= len(data)
        if self._left == 0:
            self._left = -1
            self._times.append(time.perf_counter() - self._began)
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def load(base: str, paths: list[str], clients: int, seconds: float) -> list[float]:
    """Seconds of each request that was answered. Raises RuntimeError for an answer other than 200."""
    url = urlsplit(base)
    times: list[float] = []
    turns = cycle([request(base, path) for path in paths])
    until = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: _Client(turns, until, times), url.hostname, url.port)
        for _ in range(clients)
    ]
    await asyncio.gather(*[client.ended for _, client in made])
    return times
