"""The golden files of search: a query, its tree, and what the database is asked."""

from __future__ import annotations

import pytest

from tests.unit.search_golden import Case, cases, told


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.file}: {case.title}")
async def test_a_query_becomes_the_tree_and_the_database_query_of_its_golden_case(case: Case) -> None:
    assert await told(case.query) == (case.tree, case.mongodb)


def test_every_golden_case_has_a_title_of_its_own() -> None:
    titles = [(case.file, case.title) for case in cases()]
    assert len(titles) == len(set(titles)) > 0
