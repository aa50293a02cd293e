"""XML, gzip and Binary content over HTTP. R4 RESTful API, Content Types and encodings; R4 Binary."""

from __future__ import annotations

import gzip

from tests.api.conftest import Client
from tests.builders import a_patient

XML = "application/fhir+xml"


async def test_a_patient_goes_in_as_xml_and_comes_out_as_either(client: Client) -> None:
    body = '<Patient xmlns="http://hl7.org/fhir"><active value="true"/><birthDate value="1985-03"/></Patient>'
    made = await client.send("POST", "Patient", body, content_type=XML, accept=XML)
    assert made.status_code == 201, made.text
    assert made.headers["content-type"] == "application/fhir+xml; charset=utf-8"
    path = made.headers["location"].split("/fhir/")[1].split("/_history")[0]
    assert (await client.get(path)).json()["birthDate"] == "1985-03"
    assert '<birthDate value="1985-03"/>' in (await client.get(path, accept=XML)).text
    assert '<birthDate value="1985-03"/>' in (await client.get(f"{path}?_format=xml")).text


async def test_searches_and_refusals_speak_xml_too(client: Client) -> None:
    await client.created(a_patient())
    assert "<Bundle" in (await client.get("Patient?_format=xml")).text
    refused = await client.get("Patient/nobody", accept=XML)
    assert (refused.status_code, "<OperationOutcome" in refused.text) == (404, True)
    broken = await client.send("POST", "Patient", "<Patient", content_type=XML)
    assert (broken.status_code, broken.json()["issue"][0]["code"]) == (400, "structure")


async def test_a_gzipped_body_is_read_and_a_bomb_is_refused(client: Client) -> None:
    packed = gzip.compress(b'{"resourceType":"Patient","active":true}')
    assert (await client.send("POST", "Patient", packed, content_encoding="gzip")).status_code == 201
    bomb = gzip.compress(b" " * (80 << 20))
    assert (await client.send("POST", "Patient", bomb, content_encoding="gzip")).status_code == 413
    assert (await client.send("POST", "Patient", b"no gzip", content_encoding="gzip")).status_code == 400
    assert (await client.send("POST", "Patient", packed, content_encoding="br")).status_code == 415


async def test_large_answers_are_gzipped_for_those_who_take_it(client: Client) -> None:
    assert (await client.get("metadata", accept_encoding="gzip")).headers["content-encoding"] == "gzip"
    refusing = await client.get("metadata", accept_encoding="gzip;q=0, deflate")
    assert "content-encoding" not in refusing.headers
    assert "content-encoding" not in (await client.get("metadata", accept_encoding="identity")).headers


async def test_binary_goes_in_and_out_in_its_own_content_type(client: Client) -> None:
    made = await client.send(
        "POST", "Binary", b"\x00PDF", content_type="application/pdf", x_security_context="Patient/1"
    )
    assert made.status_code == 201, made.text
    path = f"Binary/{made.json()['id']}"
    raw = await client.get(path)
    assert (raw.content, raw.headers["content-type"]) == (b"\x00PDF", "application/pdf")
    assert raw.headers["x-content-type-options"] == "nosniff"
    resource = (await client.get(path, accept="application/fhir+json")).json()
    assert (resource["data"], resource["securityContext"]) == ("AFBERg==", {"reference": "Patient/1"})
    assert (await client.get("Binary/nobody")).json()["resourceType"] == "OperationOutcome"
