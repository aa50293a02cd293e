"""Hidden and unknown ids take the same way: the same commands to the database, the same status, the same body."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from fhir_server.operations.table import OPERATIONS
from tests.builders import a_condition, an_entry
from tests.security.callers import Caller
from tests.security.conftest import Ask, Commands
from tests.security.people import HIV, THANH_HOA, patient, settle

Ways = Callable[[Caller, str], Awaitable[httpx.Response]]
# What a command says of its session and its time, and fresh ids.
_OWN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\d[T ][\d:.+]+")
_OF_SESSION = ("lsid", "txnNumber", "$clusterTime", "startTransaction", "autocommit", "readConcern", "maxTimeMS")

HIDDEN, UNKNOWN = "binh", "nemo"
READS = (
    "Patient/ID",
    "Patient/ID/_history",
    "Patient/ID/_history/1",
    "Patient/ID/Condition",
    "Patient/ID/*",
    "Patient/ID/$validate",
    "Patient/ID/$accesses",
    "Patient/ID/$everything",
    "Patient/ID/$record?format=basic",
    "Condition/ID-hiv",
    "Condition/ID-plain/_history/2",
    "Condition/ID-plain/_history?_count=1",
    "Condition/ID-hiv?_summary=true",
    "Observation/ID-gone",
    "Observation/ID-gone/_history",
    "Patient?_id=ID&_total=accurate",
    "Patient?_id=ID&_summary=count",
    "Condition?patient=ID",
    "Condition?subject=Patient/ID&_sort=-_lastUpdated",
    "Condition?_id=ID-hiv&_include=Condition:patient",
    "Patient?_id=ID&_revinclude=Condition:patient",
    "Patient?_id=ID&_has:Condition:patient:code=B20",
    "Observation?patient:Patient._id=ID",
    "Observation?_list=of-ID",
    "Observation?encounter=ID-encounter",
    "Encounter/ID-encounter/Observation",
    "Condition?_filter=patient eq ID",
    "Provenance?target=Condition/ID-plain",
)


def _put(resource: Callable[[str], dict[str, Any]], **headers: str) -> Ways:
    return lambda caller, id: caller.put(resource(id), **headers)


def _plain(id: str) -> dict[str, Any]:
    return a_condition("Patient/an", id=f"{id}-plain")


def _people(**ids: str) -> dict[str, Any]:
    rows = [{"name": f"{side}-patient", "valueReference": {"reference": f"Patient/{id}"}} for side, id in ids.items()]
    return {"resourceType": "Parameters", "parameter": rows}


PATCH = [{"op": "replace", "path": "/subject/reference", "value": "Patient/an"}]
WRITES: dict[str, Ways] = {
    "update": _put(_plain),
    "update of a patient": _put(lambda id: {**patient("an"), "id": id}),
    "update of a version": _put(_plain, if_match='W/"2"'),
    "update of what is new": _put(_plain, if_none_match="*"),
    "update of what was deleted": _put(lambda id: {**_plain(id), "id": f"{id}-gone"}),
    "delete": lambda caller, id: caller.send("DELETE", f"Condition/{id}-plain"),
    "delete of a version": lambda caller, id: caller.send("DELETE", f"Condition/{id}-plain", if_match='W/"1"'),
    "conditional delete": lambda caller, id: caller.send("DELETE", f"Condition?_id={id}-plain"),
    "patch": lambda caller, id: caller.send(
        "PATCH", f"Condition/{id}-plain", PATCH, content_type="application/json-patch+json"
    ),
    "create in the compartment": lambda caller, id: caller.post("Condition", a_condition(f"Patient/{id}", HIV)),
    "merge": lambda caller, id: caller.post("Patient/$merge", _people(source="an", target=id)),
    "merge of the other": lambda caller, id: caller.post("Patient/$merge", _people(source=id, target="an")),
    "unmerge": lambda caller, id: caller.post("Patient/$unmerge", _people(source=id)),
    "batch": lambda caller, id: caller.post(
        "", {"resourceType": "Bundle", "type": "batch", "entry": [an_entry("GET", f"Patient/{id}")]}
    ),
    "transaction": lambda caller, id: caller.post(
        "",
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [an_entry("PUT", f"Condition/{id}-plain", _plain(id))],
        },
    ),
}
# Operations that name no stored resource: terminology, and those of which the narrowing has tests of its own.
NAMELESS = {"lookup", "subsumes", "validate-code", "expand", "translate", "preferred-id", "reindex"} | {
    "records-changed",  # test_security_changes
    "import-records",  # test_security_imports
}
CALLERS = {
    "citizen": ("patient/*.cruds operation/*", {"patient": "an"}),
    "hospital": ("system/*.cruds operation/*", {"organization": "h1"}),
    "ward": ("user/*.cruds operation/*", {"administrative_unit": f"ward:{THANH_HOA}"}),
}


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    await settle(admin)
    items = [{"item": {"reference": f"Observation/{HIDDEN}-lab"}}]
    made = {"resourceType": "List", "id": f"of-{HIDDEN}", "status": "current", "mode": "working", "entry": items}
    assert (await admin.put(made | {"subject": {"reference": f"Patient/{HIDDEN}"}})).status_code == 201


def _normal(text: str, id: str) -> str:
    return _OWN.sub("…", text.replace(id, "ID"))


def _of(commands: Commands, id: str) -> list[str]:
    """The commands about resources, without what belongs to their session and their time."""
    told = []
    for name, command in commands.seen:
        if str(command[name])[:1].isupper() or command[name] in ("compartments", "claims", "gates"):
            asked = {key: value for key, value in command.items() if key not in _OF_SESSION}
            told.append(_normal(json.dumps(asked, default=str), id))
    return told


async def _watched(commands: Commands, asked: Awaitable[httpx.Response], id: str) -> tuple[int, str, list[str]]:
    commands.seen.clear()
    answer = await asked
    return answer.status_code, _normal(answer.text, id), _of(commands, id)


def test_every_operation_that_names_a_resource_is_asked_about_hidden_ones() -> None:
    asked = {path.partition("$")[2].partition("?")[0] for path in READS if "$" in path} | WRITES.keys()
    missing = {operation.name for operation in OPERATIONS} - NAMELESS - asked
    assert not missing, f"{missing}: in READS or WRITES of this file, or in NAMELESS with the test that holds it"


@pytest.mark.parametrize("name", CALLERS)
async def test_hidden_and_unknown_are_looked_for_and_answered_alike(ask: Ask, commands: Commands, name: str) -> None:
    scope, claims = CALLERS[name]
    caller = ask(scope, **claims)
    ways = {path: (lambda who, id, path=path: who.get(path.replace("ID", id))) for path in READS} | WRITES
    for way, asking in ways.items():
        told = {}
        for id in (HIDDEN, UNKNOWN):
            await asking(caller, id)  # what is asked once for a while, to weigh ways to search
            told[id] = await _watched(commands, asking(caller, id), id)
        status, _, asked = told[HIDDEN]
        assert told[HIDDEN] == told[UNKNOWN], way
        assert asked or status == 403, f"{way} asks the database something"
