"""Who the clients look for, and what they send."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

NAME = "nguyen van an"
CCCD = "038085000123"
CARD = "DN4383820000123"
HISTORY = ("Condition", "Immunization", "AllergyIntolerance")


def a_transaction(family: str = "Trần") -> dict[str, Any]:
    """A new patient with a disease, an immunisation and an allergy, all told by references inside the bundle."""
    patient = f"urn:uuid:{uuid4()}"
    subject = {"reference": patient}
    resources: list[dict[str, Any]] = [
        {
            "resourceType": "Patient",
            "name": [{"text": f"{family} Thị Khách Hàng", "family": family, "given": ["Thị", "Khách", "Hàng"]}],
            "gender": "female",
            "birthDate": "1990-05",
        },
        {
            "resourceType": "Condition",
            "clinicalStatus": _code("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
            "code": _code("http://hl7.org/fhir/sid/icd-10", "I10"),
            "subject": subject,
        },
        {
            "resourceType": "Immunization",
            "status": "completed",
            "vaccineCode": _code("http://hl7.org/fhir/sid/cvx", "113"),
            "patient": subject,
            "occurrenceDateTime": "2024-06-10",
        },
        {
            "resourceType": "AllergyIntolerance",
            "clinicalStatus": _code("http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "active"),
            "code": {"text": "Penicillin"},
            "patient": subject,
        },
    ]
    urls = [patient, *(f"urn:uuid:{uuid4()}" for _ in resources[1:])]
    entries = [
        {"fullUrl": url, "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
        for url, resource in zip(urls, resources, strict=True)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _code(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}
