"""Source records for tests: small, synthetic, made of keyword arguments; and what they are mapped to."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from typing import Any

import orjson

from fhir_server.records.bundle import prepare, transaction
from fhir_server.records.files import read_stream
from fhir_server.records.importing import formats_for
from fhir_server.records.record import Record, map_record
from fhir_server.records.source import SourceRecord

FORMATS = formats_for("moh", "+07:00")

DOSSIER: Mapping[str, str] = {
    "MA_LK": "LK1",
    "MA_BN": "BN1",
    "HO_TEN": "Trần Thị Mai",
    "SO_CCCD": "038185000124",
    "NGAY_SINH": "198503020000",
    "GIOI_TINH": "2",
    "MA_QUOCTICH": "000",
    "MA_DANTOC": "01",
    "DIA_CHI": "Thôn 3",
    "MATINH_CU_TRU": "38",
    "MAXA_CU_TRU": "14758",
    "CHAN_DOAN_VAO": "Đau đầu",
    "CHAN_DOAN_RV": "Tăng huyết áp; viêm họng",
    "MA_BENH_CHINH": "I10",
    "MA_DOITUONG_KCB": "1.1",
    "NGAY_VAO": "202603020815",
    "NGAY_RA": "202603021130",
    "KET_QUA_DTRI": "2",
    "MA_LOAI_RV": "1",
    "MA_LOAI_KCB": "01",
    "MA_CSKCB": "38280",
}

PERSON: Mapping[str, str] = {
    "MADINHDANH": "038085000123",
    "MABHXH": "3820000123",
    "HOTEN": "Nguyễn Văn An",
    "GIOITINH": "1",
    "NGAYSINH": "02/03/1985",
    "MATINH_HIENTAI": "38",
    "MAXA_HIENTAI": "14758",
}


def element(tag: str, content: Any) -> str:
    """XML of a tree of dicts, lists and texts; None is left out."""
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(element(tag, one) for one in content)
    if isinstance(content, Mapping):
        return f"<{tag}>{''.join(element(name, one) for name, one in content.items())}</{tag}>"
    text = str(content).replace("&", "&amp;").replace("<", "&lt;")
    return f"<{tag}>{text}</{tag}>"


def total(**fields: str | None) -> str:
    """The XML1 of a visit: `DOSSIER` with these fields in place of its own; None leaves one out."""
    return element("TONG_HOP", {**DOSSIER, **fields})


def dossier(*visits: str, blanks: bool = False, count: int | None = None, **tables: str) -> bytes:
    """An insurance file of one HOSO a visit. tables: further inner documents of each, `XML2="<…/>"`."""
    hosos = "".join(_hoso({"XML1": visit, **tables}, blanks) for visit in visits)
    told = len(visits) if count is None else count
    return (
        f'<?xml version="1.0" encoding="utf-8"?><GIAMDINHHS><THONGTINDONVI><MACSKCB>38280</MACSKCB></THONGTINDONVI>'
        f"<THONGTINHOSO><NGAYLAP>20260302</NGAYLAP><SOLUONGHOSO>{told}</SOLUONGHOSO>"
        f"<DANHSACHHOSO>{hosos}</DANHSACHHOSO></THONGTINHOSO><CHUKYDONVI/></GIAMDINHHS>"
    ).encode()


def _hoso(tables: Mapping[str, str], blanks: bool) -> str:
    parts = "".join(file_part(name, content, blanks) for name, content in tables.items())
    return f"<HOSO>{parts}</HOSO>"


def file_part(name: str, content: str, blanks: bool = False) -> str:
    """One FILEHOSO; blanks: a BOM and CRLF inside, and the base64 in indented lines."""
    inner = ("\ufeff" + content.replace("><", ">\r\n<") if blanks else content).encode()
    text = base64.b64encode(inner).decode()
    if blanks:
        text = "\r\n\t ".join(text[start : start + 60] for start in range(0, len(text), 60)) + "\r\n"
    return f"<FILEHOSO><LOAIHOSO>{name}</LOAIHOSO><NOIDUNGFILE>{text}</NOIDUNGFILE></FILEHOSO>"


def health_record(*records: str, day: str = "02/03/2026", sender: str = "38280", request: str = "") -> bytes:
    """An HSSK-831 file of these HOSOSUCKHOE. request: its REQUEST_ID, by default one that follows from the content."""
    body = "".join(records)
    number = request or f"R-{hashlib.sha256(f'{day}{sender}{body}'.encode()).hexdigest()[:12]}"
    header = {"SENDER_CODE": sender, "SENDER_NAME": "Trạm Y tế", "TRANSACTION_DATE": day, "REQUEST_ID": number}
    return f"<DATA>{element('HEADER', header)}<BODY>{body}</BODY><SECURITY/></DATA>".encode()


def person(history: Any = None, doses: Any = None, visits: Any = None, **fields: Any) -> str:
    """One HOSOSUCKHOE. history: TIENSU; doses: THONGTINMUITIEM; visits: HOSOKHAMCHUABENH; fields: THONGTINCHUNG."""
    return element(
        "HOSOSUCKHOE",
        {
            "THONGTINCHUNG": {**PERSON, **fields},
            "TIENSU": history,
            "TIEMCHUNG": {"THONGTINMUITIEM": doses} if doses else None,
            "DANHSACHHOSOKHAMCHUABENH": {"HOSOKHAMCHUABENH": visits} if visits else None,
        },
    )


def basic(**fields: Any) -> dict[str, Any]:
    """A record of the basic group; fields replace whole parts."""
    return {
        "ma_ho_so": "H1",
        "ma_cskcb": "38280",
        "ngay_cap_nhat": "2026-03-02",
        "hanh_chinh": {
            "ho_ten": "Nguyễn Văn An",
            "ngay_sinh": "1985-03-02",
            "gioi_tinh": "1",
            "so_dinh_danh": "038085000123",
        },
        **fields,
    }


def as_json(*records: Any) -> bytes:
    return orjson.dumps(list(records))


def read(body: bytes, name: str = "test.xml") -> list[SourceRecord]:
    return list(read_stream(io.BytesIO(body), name, FORMATS))


def records(body: bytes, name: str = "test.xml") -> list[Record]:
    """The mapped records of a file, each of which could be read."""
    found = []
    for source in read(body, name):
        if source.content is None and source.place.record == 0:
            continue
        assert source.content is not None, source.problems
        record = map_record(FORMATS.by_name[source.format], source)
        prepare(record, FORMATS.tools.naming)
        found.append(record)
    return found


def one(body: bytes, name: str = "test.xml") -> Record:
    found = records(body, name)
    assert len(found) == 1
    return found[0]


def resources(record: Record) -> list[dict[str, Any]]:
    """The resources as a transaction would send them."""
    assert not record.refused, record.mapped.problems
    return [entry["resource"] for entry in transaction(record, FORMATS.tools.naming)["entry"]]


def of_type(record: Record, type: str) -> list[dict[str, Any]]:
    return [resource for resource in resources(record) if resource["resourceType"] == type]


def visit(**fields: str | None) -> Record:
    """The record of one insurance dossier with these fields."""
    return one(dossier(total(**fields)))


def patient(record: Record) -> dict[str, Any]:
    (found,) = of_type(record, "Patient")
    return found


def rules(record: Record) -> set[tuple[str, str]]:
    """(severity, rule) of what was told."""
    return {(problem.severity, problem.rule) for problem in record.mapped.problems}
