"""Sample records of the basic group: one object a person, for JSON, NDJSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from fhir_server.records.population import STATION, STATION_NAME, TODAY, Household, Person
from fhir_server.records.sample_health import Dose, Health, Visit
from fhir_server.records.sample_hssk831 import knows_blood_group, name_as_written, relations

# fmt: off
CSV_COLUMNS = (
    "loai_dong", "ma_cskcb", "ma_ho_so", "ngay_cap_nhat", "ho_ten", "ngay_sinh", "gioi_tinh", "so_dinh_danh",
    "so_cmnd", "ho_chieu", "ma_so_bhxh", "ma_benh_nhan", "dan_toc", "quoc_tich", "ton_giao", "nghe_nghiep",
    "dien_thoai", "nhom_mau_abo", "nhom_mau_rh", "the_bhyt.ma_the", "the_bhyt.ma_dkbd", "the_bhyt.tu_ngay",
    "the_bhyt.den_ngay", "dia_chi.chi_tiet", "dia_chi.ma_tinh", "dia_chi.ma_xa", "quan_he", "loai", "ten", "mo_ta",
    "ngay_phat_hien", "loai_benh", "ma_benh", "ten_benh", "trang_thai", "ma_vac_xin", "ten_vac_xin", "ngay_tiem",
    "mui_so", "so_lo", "noi_tiem", "phan_ung", "ngay_hen", "ma_lk", "ten_cskcb", "ngay_vao", "ngay_ra", "hinh_thuc",
    "cap_cuu", "ly_do", "tinh_trang_ra_vien", "ket_qua_dieu_tri", "chan_doan", "ma_benh_chinh", "ma_benh_kem_theo",
    "chieu_cao", "can_nang",
)
# fmt: on


def _known(**values: Any) -> dict[str, Any]:
    """Only what has a value."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}


def basic(person: Person, health: Health, household: Household) -> dict[str, Any]:
    """The record as an object of the published schema."""
    return _known(
        ma_ho_so=f"{STATION}-{person.number:07d}",
        ma_cskcb=STATION,
        ngay_cap_nhat=f"{TODAY.isoformat()}T08:00",
        hanh_chinh=_person(person, household),
        tien_su=_history(person, health),
        dot_kham=[_visit(person, one) for one in health.station],
    )


def birth_as_written(person: Person) -> str:
    """An ISO date, only as long as it is known."""
    length = 4 if "year-of-birth-only" in person.odd else 7 if "month-of-birth-only" in person.odd else 10
    return person.born.isoformat()[:length]


def _person(person: Person, household: Household) -> dict[str, Any]:
    card = {
        "ma_the": person.card,
        "ma_dkbd": STATION,
        "tu_ngay": f"{TODAY.year}-01-01",
        "den_ngay": f"{TODAY.year}-12-31",
    }
    return _known(
        ho_ten=name_as_written(person),
        ngay_sinh=birth_as_written(person),
        gioi_tinh=person.sex,
        so_dinh_danh=person.cccd,
        so_cmnd=person.cmnd,
        ho_chieu=person.passport,
        ma_so_bhxh=person.bhxh if "no-number" not in person.odd else "",
        ma_benh_nhan=person.patient_number,
        dan_toc=person.ethnic,
        quoc_tich="000",
        ton_giao=person.religion,
        nghe_nghiep=person.occupation,
        dien_thoai=person.phone,
        nhom_mau_abo=person.abo if knows_blood_group(person) else "",
        nhom_mau_rh=person.rh if knows_blood_group(person) else "",
        the_bhyt=card if person.card else None,
        dia_chi={"chi_tiet": person.place.text, "ma_tinh": person.place.province, "ma_xa": person.place.ward},
        nguoi_dai_dien=[
            _known(ho_ten=other.name, quan_he=kin, so_dinh_danh=other.cccd, dien_thoai=other.phone)
            for kin, other, guards in relations(person, household)
            if guards
        ],
    )


def _history(person: Person, health: Health) -> dict[str, Any]:
    return _known(
        di_ung=[
            {"loai": one.group, "ten": one.agent, "mo_ta": one.reaction, "ngay_phat_hien": one.since.isoformat()[:4]}
            for one in health.allergies
        ],
        benh_tat=[
            _known(
                loai_benh=one.group,
                ma_benh=one.code,
                ten_benh=one.name,
                trang_thai="1" if one.current else "0",
                ngay_phat_hien=one.since.isoformat()[:7],
            )
            for one in health.diseases
        ],
        tiem_chung=[_dose(person, one) for one in health.doses],
    )


def _dose(person: Person, dose: Dose) -> dict[str, Any]:
    return _known(
        ma_vac_xin=dose.code,
        ten_vac_xin=dose.name,
        ngay_tiem=dose.given.isoformat() if dose.given else None,
        mui_so=dose.number,
        so_lo=dose.lot,
        noi_tiem=STATION_NAME.format(ward=person.place.ward_name) if dose.given else None,
        phan_ung=dose.reaction,
        ngay_hen=dose.due.isoformat() if dose.due else None,
    )


def _visit(person: Person, visit: Visit) -> dict[str, Any]:
    comma = "decimal-comma" in person.odd
    weight = visit.vitals.weight if visit.measured or comma else ""
    return _known(
        ma_lk=visit.key,
        ten_cskcb=STATION_NAME.format(ward=person.place.ward_name),
        ngay_vao=visit.start.isoformat(timespec="minutes"),
        ngay_ra=visit.end.isoformat(timespec="minutes"),
        hinh_thuc=visit.kind,
        cap_cuu="1" if visit.category == "2" else "0",
        ly_do=visit.reason,
        tinh_trang_ra_vien=visit.discharge,
        ket_qua_dieu_tri=visit.result,
        chan_doan="; ".join([visit.name, *(name for _, name in visit.others)]),
        ma_benh_chinh=visit.code,
        ma_benh_kem_theo=[code for code, _ in visit.others],
        chieu_cao=visit.vitals.height if visit.measured else None,
        can_nang=weight.replace(".", ",") if comma else weight,
    )


def csv_lines(record: Mapping[str, Any]) -> str:
    """The record as CSV lines: one a row kind, the administrative one first."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writerows(_rows(record))
    return out.getvalue()


def csv_header() -> str:
    return ",".join(CSV_COLUMNS) + "\n"


def _rows(record: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    keys = {"ma_cskcb": record["ma_cskcb"], "ma_ho_so": record["ma_ho_so"]}
    people = {name: value for name, value in record["hanh_chinh"].items() if name != "nguoi_dai_dien"}
    yield {"loai_dong": "hanh_chinh", **keys, "ngay_cap_nhat": record["ngay_cap_nhat"], **_cells(people)}
    history = record.get("tien_su", {})
    tables = {
        "nguoi_dai_dien": record["hanh_chinh"].get("nguoi_dai_dien", ()),
        **{name: history.get(name, ()) for name in ("di_ung", "benh_tat", "tiem_chung")},
        "dot_kham": record.get("dot_kham", ()),
    }
    for kind, rows in tables.items():
        for row in rows:
            yield {"loai_dong": kind, **keys, **_cells(row)}


def _cells(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested tables as dotted columns, lists with semicolons."""
    cells: dict[str, str] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            cells.update(_cells(value, f"{prefix}{name}."))
        else:
            cells[prefix + name] = ";".join(value) if isinstance(value, list) else str(value)
    return cells
