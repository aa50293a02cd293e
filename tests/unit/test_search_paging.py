"""Cursors: what stands behind one is exactly what has not been told; sealed links keep their secret."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.errors import FhirError
from fhir_server.search.page_links import Page, decode_query, encode_query, seal, unseal
from fhir_server.search.paging import BY_DATE, BY_ID, Cursor, Order, advance, after, key_of, values_of
from fhir_server.search.plan import Plan, walks_of
from fhir_server.search.tree import And, Has
from fhir_server.store.values import Filter, Stored

KEY = os.urandom(32)
TEXT = st.text(max_size=20)
PAGES = st.builds(
    Page,
    path=st.tuples(TEXT),
    query=st.lists(st.tuples(TEXT, TEXT), max_size=4).map(tuple),
    cursor=st.none()
    | st.builds(
        Cursor,
        st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | TEXT, max_size=3).map(tuple),
        st.none() | st.lists(TEXT, max_size=3).map(tuple),
    ),
    place=st.integers(0, 200),
    total=st.none() | st.integers(0, 10**9),
    strict=st.booleans(),
)


def stored(id: str, order: int = 0, **sort: object) -> Stored:
    return Stored("Thing", id, 1, order, b"", order=order, sort=sort)


@given(PAGES)
def test_a_link_gives_back_the_page_it_was_made_of(page: Page) -> None:
    assert unseal(seal(page, KEY), KEY) == page


@given(PAGES, st.integers(0, 10_000), st.sampled_from("AB-_9"))
def test_a_link_changed_anywhere_is_refused(page: Page, place: int, letter: str) -> None:
    text = seal(page, KEY)
    place %= len(text) - 1  # the last letter may have bits that mean nothing
    if text[place] != letter:
        with pytest.raises(FhirError):
            unseal(text[:place] + letter + text[place + 1 :], KEY)


@pytest.mark.parametrize("text", ["", "A", "%%%", "đ", "A" * 17, "A" * 5000])
def test_what_was_never_a_link_is_refused(text: str) -> None:
    with pytest.raises(FhirError, match="page link"):
        unseal(text, KEY)


def test_a_link_of_another_key_is_refused() -> None:
    with pytest.raises(FhirError):
        unseal(seal(Page((), ()), os.urandom(32)), KEY)


def test_two_links_to_one_page_do_not_look_alike() -> None:
    page = Page(("Patient",), (("identifier", "001085000001"),))
    assert seal(page, KEY) != seal(page, KEY)


@given(st.lists(st.tuples(TEXT, TEXT)).map(tuple))
def test_a_kept_query_is_the_query(pairs: tuple[tuple[str, str], ...]) -> None:
    assert decode_query(encode_query(pairs)) == pairs


def test_the_cursor_keeps_all_ids_that_tie_with_the_last() -> None:
    first = advance(BY_DATE, [stored("a", 9), stored("b", 5), stored("c", 5)], None)
    assert first == Cursor((5,), ("b", "c"))
    second = advance(BY_DATE, [stored("d", 5), stored("e", 5)], first)
    assert second == Cursor((5,), ("b", "c", "d", "e"))
    assert advance(BY_DATE, [stored("f", 4)], second) == Cursor((4,), ("f",))
    assert advance(BY_DATE, [], second) == second


def test_behind_a_cursor_of_the_index_is_one_range() -> None:
    assert after(BY_DATE, None) == {}
    assert after(BY_DATE, Cursor((5,), ("b", "c"))) == {"o": {"$gte": 5}, "_id": {"$nin": ["b", "c"]}}
    assert after(BY_DATE, Cursor((5,), ())) == {"o": {"$gte": 5}}
    assert after(BY_DATE, Cursor((5,), None)) == {"o": {"$gt": 5}}
    assert after(BY_ID, Cursor(("b",), ("b",))) == {"_id": {"$gt": "b"}}
    assert after(Order((("_id", -1),)), Cursor(("b",), None)) == {"_id": {"$lt": "b"}}


def test_a_list_counts_by_its_outermost_value() -> None:
    order = Order((("x.aa.l", 1), ("x.aa.l", -1), ("_id", 1)))
    assert values_of(order, stored("a", aa=[{"l": 3}, {"l": 1}])) == (1, 3, "a")
    assert values_of(order, stored("a", bb=[1])) == (None, None, "a")


def test_lists_merge_as_the_database_sorts() -> None:
    order = Order((("x.aa", -1), ("_id", 1)))
    rows = [stored("a"), stored("b", aa=[1]), stored("c", aa=[2, 0]), stored("d", aa=[2]), stored("e")]
    assert [one.id for one in sorted(rows, key=lambda one: key_of(order, one))] == ["c", "d", "b", "a", "e"]


def test_a_range_of_dates_is_a_walk_of_its_own_beside_the_other_side_of_a_join() -> None:
    """`_has:Condition:patient:code=I10&birthdate=1985-03`: the people of one month are far fewer than the diagnoses."""
    month: Filter = {"o": {"$gte": 1, "$lt": 2}}
    joined = (0, Has("Patient", "Condition", SearchParameter("", "patient", "reference", "", ("Condition",)), And(())))
    walks = walks_of(Plan("Patient", (month,), through=(joined,)))
    assert [(walk.driver, walk.through) for walk in walks] == [(month, None), (None, joined[1])]
