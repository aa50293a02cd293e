"""A folder of broken files: each record that is not right is refused with its reason, its good neighbours go in."""

from __future__ import annotations

import os
import resource
import zipfile
from collections import defaultdict
from itertools import islice
from pathlib import Path

from broken_files import COUNT, WAYS, Broken, broken_files
from records_desk import Desk
from records_sources import FORMATS

from fhir_server.records.advice import advice
from fhir_server.records.files import read_files
from fhir_server.records.importing import import_records, map_records
from fhir_server.records.report import RecordOutcome

# Files that are imported into a store: each way of breaking once, all with FHIR_TEST_EXAMPLES=200.
IMPORTED = max(len(WAYS), min(COUNT, int(os.environ.get("FHIR_TEST_EXAMPLES", "0"))))
# What is found only beside other records of the file, as they are stored.
BETWEEN_RECORDS = {"duplicate-key"}


def written(folder: Path, count: int) -> dict[str, Broken]:
    """By path."""
    folder.mkdir()
    files = {str(folder / one.name): one for one in islice(broken_files(), count)}
    for path, one in files.items():
        Path(path).write_bytes(one.body)
    return files


def is_told(one: Broken, outcomes: list[RecordOutcome]) -> None:
    """The good records are not refused, of the others one of the reasons is told, with what to do."""
    good = [outcome for outcome in outcomes if outcome.status != "refused" and outcome.place.record]
    assert len(good) == one.good, (one.name, outcomes)
    problems = [problem for outcome in outcomes for problem in outcome.problems if problem.rule in one.rules]
    assert problems, (one.name, outcomes)
    for problem in problems:
        assert all(problem.text), one.name
        assert advice(problem.rule) != advice("no such rule"), problem.rule


def test_each_of_two_hundred_broken_files_is_told_and_gives_its_good_records(tmp_path: Path) -> None:
    files = written(tmp_path / "broken", COUNT)
    assert len(files) == COUNT
    told: dict[str, list[RecordOutcome]] = defaultdict(list)
    for outcome, _ in map_records([tmp_path / "broken"], FORMATS):
        told[outcome.place.file].append(outcome)
    for path, one in files.items():
        if not one.rules & BETWEEN_RECORDS:
            is_told(one, told[path])


async def test_the_good_neighbours_of_broken_records_are_stored(desk: Desk) -> None:
    files = written(desk.folder / "broken", IMPORTED)
    told: dict[str, list[RecordOutcome]] = defaultdict(list)
    folder = desk.folder / "broken"
    report = await import_records(desk.context, [folder], on_record=lambda one: told[one.place.file].append(one))
    for path, one in files.items():
        is_told(one, told[path])
    assert report.stored == sum(one.good for one in files.values()) == len(await desk.stored("Provenance"))


def test_an_archive_that_would_expand_to_500_mb_is_refused_unread(tmp_path: Path) -> None:
    bomb, block = tmp_path / "bomb.zip", b"\0" * (50 << 20)
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.xml", "w") as out,
    ):
        for _ in range(10):
            out.write(block)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (told,) = read_files([bomb], FORMATS)
    assert [problem.rule for problem in told.problems] == ["too-large"]
    assert "500 MB" in told.problems[0].text[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_record_of_500_mb_needs_no_more_memory_than_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "large.xml"
    with path.open("wb") as out:
        out.write(b"<DATA><BODY><HOSOSUCKHOE>" + b" " * 1_000)
        out.truncate(500 << 20)  # a hole that takes no disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = [problem.rule for one in read_files([path], FORMATS) for problem in one.problems]
    assert told[0] == "too-large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 250_000  # KiB
