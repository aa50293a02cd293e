"""Changed rules of access reach every version of what is stored before anything is served by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_server.config import DATA_ROOT, Settings
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.narrowing import NarrowingRules
from fhir_server.operations.renarrow import renarrow, require_rules
from fhir_server.store.values import StartError
from fhir_server.terminology.load import Terminology
from tests.builders import a_condition
from tests.security.callers import Caller
from tests.security.conftest import Ask
from tests.security.people import patient

FILE = DATA_ROOT / "profiles" / "vn_basic" / "narrowing.json"


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    """A restricted condition that was another one, and is deleted; and one that stays."""
    await admin.put(patient("an"))
    for id in ("gone", "kept"):
        for code in ("B20", "B21", "I10"):
            assert (await admin.put(a_condition("Patient/an", code, id=id))).is_success
    assert (await admin.put(a_condition("Patient/an", "B22", id="now"))).is_success
    assert (await admin.send("PUT", "Condition/gone", a_condition("Patient/an", "B20", id="gone"))).is_success
    assert (await admin.send("DELETE", "Condition/gone")).status_code == 204


@pytest.fixture
def open_rules(running: Context) -> Context:
    """The same with HIV no longer restricted."""
    return running.with_(rules=NarrowingRules.load(FILE, Terminology.load(DATA_ROOT), ["conf/R"]))


@pytest.fixture
def classes(mongodb: MongoClient[dict[str, Any]], guarded: Settings) -> Callable[[], dict[str, int]]:
    database = mongodb[guarded.mongodb_database]

    def of() -> dict[str, int]:
        current = {f"{one['_id']}/{one['v']}": one["s"] for one in database["Condition"].find()}
        return current | {f"{one['i']}/{one['v']}": one["s"] for one in database["Condition_history"].find()}

    return of


async def seen(caller: Caller) -> set[str]:
    names = [f"{id}/_history/{version}" for id in ("gone", "kept") for version in (1, 2, 3, 4, 5)]
    found = {name for name in names if (await caller.get(f"Condition/{name}")).status_code in (200, 410)}
    return found | await caller.ids("Condition")


async def test_rules_that_have_changed_are_brought_to_every_version_and_back(
    running: Context, open_rules: Context, classes: Callable[[], dict[str, int]], ask: Ask
) -> None:
    caller = ask("user/*.rs", administrative_unit="country:VN")
    before, of_the_caller = classes(), await seen(caller)
    assert before == {"gone/1": 2, "gone/2": 2, "gone/3": 0, "gone/4": 2, "gone/5": 2} | {
        "kept/1": 2,
        "kept/2": 2,
        "kept/3": 0,
        "now/1": 2,
    }
    assert of_the_caller == {"gone/_history/3", "kept/_history/3", "Condition/kept"}
    await require_rules(running)
    with pytest.raises(StartError, match="fhir-server migrate"):
        await require_rules(open_rules)
    told: list[tuple[int, int | None]] = []
    done = await renarrow(open_rules, lambda *progress: told.append(progress))
    assert told[-1] == (done, done)
    assert set(classes().values()) == {0}
    await require_rules(open_rules)
    assert await renarrow(open_rules, lambda done, total: None) == 0
    with pytest.raises(StartError):
        await require_rules(running)
    assert await renarrow(running, lambda done, total: None) == done
    assert classes() == before
    assert await seen(caller) == of_the_caller
