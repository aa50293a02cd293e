"""The rows of a sample visit to the hospital: drugs, services, supplies, results and notes, with sums that agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from fhir_server.records.population import Draw, lists
from fhir_server.records.sample_health import Visit
from fhir_server.records.sample_tags import minute

Row = dict[str, object]
CENT = Decimal("0.01")
SHARE = 80  # benefit level of nearly everybody, per cent


@dataclass(frozen=True, slots=True)
class Costs:
    """The rows of XML2 to XML5 of one visit."""

    drugs: tuple[Row, ...]
    services: tuple[Row, ...]
    results: tuple[Row, ...]
    notes: tuple[Row, ...]

    def total(self, field: str, *tables: tuple[Row, ...]) -> str:
        """The sum of a field over tables, drugs and services where none is named."""
        rows = [row for table in tables or (self.drugs, self.services) for row in table]
        return str(sum((Decimal(str(row[field])) for row in rows), Decimal("0.00")))


def costs_of(visit: Visit) -> Costs:
    """The same for the same visit, always."""
    draw = Draw(f"costs/{visit.key}")
    is_stay = visit.kind == "03"
    tests = list(_tests(visit, draw, is_stay))
    return Costs(
        tuple(_numbered(_drugs(visit, draw, is_stay), visit)),
        tuple(_numbered(_services(visit, draw, is_stay, tests), visit)),
        tuple(_numbered(_results(visit, tests), visit)),
        tuple(_numbered(_notes(visit, draw), visit)) if is_stay else (),
    )


def _numbered(rows: Iterator[Row], visit: Visit) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        yield {"MA_LK": visit.key, "STT": number, **row}


def _money(amount: Decimal) -> str:
    return str(amount.quantize(CENT, ROUND_HALF_UP))


def _charges(price: str, amount: str, aid: bool = False) -> Row:
    """The amounts of one row: who pays how much. aid: the state pays what the insurance does not cover."""
    whole = (Decimal(price) * Decimal(amount)).quantize(CENT, ROUND_HALF_UP)
    covered = (whole * 90 / 100).quantize(CENT, ROUND_HALF_UP) if aid else whole
    insured = (covered * SHARE / 100).quantize(CENT, ROUND_HALF_UP)
    return {
        "TYLE_TT_BH": 90 if aid else 100,
        "THANH_TIEN_BV": _money(whole),
        "THANH_TIEN_BH": _money(covered),
        "T_NGUONKHAC_NSNN": _money(whole - covered),
        "T_NGUONKHAC_VTNN": "0.00",
        "T_NGUONKHAC_VTTN": "0.00",
        "T_NGUONKHAC_CL": "0.00",
        "T_NGUONKHAC": _money(whole - covered),
        "MUC_HUONG": SHARE,
        "T_BNTT": "0.00",
        "T_BNCCT": _money(covered - insured),
        "T_BHTT": _money(insured),
    }


def _drugs(visit: Visit, draw: Draw, is_stay: bool) -> Iterator[Row]:
    care = lists("treatments")
    for _ in range(draw.between(2, 4) if is_stay else draw.between(1, 2)):
        drug: Mapping[str, Any] = draw.one_of(care["drugs"])
        traditional = drug.get("traditional", "")
        yield {
            "MA_THUOC": drug["code"],
            "MA_PP_CHEBIEN": traditional,
            "MA_CSKCB_THUOC": "C.38991" if draw.happens(0.03) else "",
            "MA_NHOM": "4",
            "TEN_THUOC": drug["name"],
            "DON_VI_TINH": drug["unit"],
            "HAM_LUONG": drug["strength"],
            "DUONG_DUNG": drug["route"],
            "DANG_BAO_CHE": drug["form"],
            "LIEU_DUNG": drug["dose"],
            "CACH_DUNG": drug["how"],
            "SO_DANG_KY": drug["register"],
            "TT_THAU": "123/QĐ-BV;G1;N2;2026",
            "PHAM_VI": 1,
            "SO_LUONG": drug["amount"],
            "DON_GIA": drug["price"],
            **_charges(drug["price"], drug["amount"], aid=draw.happens(0.1)),
            "MA_KHOA": "K03" if is_stay else "K01",
            "MA_BAC_SI": _doctors(draw),
            "MA_DICH_VU": care["operation"]["code"] if draw.happens(0.05) else "",
            "NGAY_YL": minute(visit.start + timedelta(minutes=10)),
            "NGAY_TH_YL": minute(visit.start + timedelta(minutes=15)),
            "MA_PTTT": 1,
            "NGUON_CTRA": 1,
            "VET_THUONG_TP": "1" if draw.happens(0.05) else "",
            "DU_PHONG": "",
        }


def _doctors(draw: Draw, most: int = 2) -> str:
    doctors = lists("treatments")["doctors"]
    return ";".join(sorted({draw.one_of(doctors) for _ in range(draw.between(1, most))}))


def _service(
    visit: Visit, draw: Draw, one: Mapping[str, Any], amount: str = "1", delay: int = 20, **more: object
) -> Row:
    """A row of XML3; delay: minutes from the beginning of the visit to its execution."""
    return {
        "MA_DICH_VU": one.get("code", one.get("service", "")),
        "MA_PTTT_QT": one.get("icd9", ""),
        "MA_VAT_TU": "",
        "MA_NHOM": one.get("group", "1"),
        "GOI_VTYT": "",
        "TEN_VAT_TU": "",
        "TEN_DICH_VU": one["name"],
        "MA_XANG_DAU": one.get("fuel", ""),
        "DON_VI_TINH": one.get("unit", "Lần"),
        "PHAM_VI": 1,
        "SO_LUONG": amount,
        "DON_GIA_BV": one["price"],
        "DON_GIA_BH": one["price"],
        "TT_THAU": one.get("tender", ""),
        "TYLE_TT_DV": 100,
        "T_TRANTT": "",
        **_charges(one["price"], amount),
        "MA_KHOA": "K03" if visit.kind == "03" else "K01",
        "MA_GIUONG": "",
        "MA_BAC_SI": _doctors(draw),
        "NGUOI_THUC_HIEN": _doctors(draw, 3),
        "MA_BENH": visit.code,
        "MA_BENH_YHCT": "",
        "NGAY_YL": minute(visit.start + timedelta(minutes=5)),
        "NGAY_TH_YL": minute(visit.start + timedelta(minutes=delay)),
        "NGAY_KQ": minute(visit.start + timedelta(minutes=delay + 30)),
        "MA_PTTT": 1,
        "VET_THUONG_TP": "1" if draw.happens(0.02) else "",
        "PP_VO_CAM": "",
        "VI_TRI_TH_DVKT": "",
        "MA_MAY": one.get("machine", ""),
        "MA_HIEU_SP": one.get("model", ""),
        "TAI_SU_DUNG": "",
        "DU_PHONG": "",
    }


def _services(visit: Visit, draw: Draw, is_stay: bool, tests: list[Mapping[str, Any]]) -> Iterator[Row]:
    care = lists("treatments")
    yield _service(visit, draw, care["examination"], delay=6)
    for test in tests:
        yield _service(visit, draw, test)
    if draw.happens(0.05):
        traditional = {"code": "08.0005.0230", "name": "Điện châm", "price": "71000.00"}
        yield _service(visit, draw, traditional) | {"MA_BENH_YHCT": "U59.121"}
    if not is_stay:
        return
    days = max(1, (visit.end.date() - visit.start.date()).days)
    yield _service(visit, draw, care["bed"], str(days)) | {"MA_GIUONG": "H001", "NGUOI_THUC_HIEN": ""}
    if draw.happens(0.25):
        where: Row = {"PP_VO_CAM": 1, "VI_TRI_TH_DVKT": "12", "GOI_VTYT": "G1", "T_TRANTT": "105300000.00"}
        yield _service(visit, draw, care["operation"], delay=180) | where
        supply = care["supply"]
        told: Row = {"MA_VAT_TU": supply["code"], "TEN_VAT_TU": supply["name"], "MA_DICH_VU": care["operation"]["code"]}
        told |= {"TEN_DICH_VU": care["operation"]["name"], "GOI_VTYT": "G1", "MA_PTTT_QT": care["operation"]["icd9"]}
        told |= {"TAI_SU_DUNG": "1" if draw.happens(0.2) else "", "VI_TRI_TH_DVKT": "12"}
        yield _service(visit, draw, supply, "2", delay=180) | told
    if draw.happens(0.05):
        yield _service(visit, draw, care["transport"], "45")


def _tests(visit: Visit, draw: Draw, is_stay: bool) -> Iterator[Mapping[str, Any]]:
    """The laboratory tests and images that were ordered, each at most once."""
    care = lists("treatments")
    for test in care["laboratory"]:
        if draw.happens(0.5 if is_stay else 0.2):
            yield test
    if draw.happens(0.5 if is_stay else 0.15):
        yield care["imaging"]


def _results(visit: Visit, tests: list[Mapping[str, Any]]) -> Iterator[Row]:
    care = lists("treatments")
    for number, test in enumerate(tests):
        reader = care["doctors"][number % len(care["doctors"])]
        shared: Row = {"NGAY_KQ": minute(visit.start + timedelta(minutes=50)), "MA_BS_DOC_KQ": reader, "DU_PHONG": ""}
        if "text" in test:
            image: Row = {"MA_CHI_SO": "SA01", "TEN_CHI_SO": test["name"], "GIA_TRI": "", "DON_VI_DO": ""}
            yield {
                "MA_DICH_VU": test["service"],
                **image,
                "MO_TA": test["text"],
                "KET_LUAN": test["conclusion"],
                **shared,
            }
            continue
        for code, name, value, unit, conclusion in test["indices"]:
            index: Row = {"MA_CHI_SO": code, "TEN_CHI_SO": name, "GIA_TRI": value, "DON_VI_DO": unit}
            yield {"MA_DICH_VU": test["service"], **index, "MO_TA": "", "KET_LUAN": conclusion, **shared}


def _notes(visit: Visit, draw: Draw) -> Iterator[Row]:
    courses = lists("treatments")["courses"]
    days = (visit.end.date() - visit.start.date()).days
    for day in range(min(days, len(courses))):
        yield {
            "DIEN_BIEN_LS": courses[day],
            "GIAI_DOAN_BENH": "Giai đoạn II" if draw.happens(0.05) else "",
            "HOI_CHAN": "Thống nhất điều trị nội khoa" if draw.happens(0.1) else "",
            "PHAU_THUAT": "Mổ nội soi, cắt ruột thừa" if draw.happens(0.05) else "",
            "THOI_DIEM_DBLS": minute(visit.start + timedelta(days=day, minutes=30)),
            "NGUOI_THUC_HIEN": _doctors(draw),
            "DU_PHONG": "",
        }
