"""Packages at work: a draft guide with its defects loads, and takes effect in every process at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fhir_server.app import open_context
from fhir_server.cli import packages as command
from fhir_server.cli.faults import DONE, INCOMPLETE, WRONG_USE, CannotRun
from fhir_server.cli.migrate import migrate
from fhir_server.config import DATA_ROOT, Settings
from fhir_server.definitions.packages import read_package
from fhir_server.interactions.packages import install, plan
from fhir_server.operations import reindex
from fhir_server.operations.publish import publish_packages
from tests.api.conftest import Client, serving
from tests.package_files import BASE, ETHNIC, NAMING, a_guide, a_profile, archive, folder, manifest

PATIENT = f"{BASE}/StructureDefinition/example-patient"
LIST = "http://client.example/ValueSet/v"


@pytest.fixture(scope="module")
def settings(own_settings: Settings) -> Settings:
    """One database for this file."""
    return own_settings


@pytest.fixture(scope="module")
async def server(settings: Settings) -> AsyncIterator[Client]:
    """A server that runs while packages come and go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reindex, "LOOK_SECONDS", 0.05)
        async with serving(settings) as made:
            yield made


def a_claim(profile: str = PATIENT, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "meta": {"profile": [profile]}, **more}


async def issues(client: Client, resource: dict[str, Any]) -> list[tuple[str, list[str]]]:
    answer = await client.send("POST", f"{resource['resourceType']}/$validate", resource)
    return [(one["severity"], one.get("expression", [])) for one in answer.json()["issue"]]


async def found(client: Client, search: str) -> list[str]:
    """The ids of what a search finds."""
    return [one["resource"]["id"] for one in (await client.get(search)).json().get("entry", ())]


async def until(client: Client, profile: str, is_loaded: bool) -> None:
    """Until a server has learned of a profile; the test's own time limit ends the wait."""
    while is_loaded is ("not-supported" in (await client.send("POST", "Patient/$validate", a_claim(profile))).text):
        await asyncio.sleep(0.02)


async def test_a_draft_guide_loads_with_its_defects_told_and_takes_effect_at_once(
    server: Client, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = archive(tmp_path / "guide.tgz", a_guide())
    assert await asyncio.to_thread(command.install, settings, path, True) == INCOMPLETE
    assert "example.vn.core#1.0.0 was not installed: 7 problems." in capsys.readouterr().out
    assert await issues(server, a_claim()) == [("information", ["Patient.meta.profile[0]"])]

    assert await asyncio.to_thread(command.install, settings, path, False) == DONE
    said = capsys.readouterr().out
    assert f"Installed example.vn.core#1.0.0 {BASE}: 1 CodeSystem, 1 NamingSystem" in said
    for defect in (
        "it needs hl7.fhir.uv.ips 1.0.0, which is not installed",
        "CodeSystem.concept[0].definition: '' is not a valid string",
        "NamingSystem.id: 'sid_national' is not a valid id",
        "its parent http://hl7.org/fhir/uv/ips/StructureDefinition/Patient-uv-ips is not loaded",
        "the slice identifier:cccd is not told by each of its discriminators",
        f"Patient.identifier:cccd.system is {BASE}/sid/national_id, which no NamingSystem names",
    ):
        assert defect in said

    await until(server, PATIENT, is_loaded=True)
    number = {"system": f"{BASE}/sid/national_id", "value": "1", "type": {"text": "x"}}
    status = {"coding": [{"system": ETHNIC, "code": "9"}]}
    assert await issues(server, a_claim(identifier=[number], name=[{"family": "x"}], maritalStatus=status)) == [
        ("error", ["Patient.identifier[0].type"]),
        ("error", ["Patient.name[0].text"]),
        ("error", ["Patient.maritalStatus"]),
    ]
    assert await found(server, f"StructureDefinition?url={PATIENT}") == ["example-patient"]
    assert await found(server, f"CodeSystem?url={ETHNIC}") != []
    assert "Tày" in (await server.get(f"CodeSystem/$lookup?system={ETHNIC}&code=02")).text
    told = (await server.get("metadata")).json()
    assert told["implementationGuide"] == [f"{BASE}/ImplementationGuide/example.vn.core|1.0.0"]


async def test_what_is_installed_is_listed_and_can_be_removed(
    server: Client, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.to_thread(command.show, settings)
    assert f"example.vn.core#1.0.0 {BASE}  Guide\n  1 CodeSystem, 1 NamingSystem" in capsys.readouterr().out
    with pytest.raises(CannotRun) as unknown:
        await asyncio.to_thread(command.remove, settings, "other")
    assert unknown.value.code == WRONG_USE
    await asyncio.to_thread(command.remove, settings, "example.vn.core")
    assert capsys.readouterr().out == f"Removed example.vn.core#1.0.0 {BASE}.\n"
    await until(server, PATIENT, is_loaded=False)
    assert await found(server, f"StructureDefinition?url={PATIENT}") == []
    assert (await server.get("StructureDefinition/example-patient")).status_code == 410


async def test_packages_are_told_apart_by_version_and_by_canonical(
    server: Client, settings: Settings, tmp_path: Path
) -> None:
    rules = (
        ("1.10.0", BASE, "gender"),
        ("1.9.0", BASE, "birthDate"),
        ("1.0.0", "http://one.example", "photo"),
        ("1.0.0", "http://two.example", "contact"),
    )
    paths = []
    for version, base, name in rules:
        url = f"{base}/StructureDefinition/p"
        rule = a_profile("p", "Patient", {"id": f"Patient.{name}", "min": 1}, url=url, version=version)
        paths.append(folder(tmp_path / name, {"package.json": manifest(version=version), "p.json": rule}))
    element = {"id": "Patient.maritalStatus", "binding": {"strength": "required", "valueSet": LIST}}
    bound = {
        "package.json": manifest("bound"),
        "p.json": a_profile("bound", "Patient", element),
        "q.json": a_profile("odd", "Patient") | {"differential": {"element": [{"path": "Patient", "max": [1]}]}},
        "naming.json": NAMING | {"type": {"text": "x"}},
    }
    paths.append(folder(tmp_path / "bound", bound))
    async with open_context(settings) as opened:
        for path in paths:
            planned = await plan(opened, read_package(path, opened.definitions))
            await install(opened, planned)
            await publish_packages(opened)
        assert planned.installed.facts["counts"] == {"NamingSystem": 1, "StructureDefinition": 1}
        assert "StructureDefinition/odd is left out" in planned.installed.facts["problems"][0]
    await until(server, f"{BASE}/StructureDefinition/bound", is_loaded=True)

    url = f"{BASE}/StructureDefinition/p"
    for claimed, missing in (
        (url, "gender"),
        (f"{url}|1.9.0", "birthDate"),
        (f"{url}|1.10.0", "gender"),
        ("http://one.example/StructureDefinition/p", "photo"),
        ("http://two.example/StructureDefinition/p", "contact"),
    ):
        assert await issues(server, a_claim(claimed)) == [("error", [f"Patient.{missing}"])]
    one = await found(server, f"StructureDefinition?url={url}&version=1.10.0")
    two = await found(server, f"StructureDefinition?url={url}&version=1.9.0")
    assert one == ["p"]
    assert re.fullmatch("p-[0-9a-f]{12}", two[0]), "an id that another version has is told apart"
    assert (await server.get(f"StructureDefinition/{two[0]}")).json()["version"] == "1.9.0"


async def test_what_a_client_made_of_a_definition_stays_when_its_package_goes(
    server: Client, settings: Settings, tmp_path: Path
) -> None:
    files = {
        "package.json": manifest("edited"),
        "e.json": a_profile("edited", "Patient", {"id": "Patient.name", "min": 1}),
        "f.json": a_profile("left", "Patient", {"id": "Patient.name", "min": 1}),
    }
    path = folder(tmp_path / "edited", files)
    async with open_context(settings) as opened:
        planned = await plan(opened, read_package(path, opened.definitions))
        await install(opened, planned)
        assert await publish_packages(opened) == 2
        edited = (await server.get("StructureDefinition/edited")).json() | {"title": "mine"}
        assert (await server.send("PUT", "StructureDefinition/edited", edited)).status_code == 200
        await opened.store.uninstall(planned.installed.identity)
        await publish_packages(opened)
        assert (await server.get("StructureDefinition/edited")).json()["title"] == "mine"
        assert (await server.get("StructureDefinition/left")).status_code == 410
        await install(opened, planned)
        assert await publish_packages(opened) == 1
    assert (await server.get("StructureDefinition/edited")).json()["title"] == "mine"
    assert (await server.get("StructureDefinition/left")).status_code == 200, "installed again it is there again"


async def test_migrate_makes_searchable_what_an_older_program_installed(
    server: Client, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "package.json": manifest("older"),
        "o.json": a_profile("older", "Patient", {"id": "Patient.name", "min": 1}),
    }
    async with open_context(settings) as opened:
        planned = await plan(opened, read_package(folder(tmp_path / "older", files), opened.definitions))
        facts = {name: fact for name, fact in planned.installed.facts.items() if name != "stored_as"}
        await opened.store.install(replace(planned.installed, facts=facts), planned.contents)
    url = f"{BASE}/StructureDefinition/older"
    assert await found(server, f"StructureDefinition?url={url}") == []
    for is_first in (True, False):
        await asyncio.to_thread(migrate, settings)
        assert ("1 definitions of 1 packages are stored as resources.\n" in capsys.readouterr().out) is is_first
        assert await found(server, f"StructureDefinition?url={url}") == ["older"]


async def test_a_binding_asks_what_clients_have_stored(server: Client) -> None:
    status = {"coding": [{"system": "urn:x", "code": "9"}]}
    resource = a_claim(f"{BASE}/StructureDefinition/bound", maritalStatus=status)
    assert await issues(server, resource) == [("information", [])], "a list that is not known tells nothing"
    concepts = {"include": [{"system": "urn:x", "concept": [{"code": "1"}]}]}
    await server.created({"resourceType": "ValueSet", "url": LIST, "status": "active", "compose": concepts})
    assert await issues(server, resource) == [("error", ["Patient.maritalStatus"])]


async def test_the_profile_of_the_how_to_does_what_its_page_says(
    server: Client, settings: Settings, tmp_path: Path
) -> None:
    page = (DATA_ROOT / "docs" / "how-to" / "write-a-profile.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"cat > clinic/(\S+) <<'END'\n(.*?)END\n", page, re.DOTALL))
    async with open_context(settings) as opened:
        planned = await plan(opened, read_package(folder(tmp_path / "clinic", files), opened.definitions))
        assert planned.installed.facts["problems"] == []
        await install(opened, planned)
    url = "http://clinic.example/fhir/StructureDefinition/clinic-patient"
    validated, refused = re.findall(r"-d '(\{.*?\})'\n", page)
    answer = await server.send("POST", f"Patient/$validate?profile={url}", validated)
    assert {(one["severity"], one["expression"][0]) for one in answer.json()["issue"]} == {
        ("error", "Patient.identifier"),
        ("error", "Patient.name[0].text"),
        ("warning", "Patient.telecom[0]"),
        ("information", "Patient"),
    }
    assert (await server.send("POST", "Patient", refused)).status_code == 400


async def test_an_invariant_of_an_installed_profile_may_ask_for_today_and_count(
    server: Client, settings: Settings, tmp_path: Path
) -> None:
    rules = {"adult": "birthDate <= today() - 18 years", "one": "(multipleBirth as integer) mod 2 = 1"}
    constraint = [
        {"key": key, "severity": "error", "human": key, "expression": expression} for key, expression in rules.items()
    ]
    profile = a_profile("adult", "Patient", {"id": "Patient", "constraint": constraint})
    files = {"package.json": manifest("example.adult", canonical=BASE), "adult.json": profile}
    async with open_context(settings) as opened:
        planned = await plan(opened, read_package(folder(tmp_path / "adult", files), opened.definitions))
        assert planned.installed.facts["problems"] == []
        await install(opened, planned)
    await until(server, profile["url"], is_loaded=True)
    for born, number, status in (("1970-01-01", 1, 201), (str(date.today()), 1, 400), ("1970-01-01", 2, 400)):
        claim = a_claim(profile["url"], birthDate=born, multipleBirthInteger=number)
        assert (await server.send("POST", "Patient", claim)).status_code == status, claim
