"""A narrowed caller gets nowhere by odd names, operators, patterns and links in any parameter."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.security.callers import Caller
from tests.security.conftest import Ask
from tests.security.people import names_of, settle

INJECTIONS = (
    '{"$ne":null}',
    "[$ne]=1",
    '{"$gt":""}',
    "$where=1",
    "';return true;//",
    '{"$or":[{},{}]}',
    "' OR '1'='1",
    ".*",
    "^(a+)+$",
    "(" * 200,
    "%00",
    "\u0000p",
    "@binh",
    "{$eq: binh}",
    "an,binh,*",
    "Patient/binh",
    "http://test/fhir/Patient/binh",
    "../binh",
    "\ud7ff" * 50,
)
NAMES = (
    "_id",
    "patient",
    "subject",
    "code",
    "identifier",
    "_tag",
    "_security",
    "_source",
    "_list",
    "_content",
    "_text",
    "_filter",
    "_has:Observation:patient:code",
    "subject:Patient.name",
    "_lastUpdated",
    "_type",
    "_elements",
    "_sort",
    "_include",
    "_revinclude",
    "_page",
    "$where",
    "k",
    "p[$ne]",
    "raw",
)


@pytest.fixture(scope="module", autouse=True)
async def world(admin: Caller) -> None:
    await settle(admin)


@pytest.mark.parametrize("name", NAMES)
async def test_no_value_of_any_parameter_shows_what_is_hidden(ask: Ask, name: str) -> None:
    caller = ask("patient/*.rs", patient="an")
    own = names_of("an", hiv=False) | {"List/all-of-an", "Person/mother"}
    for value in INJECTIONS:
        for path in ("Condition", "Patient"):
            answer = await caller.get(f"{path}?{quote(name)}={quote(value)}&_count=50")
            assert answer.status_code in (200, 400, 403, 404), answer.text
            if answer.status_code == 200:
                entries = answer.json().get("entry", ())
                told = {f"{one['resource']['resourceType']}/{one['resource'].get('id')}" for one in entries}
                directory = ("OperationOutcome", "Organization", "Practitioner", "RelatedPerson", "Provenance")
                assert {one for one in told if not one.startswith(directory)} <= own
                assert answer.json().get("total", 0) <= 2


@pytest.mark.parametrize("path", ["Patient/binh/..%2fan", "Patient/an/../binh", "Patient/%40binh", "Patient/binh%00"])
async def test_no_spelling_of_a_path_leads_to_another_record(ask: Ask, path: str) -> None:
    answer = await ask("patient/*.rs", patient="an").get(path)
    assert answer.status_code in (400, 404)
    assert "binh" not in answer.text.replace(path, "") or answer.status_code == 404


async def test_scopes_and_claims_that_are_no_texts_take_rights_away(ask: Ask) -> None:
    for claims in (
        {"patient": {"$ne": None}},
        {"patient": ["an", "binh"]},
        {"patient": "an OR 1=1"},
        {"organization": {"$gt": ""}},
        {"administrative_unit": "ward:14797|"},
        {"administrative_unit": ["country:VN"]},
        {"fhirUser": "https://other.example/fhir/Patient/an"},
    ):
        caller = ask("patient/*.rs user/*.rs system/*.rs", **claims)
        assert (await caller.get("Condition")).status_code == 403, claims
    for scope in (
        "user/*",
        "user/*.",
        "user/*.sr",
        "USER/*.rs",
        "user/*.rs?",
        "user/Patient.rs?=",
        "*/*.rs",
        "user/**.rs",
    ):
        assert (await ask(scope, organization="h1").get("Condition")).status_code == 403, scope
