"""How the tests of terminology ask a server, and what they store first."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tests.api.conftest import Client

OWN = "urn:vn-basic:CodeSystem:"
SETS = "urn:vn-basic:ValueSet:"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
FARM = "urn:test:CodeSystem:farm"


def a_farm(**changes: Any) -> dict[str, Any]:
    """A code system of a client, with a hierarchy."""
    return {
        "resourceType": "CodeSystem",
        "url": FARM,
        "version": "1",
        "name": "Farm",
        "title": "Nông trại",
        "status": "active",
        "content": "complete",
        "hierarchyMeaning": "is-a",
        "concept": [
            {
                "code": "animal",
                "display": "Động vật",
                "property": [{"code": "notSelectable", "valueBoolean": True}],
                "concept": [
                    {"code": "dog", "display": "Chó", "designation": [{"language": "en", "value": "dog"}]},
                    {"code": "hen", "display": "Gà mái"},
                ],
            },
            {"code": "stone", "display": "Đá"},
        ],
    } | changes


def a_set(*include: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "ValueSet",
        "url": "urn:test:ValueSet:mine",
        "status": "active",
        "compose": {"include": list(include)},
    } | changes


def body(**parameters: Any) -> dict[str, Any]:
    """Parameters of one value each; the name of the value[x] follows from the value."""
    made: list[dict[str, Any]] = []
    for name, value in parameters.items():
        if isinstance(value, dict) and "resourceType" in value:
            made.append({"name": name, "resource": value})
        else:
            kind, content = value
            made.append({"name": name, f"value{kind}": content})
    return {"resourceType": "Parameters", "parameter": made}


def named(parameters: dict[str, Any], name: str) -> list[Any]:
    return [
        next(value for key, value in one.items() if key != "name")
        for one in parameters["parameter"]
        if one["name"] == name
    ]


def codes_of(expanded: dict[str, Any]) -> list[str]:
    return [one["code"] for one in expanded["expansion"].get("contains", [])]


async def asked(client: Client, path: str, /, **query: Any) -> dict[str, Any]:
    pairs = [(name.replace("_", "-"), value) for name, value in query.items()]
    answer = await client.get(f"{path}?{urlencode(pairs)}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def posted(client: Client, path: str, sent: Any) -> dict[str, Any]:
    answer = await client.send("POST", path, sent)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def refused(client: Client, path: str, status: int, fault: str, sent: Any = None, /, **query: Any) -> list[str]:
    """The places of the refusal, which is of one issue."""
    method = "GET" if sent is None else "POST"
    answer = await client.send(method, f"{path}?{urlencode(query)}" if query else path, sent)
    assert answer.status_code == status, answer.text
    issue = answer.json()["issue"][0]
    assert issue["code"] == fault
    places: list[str] = issue.get("expression", [])
    return places
