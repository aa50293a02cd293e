"""A record is erased for good when two people have said so, and not before its legal time without a decision."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient

from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.security.erasure import KEPT_MS, Erasures, NotErased
from tests.security.callers import Caller
from tests.security.people import names_of, settle


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    await settle(admin)


async def test_nothing_is_erased_by_one_person_nor_before_its_time(running: Context, admin: Caller) -> None:
    erasures, now = Erasures(running.store), running.clock()
    with pytest.raises(NotErased, match="not stored"):
        await erasures.ask("e0", "nobody", "one", "petition", now)
    await erasures.ask("e1", "binh", "Nguyễn A", "petition 7", now)
    with pytest.raises(NotErased, match="cannot confirm"):
        await erasures.confirm("e1", " nguyễn a ", None, now)
    with pytest.raises(NotErased, match="ten years"):
        await erasures.confirm("e1", "Trần B", None, now)
    with pytest.raises(NotErased, match="no erasure"):
        await erasures.confirm("e2", "Trần B", None, now)
    for name in names_of(("binh",), hiv=True):
        assert (await admin.get(name)).status_code == 200


async def test_after_it_nothing_is_left_but_a_tombstone_and_the_entry(
    running: Context, admin: Caller, mongodb: MongoClient[dict[str, Any]], guarded: Settings
) -> None:
    erasures, now = Erasures(running.store), running.clock()
    await erasures.ask("e3", "an", "Nguyễn A", "decision 12", now)
    done = await erasures.confirm("e3", "Trần B", "decision 12", now)
    assert (done["asked_by"], done["confirmed_by"]) == ("Nguyễn A", "Trần B")
    assert done["erased"]["versions"] >= 8
    assert (await admin.get("Patient/an")).status_code == 410
    assert (await admin.get("Patient/an/_history/1")).status_code == 410
    for name in names_of(("an",), hiv=True) - {"Patient/an"}:
        assert (await admin.get(name)).status_code == 404
        assert (await admin.get(f"{name}/_history/1")).status_code == 404
    database = mongodb[guarded.mongodb_database]
    for name in database.list_collection_names():
        if name[0].isupper() and name != "Patient":
            assert database[name].count_documents({"p": "an"}) == 0
    (left,) = database["Patient"].find({"_id": "an"})
    assert "raw" not in left
    assert "Nguyễn" not in str(left)
    index = lambda resource: running.search.index(resource, running.store.registry)  # noqa: E731
    assert [problem async for problem in running.store.check(index) if "/an" in problem.place] == []
    assert (await erasures.confirm("e3", "Trần B", "decision 12", now))["confirmed_by"] == "Trần B"


async def test_what_is_older_than_its_legal_time_needs_no_decision(running: Context, admin: Caller) -> None:
    erasures = Erasures(running.store)
    later = running.clock() + KEPT_MS + 60_000
    await erasures.ask("e4", "vo", "Nguyễn A", "petition 8", later)
    assert (await erasures.confirm("e4", "Trần B", None, later))["erased"]["versions"] >= 8
    assert (await admin.get("Patient/vo")).status_code == 410
    assert (await admin.get("Patient/dung")).status_code == 200
