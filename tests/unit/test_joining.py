"""Head and body of an answer leave in one system call, in order, whatever ends the connection."""

from __future__ import annotations

import asyncio

import pytest

from fhir_server.http.protocol import Joining


class Wire(asyncio.Transport):
    """The other end: the pieces that arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def is_closing(self) -> bool:
        return "closed" in map(bytes.decode, self.pieces)

    def close(self) -> None:
        self.pieces.append(b"closed")

    def write_eof(self) -> None:
        self.pieces.append(b"end")


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def joining(wire: Wire) -> Joining:
    return Joining(wire, asyncio.get_running_loop())


async def test_head_and_body_are_written_as_one_piece(wire: Wire, joining: Joining) -> None:
    joining.write(b"head")
    joining.write(b"body")
    assert wire.pieces == [b"headbody"]


async def test_a_piece_that_none_follows_is_written_before_the_loop_waits(wire: Wire, joining: Joining) -> None:
    for piece in (b"head", b"body", b"more"):
        joining.write(piece)
    await asyncio.sleep(0)
    assert wire.pieces == [b"headbody", b"more"]


async def test_what_is_held_goes_out_before_the_end(wire: Wire, joining: Joining) -> None:
    joining.write(b"head")
    joining.write_eof()
    joining.write(b"last")
    joining.close()
    assert wire.pieces == [b"head", b"end", b"last", b"closed"]
    assert joining.is_closing()
