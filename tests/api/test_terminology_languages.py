"""Names of codes are told in the language that is asked for, by parameter or by header."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Client

OWN = "urn:vn-basic:CodeSystem:"
KINH = "system=http://fhir.ehealth.gov.vn/core/CodeSystem/vn-core-race&code=01"


def display(told: dict[str, Any]) -> str:
    found = next(one for one in told["parameter"] if one["name"] == "display")
    return str(found["valueString"])


@pytest.mark.parametrize(
    ("query", "header", "expected"),
    [
        ("", "", "Nam"),
        ("", "*", "Nam"),
        ("", "en-US,en;q=0.9,vi;q=0.8", "male"),
        ("", "vi", "Nam"),
        ("", "fr", "Nam"),
        ("&displayLanguage=vi", "en", "Nam"),
        ("&displayLanguage=en", "vi", "male"),
    ],
)
async def test_the_parameter_goes_before_the_header(client: Client, query: str, header: str, expected: str) -> None:
    path = f"CodeSystem/$lookup?system={OWN}sex&code=1{query}"
    headers = {"accept_language": header} if header else {}
    assert display((await client.get(path, **headers)).json()) == expected


async def test_a_page_of_codes_and_a_verdict_speak_it_too(client: Client) -> None:
    expanded = (await client.get("ValueSet/$expand?url=urn:vn-basic:ValueSet:sex", accept_language="en")).json()
    assert expanded["expansion"]["contains"][0]["display"] == "male"
    judged = await client.get(f"CodeSystem/$validate-code?url={OWN}sex&code=1", accept_language="en")
    assert display(judged.json()) == "male"


async def test_the_name_of_a_list_in_its_own_language_is_its_display_and_no_variant(client: Client) -> None:
    told = (await client.get(f"CodeSystem/$lookup?{KINH}&displayLanguage=vi")).json()
    assert display(told) == "Kinh"  # `Việt` is another name of it


async def test_the_direction_of_a_context_is_understood(client: Client) -> None:
    context = "http://hl7.org/fhir/StructureDefinition/Patient%23Patient.gender"
    for direction in ("incoming", "outgoing"):
        answer = await client.get(f"ValueSet/$expand?context={context}&contextDirection={direction}")
        assert answer.json()["expansion"]["total"] == 4


async def test_a_supplement_adds_names_to_the_codes_of_another_system(client: Client) -> None:
    inpatient = "system=http://terminology.hl7.org/CodeSystem/v3-ActCode&code=IMP"
    names = [{"language": "vi", "value": "Nội trú"}]
    supplement = {
        "resourceType": "CodeSystem",
        "url": "urn:example:act-code-vi",
        "status": "active",
        "content": "supplement",
        "supplements": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        "concept": [{"code": "IMP", "designation": names}, {"code": "none", "designation": names}],
    }
    stored = await client.created(supplement)
    assert display((await client.get(f"CodeSystem/$lookup?{inpatient}", accept_language="vi")).json()) == "Nội trú"
    assert display((await client.get(f"CodeSystem/$lookup?{inpatient}")).json()) == "inpatient encounter"
    system, _, code = inpatient.partition("&")
    judged = await client.get(f"CodeSystem/$validate-code?url={system.removeprefix('system=')}&{code}&display=nội trú")
    assert judged.json()["parameter"][0] == {"name": "result", "valueBoolean": True}
    codes = [{"system": supplement["supplements"], "concept": [{"code": "IMP"}]}]
    value_set = {"resourceType": "ValueSet", "status": "active", "compose": {"include": codes}}
    expanded = (await client.send("POST", "ValueSet/$expand?displayLanguage=vi", value_set)).json()
    assert [one["display"] for one in expanded["expansion"]["contains"]] == ["Nội trú"]
    everything = {**value_set, "compose": {"include": [{"system": supplement["supplements"]}]}}
    for one in (value_set, everything):
        found = (await client.send("POST", "ValueSet/$expand?filter=noi tru", one)).json()["expansion"]
        assert [entry["code"] for entry in found["contains"]] == ["IMP"]
    unknown = await client.get(f"CodeSystem/$lookup?{system}&code=none")
    assert unknown.status_code == 404, "a supplement adds no codes"
    await client.send("DELETE", f"CodeSystem/{stored['id']}")
    assert display((await client.get(f"CodeSystem/$lookup?{inpatient}", accept_language="vi")).json()) != "Nội trú"
