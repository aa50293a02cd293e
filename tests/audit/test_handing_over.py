"""Everything that is stored can be handed over as files that prove themselves, also when writing them was cut off."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fhir_server.cli import handing_over
from fhir_server.cli.faults import CannotRun
from fhir_server.cli.handing_over import MANIFEST, NOTED, SUMS, hand_over
from fhir_server.config import Settings
from fhir_server.security.petitions import Petitions
from fhir_server.store.ledger_contract import digest, fold
from fhir_server.store.table_contract import Row
from fhir_server.store.values import Installed
from tests.api.conftest import Client
from tests.builders import a_condition, a_patient


@pytest.fixture(scope="module")
async def stored(served: Client) -> None:
    q, r = a_patient(id="q"), a_patient(id="r")
    for method, path, body in (
        ("PUT", "Patient/p", a_patient(id="p", name="Nguyễn Một")),
        ("PUT", "Patient/p", a_patient(id="p", name="Nguyễn Hai")),
        ("POST", "Condition", a_condition("Patient/p")),
        ("PUT", "Patient/q", q),
        ("DELETE", "Patient/q", None),
        ("PUT", "Patient/q", q),
        ("PUT", "Patient/r", r),
        ("DELETE", "Patient/r", None),
    ):
        assert (await served.send(method, path, body)).status_code in (200, 201, 204)


def lines(folder: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.glob(pattern)) for line in file.read_text().splitlines()]


def versions(folder: Path, pattern: str) -> set[str]:
    return {f"{one['id']}/{one['meta']['versionId']}" for one in lines(folder, pattern)}


def whole(folder: Path) -> dict[str, str]:
    """The hashes, once every file has been found to have its own."""
    sums = dict(reversed(line.split("  ")) for line in (folder / SUMS).read_text().splitlines())
    assert {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sums} == sums
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {*sums, SUMS, NOTED}
    return sums


async def test_every_version_deletion_access_and_register_is_handed_over(
    stored: None, own_settings: Settings, served: Client, tmp_path: Path
) -> None:
    await Petitions(served.app.state.context().store).add("p1", "access", "p", "staff", date(2026, 1, 2))
    await asyncio.to_thread(hand_over, own_settings, tmp_path / "out")
    out = tmp_path / "out"
    whole(out)
    assert versions(out, "resources/Patient-*") == {"p/2", "q/3"}
    assert versions(out, "history/Patient-*") == {"p/1", "q/1", "r/1"}
    gone = [(one["request"]["url"], one["response"]["etag"]) for one in lines(out, "deleted*/Patient-*")]
    assert sorted(gone) == [("Patient/q", 'W/"2"'), ("Patient/r", 'W/"2"')]
    assert len(lines(out, "resources/Condition-*")) == 1
    assert lines(out, "registers/petitions.ndjson")[0]["patient"] == "p"
    events = {digest(line) for file in out.glob("audit/AuditEvent-*") for line in file.read_bytes().splitlines()}
    heads: dict[str, bytes] = {}
    for page in lines(out, "audit/pages-*"):
        told = [bytes.fromhex(one) for one in page["digests"]]
        assert set(told) <= events
        assert heads.get(page["chain"], bytes(32)).hex() == page["before"]
        heads[page["chain"]] = fold(bytes.fromhex(page["before"]), told)
    assert lines(out, "audit/seals-*")
    manifest = json.loads((out / MANIFEST).read_text())
    assert manifest["lines"]["history/Patient"] == 3


async def test_packages_and_code_tables_are_handed_over(
    stored: None, own_settings: Settings, served: Client, tmp_path: Path
) -> None:
    store = served.app.state.context().store
    await store.install(Installed("a.b#1.0|urn:x", {"name": "a.b"}), [b'{"resourceType":"Basic"}'])
    number, _ = await store.tables.begin({"resourceType": "CodeSystem", "url": "urn:x"}, "d")
    await store.tables.write(number, [Row("1", "Một"), Row("2", "Hai", inactive=True, parents=("1",))])
    await store.tables.finish(number, 2)
    out = tmp_path / "out"
    await asyncio.to_thread(hand_over, own_settings, out)
    assert [one.get("name") or one["resourceType"] for one in lines(out, "packages/a.b-*")] == ["a.b", "Basic"]
    head, *concepts = lines(out, "tables/*-urn-x-*")
    assert head["url"] == "urn:x"
    assert concepts == [
        {"code": "1", "display": "Một"},
        {"code": "2", "display": "Hai", "inactive": True, "parents": ["1"]},
    ]


async def test_what_was_cut_off_is_completed(
    stored: None, own_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing_over, "PART_BYTES", 1)
    out = tmp_path / "out"
    await asyncio.to_thread(hand_over, own_settings, out)
    first = whole(out)
    assert sum(name.startswith("history/Patient") for name in first) == 3
    noted = (out / NOTED).read_text().splitlines(keepends=True)
    (out / NOTED).write_text("".join(noted[:2]))
    (out / "history" / "Patient-0002.ndjson.part").write_text("half a l")
    await asyncio.to_thread(hand_over, own_settings, out)
    again = whole(out)
    for folder in ("resources", "history", "deleted"):
        assert {name for name in again if name.startswith(folder)} == {
            name for name in first if name.startswith(folder)
        }
    assert versions(out, "history/Patient-*") == {"p/1", "q/1", "r/1"}


async def test_the_files_are_of_one_moment_though_a_server_writes_meanwhile(
    stored: None, own_settings: Settings, served: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, out = served.app.state.context().store, tmp_path / "out"
    await Petitions(store).add("p2", "access", "p", "staff", date(2026, 1, 2))
    assert (await served.send("PUT", "Basic/b", {"resourceType": "Basic", "id": "b", "code": {"text": "x"}})).is_success
    note, written = handing_over._Folder._note, False

    def writing(folder: Any, part: Any) -> None:
        """As a server does between two parts."""
        nonlocal written
        note(folder, part)
        if not written:
            written = True
            future = asyncio.run_coroutine_threadsafe(meanwhile(), loop)
            future.result(timeout=60)

    async def meanwhile() -> None:
        assert (await served.send("DELETE", "Basic/b")).status_code == 204
        assert (await served.send("PUT", "Patient/p", a_patient(id="p", name="Nguyễn Ba"))).is_success
        assert (await served.send("PUT", "Patient/s", a_patient(id="s"))).is_success
        assert await Petitions(store).step("p2", "closed", "other", "given", date(2026, 1, 3)) is not None

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(handing_over._Folder, "_note", writing)
    await asyncio.to_thread(hand_over, own_settings, out)
    assert written
    whole(out)
    assert versions(out, "resources/Patient-*") == {"p/2", "q/3"}
    assert versions(out, "history/Patient-*") == {"p/1", "q/1", "r/1"}
    assert versions(out, "resources/Basic-*") == {"b/1"}
    assert not list(out.glob("deleted*/Basic-*"))
    assert [one["closed"] for one in lines(out, "registers/petitions.ndjson") if one["id"] == "p2"] == [None]


async def test_a_moment_that_is_gone_is_told_unless_nothing_was_written_since(
    stored: None, own_settings: Settings, served: Client, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    await asyncio.to_thread(hand_over, own_settings, out)
    long_ago = {**json.loads((out / MANIFEST).read_text()), "moment": 1_700_000_000 << 32}
    (out / MANIFEST).write_text(json.dumps(long_ago))
    await asyncio.to_thread(hand_over, own_settings, out)
    assert json.loads((out / MANIFEST).read_text())["moment"] > long_ago["moment"]
    (out / MANIFEST).write_text(json.dumps(long_ago))
    assert (await served.send("POST", "Condition", a_condition("Patient/p"))).status_code == 201
    with pytest.raises(CannotRun, match="a new folder"):
        await asyncio.to_thread(hand_over, own_settings, out)
