"""Many clients at once, each with a connection of its own and no more machinery than it needs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        """Of the resource that was created or found, by the Location or Content-Location of the answer."""
        return self.headers["location"].split("/fhir/")[1].split("/")[1]


class Caller:
    """One client over one connection, which it opens anew when the server has closed it."""

    def __init__(self, base: str) -> None:
        self._base = urlsplit(base)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        """Writes the request and does not wait for its answer."""
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [
            f"{method} {self._base.path}/{quote(path, safe='/?&=$%,:+*!~@;|.')} HTTP/1.1",
            f"host: {self._base.netloc}",
        ]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += ["content-type: application/fhir+json", f"content-length: {len(content)}"]
        _, writer = await self._connection()
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await writer.drain()

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Raises ConnectionError when the server goes away before it has answered."""
        try:
            await self.send(method, path, body, **headers)
            return await self._answer()
        except (ConnectionError, asyncio.IncompleteReadError) as gone:
            self.hang_up()
            raise ConnectionError(str(gone)) from None

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None or self._streams[0].at_eof() or self._streams[1].is_closing():
            self.hang_up()
            self._streams = await asyncio.open_connection(self._base.hostname, self._base.port, limit=1 << 20)
        return self._streams

    async def _answer(self) -> Answer:
        reader, _ = await self._connection()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.hang_up()
        return Answer(int(head[0].split(" ")[1]), headers, body)

    def hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def until_all_answer(base: str, processes: int) -> None:
    """Waits until so many processes of the server take connections. base: the FHIR URL."""
    answered: set[int] = set()
    while len(answered) < processes:
        # All at once: a process that has fewer connections than the others takes the next one.
        async with callers(base.removesuffix("/fhir"), 2 * processes) as made:
            answered |= {
                answer.json["process"] for answer in await at_once(made, lambda _, one: one.ask("GET", "health"))
            }
        await asyncio.sleep(0.05)


@asynccontextmanager
async def callers(base: str, count: int) -> AsyncIterator[list[Caller]]:
    made = [Caller(base) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.hang_up()


async def at_once(clients: Iterable[Caller], ask: Callable[[int, Caller], Awaitable[T]]) -> list[T]:
    """What each client gets, all asking at the same time. ask: by the client's number."""
    return list(await asyncio.gather(*[ask(number, one) for number, one in enumerate(clients)]))
