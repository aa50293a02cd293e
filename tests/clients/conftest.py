"""One server for all clients, with the published example of a record in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import RunningServer, environment, own_database, run, running_server

from fhir_server.config import DATA_ROOT

EXAMPLES = DATA_ROOT / "mappings" / "basic" / "examples" / "records.ndjson"


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    with (
        tempfile.TemporaryDirectory(prefix="fhir-clients-") as folder,
        own_database(environment(Path(folder, "data"))) as env,
        running_server(env, "--no-sample") as started,
    ):
        imported = run("records", "import", str(EXAMPLES), env=started.env)
        assert imported.returncode == 0, imported.stdout + imported.stderr
        yield started
