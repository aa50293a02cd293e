"""One server for all clients, with the published example of a record in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import RunningServer, run, running_server

from fhir_server.config import DATA_ROOT

EXAMPLES = DATA_ROOT / "mappings" / "basic" / "examples" / "records.ndjson"


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    with (
        tempfile.TemporaryDirectory(prefix="fhir-clients-") as folder,
        running_server(Path(folder, "data"), "--no-sample") as started,
    ):
        imported = run("records", "import", str(EXAMPLES), env=started.env)
        assert imported.returncode == 0, imported.stdout + imported.stderr
        yield started
