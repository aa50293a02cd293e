"""The resources that the search tests ask about: a health station, its people, and what happened to them."""

from __future__ import annotations

from typing import Any

Resource = dict[str, Any]

LOINC = "http://loinc.org"
ICD = "http://hl7.org/fhir/sid/icd-10"
UCUM = "http://unitsofmeasure.org"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CCCD = "http://fhir.hl7.org.vn/core/sid/cccd"


def reference(target: str) -> Resource:
    return {"reference": target}


def concept(system: str, code: str, **more: Any) -> Resource:
    return {"coding": [{"system": system, "code": code, **more}]}


def organization(id: str, name: str, **more: Any) -> Resource:
    return {"resourceType": "Organization", "id": id, "name": name, **more}


def patient(id: str, family: str, given: str, gender: str, birth: str | None, **more: Any) -> Resource:
    resource = {
        "resourceType": "Patient",
        "id": id,
        "name": [{"text": f"{family} {given}", "family": family, "given": given.split()}],
        "gender": gender,
        **more,
    }
    return {**resource, "birthDate": birth} if birth else resource


def condition(id: str, subject: str, code: str, onset: str | None = None, **more: Any) -> Resource:
    resource = {
        "resourceType": "Condition",
        "id": id,
        "clinicalStatus": concept(CLINICAL, "active"),
        "code": concept(ICD, code),
        "subject": reference(subject),
        **more,
    }
    return {**resource, "onsetDateTime": onset} if onset else resource


def observation(id: str, subject: str, code: str, value: Resource, date: str, **more: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": concept(LOINC, code),
        "subject": reference(subject),
        "effectiveDateTime": date,
        **value,
        **more,
    }


def kilograms(value: float) -> Resource:
    return {"valueQuantity": {"value": value, "unit": "kg", "system": UCUM, "code": "kg"}}


PLACES = [
    organization("so-y-te", "Sở Y tế"),
    organization("benh-vien", "Bệnh viện Đa khoa", partOf=reference("Organization/so-y-te")),
    organization("tram", "Trạm Y tế xã", partOf=reference("Organization/benh-vien")),
    {
        "resourceType": "Location",
        "id": "phong-kham",
        "name": "Phòng khám",
        "position": {"latitude": 21.0285, "longitude": 105.8542},
        "managingOrganization": reference("Organization/tram"),
    },
    {"resourceType": "Practitioner", "id": "bac-si", "name": [{"text": "Bác sĩ Lê Thị Hoa", "family": "Lê"}]},
]

PEOPLE = [
    patient(
        "an",
        "Nguyễn",
        "Văn An",
        "male",
        "1985-03-02",
        identifier=[{"system": CCCD, "value": "001085000001"}],
        managingOrganization=reference("Organization/tram"),
        generalPractitioner=[reference("Practitioner/bac-si")],
        meta={"tag": [{"system": "urn:test", "code": "xa-a"}], "profile": ["http://example.org/vn-patient"]},
        active=True,
    ),
    patient(
        "binh",
        "Trần",
        "Thị Bình",
        "female",
        "1990-07-15",
        managingOrganization=reference("Organization/benh-vien"),
        generalPractitioner=[reference("Organization/tram")],
        meta={"tag": [{"system": "urn:test", "code": "xa-a"}]},
        active=True,
        address=[{"text": "12 Hàng Bạc, Hà Nội", "city": "Hà Nội", "state": "Hà Nội"}],
    ),
    patient(
        "cuong",
        "Đặng",
        "Quốc Cường",
        "male",
        "1990-07",
        managingOrganization=reference("Organization/tram"),
        meta={"tag": [{"system": "urn:test", "code": "xa-b"}]},
        active=False,
    ),
    patient("dung", "Ngô", "Thị Dung", "female", None, managingOrganization=reference("Organization/so-y-te")),
    {"resourceType": "Patient", "id": "khong-ten", "birthDate": "2001-01-01"},
]

RECORDS = [
    condition("an-tang-huyet-ap", "Patient/an", "I10", "2020-01-10", recordedDate="2020-02-01"),
    condition("an-dai-thao-duong", "Patient/an", "E11", "2022-05-05"),
    condition("binh-tang-huyet-ap", "Patient/binh", "I10", "2021-03-03", encounter=reference("Encounter/binh-kham")),
    condition("cuong-hen", "Patient/cuong", "J45"),
    observation("an-can-nang", "Patient/an", "29463-7", kilograms(61.5), "2024-01-05T08:00:00+07:00"),
    observation("an-can-nang-2", "Patient/an", "29463-7", kilograms(63.0), "2024-06-05T08:00:00+07:00"),
    observation("binh-can-nang", "Patient/binh", "29463-7", kilograms(48.2), "2024-03-05"),
    observation(
        "binh-nhom-mau",
        "Patient/binh",
        "883-9",
        {"valueCodeableConcept": concept("http://snomed.info/sct", "112144000")},
        "2023-03-05",
        performer=[reference("Practitioner/bac-si")],
        hasMember=[reference("Observation/binh-can-nang")],
    ),
    {
        "resourceType": "Encounter",
        "id": "binh-kham",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": reference("Patient/binh"),
        "period": {"start": "2021-03-03", "end": "2021-03-04"},
        "location": [{"location": reference("Location/phong-kham")}],
        "serviceProvider": reference("Organization/tram"),
    },
    {
        "resourceType": "Encounter",
        "id": "an-nam-vien",
        "status": "in-progress",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": reference("Patient/an"),
        "period": {"start": "2025-10-01"},
    },
    {
        "resourceType": "MedicationRequest",
        "id": "an-don-thuoc",
        "status": "active",
        "intent": "order",
        "subject": reference("Patient/an"),
        "requester": reference("Practitioner/bac-si"),
        "medicationReference": reference("#thuoc"),
        "contained": [{"resourceType": "Medication", "id": "thuoc", "code": concept("urn:atc", "C08CA01")}],
        "authoredOn": "2024-01-05",
    },
    {
        "resourceType": "MedicationDispense",
        "id": "an-cap-thuoc",
        "status": "completed",
        "medicationCodeableConcept": {"text": "Amlodipin"},
        "subject": reference("Patient/an"),
        "authorizingPrescription": [reference("MedicationRequest/an-don-thuoc")],
    },
    {
        "resourceType": "List",
        "id": "theo-doi",
        "status": "current",
        "mode": "working",
        "entry": [{"item": reference("Patient/an")}, {"item": reference("Patient/dung")}],
    },
    {
        "resourceType": "Medication",
        "id": "amlodipin",
        "code": concept("urn:atc", "C08CA01"),
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">Thuốc hạ <b>huyết áp</b></div>',
        },
    },
]

WORLD = [*PLACES, *PEOPLE, *RECORDS]
