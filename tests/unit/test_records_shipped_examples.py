"""The examples that stand beside the mappings: what a vendor copies is stored, without a word against it."""

from __future__ import annotations

from pathlib import Path

import pytest
from records_desk import Desk

from fhir_server.config import DATA_ROOT
from fhir_server.records.importing import import_records

# An example shows what becomes of a vaccine that no list knows.
ON_PURPOSE = {"doses.ndjson": ["unknown-code"]}
NEW_YEAR_2027 = (
    1_798_761_600_000  # ms since the epoch; after the days of all examples, whatever the machine's clock says
)
EXAMPLES = sorted((DATA_ROOT / "mappings").glob("*/examples/*"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.parent.name}/{path.name}")
async def test_an_example_of_a_mapping_is_stored_without_a_problem(desk: Desk, path: Path) -> None:
    report = await import_records(desk.context.with_(clock=lambda: NEW_YEAR_2027), [path])
    assert report.stored == report.read > 0
    told = [problem.rule for one in report.records for problem in one.problems]
    assert told == ON_PURPOSE.get(path.name, [])
