"""Codes that R4 takes from other standards: currencies, MIME types and language tags."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.validation.messages import Report
from fhir_server.validation.structure import StructureChecks
from fhir_server.validation.validate import Validator

DEFINITIONS = Definitions.load(DATA_ROOT)
VALIDATOR = Validator(DEFINITIONS)
GOOD = {
    "contentType": [
        "text/plain",
        "application/fhir+json; fhirVersion=4.0",
        "text/plain;charset=utf-8",
        "image/svg+xml",
    ],
    "language": ["vi", "vi-VN", "zh-Hant-TW", "en-x-clinic", "de-CH-1996", "i-klingon", "sl-rozaj-biske"],
    "currency": ["VND", "USD", "EUR", "HRK"],
}
BAD = {
    "contentType": ["jpeg", "text/", "/plain", "text/plain;", "text/plain; utf-8", "ảnh/jpeg", "text /plain"],
    "language": ["tiếng Việt", "vi_VN", "v", "vi-", "-vi", "vietnamese", "vi--VN"],
    "currency": ["vnd", "VNĐ", "đồng", "XYZ"],
}


def resource(element: str, code: str) -> dict[str, Any]:
    if element == "currency":
        return {"resourceType": "Invoice", "status": "draft", "totalNet": {"value": 1, "currency": code}}
    return {"resourceType": "Patient", "photo": [{element: code}]}


def places(element: str, code: str) -> tuple[list[str], list[str]]:
    """Where faults are told, by the validator and by the closures alone."""
    report = Report()
    StructureChecks(DEFINITIONS).check(resource(element, code), "", report)
    told = [one.expression[0] for one in VALIDATOR.validate(resource(element, code))]
    return told, [one.expression[0].removeprefix(".") for one in report.issues]


@pytest.mark.parametrize(("element", "code"), [(name, code) for name, codes in GOOD.items() for code in codes])
def test_a_code_of_the_standard_passes(element: str, code: str) -> None:
    assert places(element, code) == ([], [])


@pytest.mark.parametrize(("element", "code"), [(name, code) for name, codes in BAD.items() for code in codes])
def test_what_the_standard_does_not_have_is_told_at_its_place(element: str, code: str) -> None:
    place = "totalNet.currency" if element == "currency" else f"photo[0].{element}"
    assert places(element, code) == ([f"{'Invoice' if element == 'currency' else 'Patient'}.{place}"], [place])


def test_the_language_of_every_resource_is_a_tag() -> None:
    faults = VALIDATOR.validate({"resourceType": "Basic", "code": {"text": "x"}, "language": "Việt"})
    assert [(one.code, one.expression) for one in faults] == [("code-invalid", ("Basic.language",))]


@pytest.mark.parametrize(
    ("code", "is_unit"),
    [
        ("mg/dL", True), ("mm[Hg]", True), ("10*3/uL", True), ("/min", True), ("{score}", True), ("kg.m-2", True),
        ("mL/min/{1.73_m2}", True), ("1", True), ("%", True), ("umol/(24.h)", True),
        ("(mg/(kg.h))/mL", True), ("10^9/L{cells}", True),
        ("", False), ("mg dL", False), ("mg//dL", False), ("độ", False), ("mg/", False), ("{a", False),
        ("(mg", False), ("mg)", False),
    ],
)  # fmt: skip
def test_a_unit_of_measure_has_the_syntax_of_ucum(code: str, is_unit: bool) -> None:
    unit = {"coding": [{"system": "http://unitsofmeasure.org", "code": code or "="}]}
    resource = {
        "resourceType": "RiskEvidenceSynthesis", "status": "draft", "population": {"display": "a"},
        "outcome": {"display": "a"}, "riskEstimate": {"unitOfMeasure": unit},
    }  # fmt: skip
    told = [one.expression[0] for one in VALIDATOR.validate(resource)]
    assert told == ([] if is_unit else ["RiskEvidenceSynthesis.riskEstimate.unitOfMeasure"])
