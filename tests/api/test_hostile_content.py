"""Broken and hostile content: each a 4xx OperationOutcome that says where, and nothing is stored."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from fhir_server.config import Settings
from tests.api.conftest import Client, serving
from tests.builders import a_bundle, a_patient, an_entry

XML = "application/fhir+xml"
PATIENT = b'<Patient xmlns="http://hl7.org/fhir">'


def issues(answer: httpx.Response) -> list[dict[str, Any]]:
    """What a refusal tells."""
    assert 400 <= answer.status_code < 500, f"{answer.status_code}: {answer.text[:500]}"
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    assert body["issue"]
    told: list[dict[str, Any]] = body["issue"]
    return told


def places(answer: httpx.Response) -> set[str]:
    return {place for issue in issues(answer) for place in issue.get("expression", ())}


async def nothing_is_stored(client: Client) -> None:
    assert (await client.get("Patient?_summary=count")).json()["total"] == 0


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"resourceType": "Patient",\n  "id": }', "line 2, column 9"),
        (b'{"resourceType": "Patient",\n\n"active": tru', "line 3, column 14"),
        (b'{"resourceType":"Patient"} x', "line 1, column 28"),
        (b'{"resourceType":"Patient",\n"gender":"\xff"}', "line 2, column 11"),
        ('{"resourceType":"Patient"}'.encode("utf-16"), "line 1, column 1"),
        (b'{"resourceType":"Patient","name":[{"text":"\\ud800"}]}', "line 1, column 44"),
        (b'{"resourceType":"Patient","name":[{"text":"\x01"}]}', "line 1, column 44"),
        (b'{"resourceType":"Patient","multipleBirthInteger":NaN}', "line 1, column 50"),
        (b"[" * 10_000 + b"]" * 10_000, "line 1, column"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "line 1, column"),
        (b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 100_000 + b"}", "line 1, column"),
        (b"", "no body"),
        (b" \n ", "no body"),
        (b"7", "JSON object"),
        (b"null", "JSON object"),
        (b"[]", "JSON object"),
        (b'{"active":true}', "resourceType"),
        (b'{"resourceType":["Patient"]}', "resourceType"),
    ],
)
async def test_json_that_is_none_is_told_by_line_and_column(client: Client, body: bytes, where: str) -> None:
    answer = await client.send("POST", "Patient", body)
    assert answer.status_code == 400
    assert where in issues(answer)[0]["diagnostics"]
    await nothing_is_stored(client)


async def test_a_name_that_stands_twice_in_an_object_is_refused_with_both_its_places(client: Client) -> None:
    body = b'{"resourceType":"Patient","name":[{"text":"An"},\n {"family":"L\xc3\xaa", "family" : "Tr\xe1\xba\xa7n"}]}'
    answer = await client.send("POST", "Patient", body)
    assert places(answer) == {"Patient.name[1].family"}
    assert "line 2, column 19" in issues(answer)[0]["diagnostics"]
    escaped = b'{"resourceType":"Patient","active":true,"\\u0061ctive":false}'
    assert places(await client.send("POST", "Patient", escaped)) == {"Patient.active"}
    hidden = b'{"resourceType":"Patient","name":[{"text":"\\u003a"}],"active":true,"active":false}'
    assert places(await client.send("POST", "Patient", hidden)) == {"Patient.active"}
    patch = b'[{"op":"add","path":"/active","value":true,"value":false}]'
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    assert "stands twice" in issues(await client.send("PATCH", "Patient/an", patch))[0]["diagnostics"]


async def test_a_byte_order_mark_is_passed_over(client: Client) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(a_patient()).encode()
    assert (await client.send("POST", "Patient", body)).status_code == 201


@pytest.mark.parametrize("depth", [60, 114, 150, 400])
@pytest.mark.parametrize("kind", ["extension", "contained", "value"])
async def test_deep_nesting_is_stored_and_served_or_refused_but_never_a_fault_of_ours(
    client: Client, kind: str, depth: int
) -> None:
    answer = await client.send("POST", "Patient", nested(kind, depth))
    if answer.status_code != 201:
        issues(answer)
        return
    path = f"Patient/{answer.json()['id']}"
    for shown in (path, f"{path}?_pretty=true", f"{path}?_format=xml", "Patient?_pretty=true", f"{path}/_history"):
        assert (await client.get(shown)).status_code == 200
    assert (await client.send("PATCH", path, {"active": True})).status_code == 200


def nested(kind: str, depth: int) -> bytes:
    start, middle, end = {
        "extension": (b'"extension":[', b'{"url":"urn:x","extension":[', b"]}"),
        "contained": (b'"contained":[', b'{"resourceType":"Patient","id":"p","contained":[', b"]}"),
        "value": (b'"name":', b"[", b"]"),
    }[kind]
    core = {
        "extension": b'{"url":"urn:x","valueString":"x"}',
        "contained": b'{"resourceType":"Patient"}',
        "value": b"1",
    }
    closing = b"]" if kind != "value" else b""
    return b'{"resourceType":"Patient",' + start + middle * depth + core[kind] + end * depth + closing + b"}"


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "add", "path": "/extension", "value": json.loads("[" * 200 + "]" * 200)}],
        [{"op": "copy", "from": "", "path": "/contained"}] * 2,
        [{"op": "copy", "from": "/name", "path": "/name/0/given"}] * 999,
        [{"op": "add", "path": "/name/99999999999999999999", "value": 1}],
        [{"op": "add", "path": "/" + "a/" * 5000, "value": 1}],
        [{"op": "replace", "path": "", "value": 1}],
        [{"op": "move", "from": "/name", "path": "/name/0"}],
        [{"op": "test", "path": "/~9", "value": 1}],
        [{"op": "add", "path": 7, "value": 1}],
        [{"op": ["add"], "path": "/x", "value": 1}],
        [{}],
        [None],
        [{"op": "add", "path": "/name/-", "value": {"text": "x" * 16_000_000}}],
        [{"op": "remove", "path": "/__class__"}],
        [{"op": "add", "path": "/active"}],
    ],
    ids=range(15),
)
async def test_a_hostile_patch_is_refused(client: Client, operations: list[Any]) -> None:
    await client.send("PUT", "Patient/an", a_patient(id="an"))
    answer = await client.send(
        "PATCH", "Patient/an", json.dumps(operations), content_type="application/json-patch+json"
    )
    issues(answer)
    assert (await client.get("Patient/an")).json()["meta"]["versionId"] == "1"


async def test_100_000_keys_are_refused_by_name_and_the_answer_stays_short(client: Client) -> None:
    body = a_patient(**{f"key{number}": number for number in range(100_000)})
    answer = await client.send("POST", "Patient", body)
    assert "Patient.key0" in places(answer)
    assert len(answer.content) < 1_000_000
    assert "more" in issues(answer)[-1]["diagnostics"]


@pytest.mark.parametrize(
    ("number", "status"),
    [
        ("-9.99e307", 201),
        ("1e-308", 201),
        ("1e308", 400),
        ("-1e-400000", 400),
        ("9" * 400, 400),
        ("1" * 300 + ".5", 201),
        ("1" * 500 + ".5", 400),
        ("0." + "3" * 100_000, 201),
        ("1e999999999999999999999", 400),
        ("1.e5", 400),
        ("0x10", 400),
        ("Infinity", 400),
    ],
)
async def test_huge_decimals_come_back_digit_for_digit_or_are_refused(client: Client, number: str, status: int) -> None:
    body = (
        '{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        f'"valueQuantity":{{"value":{number},"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}}}}'
    )
    answer = await client.send("POST", "Observation", body)
    assert answer.status_code == status, answer.text[:300]
    if status == 201:
        assert f'"value":{number},' in (await client.get(f"Observation/{answer.json()['id']}")).text
        for query in (f"value-quantity={number[:200]}", "value-quantity=gt1", "_sort=value-quantity"):
            assert (await client.get(f"Observation?{query}")).status_code in (200, 400)
    else:
        issues(answer)


@pytest.mark.parametrize("number", ["99999999999999999999", "-1", "1.0", "1e2", "9" * 400])
async def test_integers_out_of_range_are_refused_with_their_place(client: Client, number: str) -> None:
    body = f'{{"resourceType":"Patient","contact":[{{"period":1}}],"photo":[{{"size":{number}}}]}}'
    assert "Patient.photo[0].size" in places(await client.send("POST", "Patient", body))


async def test_nul_and_control_characters_are_refused_with_their_place(client: Client) -> None:
    for text in ("\\u0000", "a\\u0000b", "\\u0007", "\\u001f"):
        body = f'{{"resourceType":"Patient","name":[{{"text":"{text}"}}]}}'
        assert places(await client.send("POST", "Patient", body)) == {"Patient.name[0].text"}
    assert places(await client.send("POST", "Patient", '{"resourceType":"Patient","a\\u0000b":1}'))
    narrative = '{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\">a\\u0000b</div>"}'
    assert places(await client.send("POST", "Patient", f'{{"resourceType":"Patient","text":{narrative}}}'))
    for query in ("name=%00", "name=a%00b", "_id=%00", "identifier=%00|%00", "name=%ff%fe", "name=%ed%a0%80"):
        assert (await client.get(f"Patient?{query}")).status_code in (200, 400)


@pytest.mark.parametrize("name", ["$where", "a.b", "$set", "", "__proto__", "_id", "$", ".", "name.0", "Name", "name "])
async def test_names_that_mean_something_to_a_database_or_a_language_are_just_unknown(
    client: Client, name: str
) -> None:
    answer = await client.send("POST", "Patient", a_patient(**{name: {"$gt": ""}}))
    assert answer.status_code == 400
    assert any(place.startswith("Patient") for place in places(answer))
    deep = await client.send("POST", "Patient", a_patient(contact=[{"name": {name: {"$ne": 1}}}]))
    assert any(place.startswith("Patient.contact[0].name") for place in places(deep))
    await nothing_is_stored(client)


@pytest.mark.parametrize(
    "id", ["a b", "a/b", "../x", "x" * 65, "", "a_b", "ă", "$x", "a\n", 7, None, ["a"], {"$gt": ""}]
)
async def test_an_id_out_of_shape_is_refused(client: Client, id: Any) -> None:
    answer = await client.send("PUT", "Patient/an", a_patient(id=id))
    assert "Patient.id" in places(answer)
    await nothing_is_stored(client)


@pytest.mark.parametrize(
    "path",
    [
        "Patient/..%2f..%2fetc%2fpasswd",
        "Patient/%2e%2e%2fObservation",
        "../Patient",
        "Patient/..;/metadata",
        "Patient/%00",
        "Patient/a%0d%0aset-cookie:x",
        "Patient/an/_history/..%2f1",
        "Pätient/1",
        "Patient/$",
        "$everything",
        "_search/x",
        "Patient//%5c..%5c",
    ],
)
async def test_a_path_that_climbs_or_hides_leads_nowhere(client: Client, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await client.send(method, path, a_patient(id="an") if method == "PUT" else None)
        issues(answer)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"<Patient", "line 1"),
        (PATIENT + b"\n<active value='true'></Patient>", "line 2"),
        (PATIENT + b"\n\n<nonsense value='1'/></Patient>", "line 3"),
        (b"<Patient><active value='true'/></Patient>", "namespace"),
        (b'<Patient xmlns="http://example.org"/>', "namespace"),
        (PATIENT + b"\xff</Patient>", "line 1"),
        (PATIENT + b"<gender value='male'/><gender value='female'/></Patient>", "gender"),
        (PATIENT + b"&bomb;</Patient>", "line 1"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + PATIENT + b"<id value='&a;'/></Patient>", "DOCTYPE"),
        (b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'>" + PATIENT + b"</Patient>", "DOCTYPE"),
        (PATIENT + b"<extension>" * 10_000 + b"</extension>" * 10_000 + b"</Patient>", ""),
        (PATIENT + b"<text><status value='generated'/><div>x</div></text></Patient>", ""),
        (b"", "body"),
    ],
)
async def test_broken_and_hostile_xml_is_refused_with_its_line(client: Client, body: bytes, where: str) -> None:
    answer = await client.send("POST", "Patient", body, content_type=XML)
    assert answer.status_code == 400
    assert where.lower() in " ".join(issue["diagnostics"] for issue in issues(answer)).lower()
    await nothing_is_stored(client)


async def test_a_resource_over_15_mib_is_refused_with_the_limit_named(client: Client) -> None:
    data = "QUFB" * (4 << 20)
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": data}
    answer = await client.send("POST", "Binary", binary)
    assert answer.status_code == 413
    assert "15 MiB" in issues(answer)[0]["diagnostics"]
    bundle = a_bundle("transaction", an_entry("POST", "Patient", a_patient()), an_entry("POST", "Binary", binary))
    assert (await client.send("POST", "", bundle)).status_code == 413
    await nothing_is_stored(client)


async def test_a_body_over_the_limit_of_the_settings_is_refused_before_it_is_read(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"body_limit_mb": 1})) as client:
        taken: list[int] = []

        async def endless() -> Any:
            while True:
                taken.append(1)
                yield b" " * 65536

        answer = await client.http.post("/fhir/Patient", content=endless())
        assert answer.status_code == 413
        assert "1 MiB" in issues(answer)[0]["diagnostics"]
        assert len(taken) < 20
        announced = await client.send("POST", "Patient", b" " * (1 << 20) + b"{}")
        assert announced.status_code == 413


@pytest.mark.parametrize(
    "bundle",
    [
        {"resourceType": "Bundle", "type": "transaction", "entry": 7},
        {"resourceType": "Bundle", "type": "batch", "entry": {"a": 1}},
        {"resourceType": "Bundle", "type": "transaction", "entry": [7, None, [], "x"]},
        {"resourceType": "Bundle", "type": ["transaction"]},
        {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": 7}]},
        a_bundle("transaction", {"request": {"method": ["POST"], "url": 7}}),
        a_bundle("transaction", an_entry("POST", "Patient", [1])),
        a_bundle("transaction", an_entry("POST", "Patient", {"resourceType": {}})),
        a_bundle("transaction", {**an_entry("POST", "Patient", a_patient()), "fullUrl": 7}),
        a_bundle("transaction", an_entry("PUT", "Patient/a", a_patient(id=["a"]))),
        a_bundle("transaction", an_entry("POST", "Patient", a_patient(), ifNoneExist=7)),  # type: ignore[arg-type]
        a_bundle("transaction", an_entry("PUT", "Patient/a", a_patient(id="a"), ifMatch=[])),  # type: ignore[arg-type]
        a_bundle("transaction", *[an_entry("POST", "Patient", a_patient(), "urn:uuid:1")] * 2),
        a_bundle("transaction", {**an_entry("POST", "Patient", a_patient()), "nonsense": 1}),
        a_bundle("transaction", an_entry("GET", "Patient?" + "a=b&" * 20_000)),
        a_bundle("transaction", an_entry("GET", "x/" * 100_000)),
        a_bundle("transaction", an_entry("GET", "http://elsewhere.example/fhir/Patient/1")),
        a_bundle("transaction", an_entry("POST", "", a_bundle("transaction"))),
    ],
    ids=range(18),
)
async def test_a_bundle_of_odd_shape_is_refused_with_its_place(client: Client, bundle: dict[str, Any]) -> None:
    answer = await client.send("POST", "", bundle)
    if bundle["type"] == "batch" and answer.status_code == 200:
        return
    issues(answer)
    await nothing_is_stored(client)
