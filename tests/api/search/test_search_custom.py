"""SearchParameter resources take effect at run time: not ready until indexed, then like any other parameter."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context, FhirRequest
from fhir_server.model.resources import decode, encode
from fhir_server.operations import reindex
from fhir_server.routes import dispatch
from tests.api.search.conftest import Searcher, serving
from tests.api.search.world import patient

CODES = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"


def a_parameter(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter",
        "id": "marital",
        "url": "http://example.org/SearchParameter/marital",
        "name": "Marital",
        "status": "active",
        "description": "marital status",
        "code": "marital",
        "base": ["Patient"],
        "type": "token",
        "expression": "Patient.maritalStatus",
        **more,
    }


def married(id: str, code: str) -> dict[str, Any]:
    return patient(id, "Lý", "Thu", "female", "1980-01-01", maritalStatus={"coding": [{"system": CODES, "code": code}]})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reindex, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(reindex, "PATIENCE_SECONDS", 0.1)


async def indexed(searcher: Searcher) -> None:
    """Waits for the end of the re-index, as a client would."""
    while (answer := await searcher.answer("$reindex")).status_code == 202:
        assert "marital" in answer.text
        await asyncio.sleep(0.02)
    assert answer.status_code == 200


async def test_a_posted_parameter_is_not_ready_until_what_is_stored_has_been_indexed(empty: Searcher) -> None:
    await empty.put(*(married(f"p{number}", "MS"[number % 2]) for number in range(120)))
    await empty.put(a_parameter())
    assert "being indexed" in await empty.refusal("Patient?marital=M", 503)
    await empty.put(married("later", "M"))
    await indexed(empty)
    found = await empty.ids("Patient?marital=M&_count=1000")
    assert len(found) == 61
    assert "Patient/later" in found
    assert len(await empty.ids(f"Patient?marital={CODES}|S&_sort=-marital,_id")) == 60
    assert (await empty.bundle("Patient?_id=p0"))["entry"][0]["resource"]["meta"]["versionId"] == "1"


async def test_a_parameter_of_a_type_without_resources_is_ready_at_once_and_goes_with_its_resource(
    empty: Searcher,
) -> None:
    await empty.put(a_parameter())
    await empty.put(married("one", "M"))
    assert await empty.ids("Patient?marital=M") == ["Patient/one"]
    declared = (await empty.answer("metadata")).json()["rest"][0]["resource"]
    patient_type = next(entry for entry in declared if entry["type"] == "Patient")
    assert {"name": "marital", "definition": a_parameter()["url"], "type": "token"} in patient_type["searchParam"]
    assert (await empty.http.delete("/fhir/SearchParameter/marital")).status_code == 204
    assert "marital" in await empty.refusal("Patient?marital=M", prefer="handling=strict")


async def test_another_worker_learns_of_a_parameter(empty: Searcher, mongodb_uri: str, database_name: str) -> None:
    async with serving(Settings(mongodb_uri=mongodb_uri, mongodb_database=database_name)) as other:
        await empty.put(married("one", "M"), a_parameter())
        await indexed(empty)
        while (answer := await other.answer("Patient?marital=M", prefer="handling=strict")).status_code != 200:
            await asyncio.sleep(0.02)
        assert answer.json()["total"] == 1


async def test_an_interrupted_re_index_is_done_by_the_next_process(
    mongodb_uri: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(mongodb_uri=mongodb_uri, mongodb_database=database_name)
    monkeypatch.setattr(reindex, "PATIENCE_SECONDS", 60)
    monkeypatch.setattr(reindex, "LEASE_SECONDS", 0.1)
    async with serving(settings) as first:
        await first.put(married("one", "M"), a_parameter())
        assert "being indexed" in await first.refusal("Patient?marital=M", 503)
    monkeypatch.setattr(reindex, "PATIENCE_SECONDS", 0.1)
    async with serving(settings) as second:
        await indexed(second)
        assert await second.ids("Patient?marital=M") == ["Patient/one"]


async def test_a_parameter_posted_to_another_worker_during_a_re_index_is_indexed_too(
    mongodb_uri: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindex, "PATIENCE_SECONDS", 1.0)
    settings = Settings(mongodb_uri=mongodb_uri, mongodb_database=database_name)
    later = a_parameter(id="later", url="http://example.org/SearchParameter/later", code="later")
    async with open_context(settings) as one, open_context(settings) as other:
        await put(one, married("one", "M"))
        await put(one, a_parameter())
        re_index = asyncio.create_task(reindex._follow(one, "one"))
        while await one.store.reindexed() is None:  # it holds the lease, and waits for the others to hear of it
            await asyncio.sleep(0.01)
        await put(other, later)
        await re_index
        for worker in (one, other):
            await reindex._follow(worker, "one")
            answer = await dispatch(worker, FhirRequest("GET", ("Patient",), (("later", "M"),)))
            assert decode(bytes(answer.body))["total"] == 1


async def put(context: Context, resource: dict[str, Any]) -> None:
    segments = (resource["resourceType"], resource["id"])
    await dispatch(context, FhirRequest("PUT", segments, (), {}, encode(resource)))


UNFIT = {
    "R4 has a parameter 'gender'": {"code": "gender"},
    "must be letters": {"code": "a.b"},
    "cannot be added": {"type": "special"},
    "no element": {"expression": "Patient.nonsense"},
    "cannot be searched by": {"expression": "Patient.name.repeat(given)"},
}


@pytest.mark.parametrize(("word", "change"), UNFIT.items())
async def test_a_parameter_that_cannot_work_is_refused(world: Searcher, word: str, change: dict[str, str]) -> None:
    answer = await world.http.put("/fhir/SearchParameter/marital", json=a_parameter(**change))
    assert answer.status_code == 422, answer.text
    assert word in answer.json()["issue"][0]["diagnostics"]


async def test_a_draft_and_r4_s_own_definitions_are_stored_without_effect(world: Searcher) -> None:
    url = "http://hl7.org/fhir/SearchParameter/individual-gender"
    await world.put(
        a_parameter(id="draft", status="draft"),
        a_parameter(id="own", url=url, code="gender", expression="Patient.gender"),
    )
    assert "marital" in await world.refusal("Patient?marital=M", prefer="handling=strict")
    assert sorted(await world.ids("Patient?gender=male")) == ["Patient/an", "Patient/cuong"]
