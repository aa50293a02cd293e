"""Who breaks the glass sees one patient's whole record, for a reason, and it is on record and listed."""

from __future__ import annotations

import asyncio
import json

import pytest

from fhir_server.cli.audit import emergencies
from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.security.pace import DAY, HAND_SECONDS, Pace
from tests.builders import a_condition, an_entry
from tests.security.callers import Caller
from tests.security.conftest import Ask
from tests.security.people import settle

REASON = "Patient/binh bất tỉnh ở phòng cấp cứu"


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    await settle(admin)


async def test_an_emergency_opens_one_record_and_closes_behind_itself(
    ask: Ask, running: Context, guarded: Settings, admin: Caller
) -> None:
    doctor = ask("user/*.cruds btg", fhirUser="Practitioner/b", organization="h1", sub="bac-si")
    header = {"x-break-glass": REASON.encode()}
    assert (await doctor.get("Condition/binh-hiv")).status_code == 404
    opened = await doctor.get("Condition/binh-hiv", **header)
    assert opened.status_code == 200, opened.text
    found = await doctor.get("Condition?_count=50", **header)
    names = {entry["resource"]["id"] for entry in found.json()["entry"]}
    assert names == {"an-plain", "binh-plain", "binh-hiv"}
    assert (await doctor.get("Condition/chi-plain", **header)).status_code == 404
    assert (await doctor.send("DELETE", "Condition/binh-plain", **header)).status_code == 403
    assert (await doctor.post("Condition", a_condition("Patient/binh"), **header)).status_code in (201, 403)
    assert (await doctor.get("Condition/binh-hiv")).status_code == 404
    overridden = "http://dicom.nema.org/resources/ontology/DCM|110127"
    events = (await admin.get(f"AuditEvent?subtype={overridden}&_count=50")).json()["entry"]
    assert len(events) >= 3
    (purpose,) = events[0]["resource"]["purposeOfEvent"]
    assert (purpose["coding"][0]["code"], purpose["text"]) == ("BTG", "bất tỉnh ở phòng cấp cứu")
    told = [json.loads(line) for line in await asyncio.to_thread(emergencies, guarded)]
    assert [(one["patient"], one["user"]) for one in told if one["subject"] == "bac-si"] == [("binh", "Practitioner/b")]


@pytest.mark.parametrize(
    ("scope", "claims", "header", "status"),
    [
        ("user/*.rs", {"organization": "h1"}, "Patient/binh unconscious and alone", 403),
        ("patient/*.rs btg", {"patient": "an"}, "Patient/binh unconscious and alone", 403),
        ("user/*.rs btg", {"organization": "h1"}, "Patient/binh", 400),
        ("user/*.rs btg", {"organization": "h1"}, "Patient/binh why", 400),
        ("user/*.rs btg", {"organization": "h1"}, "Patient/binh,Patient/chi", 400),
        ("user/*.rs btg", {"organization": "h1"}, "", 400),
    ],
)
async def test_the_glass_is_not_broken_without_right_patient_and_reason(
    ask: Ask, scope: str, claims: dict[str, str], header: str, status: int
) -> None:
    answer = await ask(scope, **claims).get("Patient/binh", **{"x-break-glass": header})
    assert answer.status_code == status


async def test_a_client_that_asks_too_often_waits_whichever_process_it_asks(running: Context) -> None:
    now = [0]
    one, other = [Pace(running.store, "often", 2.0, "asks too often", lambda: now[0]) for _ in range(2)]
    for _ in range(10):
        await one.spend("a")
        await other.spend("a")
    for process in (one, other):
        with pytest.raises(FhirError) as told:
            await process.spend("a")
        assert (told.value.kind, told.value.headers["Retry-After"]) == (Kind.THROTTLED, "1")
    await one.spend("b")
    now[0] = 600
    await one.spend("a")
    with pytest.raises(FhirError):
        await other.spend("a")


async def test_what_processes_hold_in_advance_is_never_more_than_the_limit(running: Context) -> None:
    processes = [Pace(running.store, "held", 20.0, "asks too often", lambda: 0) for _ in range(4)]

    async def ask(process: Pace) -> bool:
        try:
            await process.spend("a")
        except FhirError:
            return False
        return True

    answered = await asyncio.gather(*(ask(processes[number % 4]) for number in range(240)))
    assert 200 - 4 * 20 * HAND_SECONDS <= sum(answered) <= 200


async def test_a_client_takes_away_so_many_people_a_day(running: Context) -> None:
    now = [0]
    quota = Pace(running.store, "people", 1_000 / DAY, "has taken away enough", lambda: now[0], DAY)
    await quota.spend("a", 900)
    with pytest.raises(FhirError, match="has taken away enough") as told:
        await quota.spend("a", 200)
    assert told.value.headers["Retry-After"] == str(8_640)
    now[0] = 8_640_000
    await quota.spend("a", 200)
    now[0] += int(DAY) * 1000
    await quota.spend("a", 1_001)


async def test_entries_of_a_batch_count_each_for_one(ask: Ask, running: Context, admin: Caller) -> None:
    caller = ask("user/*.rs", organization="h1", client_id="busy")
    entries = [an_entry("GET", "Patient/an") for _ in range(30)]
    pace = Pace(running.store, "entries", 1.0, "asks too often", lambda: 0)
    from fhir_server.interactions.exchange import FhirRequest
    from fhir_server.routes import respond

    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    limited = running.with_(pace=pace.spend)
    answer = json.loads((await respond(limited, FhirRequest("POST", resource=bundle))).body)
    statuses = [entry["response"]["status"][:3] for entry in answer["entry"]]
    assert statuses.count("429") == 21
    assert (await caller.get("Patient/an")).status_code == 200
