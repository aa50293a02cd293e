"""Patient/$merge and $unmerge: two records of one person become one with history, and two again exactly as before."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model.resources import encode
from tests.api.conftest import Client

AN: dict[str, Any] = {
    "resourceType": "Patient",
    "identifier": [{"system": "urn:x", "value": "1"}],
    "name": [{"text": "Nguyễn Văn An"}],
    "gender": "male",
    "birthDate": "1985-03-02",
}


async def two(client: Client, **more: Any) -> tuple[str, str]:
    """The source, with a Condition, a List and a Consent of his, and the target."""
    source = await client.created({**AN, "telecom": [{"system": "phone", "value": "0912000001"}], **more})
    target = await client.created({**AN, "identifier": [{"system": "urn:x", "value": "2"}]})
    me = {"reference": f"Patient/{source['id']}"}
    await client.created({"resourceType": "Condition", "code": {"text": "Tăng huyết áp"}, "subject": me})
    await client.created({"resourceType": "List", "status": "current", "mode": "working", "entry": [{"item": me}]})
    group = {"resourceType": "Group", "type": "person", "actual": True, "member": [{"entity": me}]}
    await client.created(group)
    return source["id"], target["id"]


def asked(**references: str) -> dict[str, Any]:
    rows = [
        {"name": f"{side}-patient", "valueReference": {"reference": f"Patient/{id}"}} for side, id in references.items()
    ]
    return {"resourceType": "Parameters", "parameter": rows}


async def merge(client: Client, source: str, target: str) -> dict[str, Any]:
    answer = await client.send("POST", "Patient/$merge", asked(source=source, target=target))
    assert answer.status_code == 200, answer.text
    return {one["name"]: one["resource"] for one in answer.json()["parameter"]}


async def everything(client: Client) -> dict[str, Any]:
    """Every resource but what tells of the merge, without what the server counts."""
    found = {}
    for type in ("Patient", "Condition", "List", "Group", "Task", "Consent"):
        for entry in (await client.get(f"{type}?_count=100")).json().get("entry", ()):
            resource = entry["resource"]
            meta = {name: one for name, one in resource.pop("meta").items() if name not in ("versionId", "lastUpdated")}
            found[f"{type}/{resource['id']}"] = {**resource, "meta": meta}
    return found


async def test_both_records_stay_and_say_what_became_of_whom(client: Client) -> None:
    source, target = await two(client)
    parts = await merge(client, source, target)
    assert parts["input"]["resourceType"] == "Parameters"
    assert parts["result"]["id"] == target
    assert [one["value"] for one in parts["result"]["identifier"]] == ["2", "1"]
    assert parts["result"]["telecom"] == [{"system": "phone", "value": "0912000001"}]
    assert parts["result"]["link"] == [{"other": {"reference": f"Patient/{source}"}, "type": "replaces"}]
    old = (await client.get(f"Patient/{source}")).json()
    assert (old["active"], old["link"][0]["type"]) == (False, "replaced-by")
    assert old["link"][0]["other"] == {"reference": f"Patient/{target}"}


async def test_what_referred_to_the_source_is_found_with_the_target(client: Client) -> None:
    source, target = await two(client)
    await merge(client, source, target)
    queries = (
        "Condition?patient={}",
        "Condition?subject=Patient/{}",
        "List?item=Patient/{}",
        "Group?member=Patient/{}",
    )
    for query in (*queries, "Patient/{}/Condition?"):
        assert (await client.get(query.format(target) + "&_summary=count")).json()["total"] == 1, query
        assert (await client.get(query.format(source) + "&_summary=count")).json()["total"] == 0, query


async def test_a_provenance_names_every_version_that_was_made(client: Client) -> None:
    source, target = await two(client)
    await merge(client, source, target)
    (entry,) = (await client.get(f"Provenance?entity=Patient/{source}")).json()["entry"]
    provenance = entry["resource"]
    named = [one["reference"] for one in provenance["target"]]
    assert named[:2] == [f"Patient/{source}/_history/2", f"Patient/{target}/_history/2"]
    assert {one.split("/")[0] for one in named[2:]} == {"Condition", "List", "Group"}
    assert provenance["activity"]["coding"][0]["code"] == "merge"
    for reference in named:
        assert (await client.get(reference)).status_code == 200


async def test_undone_everything_is_as_it_was(client: Client) -> None:
    source, target = await two(client, link=[{"other": {"reference": "RelatedPerson/r"}, "type": "seealso"}])
    before = await everything(client)
    await merge(client, source, target)
    assert await everything(client) != before
    answer = await client.send("POST", "Patient/$unmerge", asked(source=source))
    assert answer.status_code == 200, answer.text
    assert await everything(client) == before
    await merge(client, source, target)
    answer = await client.send("POST", "Patient/$unmerge", asked(source=source))
    assert await everything(client) == before


async def test_what_was_written_since_the_merge_outlives_its_undoing(client: Client) -> None:
    source, target = await two(client)
    await merge(client, source, target)
    joined = (await client.get(f"Patient/{target}")).json()
    joined["identifier"].append({"system": "urn:x", "value": "3"})
    joined["name"] = [{"text": "Nguyễn Văn Anh"}]
    assert (await client.send("PUT", f"Patient/{target}", joined)).status_code == 200
    condition = (await client.get(f"Condition?patient={target}")).json()["entry"][0]["resource"]
    changed = {**condition, "note": [{"text": "đã khám lại"}]}
    assert (await client.send("PUT", f"Condition/{condition['id']}", changed)).status_code == 200
    answer = await client.send("POST", "Patient/$unmerge", asked(source=source))
    (outcome,) = [one["resource"] for one in answer.json()["parameter"] if one["name"] == "outcome"]
    assert len([one for one in outcome["issue"] if "was changed since the merge" in one["diagnostics"]]) == 2
    after = (await client.get(f"Patient/{target}")).json()
    assert [one["value"] for one in after["identifier"]] == ["2", "3"]
    assert (after["name"], "telecom" in after, "link" in after) == ([{"text": "Nguyễn Văn Anh"}], False, False)
    again = (await client.get(f"Condition/{condition['id']}")).json()
    assert (again["subject"]["reference"], again["note"]) == (f"Patient/{source}", [{"text": "đã khám lại"}])


async def test_a_preview_changes_nothing(client: Client) -> None:
    source, target = await two(client)
    before = await everything(client)
    body = asked(source=source, target=target)
    body["parameter"].append({"name": "preview", "valueBoolean": True})
    answer = await client.send("POST", "Patient/$merge", body)
    assert "1 Condition, 1 Group, 1 List" in answer.text
    assert await everything(client) == before
    assert (await client.get("Provenance?_summary=count")).json()["total"] == 0


async def test_people_may_be_named_by_number_and_the_result_be_given(client: Client) -> None:
    source, target = await two(client)
    body = asked(source=source)
    body["parameter"].append(
        {"name": "target-patient-identifier", "valueIdentifier": {"system": "urn:x", "value": "2"}}
    )
    wanted = {**AN, "id": target, "name": [{"text": "An mới"}]}
    body["parameter"].append({"name": "result-patient", "resource": wanted})
    answer = await client.send("POST", "Patient/$merge", body)
    assert answer.status_code == 200, answer.text
    made = (await client.get(f"Patient/{target}")).json()
    assert (made["name"], made["link"][0]["type"]) == ([{"text": "An mới"}], "replaces")


async def test_what_cannot_be_merged_is_refused_and_nothing_is_written(client: Client) -> None:
    source, target = await two(client)
    third = (await client.created(AN))["id"]
    gone = (await client.created(AN))["id"]
    await client.send("DELETE", f"Patient/{gone}")
    await merge(client, third, target)
    before = await everything(client)

    async def status(*bodies: dict[str, Any], operation: str = "merge") -> list[int]:
        return [(await client.send("POST", f"Patient/${operation}", body)).status_code for body in bodies]

    number = {"name": "source-patient-identifier", "valueIdentifier": {"system": "urn:x", "value": "none"}}
    by_number = {"resourceType": "Parameters", "parameter": [number, *asked(target=target)["parameter"]]}
    wrong = asked(source=source, target=target)
    wrong["parameter"].append({"name": "result-patient", "resource": {**AN, "id": source}})
    assert await status(
        asked(source=source, target=source),
        asked(source=source, target="nobody"),
        asked(source=gone, target=target),
        asked(source=third, target=source),
        asked(source=source, target=third),
        asked(source=source),
        by_number,
        wrong,
        {**asked(source=source, target=target), "parameter": [{"name": "delete-source", "valueBoolean": True}]},
    ) == [422, 404, 410, 422, 422, 400, 404, 422, 400]
    assert await status(asked(source=source), asked(source="nobody"), operation="unmerge") == [422, 404]
    assert (await client.get("Patient/$merge?preview=true")).status_code == 405
    assert await everything(client) == before


@pytest.mark.parametrize("_", [0])
async def test_records_of_the_source_come_to_the_target_from_then_on(client: Client, _: int) -> None:
    def record(number: str, day: str, **more: str) -> dict[str, Any]:
        person = {"ho_ten": "Nguyễn Văn An", "ngay_sinh": "1985-03-02", "gioi_tinh": "1", "so_dinh_danh": number}
        return {"ma_ho_so": number[-3:], "ma_cskcb": "38901", "ngay_cap_nhat": day, "hanh_chinh": {**person, **more},
                "tien_su": {"di_ung": [{"loai": "1", "ten": f"Penicillin {day}"}]}}  # fmt: skip

    async def send(one: dict[str, Any]) -> None:
        answer = await client.http.post("/records", content=encode(one), headers={"content-type": "application/json"})
        assert answer.json()["stored"] == 1, answer.text

    async def id_of(number: str) -> str:
        found = (await client.get(f"Patient?identifier={number}")).json()["entry"]
        return str(found[0]["resource"]["id"])

    await send(record("038085900001", "2026-06-01"))
    await send(record("038085900002", "2026-06-01", gioi_tinh="2"))
    source, target = await id_of("038085900001"), await id_of("038085900002")
    await merge(client, source, target)
    await send(record("038085900001", "2026-06-02"))
    assert (await client.get("Patient?_summary=count")).json()["total"] == 2
    found = (await client.get(f"AllergyIntolerance?patient={target}")).json()["entry"]
    texts = sorted(one["resource"]["code"]["text"] for one in found)
    assert texts == ["Penicillin 2026-06-01", "Penicillin 2026-06-02"]  # the one of the target, and the new one
    assert (await client.get(f"AllergyIntolerance?patient={source}&_summary=count")).json()["total"] == 0
