"""A Binary is seen by those who see the Patient that its securityContext names. R4 Binary.securityContext."""

from __future__ import annotations

from typing import Any

import pytest

from tests.security.callers import Caller
from tests.security.conftest import Ask
from tests.security.people import THANH_HOA, settle


def a_binary(id: str, context: str | None) -> dict[str, Any]:
    secured = {"securityContext": {"reference": context}} if context else {}
    return {"resourceType": "Binary", "id": id, "contentType": "text/plain", "data": "YQ==", **secured}


@pytest.mark.parametrize(
    ("scope", "claims", "seen"),
    [
        ("patient/*.rs", {"patient": "an"}, {"of-an"}),
        ("user/*.rs", {"fhirUser": "Practitioner/o", "administrative_unit": f"ward:{THANH_HOA}"}, {"of-an"}),
        ("system/*.rs", {"organization": "h1"}, {"of-an"}),
        ("system/*.rs", {"organization": "h2"}, {"of-binh"}),
        ("user/*.rs", {"administrative_unit": "country:VN"}, {"of-an", "of-binh", "of-nobody", "of-a-file"}),
    ],
)
async def test_it_is_seen_with_its_patient(
    admin: Caller, ask: Ask, scope: str, claims: dict[str, Any], seen: set[str]
) -> None:
    await settle(admin)
    contexts = {"of-an": "Patient/an", "of-binh": "Patient/binh", "of-nobody": None, "of-a-file": "DocumentReference/1"}
    for id, context in contexts.items():
        answer = await admin.put(a_binary(id, context))
        assert answer.status_code in (200, 201), answer.text
    caller = ask(scope, **claims)
    found = (await caller.get("Binary?_count=50")).json()
    assert {entry["resource"]["id"] for entry in found.get("entry", ())} == seen
    for id in contexts:
        for path in (f"Binary/{id}", f"Binary/{id}/_history/1"):
            assert (await caller.get(path, accept="*/*")).status_code == (200 if id in seen else 404)


async def test_another_context_is_another_patients(admin: Caller, ask: Ask) -> None:
    await settle(admin)
    await admin.put(a_binary("moved", "Patient/an"))
    an, binh = (ask("patient/*.rs", patient=id) for id in ("an", "binh"))
    assert [(await caller.get("Binary/moved")).status_code for caller in (an, binh)] == [200, 404]
    await admin.put(a_binary("moved", "Patient/binh"))
    assert [(await caller.get("Binary/moved")).status_code for caller in (an, binh)] == [404, 200]
