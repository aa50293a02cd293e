"""What clients store as terminology: it takes effect at once, and decides whether codes are right."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model.resources import content_of
from fhir_server.store.mongo import MongoStore
from fhir_server.store.values import Draft, Indexed, Put
from fhir_server.terminology.catalogue import Catalogue
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.naming import NamingSystems
from tests.api.conftest import Client
from tests.api.terminology_questions import FARM, OWN, a_farm, a_set, asked, codes_of, named, posted, refused

pytestmark = pytest.mark.usefixtures("emptied")


async def test_what_a_client_stores_takes_effect_at_once_and_ends_with_it(client: Client) -> None:
    path = "CodeSystem/$lookup"
    await refused(client, path, 404, "not-found", system=FARM, code="dog")
    made = await client.created(a_farm())
    told = await asked(client, path, system=FARM, code="dog")
    assert named(told, "display") == ["Chó"]
    parent = next(part for part in named(told, "property") if part[0]["valueCode"] == "parent")
    assert parent[2] == {"name": "description", "valueString": "Động vật"}
    for level in ("CodeSystem/$subsumes", f"CodeSystem/{made['id']}/$subsumes"):
        query = {"codeA": "animal", "codeB": "dog"} | ({"system": FARM} if level == "CodeSystem/$subsumes" else {})
        assert named(await asked(client, level, **query), "outcome") == ["subsumes"]
    changed = {**made, "concept": [{"code": "cat"}]}
    assert (await client.send("PUT", f"CodeSystem/{made['id']}", changed)).status_code == 200
    await refused(client, path, 404, "not-found", system=FARM, code="dog")
    await client.send("DELETE", f"CodeSystem/{made['id']}")
    await refused(client, path, 404, "not-found", system=FARM, code="cat")


async def test_a_stored_list_goes_before_a_shipped_one_of_the_same_url(client: Client) -> None:
    mine = a_farm(url=OWN + "sex", concept=[{"code": "X", "display": "khác"}])
    await client.created(mine)
    assert named(await asked(client, "CodeSystem/$lookup", system=OWN + "sex", code="X"), "display") == ["khác"]
    await refused(client, "CodeSystem/$lookup", 404, "not-found", system=OWN + "sex", code="1")


async def test_versions_of_one_list_are_kept_apart_and_chosen_by_name_or_by_day(client: Client) -> None:
    period = "http://hl7.org/fhir/StructureDefinition/resource-effectivePeriod"
    for version, display, start, end in (("1", "cũ", "2020", "2025-06-30"), ("2", "mới", "2025-07-01", None)):
        valid = {"start": start, "end": end} if end else {"start": start}
        extension = [{"url": period, "valuePeriod": valid}]
        await client.created(
            a_farm(version=version, extension=extension, concept=[{"code": "dog", "display": display}])
        )
    for query, display in (
        ({"version": "1"}, "cũ"),
        ({"version": "2"}, "mới"),
        ({"date": "2024-05"}, "cũ"),
        ({"date": "2026-05-01"}, "mới"),
        ({}, "mới"),
    ):
        told = await asked(client, "CodeSystem/$lookup", system=FARM, code="dog", **query)
        assert named(told, "display") == [display], query
    everything = a_set({"system": FARM})
    for query, display in ((f"system-version={FARM}|1", "cũ"), (f"force-system-version={FARM}|1", "cũ"), ("", "mới")):
        told = await posted(client, f"ValueSet/$expand?{query}", everything)
        assert told["expansion"]["contains"][0]["display"] == display
    await refused(client, f"ValueSet/$expand?check-system-version={FARM}|1", 422, "processing", everything)


async def test_stored_lists_and_sets_answer_the_modifiers_of_a_search(client: Client) -> None:
    await client.created(a_farm())
    await client.created(a_set({"system": FARM, "filter": [{"property": "concept", "op": "is-a", "value": "animal"}]}))
    ids = {}
    for code in ("dog", "stone"):
        made = await client.created({"resourceType": "Basic", "code": {"coding": [{"system": FARM, "code": code}]}})
        ids[made["id"]] = code
    for query, codes in (
        ("code:in=urn:test:ValueSet:mine", {"dog"}),
        ("code:not-in=urn:test:ValueSet:mine", {"stone"}),
        (f"code:below={FARM}|animal", {"dog"}),
        (f"code:above={FARM}|dog", {"dog"}),
    ):
        bundle = (await client.get(f"Basic?{query}")).json()
        assert {ids[entry["resource"]["id"]] for entry in bundle["entry"]} == codes, query


async def test_a_transaction_of_a_list_and_its_set_takes_effect_as_a_whole(client: Client) -> None:
    entries = [
        {"resource": one, "request": {"method": "POST", "url": one["resourceType"]}}
        for one in (a_farm(), a_set({"system": FARM}))
    ]
    await posted(client, "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    told = await asked(client, "ValueSet/$expand", url="urn:test:ValueSet:mine")
    assert codes_of(told) == ["animal", "dog", "hen", "stone"]


async def test_another_process_learns_of_what_was_stored(store: MongoStore, client: Client) -> None:
    shipped, naming = Terminology.load(), NamingSystems.load()
    one, other = (Catalogue(shipped, naming, store) for _ in range(2))
    await other.adopt()
    farm = Draft("CodeSystem", "farm", a_farm(), content_of(a_farm()), Indexed())
    await store.transact(lambda transaction: transaction.apply([Put(farm)]))
    await one.announce()
    assert await other.ask(lambda known: known.lookup(FARM, "dog")) is None
    await other.follow()
    found = await other.ask(lambda known: known.lookup(FARM, "dog"))
    assert found is not None
    assert found.display == "Chó"


async def test_the_statement_tells_every_system_with_its_versions_and_how_to_expand(client: Client) -> None:
    await client.created(a_farm())
    await client.created(a_farm(version="2"))
    told = await asked(client, "metadata", mode="terminology")
    versions = {one["uri"]: one.get("version") for one in told["codeSystem"]}
    assert versions[FARM] == [{"code": "1", "isDefault": False}, {"code": "2", "isDefault": True}]
    assert versions[OWN + "ward"] == [{"code": "1", "isDefault": True}]
    assert {"filter", "count", "offset", "activeOnly"} <= {one["name"] for one in told["expansion"]["parameter"]}
    assert (await client.send("POST", "TerminologyCapabilities/$validate", told)).json()["issue"][0]["severity"] in (
        "information",
        "warning",
    )


# --- codes that are not in their list --------------------------------------------------------------------------------


def a_condition(system: str, code: str, **changes: Any) -> dict[str, Any]:
    coding = {"system": system, "code": code}
    return {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/nobody"},
        "code": {"coding": [coding]},
    } | changes


async def test_a_code_that_its_list_does_not_have_is_stored_and_told_with_its_neighbours(client: Client) -> None:
    await client.created(a_farm())
    wrong = a_condition(FARM, "hem")
    checked = (await client.send("POST", "Condition/$validate", wrong)).json()["issue"]
    warning = next(issue for issue in checked if issue["code"] == "code-invalid")
    assert warning["severity"] == "warning"
    assert warning["expression"] == ["Condition.code.coding[0].code"]
    assert "hen (Gà mái)" in warning["diagnostics"]
    stored = await client.send("POST", "Condition", wrong, Prefer="return=OperationOutcome")
    assert stored.status_code == 201
    assert warning["diagnostics"] in [issue["diagnostics"] for issue in stored.json()["issue"]]
    right = await client.send("POST", "Condition", a_condition(FARM, "hen"), Prefer="return=OperationOutcome")
    assert [issue["severity"] for issue in right.json()["issue"]] == ["information"]


async def test_the_place_of_a_wrong_code_names_choices_without_their_types(client: Client) -> None:
    await client.created(a_farm())
    value = {"url": "urn:test:x", "valueCodeableConcept": {"coding": [{"system": FARM, "code": "hem"}]}}
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "extension": [value]}
    listed = [observation | {"valueCodeableConcept": value["valueCodeableConcept"]}]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in listed]}
    checked = (await client.send("POST", "Bundle/$validate", bundle)).json()["issue"]
    assert sorted(one["expression"][0] for one in checked if one["code"] == "code-invalid") == [
        "Bundle.entry[0].resource.extension[0].value.coding[0].code",
        "Bundle.entry[0].resource.value.coding[0].code",
    ]


async def test_the_day_of_a_record_decides_whether_its_code_is_in_the_list(client: Client) -> None:
    old = OWN + "province-legacy"
    for day, codes in (("2025-06-30", []), ("2025-07-01", ["code-invalid"])):
        checked = await client.send("POST", "Condition/$validate", a_condition(old, "24", recordedDate=day))
        assert [issue["code"] for issue in checked.json()["issue"] if issue["severity"] == "warning"] == codes
