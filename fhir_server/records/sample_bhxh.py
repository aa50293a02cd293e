"""Sample visits as insurance XML: GIAMDINHHS files whose dossiers hold each table in base64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from fhir_server.records.population import STATION, Draw, Household, Person, lists
from fhir_server.records.sample_costs import Costs, Row, costs_of
from fhir_server.records.sample_envelope import DECLARATION, elements, hoso
from fhir_server.records.sample_health import Visit
from fhir_server.records.sample_hssk831 import name_as_written
from fhir_server.records.sample_papers import Paper, papers_of
from fhir_server.records.sample_tags import minute, ymd

# Free texts in which senders write a blood group.
_BLOOD_WORDS = ("{abo} Rh{rh}", "{abo}{rh}", "Nhóm {abo}")


# table -> (root, list, row); a table of one row has its root alone.
_SHAPES: Mapping[str, tuple[str, str, str]] = {
    "XML0": ("CHI_TIEU_TRANG_THAI_KCB", "DSACH_TRANG_THAI_KCB", "TRANG_THAI_KCB"),
    "XML1": ("TONG_HOP", "", ""),
    "XML2": ("CHITIEU_CHITIET_THUOC", "DSACH_CHI_TIET_THUOC", "CHI_TIET_THUOC"),
    "XML3": ("CHITIEU_CHITIET_DVKT_VTYT", "DSACH_CHI_TIET_DVKT", "CHI_TIET_DVKT"),
    "XML4": ("CHITIEU_CHITIET_DICHVUCANLAMSANG", "DSACH_CHI_TIET_CLS", "CHI_TIET_CLS"),
    "XML5": ("CHITIEU_CHITIET_DIENBIENLAMSANG", "DSACH_CHI_TIET_DIEN_BIEN_BENH", "CHI_TIET_DIEN_BIEN_BENH"),
    "XML7": ("CHI_TIEU_DU_LIEU_GIAY_RA_VIEN", "", ""),
    "XML8": ("CHI_TIEU_DU_LIEU_TOM_TAT_HO_SO_BENH_AN", "", ""),
    "XML9": ("CHI_TIEU_DU_LIEU_GIAY_CHUNG_SINH", "DSACH_GIAYCHUNGSINH", "DU_LIEU_GIAY_CHUNG_SINH"),
    "XML10": ("CHI_TIEU_DU_LIEU_GIAY_NGHI_DUONG_THAI", "", ""),
    "XML11": ("CHI_TIEU_DU_LIEU_GIAY_CHUNG_NHAN_NGHI_VIEC_HUONG_BAO_HIEM_XA_HOI", "", ""),
    "XML13": ("CHI_TIEU_GIAYCHUYENTUYEN", "", ""),
    "XML14": ("CHI_TIEU_GIAYHEN_KHAMLAI", "", ""),
}


def dossier(person: Person, household: Household, visit: Visit) -> bytes:
    """One HOSO: XML1 to XML5, and the papers that the visit has."""
    costs = costs_of(visit)
    xml1 = dict(_xml1(person, household, visit, costs))
    tables: list[Paper] = [("XML1", [xml1]), ("XML2", list(costs.drugs)), ("XML3", list(costs.services))]
    tables += [("XML4", list(costs.results)), ("XML5", list(costs.notes))]
    tables += papers_of(person, household, visit, costs, xml1)
    documents = {kind: _table(kind, rows) for kind, rows in tables if rows}
    return hoso(documents, "blanks-in-base64" in person.odd)


def _table(kind: str, rows: Sequence[Row]) -> str:
    root, around, tag = _SHAPES[kind]
    if not tag:
        return f"{DECLARATION}\n<{root}>\n{elements(rows[0].items())}\n</{root}>\n"
    shown = "".join(f"<{tag}>{elements(row.items())}</{tag}>\n" for row in rows)
    return f"{DECLARATION}\n<{root}>\n<{around}>\n{shown}</{around}>\n</{root}>\n"


def birth_as_written(person: Person, visit: Visit) -> str:
    """Twelve digits; the time only of a newborn; what is unknown is 00."""
    if "year-of-birth-only" in person.odd:
        return f"{person.born.year}00000000"
    if "month-of-birth-only" in person.odd:
        return f"{person.born.year}{person.born.month:02d}000000"
    if (visit.start.date() - person.born).days <= 28:
        return ymd(person.born) + "0317"
    return ymd(person.born) + "0000"


def _number(person: Person) -> str:
    if "account-in-place-of-number" in person.odd:
        return f"VNEID{person.number:07d}"
    return person.cccd or person.cmnd or person.passport or ""


def _xml1(person: Person, household: Household, visit: Visit, costs: Costs) -> list[tuple[str, object]]:
    draw = Draw(f"xml1/{visit.key}")
    referred = visit.kind == "03" and visit.result in ("2", "3") and draw.happens(0.3)
    operated = any(row["PP_VO_CAM"] for row in costs.services)
    traditional = any(row["MA_BENH_YHCT"] for row in costs.services)
    next_visits = [ymd(visit.end.date() + timedelta(days=14 * (one + 1))) for one in range(draw.between(0, 2))]
    newborn = "newborn-without-papers" in person.odd
    mother = household.by_number(person.mother) if newborn else None
    codes = [code.replace(".", "") if "code-without-dot" in person.odd else code for code in _codes(visit)]
    return [
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
        ("NGAY_MIEN_CCT", f"{visit.start.year}01020000" if draw.happens(0.03) else ""),
        ("LY_DO_VV", visit.reason),
        ("LY_DO_VNT", visit.reason if visit.kind == "03" else ""),
        ("MA_LY_DO_VNT", "01" if visit.kind == "03" else ""),
        ("CHAN_DOAN_VAO", visit.name),
        ("CHAN_DOAN_RV", "; ".join([visit.name, *(name for _, name in visit.others)])),
        ("MA_BENH_CHINH", codes[0]),
        ("MA_BENH_KT", ";".join(codes[1:])),
        ("MA_BENH_YHCT", "U59.121;U55.061" if traditional else ""),
        ("MA_PTTT_QT", "47.01;54.21" if operated else ""),
        ("MA_DOITUONG_KCB", visit.category),
        ("MA_NOI_DI", STATION if visit.category == "1.3" else ""),
        ("MA_NOI_DEN", "38101" if referred else ""),
        ("MA_TAI_NAN", "4" if visit.code.startswith("S") else ""),
        ("NGAY_VAO", minute(visit.start)),
        ("NGAY_VAO_NOI_TRU", minute(visit.start) if visit.kind == "03" else ""),
        ("NGAY_RA", minute(visit.end)),
        ("GIAY_CHUYEN_TUYEN", f"{STATION}/{visit.key[-8:]}" if visit.category == "1.3" else ""),
        ("SO_NGAY_DTRI", (visit.end.date() - visit.start.date()).days + 1 if visit.kind == "03" else 0),
        ("PP_DIEU_TRI", "Nội khoa"),
        ("KET_QUA_DTRI", visit.result),
        ("MA_LOAI_RV", "2" if referred else visit.discharge),
        ("GHI_CHU", visit.advice),
        ("NGAY_TTOAN", minute(visit.end)),
        ("T_THUOC", costs.total("THANH_TIEN_BV", costs.drugs)),
        ("T_VTYT", costs.total("THANH_TIEN_BV", tuple(row for row in costs.services if row["MA_VAT_TU"]))),
        ("T_TONGCHI_BV", costs.total("THANH_TIEN_BV")),
        ("T_TONGCHI_BH", costs.total("THANH_TIEN_BH")),
        ("T_BNTT", costs.total("T_BNTT")),
        ("T_BNCCT", costs.total("T_BNCCT")),
        ("T_BHTT", costs.total("T_BHTT")),
        ("T_NGUONKHAC", costs.total("T_NGUONKHAC")),
        ("T_BHTT_GDV", costs.total("T_BHTT")),
        ("NAM_QT", visit.end.year),
        ("THANG_QT", f"{visit.end.month:02d}"),
        ("MA_LOAI_KCB", visit.kind.lstrip("0") if "visit-type-without-zero" in person.odd else visit.kind),
        ("MA_KHOA", "K03" if visit.kind == "03" else "K01"),
        ("MA_CSKCB", visit.facility),
        ("MA_KHUVUC", f"K{1 + person.number % 3}" if draw.happens(0.1) else ""),
        ("CAN_NANG", visit.vitals.weight),
        ("CAN_NANG_CON", ";".join(str(2800 + number % 9 * 100) for number in visit.births)),
        ("NAM_NAM_LIEN_TUC", "20250101" if person.card and draw.happens(0.3) else ""),
        ("NGAY_TAI_KHAM", ";".join(next_visits)),
        ("MA_HSBA", visit.key.replace(".", "")),
        ("MA_TTDV", lists("treatments")["head"]),
        ("DU_PHONG", ""),
    ]


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
        ("GT_THE_TU", ";".join(ymd(one) for one in first[: len(cards)])),
        ("GT_THE_DEN", ";".join(ymd(date(one.year, 12, 31)) for one in first[: len(cards)])),
    ]
