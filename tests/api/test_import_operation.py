"""$import-records: files in any of the ways in which clients send files, answered at once or later."""

from __future__ import annotations

import asyncio
import io
import zipfile
from typing import Any

import pytest

from fhir_server.model.resources import encode
from tests.api.conftest import Client


def person(number: int, **more: Any) -> dict[str, Any]:
    return {
        "ma_ho_so": str(number),
        "ma_cskcb": "38901",
        "ngay_cap_nhat": "2026-06-30",
        "hanh_chinh": {"ho_ten": f"Người {number}", "ngay_sinh": "1985", "gioi_tinh": "1", **more}
        | {"so_dinh_danh": f"0380859{number:05d}"},
    }


XML = (
    b"<DATA><HEADER><SENDER_CODE>38280</SENDER_CODE><TRANSACTION_DATE>02/03/2026</TRANSACTION_DATE></HEADER><BODY>"
    b"<HOSOSUCKHOE><THONGTINCHUNG><MADINHDANH>038085000123</MADINHDANH><HOTEN>An</HOTEN><GIOITINH>1</GIOITINH>"
    b"<NGAYSINH>02/03/1985</NGAYSINH></THONGTINCHUNG></HOSOSUCKHOE></BODY><SECURITY/></DATA>"
)
SECOND = XML[XML.index(b"<HOSO") : XML.index(b"</BODY>")].replace(b"123", b"124")


async def send(client: Client, body: bytes, kind: str, **headers: str) -> Any:
    return await client.send("POST", "$import-records?name=gửi", body, content_type=kind, **headers)


def zipped(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name.replace("_", "."), body)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", encode([person(1), person(2)])),
        ("application/x-ndjson; charset=utf-8", encode(person(1)) + b"\n" + encode(person(2)) + b"\n"),
        ("application/xml", XML.replace(b"</BODY>", SECOND + b"</BODY>")),
        ("application/zip", zipped(a_xml=XML, b_json=encode(person(1)))),
    ],
    ids=["json", "ndjson", "xml", "zip"],
)  # fmt: skip
async def test_a_file_is_taken_in_as_it_is(client: Client, kind: str, body: bytes) -> None:
    answer = await send(client, body, kind)
    assert answer.status_code == 200, answer.text
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["diagnostics"].startswith("2 stored, 0 unchanged, 0 refused")
    assert (await client.get("Patient?_summary=count")).json()["total"] == 2


async def test_several_files_come_as_a_form(client: Client) -> None:
    files = [
        ("xmlFile", ("a.xml", XML, "application/xml")),
        ("more", ("b.json", encode(person(1)), "application/json")),
    ]
    answer = await client.http.post("/fhir/$import-records", files=files, data={"nguoi_gui": "Trạm Y tế"})
    assert answer.json()["issue"][0]["diagnostics"].startswith("2 stored"), answer.text


async def test_each_problem_is_an_issue_with_place_and_advice(client: Client) -> None:
    answer = await send(client, encode([person(1), person(2, ngay_sinh="1985-02-30")]), "application/json")
    errors = [issue for issue in answer.json()["issue"] if issue["severity"] == "error"]
    assert any("gửi.json, #2" in issue["diagnostics"] and "ngay_sinh" in issue["diagnostics"] for issue in errors)
    assert all(issue["details"]["text"] for issue in errors)


async def test_the_report_can_be_fetched_later(client: Client) -> None:
    answer = await send(client, encode([person(1)]), "application/json", prefer="respond-async")
    assert answer.status_code == 202
    url = answer.headers["content-location"].partition("/fhir/")[2]
    while (told := await client.get(url)).status_code == 202:
        await asyncio.sleep(0.02)
    (entry,) = told.json()["entry"]
    assert entry["response"]["status"].startswith("200")
    assert (await client.get("Patient?_summary=count")).json()["total"] == 1


async def test_what_is_no_file_of_records_is_refused(client: Client) -> None:
    assert (await send(client, b"x", "text/plain")).status_code == 415
    assert (await send(client, b"<a/>", "application/xml")).status_code == 422
    assert (await send(client, b"PK\x03\x04broken", "application/zip")).status_code == 422
    assert (await send(client, b"--x", "multipart/form-data; boundary=x")).status_code == 400
    assert (await send(client, b"--x", "multipart/form-data")).status_code == 400
    assert (await client.send("POST", "$import-records?name=../x", b"{}", content_type="text/csv")).status_code == 400
    assert (await client.get("$import-records")).status_code == 405
