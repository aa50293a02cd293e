"""`fhir-server records`, `sample`, `check` and `migrate`: what they print, and the code they end with.

One server runs for all. A command is a process of its own where that is the point; otherwise it runs here, which saves
reading the definitions again.
"""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from running_server import PROGRAM, environment, needs_embedded, run, run_here, running_server

from fhir_server.cli.faults import CANNOT_RUN, DONE, INCOMPLETE, WRONG_USE
from fhir_server.config import DATA_ROOT
from fhir_server.records.sample import write_sample
from fhir_server.store.embedded import running_uri

pytestmark = needs_embedded

Capture = pytest.CaptureFixture[str]

EXAMPLES = DATA_ROOT / "mappings" / "basic" / "examples" / "records.ndjson"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a server that runs: the commands join its database."""
    made = environment(tmp_path_factory.mktemp("served") / "data")
    with running_server(made, "--no-sample"):
        yield made


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment in which every attempt to reach a database would fail."""
    return environment(tmp_path / "absent", FHIR_MONGODB_URI="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100")


def examples() -> list[dict[str, Any]]:
    return [json.loads(line) for line in EXAMPLES.read_text("utf-8").splitlines()]


def written(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
    return str(path)


def test_importing_a_file_twice_changes_nothing_and_says_so(env: Mapping[str, str], capsys: Capture) -> None:
    first = run_here("records", "import", str(EXAMPLES), env=env, capture=capsys)
    again = run_here("records", "import", str(EXAMPLES), env=env, capture=capsys)
    assert (first.returncode, again.returncode) == (DONE, DONE)
    count = len(examples())
    assert f"1 files, {count} records: {count} stored, 0 unchanged, 0 refused" in first.stdout
    assert f"1 files, {count} records: 0 stored, {count} unchanged, 0 refused" in again.stdout
    assert "0 of " in again.stdout
    assert first.stderr + again.stderr == ""  # no progress bar where there is no terminal


def test_a_broken_record_is_refused_with_its_place_in_both_languages_and_the_others_go_in(
    env: Mapping[str, str], tmp_path: Path, capsys: Capture
) -> None:
    good, broken = examples()[0], examples()[0]
    good["ma_ho_so"], broken["ma_ho_so"] = "good", "broken"
    broken["hanh_chinh"] |= {"gioi_tinh": "7", "so_dinh_danh": "038085000999"}
    file = written(tmp_path / "mixed.ndjson", [broken, good])
    report = tmp_path / "report.ndjson"
    ended = run_here("records", "import", file, "--report", str(report), env=env, capture=capsys)
    assert ended.returncode == INCOMPLETE
    assert "1 stored, 0 unchanged, 1 refused" in ended.stdout
    assert "mixed.ndjson" in ended.stderr
    assert "gioi_tinh" in ended.stderr
    assert "«7»" in ended.stderr
    told = {line["key"]: line for line in map(json.loads, report.read_text("utf-8").splitlines())}
    assert {line["status"] for line in told.values()} == {"stored", "refused"}
    refused = next(line for line in told.values() if line["status"] == "refused")
    problem = next(problem for problem in refused["problems"] if problem["severity"] == "error")
    assert problem["en"] != problem["vi"]
    assert problem["en"] in ended.stderr
    assert problem["vi"] in ended.stderr


def test_mapping_writes_fhir_to_stdout_and_needs_no_database(nowhere: dict[str, str], capsys: Capture) -> None:
    lines = run_here("records", "map", str(EXAMPLES), env=nowhere, capture=capsys)
    assert lines.returncode == DONE
    types = [json.loads(line)["resourceType"] for line in lines.stdout.splitlines()]
    assert {"Patient", "Condition", "Immunization", "AllergyIntolerance", "Encounter"} <= set(types)
    bundles = run_here("records", "map", "--format", "bundle", str(EXAMPLES), env=nowhere, capture=capsys)
    made = [json.loads(line) for line in bundles.stdout.splitlines()]
    assert [bundle["type"] for bundle in made] == ["transaction"] * len(examples())
    assert sum(len(bundle["entry"]) for bundle in made) == len(types)
    assert not Path(nowhere["FHIR_DATA_DIR"]).exists()


def test_a_reader_that_closes_the_pipe_ends_the_mapping_quietly(nowhere: dict[str, str]) -> None:
    command = [*PROGRAM, "records", "map", *[str(EXAMPLES)] * 50]
    with subprocess.Popen(command, env=nowhere, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as mapping:
        assert mapping.stdout is not None
        assert mapping.stderr is not None
        mapping.stdout.read(100)
        mapping.stdout.close()
        assert mapping.stderr.read() == b""


def test_two_processes_share_the_records_of_an_import_and_leave_none_out(
    env: Mapping[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "commune"
    manifest = write_sample(5, 11, folder)
    with (folder / "large.ndjson").open("w", encoding="utf-8") as file:  # large enough for both to read it
        for number in range(5):
            file.write(json.dumps({**examples()[0], "ma_ho_so": f"L{number}"}) + " " * 900_000 + "\n")
    count = sum(manifest.records.values()) + 5
    ended = run("records", "import", str(folder), "--jobs", "2", env=env)
    assert f" files, {count} records: {count} stored, 0 unchanged, 0 refused" in ended.stdout


def test_archives_and_standard_input_are_read(env: Mapping[str, str], tmp_path: Path, capsys: Capture) -> None:
    archive = tmp_path / "sent.zip"
    sent = {**examples()[0], "ma_ho_so": "in an archive"}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a/records.ndjson", json.dumps(sent))
        packed.writestr("bomb.ndjson", b" " * (30 << 20))
        packed.writestr("readme.txt", "not records")
    piped = json.dumps({**sent, "ma_ho_so": "piped"}).encode()
    ended = run_here("records", "import", str(archive), "-", env=env, capture=capsys, piped=piped)
    assert "2 files, 3 records: 2 stored, 0 unchanged, 1 refused" in ended.stdout
    assert "sent.zip!bomb.ndjson" in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("records", "import", "no-such-file.xml"),
        ("records", "map", "no-such-file.xml"),
        ("records", "map", "--format", "xml", str(EXAMPLES)),
        ("sample", "--people", "0", "--out", "nowhere"),
        ("serve", "--port", "none"),
        ("no-such-command",),
    ],
)
def test_wrong_use_is_told_with_code_2(nowhere: dict[str, str], arguments: tuple[str, ...], capsys: Capture) -> None:
    ended = run_here(*arguments, env=nowhere, capture=capsys)
    assert ended.returncode == WRONG_USE
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert ended.stderr


def test_the_sample_of_one_seed_is_the_same_bytes_everywhere(nowhere: dict[str, str], tmp_path: Path) -> None:
    for folder in ("one", "two"):
        made = run("sample", "--people", "30", "--seed", "5", "--out", str(tmp_path / folder), env=nowhere)
        assert made.returncode == DONE, made.stderr
        assert made.stderr == ""
    one, two = ({file.relative_to(top): file.read_bytes() for file in files(top)} for top in folders(tmp_path))
    assert one == two
    assert one


def folders(top: Path) -> tuple[Path, Path]:
    return top / "one", top / "two"


def files(top: Path) -> list[Path]:
    return [path for path in top.rglob("*") if path.is_file()]


def test_the_check_passes_a_store_that_is_whole_and_names_a_key_that_was_taken_away(
    env: Mapping[str, str], capsys: Capture
) -> None:
    assert run_here("records", "import", str(EXAMPLES), env=env, capture=capsys).returncode == DONE
    assert run_here("check", "--store", env=env, capture=capsys).returncode == DONE
    with MongoClient[dict[str, Any]](running(env)) as client:
        patients = client["fhir"]["Patient"]
        patient = patients.find_one() or {}
        same = {"_id": patient["_id"]}
        patients.update_one(same, {"$pop": {"k": 1}})
        found = run_here("check", "--store", env=env, capture=capsys)
        patients.update_one(same, {"$set": {"k": patient["k"]}})  # the other tests go on with a store that is whole
    assert found.returncode == INCOMPLETE
    assert f"Patient/{patient['_id']}" in found.stdout
    assert "1 missing" in found.stdout


def running(env: Mapping[str, str]) -> str:
    """The URI of the MongoDB of the server that runs."""
    return str(running_uri(Path(env["FHIR_DATA_DIR"])))


def test_the_check_notices_a_misspelt_setting(env: Mapping[str, str], capsys: Capture) -> None:
    found = run_here("check", env={**env, "FHIR_PROT": "9000"}, capture=capsys)
    assert found.returncode == INCOMPLETE
    assert "FHIR_PROT" in found.stdout


def test_a_newer_store_is_refused_and_nothing_has_to_be_migrated_in_one_of_this_version(
    env: Mapping[str, str], capsys: Capture
) -> None:
    alone = {**env, "FHIR_MONGODB_URI": running(env)}  # a migration joins no server's database by itself
    with MongoClient[dict[str, Any]](running(env)) as client:
        client["later"]["registry"].insert_one({"_id": "schema", "version": 99})
    newer = {"FHIR_MONGODB_DATABASE": "later"}
    refused = run_here("records", "import", str(EXAMPLES), env={**env, **newer}, capture=capsys)
    assert refused.returncode == CANNOT_RUN
    assert "newer" in refused.stderr
    assert run_here("migrate", env={**alone, **newer}, capture=capsys).returncode == CANNOT_RUN
    done = run_here("migrate", env=alone, capture=capsys)
    assert done.returncode == DONE
    assert "nothing to migrate" in done.stdout


def test_an_import_whose_database_is_not_there_ends_with_one_sentence(nowhere: dict[str, str], capsys: Capture) -> None:
    ended = run_here("records", "import", str(EXAMPLES), env=nowhere, capture=capsys)
    assert ended.returncode == CANNOT_RUN
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""
