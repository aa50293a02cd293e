"""Patient/[id]/$record: what was sent in one format comes back in any."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from fhir_server.model.resources import encode
from fhir_server.records.files import find_files, read_files
from fhir_server.records.importing import formats_for
from tests.api.conftest import Client

AN: dict[str, Any] = {
    "ma_ho_so": "1",
    "ma_cskcb": "38901",
    "ngay_cap_nhat": "2026-06-30",
    "hanh_chinh": {
        "ho_ten": "Nguyễn Văn An",
        "ngay_sinh": "1985",
        "gioi_tinh": "1",
        "so_dinh_danh": "038085900001",
        "dia_chi": {"chi_tiet": "Thôn 1", "ma_tinh": "38", "ma_xa": "14845"},
    },
    "tien_su": {
        "di_ung": [{"loai": "1", "ten": "Penicillin", "mo_ta": "Nổi mẩn"}],
        "tiem_chung": [{"ma_vac_xin": "BCG", "ten_vac_xin": "Lao", "ngay_tiem": "1985-03-02", "mui_so": "1"}],
    },
    "dot_kham": [
        {
            "ma_lk": "LK1",
            "ngay_vao": "2026-03-02T08:00:00+07:00",
            "hinh_thuc": "01",
            "cap_cuu": "0",
            "ma_benh_chinh": "I10",
        }
    ],
}


async def stored(client: Client) -> str:
    answer = await client.http.post("/records", content=encode(AN), headers={"content-type": "application/json"})
    assert answer.json()["stored"] == 1, answer.text
    found = (await client.get("Patient?identifier=038085900001")).json()
    return str(found["entry"][0]["resource"]["id"])


async def test_a_person_comes_back_in_the_format_that_was_sent(client: Client) -> None:
    id = await stored(client)
    answer = await client.get(f"Patient/{id}/$record?format=basic")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    assert answer.json() == {**AN, "ma_ho_so": id, "ngay_cap_nhat": "2026-06-30"}


async def test_a_person_comes_back_in_another_format(client: Client, tmp_path: Path) -> None:
    id = await stored(client)
    answer = await client.get(f"Patient/{id}/$record?format=hssk831")
    assert answer.headers["content-type"] == "application/xml"
    assert f'filename="hssk831-{id}.xml"' in answer.headers["content-disposition"]
    (tmp_path / "a.xml").write_bytes(answer.content)
    (source,) = read_files(find_files([tmp_path]), formats_for("moh", "+07:00"))
    assert source.content is not None
    assert source.content["HEADER"]["SENDER_CODE"] == "38901"
    person = source.content["HOSOSUCKHOE"]["THONGTINCHUNG"]
    assert (person["HOTEN"], person["MADINHDANH"], person["MAXA_HIENTAI"]) == ("Nguyễn Văn An", "038085900001", "14845")
    dossier = await client.get(f"Patient/{id}/$record?format=bhxh&facility=38902")
    assert "<MACSKCB>38902</MACSKCB>" in dossier.text


async def test_other_forms_and_a_binary_are_given_on_request(client: Client) -> None:
    id = await stored(client)
    sheet = await client.get(f"Patient/{id}/$record?format=basic&form=csv")
    assert sheet.headers["content-type"].startswith("text/csv")
    assert sheet.text.startswith("loai_dong,ma_cskcb,ma_ho_so,")
    binary = (await client.get(f"Patient/{id}/$record?format=basic", accept="application/fhir+json")).json()
    assert (binary["resourceType"], binary["contentType"]) == ("Binary", "application/json")
    assert b"Penicillin" in base64.b64decode(binary["data"])
    asked = {"resourceType": "Parameters", "parameter": [{"name": "format", "valueString": "basic"}]}
    posted = await client.send("POST", f"Patient/{id}/$record", asked)
    assert posted.json()["hanh_chinh"]["ho_ten"] == "Nguyễn Văn An"


async def test_a_dose_of_any_sender_is_given_as_the_platform_writes_it(client: Client) -> None:
    id = await stored(client)
    (dose,) = [(await client.get(f"Patient/{id}/$record?format=tiemchung")).json()]
    immunization = (await client.get(f"Immunization?patient={id}")).json()["entry"][0]["resource"]["id"]
    wanted = {"ma_mui_tiem": immunization, "ten_vac_xin": "Lao", "ngay_tiem": "1985-03-02", "mui_so": "1"}
    assert {name: dose[name] for name in wanted} == wanted
    assert (dose["ho_ten"], dose["don_vi_gui"]) == ("Nguyễn Văn An", "38901")
    sheet = await client.get(f"Patient/{id}/$record?format=tiemchung&form=csv")
    assert sheet.text.startswith("don_vi_gui,ma_mui_tiem,ma_doi_tuong,ho_ten,")


async def test_what_cannot_be_given_is_refused(client: Client) -> None:
    id = await stored(client)
    assert (await client.get(f"Patient/{id}/$record?format=word")).status_code == 400
    assert (await client.get(f"Patient/{id}/$record?format=basic&form=xml")).status_code == 400
    assert (await client.get(f"Patient/{id}/$record?format=basic&colour=red")).status_code == 400
    assert (await client.get("Patient/nobody/$record?format=basic")).status_code == 404
    await client.send("DELETE", f"Patient/{id}")
    assert (await client.get(f"Patient/{id}/$record?format=basic")).status_code == 404
