from decimal import Decimal
from typing import Any

import pytest
from search_index import Index

from fhir_server.errors import FhirError

UCUM = "http://unitsofmeasure.org"


def observation(id: str, value: str, unit: str, code: str | None = None, system: str | None = UCUM) -> dict[str, Any]:
    quantity = {"value": Decimal(value), "unit": unit, "system": system, "code": code or unit}
    return {
        "resourceType": "Observation",
        "id": id,
        "valueQuantity": {name: one for name, one in quantity.items() if one is not None},
    }


@pytest.fixture(scope="module", autouse=True)
def _stored(index: Index) -> None:
    index.put(
        observation("mg", "5.4", "mg"),
        observation("g", "0.0054", "g"),
        observation("pill", "5.4", "viên", "TAB", "urn:units"),
        observation("score", "10", "{score}"),
        observation("fever", "39", "°C", "Cel"),
        observation("cold", "-5.4", "Cel"),
        {"resourceType": "Observation", "id": "bare", "valueQuantity": {"value": Decimal("5.38")}},
        {"resourceType": "Observation", "id": "text", "valueString": "5.4"},
        {"resourceType": "Condition", "id": "age", "onsetAge": {"value": 30, "system": UCUM, "code": "a"}},
        {
            "resourceType": "Condition",
            "id": "range",
            "onsetRange": {
                "low": {"value": 20, "system": UCUM, "code": "a"},
                "high": {"value": 40, "system": UCUM, "code": "a"},
            },
        },
        {"resourceType": "Invoice", "id": "vnd", "totalNet": {"value": 150000, "currency": "VND"}},
        {
            "resourceType": "Substance",
            "id": "mix",
            "instance": [{"quantity": {"value": 2, "system": UCUM, "code": "mL"}}],
        },
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("5.4", {"mg", "pill", "bare"}),
        ("5.40", {"mg", "pill"}),
        (f"5.4|{UCUM}|mg", {"mg", "g"}),
        (f"5.4e-3|{UCUM}|g", {"mg", "g"}),
        (f"5400|{UCUM}|ug", {"mg", "g"}),
        (f"gt5|{UCUM}|mg", {"mg", "g"}),
        (f"lt0.01|{UCUM}|g", {"mg", "g"}),
        (f"ne5.4|{UCUM}|mg", set()),
        (f"ne1|{UCUM}|kg", {"mg", "g"}),
        (f"ap5|{UCUM}|mg", {"mg", "g"}),
        ("5.4||mg", {"mg"}),
        ("5.4||viên", {"pill"}),
        ("5.4||TAB", {"pill"}),
        ("5.4|urn:units|TAB", {"pill"}),
        ("5.4|urn:units", {"pill"}),
        ("5.4|urn:units|viên", set()),
        ("5.4|urn:unheard-of|TAB", set()),
        (f"5.4|{UCUM}|TAB", set()),
        (f"10|{UCUM}|{{score}}", {"score"}),
        (f"39|{UCUM}|Cel", {"fever"}),
        (f"ge312.15|{UCUM}|K", {"fever"}),
        (f"le-5|{UCUM}|Cel", {"cold"}),
        ("lt0", {"cold"}),
        ("-5.4", {"cold"}),
    ],
)
def test_a_quantity_is_found_by_its_number_and_unit(index: Index, query: str, found: set[str]) -> None:
    assert index.find(f"Observation?value-quantity={query}") == found


def test_ages_and_ranges_of_ages_are_quantities(index: Index) -> None:
    assert index.find(f"Condition?onset-age=30|{UCUM}|a") == {"age"}
    assert index.find(f"Condition?onset-age=360|{UCUM}|mo") == {"age"}
    assert index.find(f"Condition?onset-age=gt35|{UCUM}|a") == {"range"}
    assert index.find(f"Condition?onset-age=ap30|{UCUM}|a") == {"age", "range"}
    assert index.find("Condition?onset-age=ne30") == {"range"}


def test_money_is_a_quantity_in_its_currency(index: Index) -> None:
    assert index.find("Invoice?totalnet=150000||VND") == {"vnd"}
    assert index.find("Invoice?totalnet=ge100000|urn:iso:std:iso:4217|VND") == {"vnd"}
    assert index.find("Invoice?totalnet=150000||USD") == set()


def test_missing_quantities_are_told_apart(index: Index) -> None:
    assert index.find("Observation?value-quantity:missing=true") == {"text"}


@pytest.mark.parametrize("value", ["", "five", "|http://unitsofmeasure.org|mg", "gt", "5.4:exact"])
def test_what_is_no_quantity_is_refused_by_name(index: Index, value: str) -> None:
    with pytest.raises(FhirError, match="value-quantity"):
        index.find(f"Observation?value-quantity={value}")
