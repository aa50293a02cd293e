"""The papers of a sample visit to the hospital: check-in, discharge, summary, birth, leave, referral, follow-up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from fhir_server.records.population import Draw, Household, Person, lists
from fhir_server.records.sample_costs import Costs, Row
from fhir_server.records.sample_health import Visit
from fhir_server.records.sample_tags import minute, ymd

Paper = tuple[str, list[Row]]  # table, its rows


def papers_of(
    person: Person, household: Household, visit: Visit, costs: Costs, xml1: Mapping[str, object]
) -> Iterator[Paper]:
    """The tables beside XML1 to XML5 that this visit has. xml1: its fields, which papers repeat."""
    draw = Draw(f"papers/{visit.key}")
    is_stay = visit.kind == "03"
    if draw.happens(0.3):
        yield "XML0", [_check_in(visit, costs, xml1)]
    if is_stay:
        yield "XML7", [_discharge(person, household, visit, xml1, draw)]
        yield "XML8", [_summary(person, household, visit, xml1, draw)]
    births = [child for number in visit.births if (child := household.by_number(number)) is not None]
    if births:
        yield "XML9", [_birth(person, household, child, len(births), xml1) for child in births]
    if visit.reason == "Khám thai":
        yield "XML10", [_pregnancy_rest(visit, xml1)]
    elif (1 <= person.age() < 7 or 18 <= person.age() < 60) and draw.happens(0.3):
        yield "XML11", [_sick_leave(person, household, visit, xml1, draw)]
    if xml1["MA_LOAI_RV"] == "2":
        yield "XML13", [_referral(visit, xml1)]
    if xml1["NGAY_TAI_KHAM"]:
        yield "XML14", [_follow_up(visit, xml1)]


def _same(xml1: Mapping[str, object], *names: str) -> Row:
    return {name: xml1[name] for name in names}


def _signers(visit: Visit) -> tuple[str, str, str]:
    """(head, doctor's number, doctor's name)."""
    care = lists("treatments")
    number, name = care["signers"][len(visit.key) % len(care["signers"])]
    return care["head"], number, name


def _parent(household: Household, number: int | None) -> tuple[str, str]:
    """(name, social insurance number) of a parent, "" for none."""
    other = household.by_number(number)
    return (other.name, other.bhxh) if other is not None else ("", "")


def _temporary_card(person: Person) -> str:
    """Of a newborn without papers alone."""
    return f"TE138{person.number:010d}" if "newborn-without-papers" in person.odd else ""


def _check_in(visit: Visit, costs: Costs, xml1: Mapping[str, object]) -> Row:
    drug = costs.drugs[0]
    supply: Row = next((row for row in costs.services if row["MA_VAT_TU"]), {})
    return {
        **_same(xml1, "MA_LK", "STT", "MA_BN", "HO_TEN", "SO_CCCD", "NGAY_SINH", "GIOI_TINH", "MA_THE_BHYT", "MA_DKBD"),
        **_same(xml1, "GT_THE_TU", "GT_THE_DEN", "MA_DOITUONG_KCB", "NGAY_VAO", "NGAY_VAO_NOI_TRU", "LY_DO_VNT"),
        **_same(xml1, "MA_LY_DO_VNT", "MA_LOAI_KCB", "MA_CSKCB"),
        "MA_DICH_VU": costs.services[0]["MA_DICH_VU"],
        "TEN_DICH_VU": costs.services[0]["TEN_DICH_VU"],
        "MA_THUOC": drug["MA_THUOC"],
        "TEN_THUOC": drug["TEN_THUOC"],
        "MA_VAT_TU": supply.get("MA_VAT_TU", ""),
        "TEN_VAT_TU": supply.get("TEN_VAT_TU", ""),
        "NGAY_YL": minute(visit.start + timedelta(minutes=5)),
        "DU_PHONG": "",
    }


def _discharge(person: Person, household: Household, visit: Visit, xml1: Mapping[str, object], draw: Draw) -> Row:
    head, number, name = _signers(visit)
    father, mother = _parent(household, person.father), _parent(household, person.mother)
    is_child = person.age() < 16
    rest = draw.between(0, 10)
    return {
        "MA_LK": visit.key,
        "SO_LUU_TRU": f"LT{person.number:06d}",
        "MA_YTE": person.patient_number,
        "MA_KHOA_RV": "K03",
        **_same(xml1, "NGAY_VAO", "NGAY_RA"),
        "MA_DINH_CHI_THAI": 0 if person.sex == "2" and 15 <= person.age() <= 49 else "",
        "NGUYENNHAN_DINHCHI": "",
        "THOIGIAN_DINHCHI": "",
        "TUOI_THAI": "",
        "CHAN_DOAN_RV": xml1["CHAN_DOAN_RV"],
        "PP_DIEUTRI": xml1["PP_DIEU_TRI"],
        "GHI_CHU": "Nghỉ ngơi tại nhà" if rest else "",
        "MA_TTDV": head,
        "MA_BS": number,
        "TEN_BS": name,
        "NGAY_CT": ymd(visit.end.date()),
        "MA_CHA": father[1] if is_child else "",
        "MA_ME": mother[1] if is_child else "",
        "MA_THE_TAM": _temporary_card(person),
        "HO_TEN_CHA": father[0] if is_child else "",
        "HO_TEN_ME": mother[0] if is_child else "",
        "SO_NGAY_NGHI": rest or "",
        "NGOAITRU_TUNGAY": ymd(visit.end.date()) if rest else "",
        "NGOAITRU_DENNGAY": ymd(visit.end.date() + timedelta(days=rest)) if rest else "",
        "DU_PHONG": "",
    }


def _summary(person: Person, household: Household, visit: Visit, xml1: Mapping[str, object], draw: Draw) -> Row:
    father, mother = _parent(household, person.father), _parent(household, person.mother)
    is_child = person.age() < 16
    return {
        **_same(xml1, "MA_LK", "MA_LOAI_KCB"),
        "HO_TEN_CHA": father[0] if is_child else "",
        "HO_TEN_ME": mother[0] if is_child else "",
        "NGUOI_GIAM_HO": mother[0] if is_child and draw.happens(0.3) else "",
        "DON_VI": lists("treatments")["employer"] if 18 <= person.age() < 60 else "",
        **_same(xml1, "NGAY_VAO", "NGAY_RA", "CHAN_DOAN_VAO", "CHAN_DOAN_RV"),
        "QT_BENHLY": f"{visit.reason} trước khi vào viện.\nĐược khám và cho nhập viện",
        "TOMTAT_KQ": "Công thức máu trong giới hạn",
        "PP_DIEUTRI": xml1["PP_DIEU_TRI"],
        "NGAY_SINHCON": "",
        "NGAY_CONCHET": "",
        "SO_CONCHET": "",
        "KET_QUA_DTRI": xml1["KET_QUA_DTRI"],
        "GHI_CHU": f"Mẹ: {mother[0]}" if is_child and mother[0] else "",
        "MA_TTDV": lists("treatments")["head"],
        "NGAY_CT": ymd(visit.end.date()),
        "MA_THE_TAM": _temporary_card(person),
        "DU_PHONG": "",
    }


def _birth(mother: Person, household: Household, child: Person, count: int, xml1: Mapping[str, object]) -> Row:
    care, father = lists("treatments"), _parent(household, child.father)
    by_operation = child.number % 4 == 0
    return {
        "MA_LK": xml1["MA_LK"],
        "MA_BHXH_NND": mother.bhxh,
        "MA_THE_NND": mother.card or "",
        "HO_TEN_NND": xml1["HO_TEN"],
        "NGAYSINH_NND": ymd(mother.born),
        "MA_DANTOC_NND": mother.ethnic,
        "SO_CCCD_NND": mother.cccd or "",
        "NGAYCAP_CCCD_NND": "20210510" if mother.cccd else "",
        "NOICAP_CCCD_NND": care["card_office"] if mother.cccd else "",
        "NOI_CU_TRU_NND": mother.place.text,
        "MA_QUOCTICH": "000",
        "MATINH_CU_TRU": mother.place.province,
        "MAHUYEN_CU_TRU": "",
        "MAXA_CU_TRU": mother.place.ward,
        "HO_TEN_CHA": father[0],
        "MA_THE_TAM": child.card or f"TE138{child.number:010d}",
        "HO_TEN_CON": child.name,
        "GIOI_TINH_CON": child.sex,
        "SO_CON": count,
        "LAN_SINH": 1,
        "SO_CON_SONG": count,
        "CAN_NANG_CON": 2800 + child.number % 9 * 100,
        "NGAY_SINH_CON": ymd(child.born) + "0317",
        "NOI_SINH_CON": "Bệnh viện mẫu",
        "TINH_TRANG_CON": "Khỏe mạnh",
        "SINHCON_PHAUTHUAT": int(by_operation),
        "SINHCON_DUOI32TUAN": 0,
        "GHI_CHU": "Sinh con phải phẫu thuật" if by_operation else "",
        "NGUOI_DO_DE": care["midwife"],
        "NGUOI_GHI_PHIEU": care["clerk"],
        "NGAY_CT": ymd(child.born + timedelta(days=1)),
        "SO": f"{child.number:06d}",
        "QUYEN_SO": "01",
        "MA_TTDV": care["head"],
        "DU_PHONG": "",
    }


def _pregnancy_rest(visit: Visit, xml1: Mapping[str, object]) -> Row:
    head, number, name = _signers(visit)
    return {
        "MA_LK": visit.key,
        "SO_SERI": f"SR{visit.key[-8:]}",
        "SO_CT": f"CT{visit.key[-8:]}",
        "SO_NGAY": 14,
        "DON_VI": lists("treatments")["employer"],
        "CHAN_DOAN_RV": xml1["CHAN_DOAN_RV"],
        "TU_NGAY": ymd(visit.start.date()),
        "DEN_NGAY": ymd(visit.start.date() + timedelta(days=13)),
        "MA_TTDV": head,
        "TEN_BS": name,
        "MA_BS": number,
        "NGAY_CT": ymd(visit.start.date()),
        "DU_PHONG": "",
    }


def _sick_leave(person: Person, household: Household, visit: Visit, xml1: Mapping[str, object], draw: Draw) -> Row:
    """Of the patient or, for a small child, of a parent."""
    head, number, _ = _signers(visit)
    is_child = person.age() < 7
    days = draw.between(1, 7)
    return {
        "MA_LK": visit.key,
        "SO_CT": f"CT{visit.key[-8:]}",
        "SO_SERI": f"SR{visit.key[-8:]}",
        "SO_KCB": f"KB{visit.key[-8:]}",
        "DON_VI": lists("treatments")["employer"],
        "MA_BHXH": person.bhxh,
        "MA_THE_BHYT": xml1["MA_THE_BHYT"],
        "CHAN_DOAN_RV": xml1["CHAN_DOAN_RV"],
        "PP_DIEUTRI": xml1["PP_DIEU_TRI"],
        "MA_DINH_CHI_THAI": 0,
        "NGUYENNHAN_DINHCHI": "",
        "TUOI_THAI": "",
        "SO_NGAY_NGHI": days,
        "TU_NGAY": ymd(visit.end.date()),
        "DEN_NGAY": ymd(visit.end.date() + timedelta(days=days - 1)),
        "HO_TEN_CHA": _parent(household, person.father)[0] if is_child else "",
        "HO_TEN_ME": _parent(household, person.mother)[0] if is_child else "",
        "MA_TTDV": head,
        "MA_BS": number,
        "NGAY_CT": ymd(visit.end.date()),
        "MA_THE_TAM": _temporary_card(person),
        "MAU_SO": "CT07",
        "DU_PHONG": "",
    }


def _referral(visit: Visit, xml1: Mapping[str, object]) -> Row:
    return {
        "MA_LK": visit.key,
        "SO_HOSO": f"HS{visit.key[-8:]}",
        "SO_CHUYENTUYEN": f"SCT{visit.key[-6:]}",
        "GIAY_CHUYEN_TUYEN": f"GCT{visit.key[-8:]}",
        **_same(xml1, "MA_CSKCB", "MA_NOI_DI", "MA_NOI_DEN", "HO_TEN", "NGAY_SINH", "GIOI_TINH", "MA_QUOCTICH"),
        **_same(xml1, "MA_DANTOC", "MA_NGHE_NGHIEP", "DIA_CHI", "MA_THE_BHYT", "GT_THE_DEN", "NGAY_VAO"),
        **_same(xml1, "NGAY_VAO_NOI_TRU", "NGAY_RA"),
        "DAU_HIEU_LS": "Tỉnh, huyết động ổn định",
        "CHAN_DOAN_RV": xml1["CHAN_DOAN_RV"],
        "QT_BENHLY": visit.reason,
        "TOMTAT_KQ": "Công thức máu trong giới hạn",
        "PP_DIEUTRI": xml1["PP_DIEU_TRI"],
        **_same(xml1, "MA_BENH_CHINH", "MA_BENH_KT", "MA_BENH_YHCT"),
        "TEN_DICH_VU": "Siêu âm ổ bụng",
        "TEN_THUOC": "Paracetamol 500mg",
        "PP_DIEU_TRI": xml1["PP_DIEU_TRI"],
        "MA_LOAI_RV": xml1["MA_LOAI_RV"],
        "MA_LYDO_CT": 1,
        "HUONG_DIEU_TRI": "Khám chuyên khoa tuyến trên",
        "PHUONGTIEN_VC": "Xe cứu thương",
        "HOTEN_NGUOI_HT": "Điều dưỡng mẫu",
        "CHUCDANH_NGUOI_HT": "Điều dưỡng",
        "MA_BAC_SI": lists("treatments")["doctors"][0],
        "MA_TTDV": lists("treatments")["head"],
        "DU_PHONG": "",
    }


def _follow_up(visit: Visit, xml1: Mapping[str, object]) -> Row:
    return {
        "MA_LK": visit.key,
        "SO_GIAYHEN_KL": f"GH{visit.key[-8:]}",
        **_same(xml1, "MA_CSKCB", "HO_TEN", "NGAY_SINH", "GIOI_TINH", "DIA_CHI", "MA_THE_BHYT", "GT_THE_DEN"),
        **_same(xml1, "NGAY_VAO", "NGAY_VAO_NOI_TRU", "NGAY_RA"),
        "NGAY_HEN_KL": f"{str(xml1['NGAY_TAI_KHAM']).partition(';')[0]}0800",
        **_same(xml1, "CHAN_DOAN_RV", "MA_BENH_CHINH", "MA_BENH_KT", "MA_BENH_YHCT", "MA_DOITUONG_KCB"),
        "MA_BAC_SI": lists("treatments")["doctors"][1],
        "MA_TTDV": lists("treatments")["head"],
        "NGAY_CT": ymd(visit.end.date()),
        "DU_PHONG": "",
    }
