"""A file of records taken in over HTTP, and found again as FHIR."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model.resources import encode
from tests.api.conftest import Client

AN: dict[str, Any] = {
    "ma_ho_so": "1",
    "ma_cskcb": "38901",
    "ngay_cap_nhat": "2026-06-30",
    "hanh_chinh": {"ho_ten": "Nguyễn Văn An", "ngay_sinh": "1985", "gioi_tinh": "1", "so_dinh_danh": "038085900001"},
}


async def send(client: Client, body: bytes, kind: str = "application/json", name: str = "gửi.json") -> Any:
    return await client.http.post("/records", content=body, headers={"content-type": kind}, params={"name": name})


async def test_a_record_is_stored_reported_and_found(client: Client) -> None:
    answer = await send(client, encode(AN))
    assert (answer.status_code, answer.json()["stored"]) == (200, 1), answer.text
    found = (await client.get("Patient?identifier=038085900001")).json()["entry"]
    assert found[0]["resource"]["birthDate"] == "1985"
    again = (await send(client, encode(AN))).json()
    assert (again["unchanged"], again["resources_written"]) == (1, 0)


async def test_a_broken_record_is_refused_by_place_and_its_neighbour_stored(client: Client) -> None:
    broken = {**AN, "ma_ho_so": "2", "hanh_chinh": {**AN["hanh_chinh"], "ngay_sinh": "1985-02-30"}}
    told = (await send(client, encode([AN, broken]))).json()
    assert (told["stored"], told["refused"]) == (1, 1)
    (refused,) = [record for record in told["records"] if record["status"] == "refused"]
    assert (refused["record"], refused["file"]) == (2, "gửi.json")
    assert {"field", "en", "vi"} <= refused["problems"][0].keys()


async def test_what_holds_no_usable_record_is_422_and_an_unknown_type_415(client: Client) -> None:
    assert (await send(client, b"{}")).status_code == 422
    assert (await send(client, b"<a/>", "application/xml")).status_code == 422
    assert (await send(client, b"x", "text/plain")).status_code == 415
    assert (await send(client, encode(AN), name="../x")).status_code == 400


@pytest.mark.parametrize(
    ("accept", "start"),
    [
        ("application/fhir+json", '{"resourceType":"OperationOutcome"'),
        ("text/csv", "\N{ZERO WIDTH NO-BREAK SPACE}file,record,"),
        ("text/html,application/xhtml+xml", "<!doctype html>"),
        ("*/*", '{"read":1,'),
    ],
)
async def test_the_report_comes_in_the_form_that_accept_names(client: Client, accept: str, start: str) -> None:
    broken = {**AN, "hanh_chinh": {**AN["hanh_chinh"], "ngay_sinh": "1985-02-30"}}
    sent = {"content-type": "application/json", "accept": accept}
    answer = await client.http.post("/records", content=encode(broken), headers=sent)
    assert answer.text.startswith(start)
    assert answer.headers["content-type"].startswith(accept.partition(",")[0].replace("*/*", "application/json"))
    assert "ngay_sinh" in answer.text
    assert "/tmp" not in answer.text
