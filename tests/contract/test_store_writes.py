"""Promises of the store about writing: versions, times, compare-and-set, tombstones, limits."""

from __future__ import annotations

from fhir_server.model.resources import decode
from fhir_server.store.contract import EVERYTHING
from fhir_server.store.mongo import MongoStore
from tests.contract.drafts import a_draft, put


async def test_a_new_resource_has_version_1_and_the_bytes_that_are_served(store: MongoStore) -> None:
    (written,) = await put(store, a_draft(name="Trạm y tế", value=1), method="POST")
    assert (written.created, written.changed, written.stored.version) == (True, True, 1)
    read = await store.read("Organization", "1", EVERYTHING)
    assert read is not None
    assert read.raw == written.stored.raw
    body = decode(read.raw)
    assert body["meta"]["versionId"] == "1"
    assert body["meta"]["lastUpdated"].endswith("Z")
    assert body["name"] == "Trạm y tế"
    assert read.method == "POST"
