"""The store check finds each kind of damage, tells its place, and finds nothing in what the store itself wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson import Binary
from pymongo import MongoClient
from pymongo.database import Database

from fhir_server.model.registry import UnknownSystems
from fhir_server.model.resources import Resource
from fhir_server.store.mongo import MongoStore
from fhir_server.store.values import Indexed, Problem
from tests.contract.drafts import a_draft, a_member, a_patient, put, remove

Damaged = Database[dict[str, Any]]


def index(resource: Resource) -> Indexed:
    """As `drafts` gives it: `keys` and `order` of the content, and the key of the compartment."""
    patient = [f"@{resource['subject']}"] if "subject" in resource else []
    return Indexed((*patient, *resource.get("label", ())), {"aa": resource.get("label", [])}, resource.get("date"))


async def problems(store: MongoStore, indexer: Callable[[Resource], Indexed] = index) -> list[Problem]:
    return [problem async for problem in store.check(indexer)]


@pytest.fixture
async def damaged(store: MongoStore, mongodb: MongoClient[dict[str, Any]], database_name: str) -> Damaged:
    """A store with versions, a tombstone and a compartment, still whole, and the way behind its back."""
    labels = {"keys": ["x"], "label": ["x"], "sort": {"aa": ["x"]}, "order": 5, "date": 5}
    for number in range(3):
        await put(store, a_draft(id="o", value=number, **labels), a_draft(id="a-b", value=number, **labels))
    plain: dict[str, Any] = {"sort": {"aa": []}}
    await put(store, a_patient("p", "00001", parties=("79",), **plain))
    await put(store, a_member("p", "c", **plain), a_member("p", "gone", **plain))
    await put(store, a_member("p", "c", note="second", **plain))
    await remove(store, "Condition", "gone")
    await put(store, a_patient("p", "00002", parties=("79",), **plain))
    return mongodb[database_name]


async def test_what_the_store_wrote_is_whole(store: MongoStore, damaged: Damaged) -> None:
    assert await problems(store) == []


async def test_a_large_store_is_whole_over_all_its_steps(store: MongoStore) -> None:
    for number in range(3):
        await put(store, *[a_draft(id=f"{id:03}", value=number, sort={"aa": []}) for id in range(230)])
    assert await problems(store) == []


@pytest.mark.parametrize(
    ("collection", "id", "change", "place", "fault"),
    [
        ("Organization", "o", {"raw": Binary(b"{")}, "Organization/o", "not a resource"),
        ("Organization", "o", {"v": 4}, "Organization/o", "versionId is '3' in the bytes"),
        ("Organization", "o", {"u": 1}, "Organization/o", "lastUpdated"),
        ("Organization", "o", {"k": ["y"]}, "Organization/o", "1 missing, 1 that do not belong ('x', 'y')"),
        ("Organization", "o", {"o": 1}, "Organization/o", "order key"),
        ("Organization", "o", {"x": {}}, "Organization/o", "sort values"),
        ("Condition", "c", {"w": "00001"}, "Condition/c", "not narrowed by what patient p says"),
        ("Condition", "c", {"a": []}, "Condition/c", "not narrowed by what patient p says"),
        ("Condition", "gone", {"c": 1}, "Condition/gone", "not narrowed by what patient p says"),
        ("Condition", "gone", {"k": ["z"]}, "Condition/gone", "tombstone with content"),
        ("compartments", "p", {"t": []}, "Condition/c", "does not list Condition"),
        ("Organization_history", "o/00000001", {"e": 7}, "Organization/o/_history/2", "does not begin when"),
        ("Organization_history", "o/00000002", {"e": 7}, "Organization/o/_history/2", "does not follow"),
        (
            "Organization_history",
            "o/00000001",
            {"raw": Binary(b"[]")},
            "Organization/o/_history/1",
            "not a resource",
        ),
    ],
)
async def test_damage_is_told_with_its_place(
    store: MongoStore, damaged: Damaged, collection: str, id: str, change: dict[str, Any], place: str, fault: str
) -> None:
    damaged[collection].update_one({"_id": id}, {"$set": change})
    assert any(one.place == place and fault in one.fault for one in await problems(store)), await problems(store)


@pytest.mark.parametrize(
    ("collection", "id", "place", "fault"),
    [
        ("Organization_history", "o/00000001", "Organization/o/_history/2", "version 1 should stand here"),
        ("Organization_history", "o/00000002", "Organization/o", "version 2 is not in history"),
        ("Organization", "o", "Organization/o/_history/2", "does not follow"),
        ("compartments", "p", "Condition/c", "no compartment of patient p"),
    ],
)
async def test_what_is_lost_is_told_with_its_place(
    store: MongoStore, damaged: Damaged, collection: str, id: str, place: str, fault: str
) -> None:
    damaged[collection].delete_one({"_id": id})
    assert any(one.place == place and fault in one.fault for one in await problems(store)), await problems(store)


async def test_a_lost_collection_and_a_lost_index_are_told(store: MongoStore, damaged: Damaged) -> None:
    damaged["Condition"].drop_index("keys")
    damaged["Organization"].drop()
    told = await problems(store)
    assert Problem("Organization_history", "old versions without their resource type") in told
    assert Problem("Condition", "an index is missing") in told


async def test_keys_that_the_definitions_give_otherwise_today_are_told(store: MongoStore, damaged: Damaged) -> None:
    def unknown(resource: Resource) -> Indexed:
        raise UnknownSystems(["urn:x"])

    assert {one.place for one in await problems(store, unknown)} == {
        "Organization/o",
        "Organization/a-b",
        "Patient/p",
        "Condition/c",
    }
