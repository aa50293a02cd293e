"""A kill in the middle of an import leaves every record whole or not there at all, and importing again completes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from running_server import (
    PATIENCE,
    PROGRAM,
    RunningServer,
    environment,
    find_mongod,
    needs_embedded,
    run_here,
    running_server,
    wait_until_stored,
)

from fhir_server.cli.faults import INTERRUPTED
from fhir_server.records.sample import write_sample

pytestmark = needs_embedded

ROUNDS = int(os.environ.get("FHIR_TEST_ROUNDS", "1"))
PEOPLE = 80
CROWD = 800  # each has a record or more, which are far more than processes have under way
ENOUGH = 10  # records stored before each kill


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    write_sample(PEOPLE, 3, folder)
    return folder


def resources(client: httpx.Client, type: str) -> Iterator[dict[str, object]]:
    """Everything of a type, page by page."""
    url: str | None = f"{type}?_count=1000"
    while url:
        bundle = client.get(url).json()
        yield from (entry["resource"] for entry in bundle.get("entry", ()))
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)


def broken_records(client: httpx.Client) -> list[str]:
    """What of a record is there without the rest of it. A record's Provenance names all that the record alone owns."""
    statement = client.get("metadata").json()
    types = [entry["type"] for entry in statement["rest"][0]["resource"] if entry["type"] != "Provenance"]
    stored = {f"{type}/{one['id']}": one for type in types for one in resources(client, type)}
    heads = {head["id"]: head for head in resources(client, "Provenance")}
    owned = {target["reference"]: id for id, head in heads.items() for target in head["target"]}  # type: ignore[attr-defined]
    missing = [f"{reference} of record {id} is missing" for reference, id in owned.items() if reference not in stored]
    # The sharp end of Meta.source is the record. People and what they share may be known from another record.
    without_head = [
        f"{name} has no record" for name, one in stored.items() if "#" in source(one) and record(one) not in heads
    ]
    return missing + without_head


def source(resource: dict[str, object]) -> str:
    meta = resource["meta"]
    assert isinstance(meta, dict)
    return str(meta.get("source", ""))


def record(resource: dict[str, object]) -> str:
    return source(resource).partition("#")[2]


def endless(sample: Path) -> list[str]:
    """An import that has enough to read for it to be met in the middle, however busy the machine is."""
    return [*PROGRAM, "records", "import", "--jobs", "1", *[str(sample)] * 50]


def cut_off(sample: Path, env: dict[str, str], records: int, server: RunningServer | None) -> None:
    """Kills mongod and the importer, or the server that it writes beside, once so many records are stored."""
    data_dir = Path(env["FHIR_DATA_DIR"])
    impatient = {**env, "FHIR_TRANSACTION_SECONDS": "3"}  # how long an import waits for a database that is gone
    with subprocess.Popen(endless(sample), env=impatient, stdout=subprocess.DEVNULL) as importing:
        wait_until_stored(data_dir, importing, records)
        mongod = find_mongod(data_dir)
        assert mongod is not None
        if server is not None:
            server.stop(signal.SIGKILL)
        else:
            importing.kill()
        os.kill(mongod, signal.SIGKILL)
        assert importing.wait(PATIENCE) != 0


@pytest.mark.parametrize("round", range(ROUNDS))
def test_kills_in_the_middle_leave_whole_records_and_importing_again_completes(
    sample: Path, tmp_path: Path, round: int, capsys: pytest.CaptureFixture[str]
) -> None:
    env = environment(tmp_path / "data")
    cut_off(sample, env, ENOUGH, None)
    with running_server(env, "--no-sample") as server, httpx.Client(base_url=server.base, timeout=PATIENCE) as client:
        first = len(list(resources(client, "Provenance")))
        assert first >= ENOUGH
        assert broken_records(client) == []
        cut_off(sample, env, first + ENOUGH, server)
    with running_server(env, "--no-sample") as again, httpx.Client(base_url=again.base, timeout=PATIENCE) as client:
        second = len(list(resources(client, "Provenance")))
        assert second >= first + ENOUGH
        assert broken_records(client) == []
        assert run_here("check", "--store", env=env, capture=capsys).returncode == 0
        completed = run_here("records", "import", str(sample), env=env, capture=capsys)
        assert completed.returncode == 0, completed.stdout + completed.stderr
        assert broken_records(client) == []
        assert len(list(resources(client, "Provenance"))) > second


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_import_ends_at_once_says_what_to_do_and_leaves_no_mongod(tmp_path: Path, jobs: int) -> None:
    data_dir, crowd, report = tmp_path / "data", tmp_path / "records", tmp_path / "report.json"
    write_sample(CROWD, 3, crowd)
    heeding = signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts with `&` ignores it
    command = [*PROGRAM, "records", "import", "--jobs", str(jobs), "--report", str(report), str(crowd)]
    with subprocess.Popen(command, env=environment(data_dir), stderr=subprocess.PIPE, text=True) as importing:
        signal.signal(signal.SIGINT, heeding)
        wait_until_stored(data_dir, importing, ENOUGH)
        importing.send_signal(signal.SIGINT)
        with pytest.raises(AssertionError, match="the process ended before"):
            wait_until_stored(data_dir, importing, CROWD)
        _, told = importing.communicate(timeout=PATIENCE)
    assert importing.returncode == INTERRUPTED
    assert told == "fhir-server: interrupted; importing again completes what is missing\n"
    assert json.loads(report.read_bytes())["refused"] == 0  # what was done until then is reported
    assert find_mongod(data_dir) is None
