"""What an operation is asked: by query, by a Parameters body, and how a wrong request is told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Client

WARD = "urn:vn-basic:CodeSystem:ward"


def a_body(*parameters: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(parameters)}


async def faults(client: Client, method: str, path: str, body: Any = None) -> list[tuple[str, list[str]]]:
    """(issue code, expression) of each fault of a request that is refused."""
    answer = await client.send(method, path, body)
    assert answer.status_code == 400, answer.text
    return [(issue["code"], issue.get("expression", [])) for issue in answer.json()["issue"]]


async def test_query_body_and_both_together_ask_the_same(client: Client) -> None:
    system, code = {"name": "system", "valueUri": WARD}, {"name": "code", "valueCode": "14758"}
    answers = [
        await client.get(f"CodeSystem/$lookup?system={WARD}&code=14758"),
        await client.send("POST", "CodeSystem/$lookup", a_body(system, code)),
        await client.send("POST", f"CodeSystem/$lookup?system={WARD}", a_body(code)),
        await client.send("POST", f"CodeSystem/$lookup?system={WARD}&code=14758"),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("system=urn:x&code=1&colour=red", [("not-supported", ["colour"])]),
        ("system=urn:x&code=1&code=2", [("invalid", ["code"])]),
        ("system=urn:x&code=1&date=yesterday", [("value", ["date"])]),
        ("system=&code=%20", [("value", ["system"]), ("value", ["code"])]),
        ("coding=urn:x|1", [("invalid", ["coding"])]),
    ],
)
async def test_each_fault_of_a_query_is_told_by_the_name_of_its_parameter(
    client: Client, query: str, told: list[tuple[str, list[str]]]
) -> None:
    assert await faults(client, "GET", f"CodeSystem/$lookup?{query}") == told


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        ({"name": "colour", "valueString": "red"}, ("not-supported", ["Parameters.parameter[1].name"])),
        ({"name": "code", "valueBoolean": True}, ("invalid", ["Parameters.parameter[1].value"])),
        ({"name": "code", "resource": {"resourceType": "Basic"}}, ("invalid", ["Parameters.parameter[1].resource"])),
        ({"name": "code"}, ("required", ["Parameters.parameter[1]"])),
        ({"name": "system", "valueUri": "urn:y"}, ("invalid", ["Parameters.parameter[1].value"])),
        ({"name": "date", "valueDateTime": "2026-02-30"}, ("value", ["Parameters.parameter[1].value"])),
    ],
)
async def test_each_fault_of_a_body_is_told_by_its_place(
    client: Client, parameter: dict[str, Any], told: tuple[str, list[str]]
) -> None:
    body = a_body({"name": "system", "valueUri": "urn:x"}, parameter)
    assert told in await faults(client, "POST", "CodeSystem/$lookup", body)


@pytest.mark.parametrize("parameters", [None, {}, "x", [1], [{"name": 3}], [{"name": "code", "valueCode": None}], []])
async def test_a_body_of_the_wrong_shape_is_refused(client: Client, parameters: Any) -> None:
    assert await faults(client, "POST", "CodeSystem/$lookup", {"resourceType": "Parameters", "parameter": parameters})


async def test_a_body_that_is_no_parameters_is_refused(client: Client) -> None:
    assert await faults(client, "POST", "CodeSystem/$lookup", {"resourceType": "Patient"}) == [
        ("invalid", ["resourceType"])
    ]


async def test_a_canonical_is_a_uri_and_so_is_taken_for_one(client: Client) -> None:
    body = a_body({"name": "system", "valueCanonical": WARD}, {"name": "code", "valueCode": "14758"})
    assert (await client.send("POST", "CodeSystem/$lookup", body)).status_code == 200


@pytest.mark.parametrize(
    ("path", "told"),
    [("ValueSet/$expand?url=urn:x&count=x", "count is an integer"), ("ValueSet/$expand?url=%20", "url is a uri")],
)
async def test_a_wrong_form_is_told_in_plain_english(client: Client, path: str, told: str) -> None:
    answer = await client.get(path)
    assert any(one["diagnostics"].startswith(told) for one in answer.json()["issue"]), answer.text
