"""Promises of the store about narrowing: what a Patient says holds for every version of its whole compartment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_server.store.mongo import MongoStore
from fhir_server.store.values import EVERYTHING, Find, HistoryQuery, Narrowing, Put, Remove, View
from tests.contract.drafts import a_draft, a_member, a_patient, apply, put, remove

Server = MongoClient[dict[str, Any]]


@pytest.fixture
def scalars(mongodb: Server, database_name: str) -> Any:
    """`scalars("Condition", "c1")`: ward, denied, parties as stored."""

    def read(collection: str, id: str) -> tuple[Any, Any, Any]:
        document = mongodb[database_name][collection].find_one({"_id": id})
        assert document is not None
        return document["w"], document["c"], document["a"]

    return read


async def test_a_member_takes_ward_denial_and_tiers_from_its_patient(store: MongoStore, scalars: Any) -> None:
    await put(store, a_patient("p", "00001", denied=True, parties=("Organization/home", "79", "79-old")))
    await put(store, a_member("p", "c", parties=("Organization/sender",)))
    assert scalars("Condition", "c") == ("00001", 1, ["Organization/sender", "79", "79-old"])


async def test_a_patient_written_in_the_same_transaction_counts(store: MongoStore, scalars: Any) -> None:
    await put(store, a_member("p", "c"), a_patient("p", "00001"), a_member("p", "i", "Immunization"))
    assert scalars("Condition", "c") == scalars("Immunization", "i") == ("00001", 0, [])


async def test_a_patient_that_comes_after_its_members_reaches_them(store: MongoStore, scalars: Any) -> None:
    await put(store, a_member("p", "c", parties=("Organization/1",)))
    assert scalars("Condition", "c") == (None, 0, ["Organization/1"])
    await put(store, a_patient("p", "00001", parties=("79",)))
    assert scalars("Condition", "c") == ("00001", 0, ["Organization/1", "79"])


async def test_a_change_of_the_patient_reaches_every_version_and_tombstone_and_no_version_or_time_moves(
    store: MongoStore, scalars: Any
) -> None:
    await put(store, a_patient("p", "00001", parties=("79",)), a_patient("other", "00009"))
    await put(store, a_member("p", "c", parties=("Organization/1",)), a_member("other", "o"), a_member("p", "gone"))
    await put(store, a_member("p", "c", parties=("Organization/1",), name="second"), a_member("p", "i", "Immunization"))
    await remove(store, "Condition", "gone")
    before = await store.history(HistoryQuery("Condition"), EVERYTHING)
    await put(store, a_patient("p", "00002", denied=True, parties=("80", "81")))
    assert scalars("Condition", "c") == ("00002", 1, ["Organization/1", "80", "81"])
    assert scalars("Condition_history", "c/00000001") == ("00002", 1, ["Organization/1", "80", "81"])
    assert scalars("Condition", "gone") == scalars("Condition_history", "gone/00000001") == ("00002", 1, ["80", "81"])
    assert scalars("Immunization", "i") == ("00002", 1, ["80", "81"])
    assert scalars("Patient_history", "p/00000001") == ("00002", 1, ["80", "81"])
    assert scalars("Condition", "o") == ("00009", 0, [])
    assert await store.history(HistoryQuery("Condition"), EVERYTHING) == before


async def test_the_patient_and_its_members_change_for_a_view_at_one_moment(store: MongoStore) -> None:
    view = View({}, {"w": "00001"})
    await put(store, a_patient("p", "00001", keys=["k"]), a_member("p", "c", keys=["k"]))
    assert await store.count("Condition", {"k": "k"}, view) == 1
    await put(store, a_patient("p", "00002", keys=["k"]))
    assert await store.count("Condition", {"k": "k"}, view) == 0
    assert await store.read("Condition", "c", view) is None
    assert await store.vread("Patient", "p", 1, view) is None


async def test_identical_content_with_another_ward_reaches_the_members_too(store: MongoStore, scalars: Any) -> None:
    await put(store, a_patient("p", "00001"))
    await put(store, a_member("p", "c"))
    (again,) = await put(store, a_patient("p", "00001", denied=True))
    assert (again.changed, again.stored.version) == (False, 1)
    assert scalars("Condition", "c") == ("00001", 1, [])


async def test_an_update_of_a_member_keeps_what_the_patient_gave(store: MongoStore, scalars: Any) -> None:
    await put(store, a_patient("p", "00001", parties=("79",)))
    await put(store, a_member("p", "c"))
    await put(store, a_member("p", "c", name="x", parties=("Organization/2",)))
    assert scalars("Condition", "c") == ("00001", 0, ["Organization/2", "79"])
    await remove(store, "Condition", "c")
    await put(store, a_member("p", "c"))
    assert scalars("Condition", "c") == ("00001", 0, ["79"])


async def test_a_member_that_moves_to_another_patient_takes_what_that_one_says(store: MongoStore, scalars: Any) -> None:
    await put(store, a_patient("p", "00001"), a_patient("q", "00002"))
    await put(store, a_member("p", "c"))
    await put(store, a_member("q", "c"))
    assert scalars("Condition", "c") == ("00002", 0, [])
    await put(store, a_patient("q", "00003"))
    assert scalars("Condition", "c") == ("00003", 0, [])
    assert scalars("Condition_history", "c/00000001") == ("00001", 0, [])


async def test_members_of_many_patients_in_one_transaction_each_take_from_their_own(
    store: MongoStore, scalars: Any
) -> None:
    await put(store, *[a_patient(f"p{number}", f"{number:05}") for number in range(20)])
    await put(store, *[a_member(f"p{number}", f"c{number}") for number in range(20)])
    assert [scalars("Condition", f"c{number}")[0] for number in range(20)] == [f"{number:05}" for number in range(20)]


async def test_a_deleted_patient_goes_on_narrowing_its_members(store: MongoStore, scalars: Any) -> None:
    await put(store, a_patient("p", "00001"))
    await apply(store, Remove("Patient", "p"), Put(a_member("p", "c")))
    assert scalars("Condition", "c") == ("00001", 0, [])
    await put(store, a_patient("p", "00002"))
    assert scalars("Condition", "c") == ("00002", 0, [])


async def test_a_resource_of_no_patient_keeps_its_own(store: MongoStore, scalars: Any) -> None:
    own = Narrowing(None, "00007", 1, True, ("Organization/1", "79"))
    await put(store, a_draft(narrowing=own))
    assert scalars("Organization", "1") == ("00007", 1, ["Organization/1", "79"])


@pytest.mark.parametrize("known", [True, False], ids=["known patient", "patient not stored yet"])
async def test_no_member_is_left_behind_when_the_patient_changes_while_members_come(
    store: MongoStore, scalars: Any, known: bool
) -> None:
    if known:
        await put(store, a_patient("p", "00000"))
    await put(store, a_member("p", "first"))
    wards = [put(store, a_patient("p", f"{number:05}")) for number in range(1, 6)]
    members = [
        put(store, a_member("p", f"c{number}", "Observation" if number % 2 else "Condition")) for number in range(20)
    ]
    await asyncio.gather(*members[:10], *wards, *members[10:])
    ward = scalars("Patient", "p")[0]
    for type in ("Condition", "Observation"):
        found = await store.find(Find(type, {"w": ward}, limit=100), EVERYTHING)
        assert len(found) == await store.count(type, {}, EVERYTHING) > 0


async def test_the_compartment_is_found_by_indexes_alone(
    store: MongoStore, mongodb: Server, database_name: str
) -> None:
    await put(store, a_patient("p", "00001"))
    for number in range(3):
        await put(store, *[a_member(f"p{other}", f"c{other}", value=number) for other in range(50)], a_member("p", "c"))
    await remove(store, "Condition", "c1")
    database = mongodb[database_name]
    database.command("profile", 2)
    await put(store, a_patient("p", "00002"))
    database.command("profile", 0)
    plans = {
        (told["ns"].partition(".")[2], told.get("planSummary"))
        for told in database["system.profile"].find({"op": "update"})
    }
    assert ("Condition", "IXSCAN { k: 1, o: -1, s: 1 }") in plans
    assert ("Condition", "IXSCAN { p: 1 }") in plans
    assert ("Condition_history", "IXSCAN { p: 1 }") in plans
    assert not any(plan == "COLLSCAN" for _, plan in plans)
