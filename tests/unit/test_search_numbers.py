from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.numbers import HIGHEST, LOWEST, decimal_of, sortable, written

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30)


@given(NUMBERS, NUMBERS)
def test_sortable_texts_compare_as_the_numbers_do(one: Decimal, other: Decimal) -> None:
    assert (sortable(one) < sortable(other)) == (one < other)
    assert (sortable(one) == sortable(other)) == (one == other)
    assert LOWEST < sortable(one) < HIGHEST


@pytest.mark.parametrize("text", ["1.10", "1.1", "11e-1", "0.11e1"])
def test_equal_numbers_have_one_text_however_they_are_written(text: str) -> None:
    assert sortable(Decimal(text)) == sortable(Decimal("1.1"))


def test_numbers_beyond_all_measure_sort_at_the_ends() -> None:
    assert sortable(Decimal("1e999")) == HIGHEST
    assert sortable(Decimal("-1e999")) == LOWEST
    assert sortable(Decimal("1e-999")) == sortable(Decimal(0))


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("100", "99.5", "100.5"),
        ("100.00", "99.995", "100.005"),
        ("1e2", "95", "105"),
        ("5.4", "5.35", "5.45"),
        ("5.40e-3", "0.005395", "0.005405"),
        ("-5.4", "-5.45", "-5.35"),
        ("0", "-0.5", "0.5"),
    ],
)
def test_a_written_number_stands_for_the_range_that_r4_tells(text: str, low: str, high: str) -> None:
    number = written(text)
    assert number is not None
    assert (number.value, number.low, number.high) == (Decimal(text), Decimal(low), Decimal(high))


@pytest.mark.parametrize(
    "text", ["", "five", "1,5", "1e", "--1", "1e9999", "0x10", "1_000", "NaN", "Infinity", "١", "9" * 61]
)
def test_what_is_no_number_is_told_so(text: str) -> None:
    assert written(text) is None


def test_booleans_and_texts_are_no_json_numbers() -> None:
    assert decimal_of(True) is None
    assert decimal_of("1") is None
    assert decimal_of(7) == 7
    assert decimal_of(0.1) == Decimal("0.1")
