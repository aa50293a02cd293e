"""Every access goes on record: who, what, when, with what outcome; and the record shows whether it was touched."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pymongo import MongoClient

from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.security.audit import AuditTrail
from fhir_server.security.seals import verify
from tests.builders import CCCD, a_condition, an_entry
from tests.security.callers import Caller
from tests.security.conftest import Ask
from tests.security.people import settle

NUMBER = "038085000123"


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    await settle(admin)


@pytest.fixture(scope="module")
def trail(http: httpx.AsyncClient, running: Context) -> AuditTrail:
    found = running.audit
    assert isinstance(found, AuditTrail)
    return found


@pytest.fixture
async def latest(admin: Caller, trail: AuditTrail) -> Any:
    """The events of what a test did, newest first, without those of looking for them."""

    async def told(count: int = 1) -> list[dict[str, Any]]:
        await trail.flush()
        found = (await admin.get(f"AuditEvent?_sort=-date,-_id&_count={count}")).json()["entry"]
        await trail.flush()
        return [entry["resource"] for entry in found]

    await trail.flush()
    return told


def query(event: dict[str, Any]) -> str:
    found = [entity["query"] for entity in event["entity"] if "query" in entity]
    return base64.b64decode(found[0]).decode()


def references(event: dict[str, Any]) -> list[str]:
    return [entity["what"]["reference"] for entity in event.get("entity", ()) if "what" in entity]


async def test_a_read_tells_who_what_and_of_whom(ask: Ask, latest: Any) -> None:
    doctor = ask("user/*.rs", fhirUser="Practitioner/b", organization="h1", sub="bac-si", purpose_of_use="TREAT")
    assert (await doctor.get("Observation/an-lab")).status_code == 200
    (event,) = await latest()
    assert event["subtype"][0]["code"] == "read"
    assert (event["action"], event["outcome"]) == ("R", "0")
    assert references(event) == ["Observation/an-lab/_history/1", "Patient/an"]
    person, application = event["agent"]
    assert person["who"] == {"reference": "Practitioner/b"}
    assert person["altId"] == "bac-si"
    assert person["role"] == [{"text": "Organization/h1"}]
    assert person["network"]["address"] == "127.0.0.1"
    assert application["altId"] == "app"
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"


async def test_a_search_tells_its_query_without_numbers_and_the_patients_it_told(ask: Ask, latest: Any) -> None:
    caller = ask("user/*.rs", administrative_unit="ward:14797")
    for path in (f"Patient?identifier={CCCD}|{NUMBER}&name=an", f"Patient?_content={NUMBER}", f"Patient?{NUMBER}=1"):
        await caller.get(path)
        (event,) = await latest()
        assert event["subtype"][0]["code"] == "search-type"
        assert NUMBER not in query(event)
        assert "#" in query(event)
    await caller.send(
        "POST", "Patient/_search", f"identifier={NUMBER}", content_type="application/x-www-form-urlencoded"
    )
    (event,) = await latest()
    assert NUMBER not in query(event)
    await caller.get("Condition?code=I10")
    (event,) = await latest()
    assert set(references(event)) == {"Patient/an", "Patient/chi", "Patient/dung"}


async def test_the_hash_of_a_number_finds_the_searches_for_it(ask: Ask, latest: Any, trail: AuditTrail) -> None:
    await ask("user/*.rs", organization="h1").get(f"Patient?identifier={NUMBER}")
    (event,) = await latest()
    assert trail.events.hashed(NUMBER) in query(event)


async def test_what_is_refused_or_not_found_is_on_record_too(ask: Ask, http: httpx.AsyncClient, latest: Any) -> None:
    caller = ask("patient/*.rs", patient="an")
    for path, outcome in (("Patient/binh", "404 not-found"), ("Task", "403 forbidden"), ("Patient?x=1&_sort=y", "")):
        await caller.get(path)
        (event,) = await latest()
        assert event.get("outcomeDesc", "") == outcome
        assert event["outcome"] == ("4" if outcome else "0")
    await Caller(http, "no-token").get("Patient/an")
    (event,) = await latest()
    assert (event["subtype"][0]["code"], event["outcomeDesc"]) == ("login", "401 login")


async def test_a_write_and_its_record_are_one(ask: Ask, latest: Any, running: Context) -> None:
    caller = ask("system/*.cruds", organization="h1")
    made = (await caller.post("Condition", a_condition("Patient/an", "J45"))).json()
    (event,) = await latest()
    assert (event["subtype"][0]["code"], event["action"]) == ("create", "C")
    assert references(event) == [f"Condition/{made['id']}/_history/1", "Patient/an"]
    before = (await latest())[0]["id"]
    assert (await caller.post("Condition", a_condition("Patient/binh", "J45"))).status_code == 403
    (event,) = await latest()
    assert (event["id"] != before, event["outcomeDesc"]) == (True, "403 forbidden")
    entries = [an_entry("POST", "Condition", a_condition("Patient/an", code)) for code in ("J45", "E11")]
    await caller.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    (event,) = await latest()
    assert event["subtype"][0]["code"] == "transaction"
    assert len(references(event)) == 3
    await caller.post(
        "", {"resourceType": "Bundle", "type": "batch", "entry": [*entries, an_entry("GET", "Patient/an")]}
    )
    codes = sorted(event["subtype"][0]["code"] for event in await latest(4))
    assert codes == ["batch", "create", "create", "read"]


async def test_nobody_writes_or_deletes_the_record(admin: Caller, latest: Any) -> None:
    event = (await latest())[0]
    for answer in (
        await admin.put({**event, "outcome": "8"}),
        await admin.send("DELETE", f"AuditEvent/{event['id']}"),
        await admin.post("AuditEvent", event),
        await admin.send("PATCH", f"AuditEvent/{event['id']}", [], content_type="application/json-patch+json"),
        await admin.send("DELETE", "AuditEvent?_id=x"),
        await admin.post(
            "", {"resourceType": "Bundle", "type": "transaction", "entry": [an_entry("POST", "AuditEvent", event)]}
        ),
    ):
        assert answer.status_code == 405, answer.text
    assert (await admin.get(f"AuditEvent/{event['id']}")).json() == event


async def test_patients_are_told_who_looked_and_nothing_of_others(ask: Ask, trail: AuditTrail) -> None:
    officer = ask("user/*.rs", administrative_unit="ward:14797", sub="can-bo")
    await officer.get("Condition?code=I10&_count=50")
    await trail.flush()
    own = ask("patient/*.rs", patient="an")
    answer = await own.get("Patient/an/$accesses?_count=5")
    assert answer.status_code == 200, answer.text
    events = [entry["resource"] for entry in answer.json()["entry"]]
    assert any(event["agent"][0]["altId"] == "can-bo" for event in events)
    for event in events:
        assert set(references(event)) <= {"Patient/an"}
        assert not any("query" in entity for entity in event.get("entity", ()))
    following = next(link["url"] for link in answer.json()["link"] if link["relation"] == "next")
    older = (await own.get(following.removeprefix("http://test/fhir/"))).json()
    assert not {entry["resource"]["id"] for entry in older["entry"]} & {event["id"] for event in events}
    assert (await own.get("Patient/binh/$accesses")).status_code == 404
    assert (await own.get("AuditEvent")).status_code == 403


async def test_the_record_verifies_and_shows_what_was_touched(
    trail: AuditTrail, running: Context, mongodb: MongoClient[dict[str, Any]], guarded: Settings, admin: Caller
) -> None:
    await admin.get("Patient/an")
    await trail.flush()
    await trail.seals.seal()
    for _ in range(3):
        await admin.get("Patient/binh")
    await trail.flush()
    await trail.seals.seal()
    store, now, database = running.store, running.clock(), mongodb[guarded.mongodb_database]
    # Seals of other tests are over events that were emptied away since.
    since = now + 1
    verdict = await verify(store, now, since)
    assert verdict.faults == []
    assert verdict.events > 10
    block = database["blocks"].find_one(sort=[("_id", -1)])
    assert block is not None
    event = database["AuditEvent"].find_one({"_id": block["ids"][0]})
    assert event is not None

    async def faults() -> list[str]:
        return (await verify(store, now, since)).faults

    database["AuditEvent"].update_one({"_id": event["_id"]}, {"$set": {"raw": event["raw"].replace(b'"0"', b'"4"')}})
    assert any("changed" in fault for fault in await faults())
    database["AuditEvent"].delete_one({"_id": event["_id"]})
    assert any("missing" in fault for fault in await faults())
    database["AuditEvent"].insert_one(event)
    assert await faults() == []
    database["blocks"].update_one({"_id": block["_id"]}, {"$set": {"at": 1}})
    assert any("it was changed" in fault for fault in await faults())
    database["blocks"].replace_one({"_id": block["_id"]}, block)
    middle = database["blocks"].find_one_and_delete({"_id": block["_id"] - 1})
    assert middle is not None
    assert any("missing or was put in" in fault for fault in await faults())
    database["blocks"].insert_one(middle)
    database["AuditEvent"].insert_one({**event, "_id": "made-up", "u": 1})
    assert any("no block holds it" in fault for fault in await faults())
    database["AuditEvent"].delete_one({"_id": "made-up"})
    assert await faults() == []


async def test_a_flood_of_strangers_is_counted_and_fills_nothing(http: httpx.AsyncClient, trail: AuditTrail) -> None:
    before = len(trail._queue)
    await asyncio.gather(*(http.get("/fhir/Patient") for _ in range(300)))
    assert len(trail._queue) - before <= 2 * 20 + 2
    await trail._tell_crowd()
    told = [one.event.get("outcomeDesc", "") for one in trail._queue]
    assert any("more requests without a valid access token" in text for text in told)


async def test_reads_are_on_record_before_the_answer_in_strict_mode(ask: Ask, trail: AuditTrail, admin: Caller) -> None:
    await trail.flush()
    trail.strict = True
    try:
        await ask("patient/*.rs", patient="an", sub="strict").get("Patient/an")
        assert trail._queue == []
    finally:
        trail.strict = False
    found = (await admin.get("AuditEvent?_sort=-date,-_id&_count=1")).json()["entry"][0]["resource"]
    assert found["agent"][0]["altId"] == "strict"


async def test_what_waits_when_the_server_stops_is_written(
    guarded: Settings, running: Context, app: FastAPI, admin: Caller, trail: AuditTrail
) -> None:
    await trail.stop()
    count = await running.store.count("AuditEvent", {}, running.view)
    await asyncio.gather(*(admin.get("Patient/an") for _ in range(30)))
    await trail.stop()
    assert await running.store.count("AuditEvent", {}, running.view) == count + 30
    assert (await verify(running.store, running.clock(), 0)).unsealed == 0


async def test_numbers_in_paths_and_subjects_stay_off_the_record(ask: Ask, latest: Any) -> None:
    await ask("user/*.rs", organization="h1", sub=NUMBER).get(f"Patient/{NUMBER}")
    (event,) = await latest()
    assert NUMBER not in str(event)
