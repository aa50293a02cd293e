"""Consents count at once: for whom, for what, for how long, and for what of the record."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fhir_server.interactions.exchange import Context
from fhir_server.security.consents import sweep
from tests.builders import a_condition, a_patient
from tests.security.callers import Caller, living_in
from tests.security.conftest import Ask, Commands
from tests.security.people import THANH_HOA, consent, names_of, patient, settle

MINE = names_of("an", hiv=False)


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    await settle(admin)


def actor(reference: str) -> list[dict[str, Any]]:
    return [{"role": {"text": "x"}, "reference": {"reference": reference}}]


def purposes(*codes: str) -> list[dict[str, Any]]:
    return [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": code} for code in codes]


HOSPITAL = {"organization": "h1"}
OFFICER = {"administrative_unit": f"ward:{THANH_HOA}"}
RESEARCH = {"type": "deny", "purpose": purposes("HRESCH")}
TYPES = [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]
SDV = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SDV"}
ELSEWHERE = "https://other.example.vn/fhir"
DATA = {"meaning": "instance", "reference": {"reference": "Condition/an-plain"}}
CASES: list[tuple[str, dict[str, Any], dict[str, Any], set[str]]] = [
    ("a denial of all", {"type": "deny"}, HOSPITAL, set()),
    ("a permit of all", {"type": "permit"}, HOSPITAL, MINE),
    ("a denial of one, asked by it", {"type": "deny", "actor": actor("Organization/h1")}, HOSPITAL, set()),
    ("a denial of one, asked by another", {"type": "deny", "actor": actor("Organization/h2")}, HOSPITAL, MINE),
    (
        "an exception for one, asked by it",
        {"type": "deny", "provision": [{"type": "permit", "actor": actor("Organization/h1")}]},
        HOSPITAL,
        MINE,
    ),
    (
        "an exception for one, asked by another",
        {"type": "deny", "provision": [{"type": "permit", "actor": actor("Organization/h1")}]},
        OFFICER,
        set(),
    ),
    (
        "exceptions alone deny the rest",
        {"provision": [{"type": "permit", "actor": actor("Organization/h1")}]},
        OFFICER,
        set(),
    ),
    (
        "a denial of a purpose, asked for it",
        {"type": "deny", "purpose": purposes("HRESCH")},
        HOSPITAL | {"purpose_of_use": "HRESCH"},
        set(),
    ),
    (
        "a denial of a purpose, asked for another",
        {"type": "deny", "purpose": purposes("HRESCH")},
        HOSPITAL | {"purpose_of_use": "TREAT"},
        MINE,
    ),
    ("a denial of a purpose, asked without one", {"type": "deny", "purpose": purposes("HRESCH")}, HOSPITAL, set()),
    ("a denial of a type", {"type": "deny", "class": TYPES}, HOSPITAL, MINE - {"Observation/an-lab"}),
    (
        "a type permitted alone",
        {"type": "deny", "provision": [{"type": "permit", "class": TYPES}]},
        HOSPITAL,
        {"Observation/an-lab"},
    ),
    (
        "an exception within an exception, for the actor of the outer one",
        {
            "type": "deny",
            "provision": [
                {
                    "type": "permit",
                    "actor": actor("Organization/h1"),
                    "provision": [{"type": "deny", "class": TYPES}],
                }
            ],
        },
        HOSPITAL,
        MINE - {"Observation/an-lab"},
    ),
    (
        "a permit of one resource permits no others",
        {"type": "deny", "provision": [{"type": "permit", "data": [DATA]}]},
        HOSPITAL,
        set(),
    ),
    (
        "a permit to collect is none to look",
        {"type": "deny", "provision": [{"type": "permit", "action": [{"coding": [{"code": "collect"}]}]}]},
        HOSPITAL,
        set(),
    ),
    ("a denial of less than is told apart", {"type": "deny", "dataPeriod": {"start": "2020"}}, HOSPITAL, set()),
    ("a denial by a label that no class here stands for", {"type": "deny", "securityLabel": [SDV]}, HOSPITAL, set()),
    ("a denial of a class that is no type", {"type": "deny", "class": [{"code": "11488-4"}]}, HOSPITAL, set()),
    ("a denial of a team", {"type": "deny", "actor": actor("CareTeam/1")}, HOSPITAL, set()),
    (
        "a denial of one that is elsewhere, asked by one of the same id",
        {"type": "deny", "actor": actor(f"{ELSEWHERE}/Organization/h1")},
        HOSPITAL,
        set(),
    ),
    (
        "a permit of one that is elsewhere, asked by one of the same id",
        {"type": "deny", "provision": [{"type": "permit", "actor": actor(f"{ELSEWHERE}/Organization/h1")}]},
        HOSPITAL,
        set(),
    ),
    (
        "a denial of a purpose, asked for a kind of it",
        {"type": "deny", "purpose": purposes("HRESCH")},
        HOSPITAL | {"purpose_of_use": "CLINTRCH"},
        set(),
    ),
    (
        "a denial of a rare purpose, asked without one",
        {"type": "deny", "purpose": purposes("PRECLINTRCH")},
        HOSPITAL,
        set(),
    ),
    (
        "a denial of a kind of a purpose, asked for another kind",
        {"type": "deny", "purpose": purposes("PRECLINTRCH")},
        HOSPITAL | {"purpose_of_use": "CLINTRCHNPC"},
        MINE,
    ),
    (
        "a permit of a purpose, asked for a kind of it",
        {"type": "deny", "provision": [{"type": "permit", "purpose": purposes("TREAT")}]},
        HOSPITAL | {"purpose_of_use": "ETREAT"},
        MINE,
    ),
    (
        "a permit of a purpose, asked without one",
        {"type": "deny", "provision": [{"type": "permit", "purpose": purposes("TREAT")}]},
        HOSPITAL,
        set(),
    ),
    ("a denial that is over", {"type": "deny", "period": {"end": "2020-01-01"}}, HOSPITAL, MINE),
    ("a denial to come", {"type": "deny", "period": {"start": "2990-01-01"}}, HOSPITAL, MINE),
    ("a denial in force", {"type": "deny", "period": {"start": "2020-01-01", "end": "2990-01-01"}}, HOSPITAL, set()),
]


async def seen(caller: Caller) -> set[str]:
    found: set[str] = set()
    for type in ("Patient", "Condition", "Observation", "Encounter"):
        found |= {name for name in await caller.ids(f"{type}?_count=100") if name in MINE}
    return found


@pytest.mark.parametrize(("provision", "claims", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
async def test_a_consent_counts_at_once_and_no_longer_than_it_is_there(
    ask: Ask, admin: Caller, provision: dict[str, Any], claims: dict[str, Any], expected: set[str]
) -> None:
    caller = ask("user/*.rs", fhirUser="Practitioner/x", **claims)
    assert await seen(caller) == MINE
    answer = await admin.put(consent(provision))
    assert answer.status_code in (200, 201), answer.text
    assert await seen(caller) == expected
    for name in MINE:
        assert (await caller.get(name)).status_code == (200 if name in expected else 404)
    assert await seen(ask("patient/*.rs", patient="an")) == MINE, "patients see their own record whatever they say"
    assert (await admin.send("DELETE", "Consent/of-an")).status_code == 204
    assert await seen(caller) == MINE


async def test_a_denial_of_a_class_hides_it_from_those_who_have_the_scope(ask: Ask, admin: Caller) -> None:
    cleared = ask("user/*.rs sens/HIV", **HOSPITAL)
    assert "Condition/an-hiv" in await cleared.ids("Condition")
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}
    await admin.put(consent({"type": "deny", "securityLabel": [label]}))
    assert await cleared.ids("Condition") == {"Condition/an-plain"}
    await admin.send("DELETE", "Consent/of-an")


async def test_a_permit_of_a_class_shows_it_alone_and_to_whom_it_names(ask: Ask, admin: Caller) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}
    permit = {"type": "permit", "securityLabel": [label], "actor": actor("Organization/h1")}
    assert (await admin.put(consent({"type": "deny", "provision": [permit]}))).is_success
    cleared, uncleared = ask("user/*.rs sens/HIV", **HOSPITAL), ask("user/*.rs", **HOSPITAL)
    officer = ask("user/*.rs sens/HIV", **OFFICER)
    assert await cleared.ids("Condition") == {"Condition/an-hiv"}
    assert await uncleared.ids("Condition") == set()
    assert "Condition/an-hiv" not in await officer.ids("Condition")
    for limited in ({**permit, "class": TYPES}, {**permit, "securityLabel": [{"system": "urn:x", "code": "HIV"}]}):
        assert (await admin.put(consent({"type": "deny", "provision": [limited]}))).is_success
        assert await cleared.ids("Condition") == set()
    await admin.send("DELETE", "Consent/of-an")


async def test_what_consents_say_outlasts_changes_of_the_patient_and_new_members(ask: Ask, admin: Caller) -> None:
    hospital = ask("user/*.rs", **HOSPITAL)
    await admin.put(consent({"type": "deny"}))
    moved = {**patient("an"), "address": [living_in("00004")], "maritalStatus": {"text": "x"}}
    assert (await admin.put(moved)).status_code == 200
    made = await admin.post(
        "Observation",
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": "Patient/an"},
            "performer": [{"reference": "Organization/h1"}],
        },
    )
    assert await seen(hospital) == set()
    assert (await hospital.get(f"Observation/{made.json()['id']}")).status_code == 404
    assert (await hospital.get("Condition/an-plain/_history/1")).status_code == 404
    await admin.send("DELETE", "Consent/of-an")
    assert (await hospital.get("Condition/an-plain/_history/1")).status_code == 200
    await admin.put(patient("an"))


async def test_a_period_that_begins_or_ends_is_noticed(ask: Ask, admin: Caller, running: Context) -> None:
    hospital = ask("user/*.rs", **HOSPITAL)
    await admin.put(consent({"type": "deny", "period": {"end": "2990-01-01"}}))
    assert await seen(hospital) == set()
    later = running.with_(clock=lambda: 32_503_680_000_000)  # the year 3000
    await sweep(later)
    assert await seen(hospital) == MINE
    await admin.send("DELETE", "Consent/of-an")


async def test_a_citizen_gives_and_withdraws_consent(ask: Ask, admin: Caller) -> None:
    own, hospital = ask("patient/*.cruds", patient="an"), ask("user/*.rs", **HOSPITAL)
    body = {name: value for name, value in consent({"type": "deny"}).items() if name != "id"}
    made = (await own.post("Consent", body)).json()
    assert await seen(hospital) == set()
    assert (await own.send("DELETE", f"Consent/{made['id']}")).status_code == 204
    assert await seen(hospital) == MINE


async def test_what_a_patient_has_said_nobody_else_changes_or_permits(ask: Ask, admin: Caller) -> None:
    own = ask("patient/*.cruds", patient="an")
    hospital, officer = ask("system/*.cruds", **HOSPITAL), ask("user/*.cruds", **OFFICER)
    body = {name: value for name, value in consent({"type": "deny", "class": TYPES}).items() if name != "id"}
    made = (await own.post("Consent", body)).json()
    for other in (hospital, officer):
        assert (await other.get(f"Consent/{made['id']}")).status_code == 200
        assert (await other.put({**made, "status": "inactive"})).status_code == 403
        assert (await other.send("DELETE", f"Consent/{made['id']}")).status_code == 403
        permit = {**body, "provision": {"type": "deny", "provision": [{"type": "permit", "class": TYPES}]}}
        refused = await other.post("Consent", permit)
        assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (403, ["Consent.provision"])
    on_paper = (await hospital.post("Consent", body)).json()
    assert (await admin.get(f"Consent/{on_paper['id']}")).status_code == 200
    assert (await hospital.send("DELETE", f"Consent/{on_paper['id']}")).status_code == 204
    assert (await admin.get(f"Consent/{on_paper['id']}")).status_code == 410
    assert (await own.send("DELETE", f"Consent/{made['id']}")).status_code == 204
    assert await seen(ask("user/*.rs", **HOSPITAL)) == MINE


async def test_a_consent_that_was_there_before_its_patient_counts_with_the_patient(ask: Ask, admin: Caller) -> None:
    hospital = ask("user/*.rs", **HOSPITAL)
    person = {**patient("an"), "id": "later"}
    early = consent({"type": "deny"}, id="of-later", patient={"reference": "Patient/later"})
    assert (await admin.put(early)).status_code == 201
    assert (await admin.put(person)).status_code == 201
    assert (await hospital.get("Patient/later")).status_code == 404
    assert (await admin.put({**early, "status": "inactive"})).status_code == 200
    assert (await hospital.get("Patient/later")).status_code == 200
    assert (await admin.send("DELETE", "Patient/later")).status_code == 204
    assert (await admin.put(early)).status_code == 200
    assert (await admin.put(person)).status_code == 201
    assert (await hospital.get("Patient/later")).status_code == 404
    assert (await hospital.get("Patient/later/_history/1")).status_code == 404


async def test_a_consent_that_is_about_somebody_else_now_counts_for_that_one_alone(ask: Ask, admin: Caller) -> None:
    ministry = ask("user/*.rs", administrative_unit="country:VN")
    assert (await admin.put(consent({"type": "deny"}))).is_success
    assert (await ministry.get("Patient/an")).status_code == 404
    assert (await admin.put(consent({"type": "deny"}, patient={"reference": "Patient/binh"}))).status_code == 200
    assert [(await ministry.get(f"Patient/{id}")).status_code for id in ("an", "binh")] == [200, 404]
    assert (await admin.send("DELETE", "Consent/of-an")).status_code == 204
    assert (await ministry.get("Patient/binh")).status_code == 200


async def test_of_two_consents_that_change_at_once_neither_is_lost(ask: Ask, admin: Caller) -> None:
    hospital = ask("user/*.rs", **HOSPITAL)
    first, second = (consent({"type": "deny"}, id=id) for id in ("one", "two"))
    await admin.put(second)
    for _ in range(3):
        await admin.put(first)
        await admin.put({**second, "status": "inactive"})
        await asyncio.gather(admin.send("DELETE", "Consent/one"), admin.put(second))
        assert await seen(hospital) == set()
    await admin.send("DELETE", "Consent/two")
    assert await seen(hospital) == MINE


async def test_an_answer_that_waits_is_not_told_once_the_patient_denies(ask: Ask, admin: Caller) -> None:
    hospital, officer = ask("user/*.cruds", **HOSPITAL), ask("user/*.cruds", **OFFICER)
    places = {}
    for caller in (hospital, officer):
        accepted = await caller.get("Patient/an/$everything", prefer="respond-async")
        places[caller] = accepted.headers["content-location"].partition("/fhir/")[2]
        while (answer := await caller.get(places[caller])).status_code == 202:
            await asyncio.sleep(0.02)
        assert "Condition/an-plain" in answer.text
    assert (await admin.put(consent({"type": "deny", "actor": actor("Organization/h1")}))).is_success
    assert (await hospital.get(places[hospital])).status_code == 404
    assert (await officer.get(places[officer])).status_code == 200
    assert (await admin.send("DELETE", "Consent/of-an")).is_success
    assert (await hospital.get(places[hospital])).status_code == 200


async def test_a_patient_who_denies_cannot_be_told_from_an_unknown_one_by_what_is_written(
    ask: Ask, admin: Caller, commands: Commands
) -> None:
    hospital = ask("user/*.cruds", **HOSPITAL)
    known = (await hospital.post("Patient", a_patient("Lê Văn Mới"))).json()["id"]
    own = (await hospital.post("Condition", a_condition(f"Patient/{known}"))).json()
    assert (await admin.put(consent({"type": "deny", "actor": actor("Organization/h1")}))).is_success
    created, moved, asked = [], [], []
    for name in ("Patient/an", "Patient/unknown"):
        commands.seen.clear()
        answer = await hospital.post("Condition", a_condition(name))
        created.append((answer.status_code, answer.text))
        of_resources = ("Condition", "Patient", "compartments")
        asked.append([(verb, told[verb]) for verb, told in commands.seen if told[verb] in of_resources])
        answer = await hospital.put({**own, "subject": {"reference": name}})
        moved.append((answer.status_code, answer.text))
    assert created[0] == created[1]
    assert asked[0] == asked[1] != []
    assert moved[0] == moved[1]
    assert {status for status, _ in created + moved} == {403}
    assert (await admin.send("DELETE", "Consent/of-an")).is_success
