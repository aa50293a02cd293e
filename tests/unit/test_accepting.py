"""How the event loops of the server let clients in."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest

from fhir_server.http.accepting import LoneLoop, SharingLoop

CROWD = 30
FEW = 8  # turns; a loop that takes one at each turn needs 29


class Counting(asyncio.Protocol):
    """Notes in which turn of the loop each connection was made."""

    def __init__(self, turns: list[int], made: list[int]) -> None:
        self._turns = turns
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made.append(len(self._turns))


async def turns_taken() -> int:
    """From the first of a crowd that waits to the last."""
    turns: list[int] = []
    made: list[int] = []
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=CROWD))
        listener.setblocking(False)
        for _ in range(CROWD):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        server = await loop.create_server(lambda: Counting(turns, made), sock=listener)
        async with asyncio.timeout(10):
            while len(made) < CROWD:
                turns.append(len(turns))
                await asyncio.sleep(0)
        server.close()
        await server.wait_closed()
    return made[-1] - made[0]


@pytest.mark.parametrize(("loop", "at_once"), [(LoneLoop, True), (SharingLoop, False)])
def test_a_process_alone_lets_a_crowd_in_together_and_one_of_several_takes_turns(
    loop: type[SharingLoop], at_once: bool
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert (runner.run(turns_taken()) < FEW) == at_once
