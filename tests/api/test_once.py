"""Idempotency-Key: what is sent again is carried out once and answered as the first time."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.api.conftest import Client
from tests.builders import a_bundle, a_condition, a_patient, an_entry, with_cccd

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


async def people(client: Client) -> int:
    total: int = (await client.get("Patient?_summary=count")).json()["total"]
    return total


async def test_a_create_sent_again_under_its_key_is_answered_as_before_and_makes_nothing(client: Client) -> None:
    first = await client.send("POST", "Patient", a_patient(), idempotency_key=KEY)
    again = await client.send("POST", "Patient", a_patient(), idempotency_key=f'"{KEY}"')
    assert (again.status_code, again.content) == (201, first.content)
    assert [again.headers[name] for name in ("location", "etag")] == [
        first.headers[name] for name in ("location", "etag")
    ]
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert await people(client) == 1


async def test_of_many_at_once_under_one_key_one_creates_and_all_are_answered_alike(client: Client) -> None:
    answers = await asyncio.gather(
        *[client.send("POST", "Patient", a_patient(), idempotency_key=KEY) for _ in range(12)]
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await people(client) == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "Patient", a_patient("B")),
        ("POST", "Patient?active=true", a_patient()),
        ("PUT", "Patient", a_patient()),
        ("POST", "Person", {"resourceType": "Person"}),
    ],
    ids=["body", "query", "method", "path"],
)
async def test_another_request_under_the_same_key_is_refused(
    client: Client, method: str, path: str, body: dict[str, object]
) -> None:
    await client.send("POST", "Patient", a_patient(), idempotency_key=KEY)
    answer = await client.send(method, path, body, idempotency_key=KEY)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "processing")
    assert await people(client) == 1


async def test_another_body_is_refused_also_after_the_first_was(client: Client) -> None:
    assert (await client.send("POST", "Patient", a_patient(gender="?"), idempotency_key=KEY)).status_code == 400
    assert (await client.send("POST", "Patient", a_patient(), idempotency_key=KEY)).status_code == 422
    assert (await client.send("POST", "Patient", a_patient(gender="?"), idempotency_key=KEY)).status_code == 400


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, '"open', "é", '""'])
async def test_what_is_no_key_is_refused(client: Client, key: str) -> None:
    answer = await client.http.post(
        "/fhir/Patient",
        json=a_patient(),
        headers={"idempotency-key": key.encode("latin-1")},  # type: ignore[dict-item]
    )
    assert answer.status_code == 400
    assert await people(client) == 0


async def test_a_patch_is_applied_once(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    add = json.dumps([{"op": "add", "path": "/name/-", "value": {"text": "An"}}])
    for _ in range(2):
        answer = await client.send(
            "PATCH", "Patient/an", add, content_type="application/json-patch+json", idempotency_key=KEY
        )
        assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    assert len((await client.get("Patient/an")).json()["name"]) == 2


async def test_a_transaction_is_committed_once(client: Client) -> None:
    person = "urn:uuid:0f0c5d0a-0000-4000-8000-000000000001"
    bundle = a_bundle(
        "transaction",
        an_entry("POST", "Patient", a_patient(), person),
        an_entry("POST", "Condition", a_condition(person)),
    )
    first = await client.send("POST", "", bundle, idempotency_key=KEY)
    again = await client.send("POST", "", bundle, idempotency_key=KEY)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert await people(client) == 1


async def test_a_batch_sent_again_carries_out_only_what_failed_before(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    batch = a_bundle(
        "batch",
        an_entry("POST", "Patient", with_cccd("038085900021")),
        an_entry("PUT", "Patient/an", a_patient("An", id="an"), ifMatch='W/"2"'),
    )
    first = (await client.send("POST", "", batch, idempotency_key=KEY)).json()["entry"]
    assert [entry["response"]["status"][:3] for entry in first] == ["201", "412"]
    await client.send("PUT", "Patient/an", a_patient("Other", id="an"))
    again = (await client.send("POST", "", batch, idempotency_key=KEY)).json()["entry"]
    assert [entry["response"]["status"][:3] for entry in again] == ["201", "200"]
    assert again[0] == first[0]
    assert await people(client) == 2


async def test_a_search_under_a_key_is_just_a_search(client: Client) -> None:
    form = "application/x-www-form-urlencoded"
    for name in ("an", "binh"):
        answer = await client.send("POST", "Patient/_search", f"name={name}", content_type=form, idempotency_key=KEY)
        assert answer.status_code == 200
