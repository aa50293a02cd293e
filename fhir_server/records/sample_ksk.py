"""Sample check-ups of KHAMSUCKHOE files: the three forms by age, each section a document of its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta

from fhir_server.records.population import STATION, TODAY, Draw, Household, Person
from fhir_server.records.sample_envelope import DECLARATION, elements, hoso
from fhir_server.records.sample_health import Health
from fhir_server.records.sample_hssk831 import name_as_written
from fhir_server.records.sample_tags import minute, ymd

_STATION_GLN = "8939000389015"
_ADULT_ORGANS = ("TUAN_HOAN", "HO_HAP", "TIEU_HOA", "THAN_TN_SD", "NOI_TIET", "CO_XUONG_KHOP", "THAN_KINH", "TAM_THAN")
_MINOR_ORGANS = ("TUAN_HOAN", "HO_HAP", "TIEU_HOA", "THAN_TN_SD", "THAN_KINH", "TAM_THAN")
_CHILD_FINDINGS = ("MAU_SAC_DA", "LONG_BAN_TAY", "THOP", "HINH_DANG_DAU", "LAC_MAT", "HONG", "NGHE_PHOI", "TIENG_TIM")
_PAST = ("TSBT_BENH_TIM", "TSBT_TANG_HUYET_AP", "TSBT_BENH_PHOI", "TSBT_DAI_THAO_DUONG", "TSBT_BENH_KHAC")
# code, name, unit, lowest, highest
_RESULTS = (("H02", "Huyết sắc tố", "g/L", 110, 165), ("G01", "Đường huyết", "mmol/L", 4, 9))

Fields = list[tuple[str, object]]


def check_up(person: Person, health: Health, household: Household, seed: int) -> bytes:
    """One HOSO: what the form of the person's age asks for."""
    draw = Draw(f"{seed}/k/{person.number}")
    lived = min(300, (TODAY - person.born).days)
    day = datetime.combine(TODAY - timedelta(days=draw.between(0, lived)), time(8, draw.between(0, 59)))
    age = person.age(day.date())
    codes = ";".join(disease.code for disease in health.diseases)
    common = {"XML1": ("THONG_TIN_HANH_CHINH", _person(person, household, age, draw))}
    common["XML2"] = ("THONG_TIN_CHUNG_VE_LAN_KHAM", _visit(person, day, age))
    sections = _child(health, codes, draw) if age < 6 else _grown_up(age, codes, draw)
    if age < 6:
        common["XML1"][1].extend(_history(codes))
    documents = {kind: _document(root, elements(fields)) for kind, (root, fields) in {**common, **sections}.items()}
    if age >= 6:
        documents["XML11"] = _document("KHAM_CAN_LAM_SANG", _results(draw))
    return hoso(documents, "blanks-in-base64" in person.odd)


def _document(root: str, content: str) -> str:
    return f"{DECLARATION}\n<{root}>{content}</{root}>\n"


def _person(person: Person, household: Household, age: int, draw: Draw) -> Fields:
    fields: Fields = [
        ("HO_TEN", name_as_written(person)),
        ("NGAY_SINH", ymd(person.born)),
        ("SO_CCCD", person.cccd or person.cmnd or person.passport),
        ("GIOI_TINH", person.sex),
        ("MA_DAN_TOC", person.ethnic),
        ("NHOM_MAU", person.abo),
        ("DIA_CHI", person.place.hamlet),
        ("MATINH_CU_TRU", person.place.province),
        ("MAXA_CU_TRU", person.place.ward),
        ("LY_DO_VV", "Khám sức khỏe định kỳ"),
    ]
    mother = household.by_number(person.mother)
    if age < 6:
        fields += [("TUAN_THAI", draw.between(36, 41)), ("SINH_NON", "0")]
    if age < 6 and mother:
        fields += [("HO_TEN_NGUOI_DI_CUNG", mother.name), ("SO_CCCD_NGUOI_DI_CUNG", mother.cccd)]
        fields += [("MOI_QUAN_HE_VOI_TRE", "2"), ("DIEN_THOAI_NGUOI_DI_CUNG", mother.phone)]
    elif age < 18 and mother:
        fields += [("NGUOI_GIAM_HO", mother.name), ("SO_CCCD_NGH", mother.cccd), ("DIEN_THOAI_NGH", mother.phone)]
    elif age >= 18:
        fields += [("DIEN_THOAI", person.phone), ("MA_NGHE_NGHIEP", "13"), ("NOI_LAM_VIEC_HOC_TAP", "Xã (mẫu)")]
    return fields


def _visit(person: Person, day: datetime, age: int) -> Fields:
    return [
        ("MA_LK", f"KSK{person.number:07d}"),
        ("MA_CSKCB", STATION),
        ("MA_GTIN_CSKCB", _STATION_GLN),
        ("TYPE", "ChildUnder" if age < 6 else "Minor" if age < 18 else "Adult"),
        ("DOI_TUONG", "10" if age < 6 else "11" if age < 18 else "1;5" if age >= 60 else "14"),
        ("NGUON_CHI_TRA", "2"),
        ("MA_LOAI_KCB", "01"),
        ("NGAY_VAO", minute(day)),
        ("NGAY_RA", minute(day + timedelta(hours=2))),
    ]


def _history(codes: str) -> Fields:
    return [("TSBT_MAC_BENH", "1" if codes else "0"), ("TSBT_MA_BENH", codes), ("TSGD_MAC_BENH", "0")]


def _child(health: Health, codes: str, draw: Draw) -> Mapping[str, tuple[str, Fields]]:
    given = "1" if any(dose.given for dose in health.doses) else "0"
    height, weight = draw.between(50, 110), draw.between(40, 200) / 10
    return {
        "XML3": ("DANH_GIA_DAU_HIEU_SINH_TON", [("NHIET_DO", "36.8"), ("DGDHST_NHIET_DO", "1"), ("MACH", 100)]),
        "XML4": ("DANH_GIA_DINH_DUONG", [("CHIEU_DAI", height), ("CAN_NANG", weight), ("DGDD_BINH_THUONG", "1")]),
        "XML5": ("DANH_GIA_PHAT_TRIEN_TINH_THAN_VAN_DONG", [("PT_TTBT_THEO_DO_TUOI", "1")]),
        "XML6": ("DANH_GIA_TIEM_CHUNG", [("TIEM_CHUNG_BCG_SS", given), ("TIEM_CHUNG_VGB_SS_MUI1", given)]),
        "XML7": ("KHAM_LAM_SANG", [(name, "0") for name in _CHILD_FINDINGS]),
        "XML8": ("KET_LUAN_VA_TU_VAN", [("BINH_THUONG", "0" if codes else "1"), ("KET_LUAN_BENH", codes)]),
    }


def _grown_up(age: int, codes: str, draw: Draw) -> Mapping[str, tuple[str, Fields]]:
    height, weight = draw.between(110, 180), draw.between(200, 800) / 10
    pressure = f"{draw.between(100, 165)}/{draw.between(60, 100)}"
    ends: Fields = [("PHAN_LOAI_SK", draw.between(1, 4)), ("KET_LUAN_BENH", codes or "Bình thường")]
    bmi = round(weight / height**2 * 10_000, 1)
    physique: Fields = [("CHIEU_CAO", height), ("CAN_NANG", weight), ("CHI_SO_BMI", bmi)]
    return {
        "XML7": ("KHAM_LAM_SANG", _examination(age, draw)),
        "XML9": ("TIEN_SU_BENH_TAT", [*_history(codes), *((name, "0") for name in _PAST)]),
        "XML10": ("KHAM_THE_LUC", [*physique, ("MACH", draw.between(60, 95)), ("HUYET_AP", pressure)]),
        "XML12": ("KET_LUAN_VA_TU_VAN", ends),
    }


def _examination(age: int, draw: Draw) -> Fields:
    eyes: Fields = [(f"KHONG_KINH_MAT_{side}", f"{draw.between(5, 10)}/10") for side in ("PHAI", "TRAI")]
    if age < 18:
        return [*eyes, *((f"NHI_KHOA_{organ}", "Bình thường") for organ in _MINOR_ORGANS)]
    findings: Fields = [(f"NOI_KHOA_{organ}", "Bình thường") for organ in _ADULT_ORGANS]
    return [*eyes, *findings, *((f"NOI_KHOA_{organ}_PL", draw.between(1, 3)) for organ in _ADULT_ORGANS)]


def _results(draw: Draw) -> str:
    rows: list[Fields] = [
        [
            ("MA_DICH_VU", f"XN.{code}"),
            ("MA_CHI_SO", code),
            ("TEN_CHI_SO", name),
            ("GIA_TRI", draw.between(low, high)),
            ("DON_VI_DO", unit),
            ("KET_LUAN", "Bình thường"),
        ]
        for code, name, unit, low, high in _RESULTS
    ]
    shown = "".join(f"<CHI_TIET_CLS>{elements(row)}</CHI_TIET_CLS>" for row in rows)
    return f"<DANH_SACH_CLS>{shown}</DANH_SACH_CLS>"
