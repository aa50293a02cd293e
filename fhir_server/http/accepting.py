"""Event loops that let clients in: at once where one process serves, and shared evenly where several do.

Of several processes on one socket the first to look gets a whole burst, and keeps it as long as the clients keep their
connections. One alone should look for all that wait: uvloop takes one connection and then answers all that is asked by
those that it has, so the last of a crowd would wait for many answers to others.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvloop

STEP_SECONDS = 0.001  # the time by which a process lets those go first that have one connection less
MOST_STEPS = 8
MOST_AT_ONCE = 64  # by a process alone
PART = 4  # it takes so many at a time as are a quarter of those that it has: a crowd of clients is let in soon
PAUSE_SECONDS = 1.0  # after which it is tried again when the process has no file descriptor left


class SharingLoop(uvloop.Loop):
    """uvloop's, but for a server on a socket that listens already."""

    is_alone = False

    async def create_server(self, protocol_factory: Any, *arguments: Any, **named: Any) -> Any:
        listener = named.get("sock")
        if listener is None or named.get("ssl") is not None:
            return await super().create_server(protocol_factory, *arguments, **named)
        return _Sharing(self, listener, protocol_factory, self.is_alone)


class LoneLoop(SharingLoop):
    """That of the only process."""

    is_alone = True


class _Sharing:
    """One listening socket. Where other processes take connections of it, too: few at a time, and the later the more
    it has already."""

    def __init__(
        self, loop: uvloop.Loop, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], is_alone: bool
    ) -> None:
        self._loop = loop
        self._is_alone = is_alone
        self._listener = listener
        self._protocol = protocol
        self._connections: list[asyncio.BaseTransport] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.TimerHandle | None = None
        self._watch()

    def _watch(self) -> None:
        self._loop.add_reader(self._listener.fileno(), self._somebody_waits)

    def _somebody_waits(self) -> None:
        self._connections = [one for one in self._connections if not one.is_closing()]
        if self._is_alone:
            self._accept_some(MOST_AT_ONCE)
            return
        steps = min(len(self._connections) + len(self._opening), MOST_STEPS)
        if not steps:
            self._accept()
            return
        self._loop.remove_reader(self._listener.fileno())
        self._waiting = self._loop.call_later(steps * STEP_SECONDS, self._accept_late)

    def _accept_late(self) -> None:
        self._watch()
        self._accept_some(1 + len(self._connections) // PART)

    def _accept_some(self, most: int) -> None:
        for _ in range(most):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Whether it got one."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return False  # another process was first, or the client has gone again
        except OSError:
            self._loop.remove_reader(self._listener.fileno())
            self._waiting = self._loop.call_later(PAUSE_SECONDS, self._watch)
            return False
        connection.setblocking(False)
        opening = self._loop.create_task(self._open(connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        return True

    async def _open(self, connection: socket.socket) -> None:
        try:
            transport, _ = await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:
            connection.close()  # the client has gone again
        else:
            self._connections.append(transport)  # type: ignore[arg-type]  # the stub of uvloop calls it a protocol

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._loop.remove_reader(self._listener.fileno())

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._opening)
