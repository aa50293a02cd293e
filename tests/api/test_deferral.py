"""Prefer: respond-async: accepted at once, answered later, by whichever process. R4 Asynchronous Request Pattern."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from fhir_server.config import Settings
from fhir_server.interactions import deferral
from fhir_server.model.ids import new_id
from fhir_server.store.mongo import open_store
from fhir_server.store.values import EVERYTHING
from tests.api.conftest import Client, serving
from tests.builders import a_bundle, a_patient, an_entry, with_cccd
from tests.running_server import PATIENCE

MANY = 400  # entries, so that a process can be ended among them


def place_of(answer: httpx.Response) -> str:
    assert answer.status_code == 202, answer.text
    url: str = answer.headers["content-location"]
    assert url.startswith("http://test/fhir/_async/")
    return url.removeprefix("http://test/fhir/")


async def settled(client: Client, place: str) -> dict[str, Any]:
    """The one entry of the answer, once it is there."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await client.get(place)).status_code == 202:
            assert answer.content == b""
            assert answer.headers["retry-after"]
            await asyncio.sleep(0.02)
    assert answer.status_code == 200, answer.text
    assert answer.headers["expires"].endswith("GMT")
    bundle = answer.json()
    assert bundle["type"] == "batch-response"
    (entry,) = bundle["entry"]
    told: dict[str, Any] = entry
    return told


async def test_a_batch_is_answered_later_with_what_it_would_have_answered_at_once(client: Client) -> None:
    batch = a_bundle("batch", an_entry("POST", "Patient", a_patient()), an_entry("GET", "Patient/nobody"))
    place = place_of(await client.send("POST", "", batch, prefer="respond-async"))
    entry = await settled(client, place)
    assert entry["response"]["status"] == "200 OK"
    assert [one["response"]["status"][:3] for one in entry["resource"]["entry"]] == ["201", "404"]
    assert (await client.get("Patient?_summary=count")).json()["total"] == 1


async def test_a_transaction_that_is_refused_later_tells_its_faults(client: Client) -> None:
    bundle = a_bundle("transaction", an_entry("POST", "Patient", a_patient(gender="?")))
    entry = await settled(client, place_of(await client.send("POST", "", bundle, prefer="respond-async")))
    assert entry["response"]["status"] == "400 Bad Request"
    assert entry["response"]["outcome"]["issue"][0]["expression"] == ["Bundle.entry[0].resource.gender"]


@pytest.mark.parametrize("path", ["Patient?identifier=038085900031", "?_type=Patient&_id=an"])
async def test_a_search_is_answered_later_with_links_to_the_base_that_it_was_asked_at(
    client: Client, path: str
) -> None:
    await client.send("PUT", "Patient/an", with_cccd("038085900031", id="an"))
    entry = await settled(client, place_of(await client.get(path, prefer="respond-async, handling=strict")))
    assert entry["resource"]["type"] == "searchset"
    assert entry["resource"]["entry"][0]["fullUrl"] == "http://test/fhir/Patient/an"


async def test_only_what_can_take_long_is_deferred(client: Client) -> None:
    made = await client.send("PUT", "Patient/an", a_patient(id="an"), prefer="respond-async")
    assert made.status_code == 201
    assert (await client.get("Patient/an", prefer="respond-async")).status_code == 200


async def test_what_cannot_be_right_is_refused_at_once(client: Client) -> None:
    assert (await client.send("POST", "", b"{", prefer="respond-async")).status_code == 400
    assert (await client.get("Nonsense?x=1", prefer="respond-async")).status_code == 404


async def test_a_cancelled_request_is_stopped_and_forgotten(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferral, "RENEW_SECONDS", 0.02)
    batch = a_bundle("batch", *[an_entry("POST", "Patient", a_patient(f"An {n}")) for n in range(2000)])
    place = place_of(await client.send("POST", "", batch, prefer="respond-async"))
    while (await client.get("Patient?_summary=count")).json()["total"] == 0:
        await asyncio.sleep(0.01)
    assert (await client.send("DELETE", place)).status_code == 202
    assert (await client.get(place)).status_code == 404
    assert (await client.send("DELETE", place)).status_code == 404
    async with asyncio.timeout(PATIENCE):
        while client.app.state.context().deferrals._running:
            await asyncio.sleep(0.01)
    assert (await client.get("Patient?_summary=count")).json()["total"] < 2000


async def test_an_unknown_or_odd_place_is_404(client: Client) -> None:
    for place in (f"_async/{new_id()}", "_async/%24x", "_async"):
        assert (await client.get(place)).status_code == 404


@contextmanager
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(deferral, "LEASE_SECONDS", 0.3)
        patched.setattr(deferral, "RENEW_SECONDS", 0.1)
        yield


async def test_what_a_process_left_undone_another_completes_without_doing_anything_twice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process ends in the middle of a batch; the second is asked for the answer."""
    batch = a_bundle("batch", *[an_entry("POST", "Patient", a_patient(f"An {n}")) for n in range(MANY)])
    with impatient(monkeypatch):
        async with serving(settings) as first:
            place = place_of(await first.send("POST", "", batch, prefer="respond-async"))
            while (await first.get("Patient?_summary=count")).json()["total"] < 10:
                await asyncio.sleep(0.01)
        store = await open_store(str(settings.mongodb_uri), settings)
        assert await store.count("Patient", {}, EVERYTHING) < MANY
        await store.close()
        async with serving(settings) as second:
            entry = await settled(second, place)
            assert [one["response"]["status"] for one in entry["resource"]["entry"]] == ["201 Created"] * MANY
            assert (await second.get("Patient?_summary=count")).json()["total"] == MANY
