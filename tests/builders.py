"""Resources for tests: valid, small, synthetic."""

from __future__ import annotations

from typing import Any

CCCD = "http://fhir.hl7.org.vn/core/sid/cccd"


def a_patient(name: str = "Nguyễn Văn An", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"text": name}], "gender": "male", "birthDate": "1985-03-02", **more}


def with_cccd(number: str, **more: Any) -> dict[str, Any]:
    return a_patient(identifier=[{"system": CCCD, "value": number}], **more)


def a_condition(patient: str, icd: str = "I10", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "clinicalStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
        },
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": icd}]},
        "subject": {"reference": patient},
        **more,
    }


def an_immunization(patient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Immunization",
        "status": "completed",
        "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": "19"}], "text": "BCG"},
        "patient": {"reference": patient},
        "occurrenceDateTime": "2024-05-06",
        **more,
    }


def an_allergy(patient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "AllergyIntolerance",
        "clinicalStatus": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}
            ]
        },
        "code": {"text": "Penicillin"},
        "patient": {"reference": patient},
        **more,
    }


def a_bundle(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def an_entry(
    method: str, url: str, resource: Any = None, full_url: str | None = None, **request: str
) -> dict[str, Any]:
    entry: dict[str, Any] = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        entry["resource"] = resource
    if full_url is not None:
        entry["fullUrl"] = full_url
    return entry
