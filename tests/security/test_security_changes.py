"""$records-changed tells a narrowed caller of the changes that it may see, in whole pages, and of no others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.security.pace import DAY, Pace
from tests.builders import a_condition, a_patient
from tests.conftest import remove_from
from tests.security.callers import SENSITIVE, Caller, living_in
from tests.security.conftest import Ask
from tests.security.people import HA_NOI, THANH_HOA, patient

CHANGED = "$records-changed"


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller, mongodb: MongoClient[dict[str, Any]], guarded: Settings) -> None:
    # What has a number is not numbered again, and another module may have written these versions of these people.
    await now(admin)
    remove_from(mongodb[guarded.mongodb_database], ["changes"])
    for id in ("an", "binh", "chi"):
        assert (await admin.put(patient(id))).is_success


async def page(caller: Caller, query: str) -> dict[str, Any]:
    answer = await caller.get(f"{CHANGED}?{query}")
    while answer.status_code == 503:  # the application has only just begun
        await asyncio.sleep(0.05)
        answer = await caller.get(f"{CHANGED}?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def entries(bundle: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["request"]["method"], one["request"]["url"]) for one in bundle.get("entry", ())]


async def now(admin: Caller) -> str:
    """The token from which on nothing has happened: a change that is written last has been numbered."""
    since = (await page(admin, "_since=2099-01-01T00:00:00Z"))["identifier"]["value"]
    marker = (await admin.post("Patient", a_patient("marker"))).json()["id"]
    while True:
        told = await page(admin, f"_since={since}&_count=1000")
        since = told["identifier"]["value"]
        if ("PUT", f"Patient/{marker}") in entries(told):
            return str(since)
        await asyncio.sleep(0.02)


@pytest.fixture
def officer(ask: Ask) -> Caller:
    return ask("user/*.rs operation/records-changed", administrative_unit=f"ward:{THANH_HOA}")


async def test_pages_hold_whom_the_caller_sees_and_deletions_of_what_it_saw(officer: Caller, admin: Caller) -> None:
    since = await now(admin)
    for id, code in (("an", "I10"), ("an", "B20"), ("binh", "I10"), ("binh", "B20")):
        assert (await admin.put(a_condition(f"Patient/{id}", code, id=f"{id}-{code}"))).is_success
    for id in ("an-I10", "an-B20", "binh-I10", "binh-B20"):
        assert (await admin.send("DELETE", f"Condition/{id}")).status_code == 204
    for id in ("binh", "chi"):
        assert (await admin.put({**patient(id), "maritalStatus": {"text": "x"}})).status_code == 200
    await now(admin)
    first = await page(officer, f"_since={since}&_count=1")
    assert entries(first) == [("PUT", "Patient/an"), ("DELETE", "Condition/an-I10")]
    second = await page(officer, f"_since={first['identifier']['value']}&_count=1")
    assert entries(second) == [("PUT", "Patient/chi")]
    whole = entries(await page(admin, f"_since={since}&_count=1000"))
    assert {("DELETE", f"Condition/{id}") for id in ("an-B20", "binh-B20", "binh-I10")} <= set(whole)


async def test_who_may_read_restricted_resources_is_told_of_their_deletion(ask: Ask, admin: Caller) -> None:
    scope = f"user/*.rs {SENSITIVE} operation/records-changed"
    cleared = ask(scope, administrative_unit=f"ward:{HA_NOI}")
    since = await now(admin)
    assert (await admin.put(a_condition("Patient/binh", "B20", id="again"))).is_success
    assert (await admin.send("DELETE", "Condition/again")).status_code == 204
    assert (await admin.put({**patient("binh"), "address": [living_in(HA_NOI)], "active": True})).is_success
    await now(admin)
    assert ("DELETE", "Condition/again") in entries(await page(cleared, f"_since={since}"))


async def test_nobody_takes_away_more_people_a_day_than_the_quota(running: Context, admin: Caller) -> None:
    from fhir_server.errors import FhirError
    from fhir_server.interactions.exchange import FhirRequest
    from fhir_server.routes import respond

    limited = running.with_(quota=Pace(running.store, "four", 4 / DAY, "has taken away enough", lambda: 0, DAY).spend)
    everybody = FhirRequest("GET", (CHANGED,), (("_count", "3"),))
    assert (await respond(limited, everybody)).status == 200
    one = FhirRequest("GET", ("Patient", "an", "$record"), (("format", "basic"),))
    assert (await respond(limited, one)).status == 200
    for request in (everybody, one):
        with pytest.raises(FhirError, match="has taken away enough"):
            await respond(limited, request)
