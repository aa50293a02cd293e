"""create, update, delete and patch over HTTP. R4 RESTful API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_server.config import Settings
from tests.api.conftest import Client, serving
from tests.builders import CCCD, a_condition, a_patient, with_cccd


async def test_create_answers_201_with_location_and_version_and_ignores_the_id(client: Client) -> None:
    answer = await client.send("POST", "Patient", a_patient(id="mine"))
    assert answer.status_code == 201
    made = answer.json()
    assert made["id"] != "mine"
    assert made["meta"]["versionId"] == "1"
    assert answer.headers["location"] == f"http://test/fhir/Patient/{made['id']}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    assert (await client.get(f"Patient/{made['id']}")).json() == made


async def test_a_resource_comes_back_digit_for_digit(client: Client) -> None:
    text = (
        '{"resourceType":"Observation","status":"final","code":{"text":"Cân nặng"},'
        '"valueQuantity":{"value":1.10,"unit":"kg"},"_status":{"extension":[{"url":"urn:x","valueDecimal":1e2}]},'
        '"contained":[{"resourceType":"Patient","id":"p","_birthDate":{"extension":[{"url":"urn:y","valueCode":"a"}]}}],'
        '"subject":{"reference":"#p"}}'
    )
    made = await client.send("POST", "Observation", text)
    assert made.status_code == 201, made.text
    sent_inside = text[len('{"resourceType":"Observation",') : -1]
    assert sent_inside in (await client.get(f"Observation/{made.json()['id']}")).text


async def test_prefer_return_chooses_the_body_and_a_wrong_value_is_ignored(client: Client) -> None:
    assert (await client.send("POST", "Patient", a_patient(), prefer="return=minimal")).content == b""
    told = (await client.send("POST", "Patient", a_patient(), prefer="return=OperationOutcome")).json()
    assert told["resourceType"] == "OperationOutcome"
    odd = await client.send("POST", "Patient", a_patient(), prefer="return=presentation")
    assert odd.json()["resourceType"] == "Patient"


async def test_every_fault_of_a_resource_is_told_with_its_place_and_nothing_is_stored(client: Client) -> None:
    broken = a_patient(gender="male?", birthDate="1985-02-30", nonsense=1)
    answer = await client.send("POST", "Patient", broken)
    assert answer.status_code == 400
    places = {path for issue in answer.json()["issue"] for path in issue["expression"]}
    assert {"Patient.gender", "Patient.birthDate", "Patient.nonsense"} <= places
    assert (await client.get("Patient?_summary=count")).json()["total"] == 0


async def test_malformed_json_is_told_by_line_and_column(client: Client) -> None:
    answer = await client.send("POST", "Patient", b'{"resourceType": "Patient",\n  "id": }')
    assert answer.status_code == 400
    assert "line 2" in answer.json()["issue"][0]["diagnostics"]


async def test_the_type_in_the_body_must_be_the_type_in_the_url(client: Client) -> None:
    answer = await client.send("POST", "Condition", a_patient())
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["Condition.resourceType"]


async def test_put_creates_then_updates_and_keeps_both_versions(client: Client) -> None:
    first = await client.send("PUT", "Patient/an", a_patient(id="an"))
    assert (first.status_code, first.headers["etag"]) == (201, 'W/"1"')
    second = await client.send("PUT", "Patient/an", a_patient("Trần Văn An", id="an"))
    assert (second.status_code, second.headers["etag"]) == (200, 'W/"2"')
    assert (await client.get("Patient/an/_history/1")).json() == first.json()
    assert (await client.get("Patient/an/_history/2")).json() == second.json()


async def test_an_identical_update_makes_no_new_version(client: Client) -> None:
    made = await client.send("PUT", "Patient/an", a_patient(id="an"))
    again = await client.send("PUT", "Patient/an", a_patient(id="an"))
    assert (again.status_code, again.json()) == (200, made.json())


async def test_put_needs_the_id_of_the_url_in_the_body(client: Client) -> None:
    for body in (a_patient(), a_patient(id="other")):
        answer = await client.send("PUT", "Patient/an", body)
        assert answer.status_code == 400
        assert answer.json()["issue"][0]["expression"] == ["Patient.id"]


async def test_if_match_guards_an_update(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    assert (await client.send("PUT", "Patient/an", a_patient("B", id="an"), if_match='W/"1"')).status_code == 200
    assert (await client.send("PUT", "Patient/an", a_patient("C", id="an"), if_match='W/"1"')).status_code == 412
    assert (await client.send("PUT", "Patient/new", a_patient("C", id="new"), if_match='W/"1"')).status_code == 412
    assert (await client.send("PUT", "Patient/an", a_patient("C", id="an"), if_match="soon")).status_code == 400
    assert (await client.get("Patient/an")).json()["name"][0]["text"] == "B"


async def test_if_match_star_is_met_by_any_version_and_not_by_nothing(client: Client) -> None:
    for method, body in (("PUT", a_patient(id="an")), ("PATCH", {"active": True}), ("DELETE", None)):
        assert (await client.send(method, "Patient/an", body, if_match="*")).status_code in (404, 412)
    assert (await client.get("Patient/an")).status_code == 404
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    assert (await client.send("PUT", "Patient/an", a_patient("B", id="an"), if_match="*")).status_code == 200
    assert (await client.send("PATCH", "Patient/an", {"active": True}, if_match="*")).status_code == 200
    assert (await client.send("DELETE", "Patient/an", if_match="*")).status_code == 204
    assert (await client.send("PUT", "Patient/an", a_patient(id="an"), if_match="*")).status_code == 412


async def test_a_conditional_update_that_expects_a_version_creates_nothing(client: Client) -> None:
    condition = f"Patient?identifier={CCCD}|038085900009"
    assert (await client.send("PUT", condition, with_cccd("038085900009"), if_match='W/"1"')).status_code == 412
    assert (await client.get("Patient?_summary=count")).json()["total"] == 0


async def test_if_none_match_star_creates_only(client: Client) -> None:
    assert (await client.send("PUT", "Patient/an", a_patient(id="an"), if_none_match="*")).status_code == 201
    assert (await client.send("PUT", "Patient/an", a_patient("B", id="an"), if_none_match="*")).status_code == 412


async def test_conditional_create_finds_the_one_that_is_there(client: Client) -> None:
    condition = f"identifier={CCCD}|038085900001"
    made = await client.send("POST", "Patient", with_cccd("038085900001"), if_none_exist=condition)
    assert made.status_code == 201
    again = await client.send("POST", "Patient", with_cccd("038085900001"), if_none_exist=condition)
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    await client.created(with_cccd("038085900001"))
    assert (await client.send("POST", "Patient", a_patient(), if_none_exist=condition)).status_code == 412


async def test_a_mistyped_condition_is_refused_and_nothing_is_written(client: Client) -> None:
    await client.created(a_patient())
    for wrong in ("identifer=1", "identifier=", "_count=1"):
        assert (await client.send("POST", "Patient", a_patient(), if_none_exist=wrong)).status_code in (400, 412)
        assert (await client.send("DELETE", f"Patient?{wrong}")).status_code in (400, 412)
        assert (await client.send("PUT", f"Patient?{wrong}", a_patient())).status_code in (400, 412)
    assert (await client.send("DELETE", "Patient")).status_code in (400, 405, 412)
    assert (await client.get("Patient?_summary=count")).json()["total"] == 1


async def test_conditional_update_takes_the_five_cases_of_r4(client: Client) -> None:
    condition = f"Patient?identifier={CCCD}|038085900002"
    made = await client.send("PUT", condition, with_cccd("038085900002"))
    assert made.status_code == 201
    changed = await client.send("PUT", condition, with_cccd("038085900002", name="Lê An"))
    assert (changed.status_code, changed.json()["id"]) == (200, made.json()["id"])
    assert (await client.send("PUT", condition, with_cccd("038085900002", id="other"))).status_code == 400
    taken = await client.created(a_patient())
    nobody = f"Patient?identifier={CCCD}|000000000000"
    assert (await client.send("PUT", nobody, with_cccd("000000000000", id=taken["id"]))).status_code == 409
    assert (await client.send("PUT", nobody, with_cccd("000000000000", id="free"))).json()["id"] == "free"
    await client.created(with_cccd("038085900002"))
    assert (await client.send("PUT", condition, with_cccd("038085900002"))).status_code == 412


async def test_delete_leaves_410_with_the_last_version_and_a_put_brings_it_back(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    gone = await client.send("DELETE", "Patient/an")
    assert (gone.status_code, gone.headers["etag"]) == (204, 'W/"2"')
    read = await client.get("Patient/an")
    assert (read.status_code, read.headers["etag"]) == (410, 'W/"2"')
    assert (await client.send("DELETE", "Patient/an")).status_code == 204
    assert (await client.send("DELETE", "Patient/never")).status_code == 204
    back = await client.send("PUT", "Patient/an", a_patient(id="an"))
    assert (back.status_code, back.headers["etag"]) == (201, 'W/"3"')


async def test_delete_tells_what_it_did_when_it_is_asked_to(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    gone = await client.send("DELETE", "Patient/an", prefer="return=OperationOutcome")
    assert (gone.status_code, gone.headers["etag"]) == (200, 'W/"2"')
    assert gone.json()["issue"][0]["severity"] == "information"
    nobody = await client.send("DELETE", "Patient?identifier=nobody", prefer="return=OperationOutcome")
    assert (nobody.status_code, nobody.json()["resourceType"]) == (200, "OperationOutcome")


async def test_delete_can_be_version_aware(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    assert (await client.send("DELETE", "Patient/an", if_match='W/"2"')).status_code == 412
    assert (await client.send("DELETE", "Patient/an", if_match='W/"1"')).status_code == 204


async def test_a_conditional_delete_takes_one_and_refuses_several(client: Client) -> None:
    for _ in range(2):
        await client.created(with_cccd("038085900041"))
    await client.created(with_cccd("038085900042"))
    assert (await client.send("DELETE", "Patient?identifier=038085900041")).status_code == 412
    assert (await client.send("DELETE", "Patient?identifier=038085900042")).status_code == 204
    assert (await client.send("DELETE", "Patient?identifier=038085900042")).status_code == 204
    assert (await client.get("Patient?_summary=count")).json()["total"] == 2


async def test_what_a_condition_finds_is_held_to_the_version_expected_too(client: Client) -> None:
    there = await client.created(with_cccd("038085000123"))
    condition = f"Patient?identifier={CCCD}|038085000123"
    assert (await client.send("DELETE", condition, if_match='W/"2"')).status_code == 412
    again = with_cccd("038085000123", gender="male")
    assert (await client.send("PUT", condition, again, if_match='W/"2"')).status_code == 412
    assert (await client.send("PUT", condition, again, if_none_match="*")).status_code == 412
    assert (await client.get(f"Patient/{there['id']}")).json() == there
    assert (await client.send("DELETE", condition, if_match='W/"1"')).status_code == 204


async def test_a_conditional_delete_takes_several_where_the_settings_say_multiple(settings: Settings) -> None:
    chosen = {"conditional_delete": "multiple", "update_create": False, "check_references": True}
    async with serving(settings.model_copy(update=chosen)) as client:
        for number in range(3):
            await client.created(with_cccd("038085900043", name=f"{number}"))
        told = await client.send("DELETE", "Patient?identifier=038085900043", prefer="return=OperationOutcome")
        assert "and 2 more deleted" in told.text
        assert (await client.get("Patient?_summary=count")).json()["total"] == 0
        assert (await client.send("PUT", "Patient/an", a_patient(id="an"))).status_code == 405
        statement = (await client.get("metadata")).json()
        (declared,) = [entry for entry in statement["rest"][0]["resource"] if entry["type"] == "Patient"]
        assert (declared["conditionalDelete"], declared["updateCreate"]) == ("multiple", False)
        assert "enforced" in declared["referencePolicy"]


async def test_if_none_match_on_a_write_takes_a_star_only(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    answer = await client.send("PUT", "Patient/an", a_patient("B", id="an"), if_none_match='W/"1"')
    assert answer.status_code == 400
    assert (await client.get("Patient/an")).headers["etag"] == 'W/"1"'


async def test_json_patch_merge_patch_and_a_failed_test(client: Client) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    operations = [
        {"op": "test", "path": "/gender", "value": "male"},
        {"op": "replace", "path": "/gender", "value": "female"},
    ]
    answer = await client.send(
        "PATCH", "Patient/an", json.dumps(operations), content_type="application/json-patch+json"
    )
    assert (answer.status_code, answer.json()["gender"]) == (200, "female")
    again = await client.send("PATCH", "Patient/an", json.dumps(operations), content_type="application/json-patch+json")
    assert again.status_code == 422
    merged = await client.send("PATCH", "Patient/an", {"gender": None, "active": True})
    assert "gender" not in merged.json()
    assert merged.json()["active"] is True
    spoiled = await client.send("PATCH", "Patient/an", {"birthDate": "soon"})
    assert spoiled.status_code == 400
    assert (await client.send("PATCH", "Patient/never", {"active": True})).status_code == 404


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "remove", "path": "/name/0/text/deeper"}],
        [{"op": "add", "path": "/name/7/text", "value": "x"}],
        [{"op": "test", "path": "/name/0/text", "value": "another"}],
        [{"op": "move", "from": "/name/0/text", "path": "/birthDate"}],
        [{"op": "move", "from": "/name/0/text", "path": "/gender"}],
    ],
)
async def test_a_patch_that_fails_repeats_nothing_of_what_is_stored(client: Client, operations: list[Any]) -> None:
    made = await client.created(a_patient(name="Quyen"))
    sent = json.dumps(operations).encode()
    answer = await client.send(
        "PATCH", f"Patient/{made['id']}", sent, content_type="application/json-patch+json", accept_language="vi"
    )
    assert answer.status_code in (400, 422)
    assert "Quyen" not in answer.text


@pytest.mark.parametrize(
    ("called", "body"), [("application/json-patch+json", {"active": True}), ("application/merge-patch+json", [])]
)
async def test_a_patch_of_another_kind_than_its_content_type_says_is_refused(
    client: Client, called: str, body: Any
) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    assert (await client.send("PATCH", "Patient/an", json.dumps(body), content_type=called)).status_code == 400
    assert (await client.get("Patient/an")).headers["etag"] == 'W/"1"'


async def test_a_reference_may_be_a_search(client: Client) -> None:
    person = await client.created(with_cccd("038085900003"))
    made = await client.created(a_condition(f"Patient?identifier={CCCD}|038085900003"))
    assert made["subject"]["reference"] == f"Patient/{person['id']}"
    for nobody in ("Patient?identifier=none", "Patient?identifer=x"):
        refused = await client.send("POST", "Condition", a_condition(nobody))
        assert refused.status_code == 412
        assert refused.json()["issue"][0]["expression"] == ["Condition.subject.reference"]
