"""A search that is asked again is not planned again, and answers what it would answer when planned anew."""

from __future__ import annotations

import pytest

from fhir_server.search.model import SearchModel
from fhir_server.search.planned import PlannedSearches
from tests.api.search.conftest import Searcher
from tests.api.search.test_search_custom import a_parameter, married
from tests.api.search.world import patient

NEW = "http://example.org/CodeSystem/new"


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries that have been parsed and planned, and may be remembered."""
    asked: list[str] = []
    keep = PlannedSearches.keep

    def kept(self: PlannedSearches, text: object, *more: object) -> None:
        asked.append("&".join(f"{name}={value}" for name, value in text[2]))  # type: ignore[index]
        keep(self, text, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(PlannedSearches, "keep", kept)
    return asked


async def test_a_search_is_planned_once_and_finds_what_was_written_since(empty: Searcher, planned: list[str]) -> None:
    await empty.put(patient("one", "Lý", "Thu", "female", "1980-01-01"))
    query = "Patient?name=thu&gender=female&_count=1"
    assert await empty.ids(query) == ["Patient/one"]
    await empty.put(patient("two", "Lê", "Thu", "female", "1981-01-01"))
    assert sorted(await empty.ids(query)) == ["Patient/one", "Patient/two"]
    assert planned.count("name=thu&gender=female&_count=1") == 1


async def test_a_code_system_that_is_met_later_is_found_by_a_search_that_was_asked_before(empty: Searcher) -> None:
    query = f"Patient?identifier:not={NEW}|1&identifier={NEW}|1,{NEW}|2"
    assert await empty.ids(query) == []
    number = {"system": NEW, "value": "2"}
    await empty.put(patient("one", "Lý", "Thu", "female", "1980-01-01", identifier=[number]))
    assert await empty.ids(query) == ["Patient/one"]


async def test_what_depends_on_the_moment_is_planned_each_time(empty: Searcher, planned: list[str]) -> None:
    await empty.put(patient("one", "Lý", "Thu", "female", "1980-01-01"))
    for query in ("birthdate=ap1980", "gender:in=http://hl7.org/fhir/ValueSet/administrative-gender"):
        for _ in range(2):
            assert await empty.ids(f"Patient?{query}") == ["Patient/one"]
        assert planned.count(query) == 2


async def test_a_parameter_that_was_ignored_takes_effect_once_it_is_posted(empty: Searcher) -> None:
    assert "ignored" in str(await empty.bundle("Patient?marital=M"))
    await empty.put(a_parameter())
    await empty.put(married("one", "M"), married("two", "S"))
    assert await empty.ids("Patient?marital=M") == ["Patient/one"]


async def test_only_so_many_searches_are_remembered_and_no_long_ones(empty: Searcher) -> None:
    model: SearchModel = empty.http._transport.app.state.context().search  # type: ignore[attr-defined]
    for number in range(30):
        await empty.ids(f"Patient?name=n{number}&gender={','.join(['female'] * (number // 15 * 100 + 1))}")
    assert len(model.planned) == 15
