"""A copy of the stopped data directory is a backup: the store check finds it whole, wherever it is restored."""

from __future__ import annotations

import shutil
from pathlib import Path

from fhir_server.config import Settings
from fhir_server.model.resources import Resource
from fhir_server.store.embedded import Embedded
from fhir_server.store.mongo import open_store
from fhir_server.store.values import EVERYTHING, HistoryQuery, Indexed
from tests.contract.drafts import a_draft, a_member, a_patient, put, remove


def index(resource: Resource) -> Indexed:
    return Indexed((f"@{resource['subject']}",) if "subject" in resource else (), {}, 0)


async def test_a_restored_copy_is_whole_and_goes_on_where_the_original_was(tmp_path: Path) -> None:
    original = Embedded(tmp_path / "original", 256)
    store = await open_store(original.start(), Settings())
    try:
        await store.intern(["urn:a"])
        await put(store, a_patient("p", "00001", order=0), a_member("p", "c", order=0), a_draft(order=0))
        await put(store, a_draft(name="second", order=0))
        await remove(store, "Condition", "c")
        told = await store.history(HistoryQuery(limit=100), EVERYTHING)
    finally:
        await store.close()
        original.stop()
    shutil.copytree(tmp_path / "original", tmp_path / "elsewhere" / "restored")
    shutil.rmtree(tmp_path / "original")

    restored = Embedded(tmp_path / "elsewhere" / "restored", 256)
    store = await open_store(restored.start(), Settings())
    try:
        assert await store.history(HistoryQuery(limit=100), EVERYTHING) == told
        assert [problem async for problem in store.check(index)] == []
        assert store.registry.systems == {"urn:a": 1}
        (third,) = await put(store, a_draft(name="third", order=0))
        assert third.stored.version == 3
    finally:
        await store.close()
        restored.stop()
