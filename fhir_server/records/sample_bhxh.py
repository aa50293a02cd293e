"""Sample visits as insurance XML: GIAMDINHHS files whose dossiers hold each table in base64."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import date, datetime
from xml.sax.saxutils import escape

from fhir_server.records.population import HOSPITAL, STATION, TODAY, Household, Person
from fhir_server.records.sample_health import Visit
from fhir_server.records.sample_hssk831 import name_as_written

_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
# Free texts in which senders write a blood group.
_BLOOD_WORDS = ("{abo} Rh{rh}", "{abo}{rh}", "Nhóm {abo}")


def _row(fields: Iterable[tuple[str, object]]) -> str:
    return "".join(
        f"<{name}>{escape(str(value))}</{name}>" if value not in (None, "") else f"<{name}/>" for name, value in fields
    )


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M")


def _day(day: date) -> str:
    return day.strftime("%Y%m%d")


def envelope_start(count: int) -> bytes:
    """The beginning of a file of `count` dossiers."""
    return (
        f"{_DECLARATION}\n<GIAMDINHHS>\n<THONGTINDONVI><MACSKCB>{HOSPITAL}</MACSKCB></THONGTINDONVI>\n"
        f"<THONGTINHOSO>\n<NGAYLAP>{_day(TODAY)}</NGAYLAP>\n<SOLUONGHOSO>{count}</SOLUONGHOSO>\n<DANHSACHHOSO>\n"
    ).encode()


def envelope_end() -> bytes:
    return b"</DANHSACHHOSO>\n</THONGTINHOSO>\n<CHUKYDONVI></CHUKYDONVI>\n</GIAMDINHHS>\n"


def dossier(person: Person, household: Household, visit: Visit) -> bytes:
    """One HOSO: XML1, the medicines, for a stay the discharge paper, and for some an examination."""
    parts = [("XML1", _xml1(person, household, visit)), ("XML2", _xml2(visit))]
    if visit.kind == "03":
        parts.append(("XML7", _xml7(person, visit)))
    elif person.number % 4 == 0:
        parts.append(("XML3", _xml3(visit)))
    odd = "blanks-in-base64" in person.odd
    files = "".join(
        f"<FILEHOSO><LOAIHOSO>{kind}</LOAIHOSO><NOIDUNGFILE>{_encoded(text, odd)}</NOIDUNGFILE></FILEHOSO>\n"
        for kind, text in parts
    )
    return f"<HOSO>\n{files}</HOSO>\n".encode()


def _encoded(text: str, odd: bool) -> str:
    if not odd:
        return base64.b64encode(text.encode()).decode()
    whole = base64.b64encode((_BOM + text.replace("\n", "\r\n")).encode()).decode()
    return "\r\n    " + "\r\n    ".join(whole[at : at + 76] for at in range(0, len(whole), 76)) + "\r\n"


def birth_as_written(person: Person, visit: Visit) -> str:
    """Twelve digits; the time only of a newborn; what is unknown is 00."""
    if "year-of-birth-only" in person.odd:
        return f"{person.born.year}00000000"
    if "month-of-birth-only" in person.odd:
        return f"{person.born.year}{person.born.month:02d}000000"
    if (visit.start.date() - person.born).days <= 28:
        return _day(person.born) + "0317"
    return _day(person.born) + "0000"


def _number(person: Person) -> str:
    if "account-in-place-of-number" in person.odd:
        return f"VNEID{person.number:07d}"
    return person.cccd or person.cmnd or person.passport or ""


def _xml1(person: Person, household: Household, visit: Visit) -> str:
    newborn = "newborn-without-papers" in person.odd
    mother = household.by_number(person.mother) if newborn else None
    codes = [code.replace(".", "") if "code-without-dot" in person.odd else code for code in _codes(visit)]
    fields: list[tuple[str, object]] = [
        ("MA_LK", visit.key),
        ("STT", 1),
        ("MA_BN", person.patient_number),
        ("HO_TEN", mother.name if mother else name_as_written(person)),
        ("SO_CCCD", _number(person)),
        ("NGAY_SINH", birth_as_written(person, visit)),
        ("GIOI_TINH", person.sex),
        ("NHOM_MAU", _blood(person)),
        ("MA_QUOCTICH", "000"),
        ("MA_DANTOC", person.ethnic),
        ("MA_NGHE_NGHIEP", person.occupation),
        ("DIA_CHI", person.place.text),
        ("MATINH_CU_TRU", person.place.province),
        ("MAHUYEN_CU_TRU", ""),
        ("MAXA_CU_TRU", person.place.ward),
        ("DIEN_THOAI", mother.phone if mother else person.phone),
        *_card(person, visit, newborn),
        ("NGAY_MIEN_CCT", ""),
        ("LY_DO_VV", visit.reason),
        ("LY_DO_VNT", visit.reason if visit.kind == "03" else ""),
        ("MA_LY_DO_VNT", ""),
        ("CHAN_DOAN_VAO", visit.name),
        ("CHAN_DOAN_RV", "; ".join([visit.name, *(name for _, name in visit.others)])),
        ("MA_BENH_CHINH", codes[0]),
        ("MA_BENH_KT", ";".join(codes[1:])),
        ("MA_BENH_YHCT", ""),
        ("MA_PTTT_QT", ""),
        ("MA_DOITUONG_KCB", visit.category),
        ("MA_NOI_DI", STATION if visit.category == "1.3" else ""),
        ("MA_NOI_DEN", ""),
        ("MA_TAI_NAN", ""),
        ("NGAY_VAO", _minute(visit.start)),
        ("NGAY_VAO_NOI_TRU", _minute(visit.start) if visit.kind == "03" else ""),
        ("NGAY_RA", _minute(visit.end)),
        ("GIAY_CHUYEN_TUYEN", ""),
        ("SO_NGAY_DTRI", (visit.end.date() - visit.start.date()).days + 1 if visit.kind == "03" else 0),
        ("PP_DIEU_TRI", "Nội khoa"),
        ("KET_QUA_DTRI", visit.result),
        ("MA_LOAI_RV", visit.discharge),
        ("GHI_CHU", visit.advice),
        ("NGAY_TTOAN", _minute(visit.end)),
        *((name, "0.00") for name in _MONEY),
        ("NAM_QT", visit.end.year),
        ("THANG_QT", f"{visit.end.month:02d}"),
        ("MA_LOAI_KCB", visit.kind.lstrip("0") if "visit-type-without-zero" in person.odd else visit.kind),
        ("MA_KHOA", "K03" if visit.kind == "03" else "K01"),
        ("MA_CSKCB", visit.facility),
        ("MA_KHUVUC", ""),
        ("CAN_NANG", visit.vitals.weight),
        ("CAN_NANG_CON", ""),
        ("NAM_NAM_LIEN_TUC", ""),
        ("NGAY_TAI_KHAM", ""),
        ("MA_HSBA", visit.key.replace(".", "")),
        ("MA_TTDV", "3890000000"),
        ("DU_PHONG", ""),
    ]
    return f"{_DECLARATION}\n<TONG_HOP>\n{_row(fields)}\n</TONG_HOP>\n"


_MONEY = (
    "T_THUOC",
    "T_VTYT",
    "T_TONGCHI_BV",
    "T_TONGCHI_BH",
    "T_BNTT",
    "T_BNCCT",
    "T_BHTT",
    "T_NGUONKHAC",
    "T_BHTT_GDV",
)


def _codes(visit: Visit) -> list[str]:
    return [visit.code, *(code for code, _ in visit.others)]


def _blood(person: Person) -> str:
    if "blood-group-in-words" in person.odd:
        return _BLOOD_WORDS[person.number % len(_BLOOD_WORDS)].format(abo=person.abo, rh=person.rh)
    return person.abo if person.number % 2 else ""


def _card(person: Person, visit: Visit, newborn: bool) -> list[tuple[str, object]]:
    """The card or cards, where they are registered, and from when to when each is valid."""
    cards = [f"TE138{person.number:010d}"] if newborn else [person.card] if person.card else []
    first = [date(visit.start.year, 1, 1)]
    if "two-cards" in person.odd:
        cards.append(f"GD438{person.bhxh}")
        first.append(date(visit.start.year, 1, 1))
    return [
        ("MA_THE_BHYT", ";".join(cards)),
        ("MA_DKBD", ";".join(STATION for _ in cards)),
        ("GT_THE_TU", ";".join(_day(one) for one in first[: len(cards)])),
        ("GT_THE_DEN", ";".join(_day(date(one.year, 12, 31)) for one in first[: len(cards)])),
    ]


def _xml2(visit: Visit) -> str:
    fields = [
        ("MA_LK", visit.key),
        ("STT", 1),
        ("MA_THUOC", "40.2"),
        ("TEN_THUOC", "Paracetamol"),
        ("DON_VI_TINH", "Viên"),
        ("HAM_LUONG", "500mg"),
        ("DUONG_DUNG", "1.01"),
        ("SO_LUONG", "10.000"),
        ("NGAY_YL", _minute(visit.start)),
    ]
    row = f"<CHI_TIET_THUOC>{_row(fields)}</CHI_TIET_THUOC>"
    start, end = "CHITIEU_CHITIET_THUOC", "DSACH_CHI_TIET_THUOC"
    return f"{_DECLARATION}\n<{start}>\n<{end}>{row}</{end}>\n</{start}>\n"


def _xml3(visit: Visit) -> str:
    fields = [("MA_LK", visit.key), ("STT", 1), ("MA_DICH_VU", "02.1896"), ("TEN_DICH_VU", "Khám Nội"), ("SO_LUONG", 1)]
    row = f"<CHI_TIET_DVKT>{_row(fields)}</CHI_TIET_DVKT>"
    start, end = "CHITIEU_CHITIET_DVKT_VTYT", "DSACH_CHI_TIET_DVKT"
    return f"{_DECLARATION}\n<{start}>\n<{end}>{row}</{end}>\n</{start}>\n"


def _xml7(person: Person, visit: Visit) -> str:
    fields = [
        ("MA_LK", visit.key),
        ("SO_LUU_TRU", f"LT{person.number:06d}"),
        ("NGAY_VAO", _minute(visit.start)),
        ("NGAY_RA", _minute(visit.end)),
        ("CHAN_DOAN_RV", visit.name),
        ("PP_DIEUTRI", "Nội khoa"),
    ]
    return f"{_DECLARATION}\n<CHI_TIEU_DU_LIEU_GIAY_RA_VIEN>\n{_row(fields)}\n</CHI_TIEU_DU_LIEU_GIAY_RA_VIEN>\n"
