"""`fhir-server records watch`: what is put into the folder ends in done/ or refused/, with its report beside it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from running_server import PATIENCE, PROGRAM, environment

from fhir_server.config import DATA_ROOT

EXAMPLE = (DATA_ROOT / "mappings" / "basic" / "examples" / "records.ndjson").read_text("utf-8").splitlines()[0]


def test_files_end_in_done_or_refused_with_their_reports_and_a_signal_ends_the_watch(
    mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    own = {"FHIR_MONGODB_URI": mongodb_uri, "FHIR_MONGODB_DATABASE": database_name}
    env, folder = environment(tmp_path / "data", **own), tmp_path / "inbox"
    (folder / "working").mkdir(parents=True)
    (folder / "working" / "left.ndjson").write_text(EXAMPLE, "utf-8")  # by a process that was killed
    (folder / "bad.json").write_text("{", "utf-8")
    (folder / "cut.xml").write_text("<DATA><HEADER>", "utf-8")
    (folder / "notes.txt").write_text("no records", "utf-8")
    (folder / ".hidden.json").write_text(EXAMPLE, "utf-8")
    command = [*PROGRAM, "records", "watch", str(folder)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        first, second = watching.stdout.readline(), watching.stdout.readline()
        assert first == "left.ndjson: 1 stored, 0 unchanged, 0 refused of 1 records; done/left.ndjson\n"
        assert second == "bad.json: 0 stored, 0 unchanged, 1 refused of 1 records; refused/bad.json\n"
        assert watching.stdout.readline() == "cut.xml: 0 stored, 0 unchanged, 0 refused of 0 records; refused/cut.xml\n"
        (folder / "left.ndjson").write_text(EXAMPLE, "utf-8")
        assert "0 stored, 1 unchanged" in watching.stdout.readline()
        watching.terminate()
        assert watching.wait(PATIENCE) == 0
    assert {path.name for path in (folder / "refused").iterdir()} == {
        f"{name}{suffix}" for name in ("bad.json", "cut.xml") for suffix in ("", ".report.json", ".report.html")
    }
    report = json.loads((folder / "refused" / "bad.json.report.json").read_text("utf-8"))
    assert (report["refused"], report["records"][0]["file"]) == (1, "bad.json")
    assert (folder / "done" / "left.2.ndjson").exists()
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"notes.txt", ".hidden.json"}
