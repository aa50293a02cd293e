"""Keys are read where the operator says, anew when they are rotated, and from nowhere else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from fhir_server.errors import FhirError, Kind
from fhir_server.security.fetch import LARGEST, Fetch, Unreachable
from fhir_server.security.issuers import IssuersError, load_issuers
from fhir_server.security.keys import COOLDOWN_SECONDS, FRESH_SECONDS, STALE_SECONDS, Keys


class Source:
    """A web server of key sets. status, content: what it answers now; asked: how often it was."""

    def __init__(self) -> None:
        self.status, self.content, self.asked = 200, b"", 0
        source = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.asked += 1
                self.send_response(source.status)
                self.send_header("location", "/elsewhere")
                self.send_header("content-length", str(len(source.content)))
                self.end_headers()
                self.wfile.write(source.content)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"

    def gives(self, *kids: str) -> None:
        keys = [ECKey.generate_key("P-256", {"kid": kid}).as_dict(private=False) for kid in kids]
        self.status, self.content = 200, json.dumps({"keys": keys}).encode()


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_rotated_keys_are_found_and_withdrawn_ones_forgotten(source: Source) -> None:
    clock, fetch = Clock(), Fetch()
    keys = Keys("x", source.url, fetch, clock)
    source.gives("a")
    assert await keys.find("a", "ES256")
    first = keys.generation
    source.gives("b")
    clock.now += COOLDOWN_SECONDS + 1
    assert await keys.find("b", "ES256")
    assert keys.generation == first + 1
    assert await keys.find("a", "ES256") is None
    await fetch.close()


async def test_invented_key_ids_make_no_flood_of_requests(source: Source) -> None:
    clock, fetch = Clock(), Fetch()
    keys = Keys("x", source.url, fetch, clock)
    source.gives("a")
    for number in range(50):
        assert await keys.find(f"made-up-{number}", "ES256") is None
    assert source.asked == 1
    await fetch.close()


async def test_keys_are_used_on_for_a_day_while_their_source_is_silent(source: Source) -> None:
    clock, fetch = Clock(), Fetch()
    keys = Keys("x", source.url, fetch, clock)
    source.gives("a")
    assert await keys.find("a", "ES256")
    source.status = 500
    clock.now += FRESH_SECONDS + 1
    assert await keys.find("a", "ES256")
    clock.now += STALE_SECONDS
    with pytest.raises(FhirError) as told:
        await keys.find("a", "ES256")
    assert told.value.kind is Kind.UNAVAILABLE
    await fetch.close()


@pytest.mark.parametrize(("status", "content"), [(302, b""), (200, b"x" * (LARGEST + 1)), (200, b"[]"), (404, b"{}")])
async def test_redirects_floods_and_nonsense_are_no_answer(source: Source, status: int, content: bytes) -> None:
    source.status, source.content = status, content
    fetch = Fetch()
    with pytest.raises(Unreachable):
        await fetch.json(source.url)
    assert source.asked == 1
    await fetch.close()


GOOD: dict[str, Any] = {"issuer": "https://a.example", "audience": ["https://b.example"], "jwks": "keys.json"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"audience": []}, "audience"),
        ({"algorithms": ["HS256"]}, "HS256"),
        ({"algorithms": ["none"]}, "none"),
        ({"jwks": "http://a.example/keys"}, "https"),
        ({"jwks": None, "issuer": "http://a.example"}, "https"),
        ({"unbound": "all"}, "unbound"),
        ({"audiance": ["x"]}, "audiance"),
        ({"audience": "https://b.example"}, "audience"),
    ],
)
def test_a_file_of_issuers_that_is_unsafe_or_misspelt_is_refused(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    path = tmp_path / "issuers.json"
    path.write_text(json.dumps({"issuers": [{**GOOD, **changes}]}))
    with pytest.raises(IssuersError, match=why):
        load_issuers(path)
    path.write_text(json.dumps({"issuers": [GOOD, GOOD]}))
    with pytest.raises(IssuersError, match="once"):
        load_issuers(path)
