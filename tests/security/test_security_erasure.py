"""A record is erased for good when two officers have said so, and not before its legal time without a decision."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_server.cli.erase import ask, confirm
from fhir_server.cli.faults import CannotRun
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.security.data_subjects import rules
from fhir_server.security.erasure import REGISTER, Erasures, NotErased, Request
from fhir_server.security.officers import NotAnOfficer, Officers
from fhir_server.security.retention import kept
from tests.builders import a_condition, a_patient
from tests.security.callers import Caller
from tests.security.people import names_of, settle

A, B = ("Nguyễn A", "mật khẩu dài của A"), ("Trần B", "mật khẩu dài của B")
DAY_MS = 86_400_000
WRITTEN = 1_780_000_000_000  # in 2026


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller, running: Context) -> None:
    await settle(admin)
    officers = Officers(running.store)
    for name, passphrase in (A, B):
        await officers.add(name, passphrase, running.clock() - 2 * DAY_MS)


@pytest.fixture
def erasures(running: Context) -> Erasures:
    return Erasures(running)


async def confirmed(erasures: Erasures, asked: Request, decision: str | None = "12/QĐ") -> dict[str, Any]:
    return dict(await erasures.confirm(asked.id, asked.code, *B, decision))


async def test_one_officer_alone_erases_nothing(erasures: Erasures, admin: Caller) -> None:
    asked = await erasures.ask("binh", *A, "petition 7")
    for code, by, why in (
        (asked.code, (" nguyễn  a", A[1]), "cannot confirm"),
        (asked.code, (B[0], A[1]), "not the passphrase"),
        (asked.code, ("Lê C", B[1]), "no officer"),
        ("0" * 10, B, "not the code"),
    ):
        with pytest.raises(NotErased, match=why):
            await erasures.confirm(asked.id, code, *by, "12/QĐ")
    with pytest.raises(NotErased, match="no erasure"):
        await erasures.confirm("e2", asked.code, *B, None)
    with pytest.raises(NotErased, match="not stored"):
        await erasures.ask("nobody", *A, "petition")
    with pytest.raises(NotErased, match="no officer"):
        await erasures.ask("binh", "Lê C", "whatever it may be", "petition")
    for name in names_of(("binh",), hiv=True):
        assert (await admin.get(name)).status_code == 200


async def test_a_new_officer_waits_a_day_and_a_short_passphrase_is_refused(running: Context) -> None:
    officers, now = Officers(running.store), running.clock()
    with pytest.raises(NotAnOfficer, match="12 letters"):
        await officers.add("Lê D", "short", now)
    await officers.add("Lê D", "một câu đủ dài", now)
    with pytest.raises(NotAnOfficer, match="within the last 24 hours"):
        await officers.prove("lê d", "một câu đủ dài", now + DAY_MS - 1)
    assert await officers.prove("lê d", "một câu đủ dài", now + DAY_MS) == "Lê D"
    assert await officers.remove("LÊ D")
    assert not await officers.remove("Lê D")


async def test_a_request_ends_after_wrong_codes_and_after_its_days(erasures: Erasures, running: Context) -> None:
    asked = await erasures.ask("binh", *A, "petition 7")
    for _ in range(rules().erasure.tries):
        with pytest.raises(NotErased, match="not the code"):
            await erasures.confirm(asked.id, "1", *B, "12/QĐ")
    with pytest.raises(NotErased, match="too many"):
        await confirmed(erasures, asked)
    asked = await erasures.ask("binh", *A, "petition 7")
    later = replace(erasures, context=running.with_(clock=lambda: running_out))
    running_out = running.clock() + (rules().erasure.days + 1) * DAY_MS
    with pytest.raises(NotErased, match="ask again"):
        await confirmed(later, asked)


async def test_after_it_nothing_is_left_but_a_tombstone_and_the_entry(
    erasures: Erasures, running: Context, admin: Caller, mongodb: MongoClient[dict[str, Any]], guarded: Settings
) -> None:
    """What stands outside the compartment goes too: tasks, joined Patients, files of the person alone."""
    joined = a_patient(id="an-2", link=[{"other": {"reference": "Patient/an"}, "type": "replaced-by"}], active=False)
    kin = a_patient(id="an-child", link=[{"other": {"reference": "Patient/an"}, "type": "seealso"}])
    task = {"resourceType": "Task", "id": "an-task", "status": "requested", "intent": "proposal"}
    for resource in (
        joined,
        kin,
        {**task, "for": {"reference": "Patient/an"}},
        {**task, "status": "completed", "for": {"reference": "Patient/an"}},
        {"resourceType": "Binary", "id": "an-file", "contentType": "text/plain", "data": "YQ=="},
        {"resourceType": "Binary", "id": "all-file", "contentType": "text/plain", "data": "YQ=="},
        file_of("an", "an-file"),
        file_of("an", "all-file"),
        file_of("binh", "all-file"),
        {"resourceType": "Binary", "id": "sent-part", "contentType": "text/plain", "data": "YQ=="},
        *received("sent", "an"),
        *received("sent-of-all", "an", "binh"),
    ):
        assert (await admin.put(resource)).status_code in (200, 201)
    asked = await erasures.ask("an", *A, "decision 12")
    with pytest.raises(NotErased, match="TT 33/2025"):
        await confirmed(erasures, asked, None)
    done = await confirmed(erasures, asked)
    assert (done["asked_by"], done["confirmed_by"], done["despite_retention"]) == ("Nguyễn A", "Trần B", "12/QĐ")
    assert done["erased"]["versions"] >= 14
    assert done["erased"]["shared_files"] == ["Binary/all-file", "DocumentReference/sent-of-all"]
    for gone in ("Patient/an", "Patient/an/_history/1", "Patient/an-2"):
        assert (await admin.get(gone)).status_code == 410
    others = {"Task/an-task", "Binary/an-file", "DocumentReference/an-an-file"}
    others |= {"Binary/sent-part", "DocumentReference/sent", "Provenance/sent-an", "Provenance/sent-of-all-an"}
    for name in (names_of(("an",), hiv=True) | others) - {"Patient/an"}:
        assert (await admin.get(name)).status_code == 404
        assert (await admin.get(f"{name}/_history/1")).status_code == 404
    left_there = ("Binary/all-file", "DocumentReference/binh-all-file", "DocumentReference/sent-of-all")
    for left in ("Patient/an-child", "Provenance/sent-of-all-binh", *left_there):
        assert (await admin.get(left)).status_code == 200
    database = mongodb[guarded.mongodb_database]
    for name in database.list_collection_names():
        if name[0].isupper() and name != "Patient":
            assert database[name].count_documents({"p": "an"}) == 0
    (tombstone,) = database["Patient"].find({"_id": "an"})
    assert "raw" not in tombstone
    assert "Nguyễn" not in str(tombstone)
    index = lambda resource: running.search.index(resource, running.store.registry)  # noqa: E731
    assert [problem async for problem in running.store.check(index) if "/an" in problem.place] == []
    again = await confirmed(erasures, asked)
    assert again["erased"]["versions"] == done["erased"]["versions"]
    entry = await running.store.entry(REGISTER, asked.id)
    assert entry is not None
    assert asked.code not in str(entry)


def received(id: str, *people: str) -> list[dict[str, Any]]:
    """A file as an import keeps it, and the Provenance of each person's record in it."""
    attachment = {"url": f"Binary/{id}-part"}
    document = {"resourceType": "DocumentReference", "id": id, "status": "current"}
    heads = [
        {
            "resourceType": "Provenance",
            "id": f"{id}-{person}",
            "target": [{"reference": f"Patient/{person}"}],
            "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": {"display": "import"}}],
            "entity": [{"role": "source", "what": {"reference": f"DocumentReference/{id}"}}],
        }
        for person in people
    ]
    return [{**document, "content": [{"attachment": attachment}]}, *heads]


def file_of(patient: str, file: str) -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "id": f"{patient}-{file}",
        "status": "current",
        "subject": {"reference": f"Patient/{patient}"},
        "content": [{"attachment": {"url": f"Binary/{file}"}}],
    }


async def test_each_step_at_the_command_line_is_on_record_and_refusals_too(
    running: Context, admin: Caller, guarded: Settings
) -> None:
    asked = json.loads(await asyncio.to_thread(ask, guarded, "chi", *A, "petition 9"))
    with pytest.raises(CannotRun, match="not the passphrase"):
        await asyncio.to_thread(confirm, guarded, asked["id"], asked["code"], B[0], A[1], "12/QĐ")
    done = json.loads(await asyncio.to_thread(confirm, guarded, asked["id"], asked["code"], *B, "12/QĐ"))
    assert done["erased"]["versions"] >= 8
    found = (await admin.get("AuditEvent?patient=chi&type=destroy&_sort=date")).json()["entry"]
    told = [
        (entry["resource"].get("subtype", [{"code": ""}])[0]["code"], entry["resource"]["outcome"]) for entry in found
    ]
    assert sorted(told) == [
        ("", "0"),
        ("erase-ask", "0"),
        ("erase-confirm", "0"),
        ("erase-confirm", "0"),
        ("erase-confirm", "4"),
    ]
    assert asked["code"] not in str(found)


async def test_what_is_older_than_its_legal_time_needs_no_decision(running: Context, admin: Caller) -> None:
    much_later = running.clock() + 31 * 366 * DAY_MS
    erasures = Erasures(running.with_(clock=lambda: much_later))
    asked = await erasures.ask("vo", *A, "petition 8")
    assert asked.kept is None
    assert (await confirmed(erasures, asked, None))["erased"]["versions"] >= 8
    assert (await admin.get("Patient/vo")).status_code == 410
    assert (await admin.get("Patient/dung")).status_code == 200


@pytest.mark.parametrize(
    ("code", "dates", "deceased", "until"),
    [
        ("I10", {"recordedDate": "2020-05-01"}, False, date(2030, 5, 1)),
        ("I10", {"recordedDate": "2020-02-29"}, True, date(2050, 2, 28)),
        ("F20", {"recordedDate": "2020-04"}, False, date(2040, 4, 30)),
        ("S72.0", {"onsetDateTime": "2019", "recordedDate": "2020"}, False, date(2040, 12, 31)),
        ("I10", {"onsetDateTime": "2019-01-01", "abatementDateTime": "2199"}, False, date(2029, 1, 1)),
        ("I10", {"recordedDate": "2026"}, False, date(2036, 5, 28)),
        ("I10", {}, False, date(2036, 5, 28)),
        ("I10", {"recordedDate": "2016-05-28"}, False, None),
    ],
)
def test_a_record_is_kept_by_its_class_from_its_latest_date(
    code: str, dates: dict[str, str], deceased: bool, until: date | None
) -> None:
    found = kept(
        rules().retention, a_condition("Patient/1", code, id="c", **dates), WRITTEN, deceased, date(2026, 5, 28)
    )
    assert (found.until if found else None) == until
