from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_index import Index

from fhir_server.errors import FhirError

PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
# Few different numbers, so that values and searches meet.
NUMBERS = st.sampled_from(
    ["-2.5", "-2", "-0.1", "0", "0.001", "0.3", "0.31", "1", "1.0", "1.5", "2", "20", "1e2", "1e-9"]
)


def matches(prefix: str, text: str, low: Decimal, high: Decimal) -> bool:
    """R4 Search, number: for a value from low to high."""
    at = Decimal(text)
    digits, exponent = at.as_tuple().digits, at.as_tuple().exponent
    assert isinstance(exponent, int)
    half = Decimal(5).scaleb(exponent - (2 if "e" in text and len(digits) == 1 else 1))
    first, after = at - half, at + half
    contains = first <= low and high < after
    slack = abs(at) / 10
    return {
        "": contains, "eq": contains, "ne": not contains,
        "gt": high > at, "lt": low < at, "ge": high >= at, "le": low <= at, "sa": low > at, "eb": high < at,
        "ap": low < after + slack and high >= first - slack,
    }[prefix]  # fmt: skip


def assessment(id: str, **prediction: Any) -> dict[str, Any]:
    return {"resourceType": "RiskAssessment", "id": id, "prediction": [prediction]}


@given(st.sampled_from(PREFIXES), NUMBERS, NUMBERS)
def test_decimals_are_compared_as_r4_compares_numbers(index: Index, prefix: str, search: str, value: str) -> None:
    index.only(assessment("r", probabilityDecimal=Decimal(value)))
    expected = matches(prefix, search, Decimal(value), Decimal(value))
    assert index.find(f"RiskAssessment?probability={prefix}{search}") == ({"r"} if expected else set())


@given(st.sampled_from(PREFIXES), NUMBERS, st.tuples(NUMBERS, NUMBERS))
def test_ranges_are_compared_by_both_ends(index: Index, prefix: str, search: str, ends: tuple[str, str]) -> None:
    low, high = sorted(Decimal(end) for end in ends)
    index.only(assessment("r", probabilityRange={"low": {"value": low}, "high": {"value": high}}))
    expected = matches(prefix, search, low, high)
    assert index.find(f"RiskAssessment?probability={prefix}{search}") == ({"r"} if expected else set())


def test_a_range_without_an_end_is_open_there(index: Index) -> None:
    index.only(assessment("low", probabilityRange={"low": {"value": 5}}),
               assessment("high", probabilityRange={"high": {"value": 5}}))  # fmt: skip
    assert index.find("RiskAssessment?probability=gt1000000") == {"low"}
    assert index.find("RiskAssessment?probability=lt-1000000") == {"high"}
    assert index.find("RiskAssessment?probability=ap100") == {"low"}


def test_integers_are_found_exactly(index: Index) -> None:
    index.only({"resourceType": "MolecularSequence", "id": "s", "variant": [{"start": 22125503, "end": 22125510}]})
    assert index.find("MolecularSequence?variant-start=22125503") == {"s"}
    assert index.find("MolecularSequence?variant-start=22125503.0") == {"s"}
    assert index.find("MolecularSequence?variant-start=22125503.5") == set()
    assert index.find("MolecularSequence?variant-start=22125504") == set()


@pytest.mark.parametrize("value", ["", "five", "5,5x", "5|mg", "1e9999", "gtfive", "--5"])
def test_what_is_no_number_is_refused_by_name(index: Index, value: str) -> None:
    with pytest.raises(FhirError, match="probability"):
        index.find(f"RiskAssessment?probability={value}")


def test_a_number_has_no_modifier_but_missing(index: Index) -> None:
    index.only(assessment("with", probabilityDecimal=1), assessment("without", relativeRisk=1))
    assert index.find("RiskAssessment?probability:missing=true") == {"without"}
    with pytest.raises(FhirError, match="probability"):
        index.find("RiskAssessment?probability:exact=1")
