"""Referential integrity by the setting check_references. R4 Resource References; R4 RESTful API, delete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from fhir_server.config import Settings
from tests.api.conftest import Client, serving
from tests.builders import a_bundle, a_condition, a_patient, an_entry
from tests.conftest import empty, new_database

ROUNDS = 8


@pytest.fixture(scope="module")
async def served(
    mongodb_uri: str, mongodb: MongoClient[dict[str, Any]]
) -> AsyncIterator[tuple[Client, Database[dict[str, Any]]]]:
    with new_database(mongodb) as name:
        settings = Settings(mongodb_uri=mongodb_uri, mongodb_database=name, check_references=True)
        async with serving(settings) as client:
            yield client, mongodb[name]


@pytest.fixture
def strict(served: tuple[Client, Database[dict[str, Any]]]) -> Client:
    """A server that checks references, over an empty store."""
    client, database = served
    empty(database)
    return client


async def test_a_reference_to_nothing_is_refused_and_one_within_the_bundle_is_not(strict: Client) -> None:
    refused = await strict.send("POST", "Condition", a_condition("Patient/an"))
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["expression"] == ["Condition.subject.reference"]
    person = an_entry("PUT", "Patient/an", a_patient(id="an"))
    both = a_bundle("transaction", an_entry("POST", "Condition", a_condition("Patient/an")), person)
    assert (await strict.send("POST", "", both)).status_code == 200
    stray = a_bundle(
        "transaction", an_entry("POST", "Condition", a_condition("urn:uuid:5f3f6b43-0000-4000-8000-0000000000aa"))
    )
    refused = await strict.send("POST", "", stray)
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["expression"] == ["Bundle.entry[0].resource.subject.reference"]


async def test_a_delete_that_would_leave_a_reference_names_its_holders(strict: Client) -> None:
    await strict.send("PUT", "Patient/an", a_patient(id="an"))
    held = [await strict.created(a_condition("Patient/an")) for _ in range(4)]
    refused = await strict.send("DELETE", "Patient/an")
    assert refused.status_code == 409
    named = {issue["diagnostics"].partition(" by ")[2] for issue in refused.json()["issue"]}
    assert len(named) == 3
    assert named < {f"Condition/{one['id']}" for one in held}
    gone = [an_entry("DELETE", f"Condition/{one['id']}") for one in held]
    whole = await strict.send("POST", "", a_bundle("transaction", *gone, an_entry("DELETE", "Patient/an")))
    assert whole.status_code == 200, whole.text


async def test_a_reference_to_a_version_leads_there_though_the_resource_is_deleted(strict: Client) -> None:
    await strict.send("PUT", "Patient/an", a_patient(id="an"))
    assert (await strict.send("POST", "Condition", a_condition("Patient/an/_history/2"))).status_code == 422
    told = {"target": [{"reference": "Patient/an/_history/1"}], "recorded": "2026-06-30T07:30:00+07:00"}
    provenance = {"resourceType": "Provenance", **told, "agent": [{"who": {"display": "Trạm y tế"}}]}
    assert (await strict.send("POST", "Provenance", provenance)).status_code == 201
    assert (await strict.send("DELETE", "Patient/an")).status_code == 204
    assert (await strict.send("POST", "Provenance", provenance)).status_code == 201
    assert (await strict.send("POST", "Condition", a_condition("Patient/an"))).status_code == 422
    await strict.send("PUT", "Patient/an", a_patient(id="an"))
    several = [{"reference": f"Patient/an/_history/{number}"} for number in (1, 2, 3, 4)]
    refused = await strict.send("POST", "Provenance", {**provenance, "target": several})
    places = [issue["expression"][0] for issue in refused.json()["issue"]]
    assert (refused.status_code, places) == (422, ["Provenance.target[1].reference", "Provenance.target[3].reference"])


async def test_broken_links_are_told_beside_all_else_that_the_store_alone_can_tell(strict: Client) -> None:
    for id in ("an", "binh", "chi"):
        await strict.send("PUT", f"Patient/{id}", a_patient(id=id))
    await strict.created(a_condition("Patient/binh"))
    bundle = a_bundle(
        "transaction",
        an_entry("DELETE", "Patient/an"),
        an_entry("POST", "Condition", a_condition("Patient/an")),
        an_entry("POST", "Condition", a_condition("Patient/nobody")),
        an_entry("DELETE", "Patient/binh"),
        an_entry("PUT", "Patient/chi", a_patient(id="chi"), ifMatch='W/"7"'),
        an_entry("PUT", "Patient/dung", a_patient(gender="?", id="dung")),
        an_entry("POST", "Condition", a_condition("Patient/dung")),  # which would be there
    )
    refused = await strict.send("POST", "", bundle)
    assert refused.status_code == 400
    assert [issue["expression"][0].removeprefix("Bundle.entry") for issue in refused.json()["issue"]] == [
        "[1].resource.subject.reference",
        "[2].resource.subject.reference",
        "[3]",
        "[4].resource",
        "[5].resource.gender",
    ]
    assert (await strict.get("Patient?_summary=count")).json()["total"] == 3


async def test_who_refers_to_what_another_deletes_at_once_is_refused_or_refuses_the_deletion(strict: Client) -> None:
    for number in range(ROUNDS):
        person = f"Patient/{number}"
        await strict.send("PUT", person, a_patient(id=str(number)))
        made, deleted = await asyncio.gather(
            strict.send("POST", "Condition", a_condition(person)), strict.send("DELETE", person)
        )
        assert (made.status_code, deleted.status_code) in ((201, 409), (422, 204))
