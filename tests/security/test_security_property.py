"""For random people, policies and searches: the narrowed answer is the full answer, filtered, its total included."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import a_condition, a_patient, an_entry, an_immunization
from tests.security.callers import ADMIN, SENSITIVE, Caller, living_in
from tests.security.conftest import Ask
from tests.security.people import HA_NOI, THANH_HOA, observation

EXAMPLES = int(os.environ.get("FHIR_TEST_EXAMPLES", "40"))
PEOPLE = 12
LABELS = [
    {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"},
    {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"},
]
ORGANISATIONS = ("h1", "h2")


def _person(number: int, chance: random.Random) -> list[dict[str, Any]]:
    id, subject = f"p{number}", f"Patient/p{number}"
    more: dict[str, Any] = {
        "gender": chance.choice(["male", "female"]),
        "birthDate": f"{chance.randint(1950, 2000)}-05-06",
    }
    if chance.random() < 0.8:
        more["address"] = [living_in(chance.choice([THANH_HOA, HA_NOI, "00097"]))]
    if chance.random() < 0.6:
        more["managingOrganization"] = {"reference": f"Organization/{chance.choice(ORGANISATIONS)}"}
    resources = [a_patient(f"Nguyễn Văn {chance.choice('ABC')}", id=id, **more)]
    for n in range(chance.randint(0, 4)):
        label = {"meta": {"security": [chance.choice(LABELS)]}} if chance.random() < 0.3 else {}
        icd = chance.choice(["I10", "B20", "E11", "J45"])
        resources.append(a_condition(subject, icd, id=f"{id}-c{n}", recordedDate=f"202{n}-01-01", **label))
    for n in range(chance.randint(0, 3)):
        performer = {"performer": [{"reference": f"Organization/{chance.choice(ORGANISATIONS)}"}]}
        resources.append(observation(f"{id}-o{n}", id, **(performer if chance.random() < 0.5 else {})))
    if chance.random() < 0.7:
        resources.append(an_immunization(subject, id=f"{id}-i"))
    if chance.random() < 0.4:
        resources.append(_consent(id, chance))
    return resources


def _consent(id: str, chance: random.Random) -> dict[str, Any]:
    """A denial of all, of a type, of a class or of one organisation, with or without an exception."""
    types = [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]
    actor = [{"role": {"text": "x"}, "reference": {"reference": f"Organization/{chance.choice(ORGANISATIONS)}"}}]
    limits: list[dict[str, Any]] = [{}, {"class": types}, {"securityLabel": [LABELS[1]]}, {"actor": actor}]
    exception: list[dict[str, Any]] = [{"type": "permit", "actor": actor}, {"type": "permit", "class": types}]
    provision = {"type": "deny", **chance.choice(limits)}
    if chance.random() < 0.5:
        provision["provision"] = [chance.choice(exception)]
    scope = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]}
    return {
        "resourceType": "Consent",
        "id": f"{id}-consent",
        "status": "active",
        "scope": scope,
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{id}"},
        "policyRule": {"text": "x"},
        "provision": provision,
    }


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    chance = random.Random(7)
    everyone = [one for number in range(PEOPLE) for one in _person(number, chance)]
    everyone += [{"resourceType": "Organization", "id": id, "name": id} for id in ORGANISATIONS]
    entries = [an_entry("PUT", f"{one['resourceType']}/{one['id']}", one) for one in everyone]
    answer = await admin.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, answer.text


TYPES = ("Patient", "Condition", "Observation", "Immunization")
CLAIMS = st.one_of(
    st.sampled_from([{"iss": ADMIN}, {}]),
    st.builds(lambda n: {"patient": f"p{n}"}, st.integers(0, PEOPLE)),
    st.builds(lambda id: {"organization": id}, st.sampled_from(ORGANISATIONS)),
    st.builds(
        lambda unit: {"administrative_unit": unit},
        st.sampled_from([f"ward:{THANH_HOA}", "ward:00097", "province:01", "district-legacy:001", "country:VN"]),
    ),
    st.builds(
        lambda id, unit: {"organization": id, "administrative_unit": unit},
        st.sampled_from(ORGANISATIONS),
        st.sampled_from([f"ward:{HA_NOI}", "province:38"]),
    ),
)
SCOPES = st.lists(
    st.sampled_from(
        [
            *(
                f"{context}/{type}.{letters}"
                for context in ("patient", "user", "system")
                for type in ("*", *TYPES)
                for letters in ("rs", "read")
            ),
            "user/Observation.rs?category=urn:category|laboratory",
            "system/Condition.rs?code=http://hl7.org/fhir/sid/icd-10|B20",
            *SENSITIVE.split(),
        ]
    ),
    min_size=1,
    max_size=4,
    unique=True,
).map(" ".join)
SEARCHES = st.sampled_from(
    [
        *TYPES,
        "Patient?name=nguyen",
        "Patient?name=a&gender=male",
        "Patient?gender:not=male",
        "Patient?birthdate=ge1970",
        "Patient?birthdate:missing=true",
        "Patient?_sort=birthdate&_count=3",
        "Patient?_sort=-name&_count=2",
        "Condition?code=B20",
        "Condition?code:not=B20",
        "Condition?code=I10,E11&_sort=-recorded-date",
        "Condition?recorded-date=ge2021&_count=2",
        "Condition?_security=http://terminology.hl7.org/CodeSystem/v3-ActCode|PSY",
        "Condition?_security:not=http://terminology.hl7.org/CodeSystem/v3-ActCode|PSY",
        "Observation?category=laboratory&_count=1",
        "Observation?performer=Organization/h1",
        "Observation?patient=p1,p2,p3",
        "Immunization?date=ge2024&_sort=_id",
        "Immunization?vaccine-code=19",
        "Consent?status=active",
        "Patient?_filter=gender eq male or birthdate lt 1980",
        "?_type=Patient,Condition&_count=4",
        "?_lastUpdated=ge2020&_type=Observation,Immunization",
    ]
)


async def _readable(caller: Caller, names: set[str]) -> set[str]:
    """Those that the caller may read one by one, asked in a batch."""
    if not names:
        return set()
    ordered = sorted(names)
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [an_entry("GET", name) for name in ordered]}
    told = (await caller.post("", bundle)).json()["entry"]
    return {name for name, entry in zip(ordered, told, strict=True) if entry["response"]["status"].startswith("200")}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(scope=SCOPES, claims=CLAIMS, search=SEARCHES)
async def test_a_narrowed_answer_is_the_full_answer_filtered(
    ask: Ask, admin: Caller, scope: str, claims: dict[str, Any], search: str
) -> None:
    caller = ask(scope, **claims)
    full = await admin.ids(search)
    answer = await caller.get(search)
    if answer.status_code == 403:
        assert await _readable(caller, full) == set() or search.startswith("?")
        return
    told = await caller.ids(search)
    assert told == await _readable(caller, full)
    counted = (await caller.get(search + ("&" if "?" in search else "?") + "_summary=count")).json()
    assert counted["total"] == len(told)
