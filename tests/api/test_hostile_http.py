"""Hostile clients on the wire: heads without end, slow heads and bodies, bombs, and those who go away."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from fhir_server.config import Settings
from fhir_server.http import protocol
from fhir_server.http.protocol import BoundedProtocol
from tests.api.conftest import Client, serving
from tests.builders import a_patient
from tests.running_server import PATIENCE


@dataclass
class Wire:
    """A server on a real socket, and what it answers to bytes."""

    port: int

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def told(self, *parts: bytes) -> tuple[int, dict[str, Any] | None]:
        """The status and the outcome that the server answers before it closes or says that it is done."""
        async with self.connected() as (reader, writer):
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await answer(reader)

    async def is_alive(self) -> bool:
        status, _ = await self.told(request("GET", "/fhir/Patient/nobody"))
        return status == 404


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any] | None]:
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(re.search(r"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
        body = await reader.readexactly(length)
    return int(head.split(" ")[1]), json.loads(body) if body else None


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: test", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


POST = ("POST", "/fhir/Patient", "content-type: application/fhir+json")


@asynccontextmanager
async def on_a_socket(app: FastAPI) -> AsyncIterator[Wire]:
    """The application behind uvicorn as `serve` configures it, in this very process."""
    config = uvicorn.Config(app, port=0, http=BoundedProtocol, lifespan="off", log_config=None, access_log=False)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield Wire(server.servers[0].sockets[0].getsockname()[1])
    finally:
        await server.shutdown()


@pytest.fixture
async def wire(client: Client) -> AsyncIterator[Wire]:
    async with on_a_socket(client.app) as served:
        yield served


def code(outcome: dict[str, Any] | None) -> str:
    assert outcome is not None
    assert outcome["resourceType"] == "OperationOutcome"
    told: str = outcome["issue"][0]["code"]
    return told


@pytest.mark.parametrize("size", [200_000, 3_000_000])
@pytest.mark.parametrize("kind", ["one header", "many headers", "path", "query"])
async def test_a_head_that_is_too_large_is_refused(wire: Wire, kind: str, size: int) -> None:
    head = {
        "one header": request("GET", "/fhir/metadata", f"x-long: {'x' * size}"),
        "many headers": request("GET", "/fhir/metadata", *[f"x-{n}: {n}" for n in range(size // 12)]),
        "path": request("GET", "/fhir/" + "x" * size),
        "query": request("GET", "/fhir/Patient?name=" + "x" * size),
    }[kind]
    status, outcome = await wire.told(head)
    assert (status, code(outcome)) in [(431, "too-long"), (414, "too-long")]
    assert await wire.is_alive()


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n",
        b"GET /fhir/meta data HTTP/1.1\r\nhost: test\r\n\r\n",
        request("GET", "/fhir/metadata", "no colon"),
        request("GET", "/fhir/metadata", "x: a\nb: c"),
        request(*POST, "content-length: ten"),
        request(*POST, "content-length: -1"),
        request(*POST, "content-length: 2", "content-length: 3", body=b"{}"),
        request(*POST, "transfer-encoding: chunked", body=b"zz\r\n{}\r\n"),
        b"\x00" * 100 + b"\r\n\r\n",
        b"GET /fhir/metadata HTTP/1.1\r\n\r\n",
        request("GET", "/fhir/metadata", "host: another"),
        request("GET", "/fhir/metadata").replace(b"host: test", b"host: te/st"),
    ],
    ids=range(12),
)
async def test_what_is_no_http_is_refused_with_an_outcome(wire: Wire, bytes_sent: bytes) -> None:
    status, outcome = await wire.told(bytes_sent)
    assert 400 <= status < 500
    assert code(outcome)
    assert await wire.is_alive()


async def test_what_is_refused_behind_a_request_does_not_stand_in_for_its_answer(wire: Wire) -> None:
    body = json.dumps(a_patient("An")).encode()
    sent = request(*POST, f"content-length: {len(body)}", body=body)
    async with wire.connected() as (reader, writer):
        writer.write(sent + b"GET /fhir/metadata HTTP/1.1\r\n\r\n")
        status, made = await answer(reader)
        assert (status, made and made["resourceType"]) == (201, "Patient")
        assert await reader.read() == b""
    assert await wire.is_alive()


async def test_http_1_0_needs_no_host(wire: Wire) -> None:
    status, _ = await wire.told(b"GET /fhir/Patient/nobody HTTP/1.0\r\n\r\n")
    assert status == 404


async def test_a_head_that_does_not_end_is_cut_off(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    async with on_a_socket(client.app) as wire:
        status, outcome = await wire.told(b"GET /fhir/metadata HTTP/1.1\r\nhost: te")
        assert (status, code(outcome)) == (408, "timeout")
        async with wire.connected() as (reader, _), asyncio.timeout(PATIENCE):
            assert await reader.read() == b""  # who says nothing at all is not told anything either
        assert await wire.is_alive()


@pytest.mark.parametrize("framing", ["content-length: 100", "transfer-encoding: chunked"])
async def test_a_body_that_does_not_come_is_given_up_and_nothing_is_written(settings: Settings, framing: str) -> None:
    async with serving(settings.model_copy(update={"body_seconds": 0.2})) as client, on_a_socket(client.app) as wire:
        part = b'{"resourceType":"Patient"'
        chunk = f"{len(part):x}\r\n".encode() + part + b"\r\n" if "chunked" in framing else part
        status, outcome = await wire.told(request(*POST, framing, body=chunk))
        assert (status, code(outcome)) == (408, "timeout")
        assert await wire.is_alive()
        assert (await client.get("Patient?_summary=count")).json()["total"] == 0


async def test_a_client_that_goes_away_in_the_middle_of_its_body_writes_nothing(wire: Wire, client: Client) -> None:
    body = json.dumps(a_patient()).encode()
    async with wire.connected() as (_, writer):
        writer.write(request(*POST, f"content-length: {len(body)}", body=body[:-1]))
        await writer.drain()
    assert await wire.is_alive()
    assert (await client.get("Patient?_summary=count")).json()["total"] == 0


async def test_a_client_that_goes_away_before_its_answer_has_written_once(wire: Wire, client: Client) -> None:
    body = json.dumps(a_patient()).encode()
    whole = request(*POST, f"content-length: {len(body)}", "idempotency-key: abc", body=body)
    async with wire.connected() as (_, writer):
        writer.write(whole)
        await writer.drain()
    status, made = await wire.told(whole)
    assert status == 201
    assert made is not None
    assert (await client.get("Patient?_summary=count")).json()["total"] == 1


async def test_bodies_that_grow_when_unpacked_are_refused_while_they_grow(wire: Wire) -> None:
    bomb = gzip.compress(b" " * (100 << 20), 9)
    assert len(bomb) < 200_000
    status, outcome = await wire.told(
        request(*POST, "content-encoding: gzip", f"content-length: {len(bomb)}", body=bomb)
    )
    assert (status, code(outcome)) == (413, "too-long")
    many = gzip.compress(b"") * 2000
    status, outcome = await wire.told(
        request(*POST, "content-encoding: gzip", f"content-length: {len(many)}", body=many)
    )
    assert (status, code(outcome)) == (413, "too-long")
    assert await wire.is_alive()


async def test_a_gzip_body_of_several_members_is_read_whole_and_one_cut_short_is_refused(client: Client) -> None:
    body = json.dumps(a_patient()).encode()
    packed = gzip.compress(body[:10]) + gzip.compress(body[10:])
    assert (await client.send("POST", "Patient", packed, content_encoding="gzip")).status_code == 201
    cut = await client.send("POST", "Patient", gzip.compress(body)[:-4], content_encoding="gzip")
    assert cut.status_code == 400
    junk = await client.send("POST", "Patient", gzip.compress(body) + b"junk", content_encoding="gzip")
    assert junk.status_code == 400


async def test_more_large_bodies_than_memory_is_set_aside_for_are_turned_away(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"body_limit_mb": 1})) as client, on_a_socket(client.app) as wire:
        half = b" " * 900_000
        head = request(*POST, "content-length: 1000000")
        async with AsyncExitStack() as connected:
            clients = [await connected.enter_async_context(wire.connected()) for _ in range(8)]
            for _, writer in clients:
                writer.write(head + half)
            answers = {asyncio.create_task(answer(reader)): writer for reader, writer in clients}
            turned_away: set[asyncio.Task[Any]] = set()
            while len(turned_away) < 4:
                turned_away |= (await asyncio.wait(answers.keys() - turned_away, return_when="FIRST_COMPLETED"))[0]
            for task in answers.keys() - turned_away:
                answers[task].write(b" " * 100_000)  # the bodies are blank, so 400
            assert sorted([(await task)[0] for task in answers]) == [400] * 4 + [503] * 4
        assert await wire.is_alive()


async def test_the_same_header_sent_twice_is_one_list(wire: Wire) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{wire.port}") as http:
        answer = await http.post(
            "/fhir/Patient", json=a_patient(), headers=[("prefer", "handling=strict"), ("prefer", "return=minimal")]
        )
        assert (answer.status_code, answer.content) == (201, b"")


@pytest.mark.parametrize("value", ["x" * 5000, "a, b", "W/", "\x7f", "*/*;q=x", '"' * 99])
@pytest.mark.parametrize(
    "name", ["accept", "prefer", "if-match", "if-none-match", "if-modified-since", "if-none-exist", "content-type"]
)
async def test_an_odd_header_is_never_a_fault_of_ours(wire: Wire, name: str, value: str) -> None:
    body = json.dumps(a_patient(id="an")).encode()
    for method, path in (("PUT", "Patient/an"), ("GET", "Patient/an"), ("POST", "Patient")):
        headers = [f"content-length: {len(body)}", f"{name}: {value}"]
        if name != "content-type":
            headers.append("content-type: application/fhir+json")
        status, _ = await wire.told(request(method, f"/fhir/{path}", *headers, body=body))
        assert status < 500
