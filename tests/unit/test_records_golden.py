"""Golden cases of the mappings: `<case>.xml` or `.json` and what it must become, `<case>.expected.json`.

expected: {"title", "counts": {type: number}, "resources": [parts of resources], "problems": [{"rule", "field"}],
"kept_out": {source path: number}, "refused"}.
A part matches a resource that says at least the same; its lists have the same length. The inner documents of an
insurance dossier stand in the clear, one file each: `<case>.XML1.xml`, `<case>.XML2.xml`.
"""

from __future__ import annotations

import gc
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from records_sources import file_part, of_type, records

from fhir_server.records.bundle import transaction
from fhir_server.records.importing import formats_for

CASES = Path(__file__).parent.parent / "golden" / "records"
EXPECTED = sorted(CASES.glob("*/*.expected.json"))


def says(resource: Any, part: Any) -> bool:
    """True when the resource says at least what the part says."""
    if isinstance(part, dict):
        return isinstance(resource, dict) and all(
            name in resource and says(resource[name], part[name]) for name in part
        )
    if isinstance(part, list):
        return (
            isinstance(resource, list)
            and len(resource) == len(part)
            and all(says(one, other) for one, other in zip(resource, part, strict=True))
        )
    return bool(getattr(resource, "text", resource) == part)


def source_of(expected: Path) -> tuple[bytes, str]:
    """(bytes, name) of the file that a case is about."""
    case = expected.name.split(".")[0]
    paths = sorted(path for path in expected.parent.glob(f"{case}.*") if path != expected)
    tables = {path.name.split(".")[1]: path.read_text(encoding="utf-8") for path in paths if path.name.count(".") == 2}
    if tables:
        parts = "".join(file_part(name, content) for name, content in tables.items())
        return f"<GIAMDINHHS><HOSO>{parts}</HOSO></GIAMDINHHS>".encode(), "dossier.xml"
    (path,) = paths
    return path.read_bytes(), path.name


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda path: f"{path.parent.name}/{path.name.split('.')[0]}")
def test_a_golden_record_becomes_what_its_neighbour_says(expected: Path) -> None:
    wanted = json.loads(expected.read_text(encoding="utf-8"))
    (record,) = records(*source_of(expected))
    problems = [{"rule": one.rule, "field": one.field} for one in record.mapped.problems]
    assert problems == wanted.get("problems", [])
    assert dict(record.kept_out) == wanted.get("kept_out", {})
    if wanted.get("refused"):
        assert record.refused
        return
    made = [entry["resource"] for entry in transaction(record, formats_for("moh", "+07:00").tools.naming)["entry"]]
    assert Counter(one["resourceType"] for one in made) == wanted["counts"]
    for part in wanted["resources"]:
        assert any(says(one, part) for one in made), (
            json.dumps(part, ensure_ascii=False)
            + "\n is not in \n"
            + "\n".join(str(one) for one in of_type(record, part["resourceType"]))
        )


def test_every_source_of_a_golden_case_has_its_expectation() -> None:
    sources = {path.parent / path.name.split(".")[0] for path in CASES.glob("*/*.*")}
    assert sources == {path.parent / path.name.split(".")[0] for path in EXPECTED}
    assert len(EXPECTED) >= 6


def test_mapped_dossiers_leave_nothing_that_only_a_search_for_garbage_finds() -> None:
    """An import looks for garbage rarely: what keeps itself alive would fill its memory."""
    sources = [source_of(expected) for expected in EXPECTED if expected.parent.name == "bhxh"]

    def map_all() -> None:
        for source in sources:
            records(*source)

    map_all()  # what is read and compiled at first use stays
    gc.collect()
    gc.disable()
    try:
        map_all()
        assert gc.collect() == 0
    finally:
        gc.enable()
