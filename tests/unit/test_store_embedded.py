"""The embedded MongoDB starts, ends and recovers as promised, and says in one sentence why when it cannot start."""

from __future__ import annotations

import os
import signal
import socket as sockets
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, WriteConcern

from fhir_server.store import embedded as module
from fhir_server.store.embedded import Embedded, StartError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Embedded]:
    made = Embedded(tmp_path / "mongodb", 256)
    yield made
    made.stop()


def connect(uri: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri, serverSelectionTimeoutMS=10_000)


def runs(pid: int) -> bool:
    """False for a zombie too: it has ended, only nobody has asked how."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def tcp_listeners(pid: int) -> set[str]:
    inodes = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                listening.add(fields[1])
    return listening


def test_it_is_a_replica_set_that_runs_transactions_and_keeps_data_over_a_restart(server: Embedded) -> None:
    with connect(server.start()) as client, client.start_session() as session:
        client.kept.create_collection("things")
        with session.start_transaction():
            client.kept.things.insert_one({"_id": 1}, session=session)
    server.stop()
    with connect(server.start()) as client:
        assert client.kept.things.find_one() == {"_id": 1}


def test_it_listens_on_a_private_socket_and_on_no_tcp_port(server: Embedded) -> None:
    server.start()
    assert server.pid
    assert tcp_listeners(server.pid) == set()
    assert (server.data_dir.stat().st_mode & 0o777) == 0o700
    assert ((server.data_dir / "mongod.sock").stat().st_mode & 0o777) == 0o600


def test_network_compression_is_off_and_no_query_is_logged(server: Embedded) -> None:
    with connect(server.start()) as client:
        options = client.admin.command("getCmdLineOpts")["parsed"]
        client.kept.people.find_one({"k": "nguyen van an"})
    assert options["net"]["compression"]["compressors"] == "disabled"
    assert "nguyen van an" not in (server.data_dir / "mongod.log").read_text()


def test_a_deep_or_odd_data_directory_gets_a_short_private_socket(tmp_path: Path) -> None:
    server = Embedded(tmp_path / "hồ sơ" / ("x" * 120), 256)
    try:
        with connect(server.start()) as client:
            socket = Path(client.address[0]) if client.address else None
        assert socket is not None
        assert len(os.fsencode(socket)) < 107
        assert (socket.parent.stat().st_mode & 0o777) == 0o700
    finally:
        server.stop()
    assert not socket.parent.exists()


def test_a_moved_data_directory_starts_where_it_is_now(server: Embedded, tmp_path: Path) -> None:
    with connect(server.start()) as client:
        client.kept.things.insert_one({"_id": 1})
    server.stop()
    moved = Embedded(server.data_dir.rename(tmp_path / "elsewhere"), 256)
    try:
        with connect(moved.start()) as client:
            client.kept.things.insert_one({"_id": 2})
            assert client.kept.things.count_documents({}) == 2
    finally:
        moved.stop()


def test_a_mongod_that_dies_is_started_again_with_its_data(server: Embedded) -> None:
    with connect(server.start()) as client:
        client.kept.things.with_options(write_concern=WriteConcern("majority")).insert_one({"_id": 1})
        server.kill()
        assert client.kept.things.find_one() == {"_id": 1}


def test_a_second_server_on_the_same_data_is_refused_in_one_sentence(server: Embedded) -> None:
    server.start()
    with pytest.raises(StartError, match=rf"held by another server \(process {os.getpid()}\)"):
        Embedded(server.data_dir, 256).start()


def test_mongod_ends_with_a_killed_server_and_the_next_start_recovers(server: Embedded) -> None:
    program = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from pymongo import MongoClient, WriteConcern
        from fhir_server.store.embedded import Embedded
        server = Embedded(Path({str(server.data_dir)!r}), 256)
        client = MongoClient(server.start())
        client.kept.get_collection("things", write_concern=WriteConcern("majority")).insert_one({{"_id": 1}})
        print(server.pid, flush=True)
        sys.stdin.read()
        """
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    mongod = int(child.stdout.readline())
    assert runs(mongod)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with connect(server.start()) as client:  # waits for the old mongod to end
        assert server.pid != mongod
        assert not runs(mongod)
        assert client.kept.things.find_one() == {"_id": 1}


def test_stale_socket_and_lock_files_do_not_hinder_a_start(server: Embedded) -> None:
    server.start()
    server.stop()
    with sockets.socket(sockets.AF_UNIX) as stale:
        stale.bind(str(server.data_dir / "mongod.sock"))
    (server.data_dir / "db" / "mongod.lock").write_text("99999")
    with connect(server.start()) as client:
        assert client.admin.command("ping")["ok"] == 1.0


def test_a_missing_package_is_told_with_the_name_of_the_extra(
    server: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(StartError, match=r"install fhir-server-vn\[embedded\]"):
        server.start()


def test_another_platform_is_told_so(server: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    with pytest.raises(StartError, match="x86-64 Linux only"):
        server.start()


def test_a_full_disk_is_told_before_anything_is_started(server: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_FREE_BYTES", 1 << 60)
    with pytest.raises(StartError, match="is full"):
        server.start()


def test_missing_shared_libraries_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mongod"
    program.write_bytes(Path("/bin/ls").read_bytes().replace(b"libc.so.6", b"libc.so.X"))
    program.chmod(0o700)
    monkeypatch.setattr(module, "_binary", lambda: program)
    with pytest.raises(StartError, match=r"libc\.so\.X"):
        Embedded(tmp_path / "mongodb", 256).start()


def test_data_that_mongod_refuses_is_told_with_its_own_words_and_the_log(server: Embedded) -> None:
    (server.data_dir / "db").mkdir(parents=True)
    (server.data_dir / "db" / "WiredTiger").write_text("nonsense")
    (server.data_dir / "db" / "WiredTiger.wt").write_text("nonsense")
    (server.data_dir / "db" / "storage.bson").write_text("nonsense")
    with pytest.raises(StartError, match=r"ended with code .*mongod\.log"):
        server.start()
