"""A small world for access control: people of two provinces, two hospitals, a mother with children of every age."""

from __future__ import annotations

from datetime import date
from typing import Any

from tests.builders import a_condition, a_patient, an_entry
from tests.security.callers import Caller, living_in

THANH_HOA, HA_NOI = "14797", "00004"  # wards of today
HIV, PLAIN = "B20", "I10"
PEOPLE = ("an", "binh", "chi", "dung", "vo")
HOME = {"an": THANH_HOA, "chi": THANH_HOA, "dung": THANH_HOA, "binh": HA_NOI}
CARE = {"an": "h1", "binh": "h2"}


def years_ago(years: int) -> str:
    return f"{date.today().year - years - 1}-01-01"


AGES = {"an": 40, "binh": 50, "chi": 3, "dung": 10, "vo": 30}


def patient(id: str) -> dict[str, Any]:
    more: dict[str, Any] = {"birthDate": years_ago(AGES[id])}
    if id in HOME:
        more["address"] = [living_in(HOME[id])]
    if id in CARE:
        more["managingOrganization"] = {"reference": f"Organization/{CARE[id]}"}
    return a_patient(name=f"Nguyễn Thị {id}", id=id, **more)


def observation(id: str, person: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "category": [{"coding": [{"system": "urn:category", "code": "laboratory"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "2339-0"}]},
        "subject": {"reference": f"Patient/{person}"},
        **more,
    }


def of_person(id: str) -> list[dict[str, Any]]:
    """A plain and a restricted condition, an observation of a hospital, and one that will be deleted."""
    encounter = {
        "resourceType": "Encounter",
        "id": f"{id}-encounter",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": f"Patient/{id}"},
        "serviceProvider": {"reference": "Organization/h2"},
    }
    return [
        patient(id),
        a_condition(f"Patient/{id}", PLAIN, id=f"{id}-plain"),
        a_condition(f"Patient/{id}", HIV, id=f"{id}-hiv"),
        observation(f"{id}-lab", id, encounter={"reference": f"Encounter/{id}-encounter"}),
        observation(f"{id}-gone", id),
        encounter,
    ]


def related(child: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "RelatedPerson",
        "id": f"of-{child}",
        "active": True,
        "patient": {"reference": f"Patient/{child}"},
        **more,
    }


def consent(provision: dict[str, Any], **more: Any) -> dict[str, Any]:
    scope = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]}
    policy = [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}]
    return {
        "resourceType": "Consent",
        "id": "of-an",
        "status": "active",
        "scope": scope,
        "category": policy,
        "patient": {"reference": "Patient/an"},
        "policyRule": {"text": "x"},
        "provision": provision,
        **more,
    }


def directory() -> list[dict[str, Any]]:
    links = [{"target": {"reference": f"RelatedPerson/of-{child}"}} for child in ("chi", "dung")]
    return [
        {"resourceType": "Organization", "id": "h1", "name": "Bệnh viện Một"},
        {"resourceType": "Organization", "id": "h2", "name": "Bệnh viện Hai"},
        {"resourceType": "Practitioner", "id": "bac-si", "name": [{"text": "Trần Văn B"}]},
        related("chi"),
        related("dung"),
        {"resourceType": "Person", "id": "mother", "link": [{"target": {"reference": "Patient/an"}}, *links]},
        {
            "resourceType": "List",
            "id": "all-of-an",
            "status": "current",
            "mode": "working",
            "subject": {"reference": "Patient/an"},
            "entry": [{"item": {"reference": f"Observation/{id}-lab"}} for id in PEOPLE],
        },
        {"resourceType": "Basic", "id": "of-nobody", "code": {"text": "x"}},
        {"resourceType": "Task", "id": "a-task", "status": "draft", "intent": "plan"},
    ]


async def settle(admin: Caller) -> None:
    """Stores the world, with a second version of each plain condition and a tombstone of each `-gone`."""
    everyone = [resource for id in PEOPLE for resource in of_person(id)]
    for resources in (everyone + directory(), [_again(id) for id in PEOPLE]):
        entries = [an_entry("PUT", f"{one['resourceType']}/{one['id']}", one) for one in resources]
        answer = await admin.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert answer.status_code == 200, answer.text
    for id in PEOPLE:
        assert (await admin.send("DELETE", f"Observation/{id}-gone")).status_code == 204


def _again(id: str) -> dict[str, Any]:
    return a_condition(f"Patient/{id}", PLAIN, id=f"{id}-plain", note=[{"text": "lần hai"}])


def names_of(people: str | tuple[str, ...], hiv: bool, organisation: str | None = None) -> set[str]:
    """`Type/id` of what is live of these people; organisation: what names it, of others."""
    found: set[str] = set()
    for id in PEOPLE:
        if id in people:
            found |= {f"Patient/{id}", f"Condition/{id}-plain", f"Observation/{id}-lab", f"Encounter/{id}-encounter"}
            found |= {f"Condition/{id}-hiv"} if hiv else set()
        elif organisation == "h2":
            found |= {f"Encounter/{id}-encounter"}
    return found
