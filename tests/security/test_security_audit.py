"""Who asked is on record too: the user, the application, why; and the record tells patients only of themselves."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest

from fhir_server.audit.trail import Trail
from fhir_server.cli.audit import who_looked
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from tests.builders import a_condition
from tests.security.callers import Caller, Login
from tests.security.conftest import Ask
from tests.security.people import settle

NUMBER = "038085000123"


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    await settle(admin)


@pytest.fixture(scope="module")
def trail(running: Context) -> Trail:
    return running.trail


@pytest.fixture
def latest(admin: Caller) -> Any:
    """The events of what a test did, newest first, without those of looking for them."""

    async def told(count: int = 1) -> list[dict[str, Any]]:
        # By time to the millisecond: by date, those of one second stand in no order.
        found = (await admin.get(f"AuditEvent?_sort=-_lastUpdated&_count={count + 20}")).json()["entry"]
        events = [entry["resource"] for entry in found]
        return [one for one in events if "admin" not in str(one["agent"])][:count]

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
    person, application, organisation = event["agent"]
    assert (person["who"], person["altId"], person["requestor"]) == ({"reference": "Practitioner/b"}, "bac-si", True)
    assert person["network"]["address"] == "127.0.0.1"
    assert application["altId"] == "app"
    assert organisation["who"] == {"reference": "Organization/h1"}
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"


async def test_events_are_found_by_agent(ask: Ask, admin: Caller) -> None:
    await ask("user/*.rs", fhirUser="Practitioner/b", organization="h1", sub="bac-si-2").get("Observation/an-lab")
    for asked in ("agent=Practitioner/b", "agent=Organization/h1", "altid=bac-si-2"):
        found = (await admin.get(f"AuditEvent?{asked}&entity=Observation/an-lab&_count=1")).json()
        assert found["entry"][0]["resource"]["agent"][0]["altId"] == "bac-si-2", asked


async def test_an_officer_is_told_with_the_unit(ask: Ask, latest: Any) -> None:
    await ask("user/*.rs", administrative_unit="ward:14797", sub="can-bo").get("Condition?code=I10")
    (event,) = await latest()
    assert event["agent"][0]["role"] == [{"coding": [{"code": "ward:14797"}]}]
    assert set(references(event)) == {"Patient/an", "Patient/chi", "Patient/dung"}


async def test_what_is_refused_is_on_record(ask: Ask, latest: Any) -> None:
    caller = ask("patient/*.rs", patient="an")
    for path, status in (("Patient/binh", "404"), ("Task", "403")):
        await caller.get(path)
        (event,) = await latest()
        assert (event["outcome"], event["outcomeDesc"]) == ("4", status)
        assert event["agent"][0]["who"] == {"reference": "Patient/an"}
    writer = ask("system/*.cruds", organization="h1")
    assert (await writer.post("Condition", a_condition("Patient/binh", "J45"))).status_code == 403
    (event,) = await latest()
    assert (event["subtype"][0]["code"], event["outcomeDesc"]) == ("create", "403")


async def test_who_is_not_let_in_is_counted_and_fills_nothing(http: httpx.AsyncClient, admin: Caller) -> None:
    before = counted(await logins(admin))
    await asyncio.gather(*(http.get("/fhir/Patient/an") for _ in range(300)))
    await Caller(http, "no-token").get("Patient/an")
    events = await logins(admin)
    assert len(events) < 30
    assert {event["outcomeDesc"] for event in events} <= {"400", "401"}
    assert counted(events) == before + 301


async def logins(admin: Caller) -> list[dict[str, Any]]:
    """The events of those who were not let in; the application is shared with other tests."""
    login = "http://dicom.nema.org/resources/ontology/DCM|110114"
    found = (await admin.get(f"AuditEvent?type={login}&outcome=4&_count=500")).json().get("entry", [])
    return [entry["resource"] for entry in found]


def counted(events: list[dict[str, Any]]) -> int:
    details = [detail for event in events for entity in event["entity"] for detail in entity["detail"]]
    return sum(int(detail["valueString"]) for detail in details if detail["type"] == "count")


async def test_only_who_sees_everything_sees_the_record(ask: Ask) -> None:
    for caller in (
        ask("user/*.rs", organization="h1"),
        ask("user/*.rs", administrative_unit="ward:14797"),
        ask("user/*.rs", administrative_unit="province:38"),
    ):
        answer = await caller.get("AuditEvent")
        assert answer.status_code == 403 or answer.json().get("entry", []) == []
    assert (await ask("patient/*.rs", patient="an").get("AuditEvent")).status_code == 403


async def test_patients_are_told_who_looked_and_nothing_of_others(ask: Ask) -> None:
    officer = ask("user/*.rs", administrative_unit="ward:14797", sub="can-bo")
    for _ in range(6):
        await officer.get("Condition?code=I10&_count=50")
    own = ask("patient/*.rs", patient="an")
    answer = await own.get("Patient/an/$accesses?_count=5")
    assert answer.status_code == 200, answer.text
    events = [entry["resource"] for entry in answer.json()["entry"]]
    assert any(event["agent"][0].get("altId") == "can-bo" for event in events)
    for event in events:
        assert set(references(event)) <= {"Patient/an"}
        assert not any("query" in entity for entity in event.get("entity", ()))
        assert not any("network" in agent for agent in event["agent"])
    following = next(link["url"] for link in answer.json()["link"] if link["relation"] == "next")
    older = (await own.get(following.removeprefix("http://test/fhir/"))).json()
    assert not {entry["resource"]["id"] for entry in older["entry"]} & {event["id"] for event in events}
    assert len(older["entry"]) == 5
    assert events[-1]["id"] not in following
    for path in (following.replace("Patient/an", "Patient/binh"), f"{following}x"):
        assert (await own.get(path.removeprefix("http://test/fhir/"))).status_code in (400, 404)
    assert answer.json()["link"][0]["url"].endswith("Patient/an/$accesses?_count=5")
    assert (await own.get("Patient/binh/$accesses")).status_code == 404


async def test_patients_read_who_looked_as_a_page_and_as_a_table_in_their_language(
    ask: Ask, guarded: Settings, running: Context, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    script = "=<script>"
    await ask("user/*.rs", organization="h1", sub=script, purpose_of_use="TREAT").get("Observation/an-lab")
    answer = await ask("patient/*.rs", patient="an").get("Patient/an/$accesses?as=page&_count=2")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "=&lt;script&gt;" in answer.text
    assert script not in answer.text
    for told in ("xem<small>read", "Bệnh viện Một", "điều trị<small>treatment", "as=page"):
        assert told in answer.text
    await running.trail.flush()
    vietnamese = ("Lúc,Ai", "Bệnh viện Một,app,xem,điều trị,được trả lời", "chính người bệnh")
    english = ("when,who", "Bệnh viện Một,app,read,treatment,answered", "the patient")
    for language, told in (("vi", vietnamese), ("en", english)):
        await asyncio.to_thread(who_looked, guarded, "an", None, "csv", language)
        table = capsysbinary.readouterr().out.decode()
        assert all(text in table for text in (*told, f"'{script}"))


async def test_reads_are_on_record_before_the_answer_in_strict_mode(ask: Ask, trail: Trail, admin: Caller) -> None:
    trail.mode = "strict"
    try:
        await ask("patient/*.rs", patient="an", sub="strict").get("Patient/an")
        assert trail._waiting == []
    finally:
        trail.mode = "normal"
    found = (await admin.get("AuditEvent?altid=strict")).json()["entry"]
    assert len(found) == 1


async def test_requests_at_a_time_share_the_pages_that_strict_mode_writes(ask: Ask, trail: Trail) -> None:
    caller = ask("patient/*.rs", patient="an", sub="together")
    await caller.get("Patient/an")
    await trail.flush()
    before = trail._pages
    trail.mode = "strict"
    try:
        answers = await asyncio.gather(*(caller.get("Patient/an") for _ in range(40)))
    finally:
        trail.mode = "normal"
    assert {answer.status_code for answer in answers} == {200}
    assert 1 <= trail._pages - before <= 20


async def test_numbers_in_paths_and_subjects_stay_off_the_record(ask: Ask, latest: Any) -> None:
    await ask("user/*.rs", organization="h1", sub=NUMBER).get(f"Patient/{NUMBER}")
    (event,) = await latest()
    assert NUMBER not in str(event)
    assert event["agent"][0]["altId"] in query(event)  # the same number, hidden the same way


async def test_the_caller_behind_a_trusted_proxy_is_on_record(app: Any, login: Login, latest: Any) -> None:
    for peer, told in (("10.0.0.7", "203.0.113.9"), ("192.0.2.1", "192.0.2.1")):
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            caller = Caller(http, login.token("patient/*.rs", patient="an"))
            await caller.get("Patient/an", x_forwarded_for="198.51.100.1, 203.0.113.9, 10.1.1.1")
        (event,) = await latest()
        assert event["agent"][0]["network"]["address"] == told


async def test_a_file_of_records_needs_its_scope_and_is_on_record(
    http: httpx.AsyncClient, ask: Ask, latest: Any
) -> None:
    refused = ask("system/*.cruds", organization="h1")
    allowed = ask("system/*.cruds operation/import-records", organization="h1")
    for caller, status in ((refused, 403), (allowed, 422)):
        headers = {**caller.headers, "content-type": "application/x-ndjson"}
        answer = await http.post("/records?name=a", content=b"", headers=headers)
        assert answer.status_code == status, answer.text
        # The import itself is on record beside the operation.
        event = next(one for one in await latest(2) if "import-records" in str(one.get("subtype")))
        assert event["outcome"] == "4"
    assert (await http.post("/records", content=b"", headers={"content-type": "text/csv"})).status_code == 401
