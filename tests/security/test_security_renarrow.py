"""Changed rules of access reach every version of what is stored before anything is served by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_server.app import build_app
from fhir_server.config import DATA_ROOT, Settings
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.narrowing import NarrowingRules
from fhir_server.interactions.residence import Residences
from fhir_server.operations.renarrow import renarrow, require_rules
from fhir_server.store.values import StartError
from fhir_server.terminology.load import Terminology
from tests.builders import a_condition
from tests.security.callers import Caller, living_in
from tests.security.conftest import Ask
from tests.security.people import THANH_HOA, consent, patient

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


async def test_residences_that_are_read_otherwise_reach_the_whole_compartment(
    running: Context, admin: Caller, mongodb: MongoClient[dict[str, Any]], guarded: Settings
) -> None:
    """As after a change of the lists of units, which the fingerprint of the rules covers; also where the Patient was
    deleted, and nothing but the Patient's history tells the residence any more."""
    for id in ("an", "late"):
        assert (await admin.put({**patient("an"), "id": id, "address": [living_in(THANH_HOA)]})).is_success
    assert (await admin.put(a_condition("Patient/late", "I10", id="left"))).is_success
    assert (await admin.send("DELETE", "Patient/late")).status_code == 204
    database = mongodb[guarded.mongodb_database]

    def told() -> set[tuple[str, str | None, bool]]:
        """Patient, ward, and whether the province is told, of every version of everything."""
        names = ("Patient", "Patient_history", "Condition", "Condition_history")
        found = [one for name in names for one in database[name].find({"p": {"$in": ["an", "late"]}})]
        return {(one["p"], one["w"], "province:38" in one["a"]) for one in found}

    assert told() == {("an", THANH_HOA, True), ("late", THANH_HOA, True)}
    blind = replace(running.rules, residences=Residences(Terminology.load(DATA_ROOT), {}, {}), fingerprint="other")
    await renarrow(running.with_(rules=blind), lambda done, total: None)
    assert told() == {("an", None, False), ("late", None, False)}
    await renarrow(running, lambda done, total: None)
    assert told() == {("an", THANH_HOA, True), ("late", THANH_HOA, True)}


async def test_a_denial_by_a_label_is_told_anew_where_the_class_of_the_label_has_changed(
    running: Context, open_rules: Context, admin: Caller, mongodb: MongoClient[dict[str, Any]], guarded: Settings
) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}
    assert (await admin.put(consent({"type": "deny", "securityLabel": [label]}))).is_success

    def said() -> set[str]:
        condition = mongodb[guarded.mongodb_database]["Condition"].find_one({"_id": "now"})
        return {one for one in (condition or {})["a"] if one[0] in "-="}

    assert said() == {"-*@*!2"}
    await renarrow(open_rules, lambda done, total: None)
    assert said() == {"="}, "a label that nothing is told by any more denies all"
    await renarrow(running, lambda done, total: None)
    assert said() == {"-*@*!2"}
    assert (await admin.send("DELETE", "Consent/of-an")).status_code == 204


async def test_a_server_that_does_not_start_by_other_rules_says_why(
    running: Context, guarded: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await require_rules(running)
    other = build_app(guarded.model_copy(update={"restricted": "conf/R"}))
    with pytest.raises(StartError):
        async with other.router.lifespan_context(other):
            pass
    assert "run `fhir-server migrate`" in capsys.readouterr().out


def test_another_list_of_units_makes_other_rules(tmp_path: Path, running: Context) -> None:
    for folder in ("profiles/vn_basic", "terminology/code_systems", "terminology/concept_maps"):
        (tmp_path / folder).mkdir(parents=True)
        for file in (DATA_ROOT / folder).glob("*.json"):
            (tmp_path / folder / file.name).symlink_to(file)
    lists, file = Terminology.load(DATA_ROOT), tmp_path / "profiles/vn_basic/narrowing.json"
    before = NarrowingRules.load(file, lists)
    assert before.fingerprint == running.rules.fingerprint
    succession = tmp_path / "terminology/concept_maps/ward-succession.json"
    content = succession.read_bytes()
    succession.unlink()
    succession.write_bytes(content + b"\n")
    assert NarrowingRules.load(file, lists).fingerprint != before.fingerprint
