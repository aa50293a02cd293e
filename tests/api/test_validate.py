"""$validate over HTTP: what is looked at, at each level and in each mode, in which language; nothing is stored."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.config import Settings
from tests.api.conftest import Client, serving

PROFILE = "http://example.org/StructureDefinition/none"
FAULTY = {"resourceType": "Patient", "gender": "nam", "birthDate": "1985-02-30"}


def told(answer: httpx.Response) -> list[tuple[str, str, list[str]]]:
    """(severity, code, expression) of each issue of an answer that validated something."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    return [(one["severity"], one["code"], one.get("expression", [])) for one in body["issue"]]


def parameters(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(rows)}


def mode(code: str) -> dict[str, Any]:
    return {"name": "mode", "valueCode": code}


ALL_WELL: list[tuple[str, str, list[str]]] = [("information", "informational", [])]
FAULTS = [("error", "code-invalid", ["Patient.gender"]), ("error", "value", ["Patient.birthDate"])]


async def stored_patients(client: Client) -> int:
    total: int = (await client.get("Patient?_summary=count")).json()["total"]
    return total


async def test_a_resource_is_validated_and_not_stored(client: Client) -> None:
    assert told(await client.send("POST", "Patient/$validate", {"resourceType": "Patient"})) == ALL_WELL
    assert told(await client.send("POST", "Patient/$validate", FAULTY)) == FAULTS
    body = parameters({"name": "resource", "resource": FAULTY}, mode("create"))
    assert told(await client.send("POST", "Patient/$validate", body)) == FAULTS
    assert await stored_patients(client) == 0


async def test_the_stored_resource_is_validated_where_none_is_sent(client: Client) -> None:
    made = await client.created({"resourceType": "Patient"})
    for method in ("GET", "POST"):
        assert told(await client.send(method, f"Patient/{made['id']}/$validate")) == ALL_WELL
    assert (await client.get("Patient/none/$validate")).status_code == 404
    await client.send("DELETE", f"Patient/{made['id']}")
    assert (await client.get(f"Patient/{made['id']}/$validate")).status_code == 410


async def test_an_update_is_validated_with_its_id(client: Client) -> None:
    path, at_id = "Patient/a/$validate?mode=update", ("error", "invalid", ["Patient.id"])
    assert told(await client.send("POST", path, {"resourceType": "Patient", "id": "a"})) == ALL_WELL
    assert told(await client.send("POST", path, {"resourceType": "Patient", "id": "b"})) == [at_id]
    assert told(await client.send("POST", path, {"resourceType": "Patient"})) == [at_id]


async def test_another_type_than_that_of_the_url_is_a_fault(client: Client) -> None:
    answer = await client.send("POST", "Patient/$validate", {"resourceType": "Basic", "code": {"text": "x"}})
    assert told(answer) == [("error", "structure", ["Basic.resourceType"])]


async def test_a_profile_that_is_not_loaded_is_told_as_a_fault_of_the_request(client: Client) -> None:
    answer = await client.send("POST", f"Patient/$validate?profile={PROFILE}", {"resourceType": "Patient"})
    assert told(answer) == [("error", "not-found", ["profile"])]


async def test_an_unknown_profile_that_a_resource_claims_is_only_information(client: Client) -> None:
    claiming = {"resourceType": "Patient", "meta": {"profile": [PROFILE]}}
    answer = await client.send("POST", "Patient/$validate", claiming)
    assert told(answer) == [("information", "not-supported", ["Patient.meta.profile[0]"])]
    assert (await client.send("POST", "Patient", claiming)).status_code == 201


OURS = "urn:vn-basic:StructureDefinition:patient"
BARE = [("error", "required", ["Patient.name"]), ("error", "required", ["Patient.birthDate"])]


async def test_a_resource_is_held_against_the_profile_that_the_request_names(client: Client) -> None:
    answer = await client.send("POST", f"Patient/$validate?profile={OURS}", {"resourceType": "Patient"})
    found = told(answer)
    assert [one for one in found if one[0] == "error"] == BARE
    assert ("information", "informational", ["Patient"]) in found, "must-support elements that are absent"
    made = await client.created({"resourceType": "Patient"})
    answer = await client.get(f"Patient/{made['id']}/$validate?mode=profile&profile={OURS}")
    assert [one for one in told(answer) if one[0] == "error"] == BARE


async def test_a_resource_that_breaks_a_profile_which_it_claims_is_refused(client: Client) -> None:
    claiming = {"resourceType": "Patient", "meta": {"profile": [OURS]}}
    answer = await client.send("POST", "Patient", claiming)
    assert answer.status_code == 400
    issues = answer.json()["issue"]
    assert [one["expression"] for one in issues if one["severity"] == "error"] == [
        ["Patient.name"],
        ["Patient.birthDate"],
    ]
    entry = {"resource": claiming, "request": {"method": "POST", "url": "Patient"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    answer = await client.send("POST", "", bundle)
    assert answer.status_code == 400
    assert ["Bundle.entry[0].resource.name"] in [one["expression"] for one in answer.json()["issue"]]


async def test_a_setting_makes_a_profile_only_warn(mongodb_uri: str, database_name: str) -> None:
    settings = Settings(
        mongodb_uri=mongodb_uri, mongodb_database=database_name, profile_faults="error, urn:vn-basic:*=warning"
    )
    async with serving(settings) as client:
        claiming = {"resourceType": "Patient", "meta": {"profile": [OURS]}}
        assert (await client.send("POST", "Patient", claiming)).status_code == 201
        assert ("warning", "required", ["Patient.name"]) in told(
            await client.send("POST", "Patient/$validate", claiming)
        )


async def test_a_write_tells_its_warnings_to_whoever_prefers_an_outcome(client: Client) -> None:
    number = {"system": "urn:vn-basic:sid:cccd", "type": {"text": "CCCD"}, "value": "038185000124"}
    name = {"text": "Lê An", "given": ["An"]}
    patient = {"resourceType": "Patient", "meta": {"profile": [OURS]}, "name": [name], "birthDate": "1985-03-02"}
    answer = await client.send(
        "POST", "Patient", patient | {"gender": "male", "identifier": [number]}, prefer="return=OperationOutcome"
    )
    assert answer.status_code == 201
    warnings = [one for one in answer.json()["issue"] if one["severity"] == "warning"]
    assert [one["diagnostics"].partition(":")[0] for one in warnings] == ["vb-pat-2"]


async def test_loaded_profiles_are_told_in_metadata_and_can_be_read(client: Client) -> None:
    rest = (await client.get("metadata")).json()["rest"][0]
    supported = {one["type"]: one.get("supportedProfile", []) for one in rest["resource"]}
    assert supported["Patient"] == [OURS]
    assert len(supported["Condition"]) == 2
    read = await client.get("StructureDefinition/vn-basic-patient")
    assert read.status_code == 200
    assert read.json()["url"] == OURS


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("Patient/$validate", None),
        ("Patient/$validate?mode=delete", {"resourceType": "Patient"}),
        ("Patient/$validate?mode=profile", {"resourceType": "Patient"}),
        ("Patient/$validate?mode=destroy", {"resourceType": "Patient"}),
        ("Patient/$validate?colour=red", {"resourceType": "Patient"}),
    ],
)
async def test_what_cannot_be_validated_is_refused(client: Client, path: str, body: Any) -> None:
    answer = await client.send("POST", path, body)
    assert answer.status_code == 400, answer.text


async def test_a_delete_is_validated_against_what_refers_to_it(mongodb_uri: str, database_name: str) -> None:
    settings = Settings(mongodb_uri=mongodb_uri, mongodb_database=database_name, check_references=True)
    async with serving(settings) as client:
        patient = await client.created({"resourceType": "Patient"})
        basic = {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": f"Patient/{patient['id']}"}}
        made = await client.created(basic)
        path = f"Patient/{patient['id']}/$validate?mode=delete"
        assert told(await client.get(path)) == [("error", "conflict", ["Patient"])]
        await client.send("DELETE", f"Basic/{made['id']}")
        assert told(await client.get(path)) == ALL_WELL
        assert (await client.get(f"Patient/{patient['id']}")).status_code == 200
        basic["subject"] = {"reference": "Patient/none"}
        answer = await client.send("POST", "Basic/$validate?mode=create", basic)
        assert told(answer) == [("error", "not-found", ["Basic.subject.reference"])]


@pytest.mark.parametrize(
    ("accepted", "text"),
    [
        ("en", "'nam' is not in"),
        ("vi", "'nam' không thuộc"),
        ("fr, en-GB;q=0.5, vi;q=0.9", "'nam' không thuộc"),
        ("en-US,en;q=0.9,vi;q=0.8", "'nam' is not in"),
        ("fr", "'nam' không thuộc"),
    ],
)
async def test_faults_are_told_in_the_language_of_the_reader(client: Client, accepted: str, text: str) -> None:
    faulty = {"resourceType": "Patient", "gender": "nam"}
    entry = {"resource": faulty, "request": {"method": "POST", "url": "Patient"}}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    refused = await client.send("POST", "Patient", faulty, accept_language=accepted)
    validated = await client.send("POST", "Patient/$validate", faulty, accept_language=accepted)
    answered = await client.send("POST", "", batch, accept_language=accepted)
    inside = answered.json()["entry"][0]["response"]["outcome"]
    for outcome in (refused.json(), validated.json(), inside):
        issue = outcome["issue"][0]
        assert issue["details"]["text"].startswith(text)
        assert issue["diagnostics"].startswith("'nam' is not in")
    assert "accept-language" in refused.headers["vary"]
