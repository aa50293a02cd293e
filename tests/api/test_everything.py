"""Patient/[id]/$everything: the whole record of one person, every resource once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Client

CLINIC = {"resourceType": "Organization", "id": "clinic", "name": "Trạm y tế"}
DOCTOR = {"resourceType": "Practitioner", "id": "doctor"}
MOTHER = {"resourceType": "Patient", "id": "mother"}
CHILD: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "child",
    "birthDate": "2020-01-01",
    "managingOrganization": {"reference": "Organization/clinic"},
    "link": [{"other": {"reference": "Patient/mother"}, "type": "seealso"}],
}


def an_observation(id: str, day: str | None, of: str = "child") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": "cân nặng"},
        "subject": {"reference": f"Patient/{of}"},
        "performer": [{"reference": "Practitioner/doctor"}],
        **({"effectiveDateTime": day} if day else {}),
    }


def a_condition(id: str, onset: str | None, recorded: str | None) -> dict[str, Any]:
    dates = {"onsetDateTime": onset, "recordedDate": recorded}
    subject = {"reference": "Patient/child"}
    return {"resourceType": "Condition", "id": id, "subject": subject, **{k: v for k, v in dates.items() if v}}


RECORD = [
    *(CLINIC, DOCTOR, MOTHER, CHILD),
    an_observation("early", "2024-03-01"),
    an_observation("late", "2026-03-01"),
    an_observation("undated", None),
    an_observation("of-mother", "2026-03-01", of="mother"),
    a_condition("begun", "2024-05-01", "2026-05-01"),
    a_condition("told", None, "2026-05-01"),
]


@pytest.fixture
async def record(client: Client) -> Client:
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}} for one in RECORD
    ]
    answer = await client.send("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, answer.text
    return client


async def walked(client: Client, path: str) -> dict[str, list[str]]:
    """The ids on all pages by their mode."""
    found: dict[str, list[str]] = {"match": [], "include": []}
    while path:
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        for entry in answer.json().get("entry", ()):
            found[entry["search"]["mode"]].append(entry["resource"]["id"])
        links = {link["relation"]: link["url"] for link in answer.json()["link"]}
        path = links.get("next", "").partition("/fhir/")[2]
    return found


ALL = ["child", "begun", "told", "early", "late", "undated"]


@pytest.mark.parametrize("count", [1, 2, 20])
async def test_every_page_together_has_each_resource_of_the_person_once(record: Client, count: int) -> None:
    found = await walked(record, f"Patient/child/$everything?_count={count}")
    assert found["match"][0] == "child"
    assert sorted(found["match"]) == sorted(ALL)
    assert set(found["include"]) == {"clinic", "doctor"}


@pytest.mark.parametrize(
    ("asked", "missing"),
    [
        ("start=2026", {"early"}),
        ("end=2025", {"late", "told"}),
        ("start=2024-04&end=2025-12-31", {"early", "late", "told"}),
        ("_type=Observation", {"child", "begun", "told"}),
        ("_type=Patient,Condition", {"early", "late", "undated"}),
        ("_since=2999-01-01T00:00:00Z", set(ALL)),
        ("_since=2020-01-01T00:00:00Z", set()),
    ],
)
async def test_what_is_asked_for_leaves_the_others_out(record: Client, asked: str, missing: set[str]) -> None:
    found = await walked(record, f"Patient/child/$everything?_count=2&{asked}")
    assert sorted(found["match"]) == sorted(set(ALL) - missing)


async def test_a_body_asks_as_a_query_does(record: Client) -> None:
    parameters = [{"name": "_type", "valueCode": "Patient"}, {"name": "_type", "valueCode": "Condition"}]
    answer = await record.send(
        "POST", "Patient/child/$everything", {"resourceType": "Parameters", "parameter": parameters}
    )
    assert sorted(entry["resource"]["id"] for entry in answer.json()["entry"]) == ["begun", "child", "clinic", "told"]


@pytest.mark.parametrize(
    ("path", "status", "place"),
    [
        ("Patient/nobody/$everything", 404, None),
        ("Patient/child/$everything?start=yesterday", 400, "start"),
        ("Patient/child/$everything?_type=Nothing", 400, "_type"),
        ("Patient/child/$everything?name=an", 400, "name"),
        ("Patient/child/$everything?_page=made-up", 400, "_page"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_place(
    record: Client, path: str, status: int, place: str | None
) -> None:
    answer = await record.get(path)
    assert answer.status_code == status, answer.text
    assert answer.json()["issue"][0].get("expression") == ([place] if place else None)


async def test_a_deleted_person_is_gone(record: Client) -> None:
    await record.send("DELETE", "Patient/mother")
    assert (await record.get("Patient/mother/$everything")).status_code == 410


async def test_the_link_of_a_page_is_good_for_its_own_person_alone(record: Client) -> None:
    links = (await record.get("Patient/child/$everything?_count=2")).json()["link"]
    query = next(link["url"] for link in links if link["relation"] == "next").partition("?")[2]
    assert (await record.get(f"Patient/mother/$everything?{query}")).status_code == 400
