"""The promise that an acknowledged write survives a kill of the database, whole, and nothing is half there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect

from fhir_server.config import Settings
from fhir_server.errors import FhirError
from fhir_server.model.resources import Resource
from fhir_server.store.embedded import Embedded
from fhir_server.store.mongo import MongoStore, open_store
from fhir_server.store.values import EVERYTHING, Indexed, Stored
from tests.contract.drafts import a_draft, a_member, a_patient, put

WRITERS, KILLS = 8, 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Embedded]:
    """A mongod of its own, which the test may kill."""
    made = Embedded(tmp_path / "mongodb", 256)
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def mortal(server: Embedded) -> AsyncIterator[MongoStore]:
    opened = await open_store(server.uri, Settings())
    yield opened
    await opened.close()


def index(resource: Resource) -> Indexed:
    patient = [f"@{resource['subject']}"] if "subject" in resource else []
    return Indexed((*patient,), {}, resource.get("date"))


async def test_every_acknowledged_write_survives_kills_of_mongod_with_its_exact_bytes(
    server: Embedded, mortal: MongoStore
) -> None:
    acknowledged: list[Stored] = []
    over = asyncio.Event()

    async def write(writer: int) -> None:
        """Updates one resource and adds members to one patient, in one transaction each time, until told to end."""
        patient, number = f"p{writer}", 0
        while not over.is_set():
            number += 1
            drafts = [
                a_patient(patient, f"{number % 3:05}", date=0, order=0),
                a_draft(id=f"o{writer}", value=number, date=0, order=0),
                *[a_member(patient, f"c{writer}-{number}-{part}", date=0, order=0) for part in range(3)],
            ]
            try:
                acknowledged.extend(written.stored for written in await put(mortal, *drafts))
            except FhirError:
                continue  # not acknowledged: whole or not at all, as the check below tells

    async def kill() -> None:
        for _ in range(KILLS):
            enough = len(acknowledged) + 200
            while len(acknowledged) < enough:
                await asyncio.sleep(0.01)
            server.kill()
        enough = len(acknowledged) + 200
        while len(acknowledged) < enough:
            await asyncio.sleep(0.01)
        over.set()

    await asyncio.gather(kill(), *[write(writer) for writer in range(WRITERS)])
    for stored in acknowledged:
        kept = await mortal.vread(stored.type, stored.id, stored.version, EVERYTHING)
        assert kept is not None
        assert (kept.raw, kept.updated) == (stored.raw, stored.updated)
    assert [problem async for problem in mortal.check(index)] == []
    members = await mortal.count("Condition", {}, EVERYTHING)
    assert members % 3 == 0


async def test_a_write_waits_for_a_database_that_is_about_to_take_writes(server: Embedded, mortal: MongoStore) -> None:
    with MongoClient[dict[str, Any]](server.uri) as client, suppress(AutoReconnect):
        client.admin.command("replSetStepDown", 1, force=True)
    assert await mortal.enter("names", "a", {})
