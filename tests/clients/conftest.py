"""One server for all clients, with the published example of a record in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from running_server import PATIENCE, RunningServer, environment, own_database, running_server

from fhir_server.config import DATA_ROOT

EXAMPLES = DATA_ROOT / "mappings" / "basic" / "examples" / "records.ndjson"


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    with (
        tempfile.TemporaryDirectory(prefix="fhir-clients-") as folder,
        own_database(environment(Path(folder, "data"))) as env,
        running_server(env, "--no-sample") as started,
    ):
        ndjson = {"content-type": "application/x-ndjson"}
        imported = httpx.post(
            f"{started.base}/$import-records?name={EXAMPLES.name}",
            content=EXAMPLES.read_bytes(),
            headers=ndjson,
            timeout=PATIENCE,
        )
        assert imported.status_code == 200, imported.text
        yield started
