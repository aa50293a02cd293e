"""What the immunisation platform sends of people of the commune: doses that their other records do not hold."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from fhir_server.records.population import STATION, STATION_NAME, TODAY, Draw, Household, Person

_CAMPAIGN = date(2025, 10, 6)
_VACCINES = (("CUM4", "Cúm mùa 4 chủng"), ("CUM3", "Cúm mùa 3 chủng"))
_REACTIONS = ("Sốt nhẹ", "Sưng đau chỗ tiêm")


def campaign_dose(person: Person, household: Household, seed: int) -> dict[str, Any]:
    """A dose of last autumn's campaign against influenza, as a line of the platform."""
    draw = Draw(f"{seed}/t/{person.number}")
    code, name = draw.one_of(_VACCINES)
    given = _CAMPAIGN + timedelta(days=draw.between(0, 20))
    mother = household.by_number(person.mother)
    facility = STATION_NAME.format(ward=person.place.ward_name)
    told = {
        "don_vi_gui": STATION, "ma_mui_tiem": f"TC{person.number:08d}", "ma_doi_tuong": f"DT{person.number:08d}",
        "ho_ten": person.name, "ngay_sinh": person.born.isoformat(), "gioi_tinh": person.sex,
        "so_dinh_danh": person.cccd, "ma_so_bhxh": person.bhxh, "ma_the_bhyt": person.card,
        "dien_thoai": person.phone, "dan_toc": person.ethnic,
        "ma_tinh": person.place.province, "ma_xa": person.place.ward, "dia_chi": person.place.text,
        "ho_ten_me": mother.name if mother else None, "so_dinh_danh_me": mother.cccd if mother else None,
        "ma_vac_xin": code, "ten_vac_xin": name, "mui_so": draw.one_of(("1", "nhắc lại")),
        "ngay_tiem": f"{given.isoformat()}T{draw.between(8, 16):02d}:{draw.between(0, 59):02d}",
        "so_lo": f"FLU-{draw.between(100, 999)}", "han_dung": date(2026, 9, 30).isoformat(), "nha_san_xuat": "IVAC",
        "lieu_luong": "0.5", "duong_tiem": "Tiêm bắp", "vi_tri_tiem": draw.one_of(("Cánh tay trái", "Cánh tay phải")),
        "ma_co_so": STATION, "ten_co_so": facility, "nguoi_tiem": "Điều dưỡng mẫu",
        "loai_hinh": draw.one_of("23"), "trang_thai": "1", "ngay_cap_nhat": TODAY.isoformat(),
    }  # fmt: skip
    if draw.happens(0.1):
        told |= {"phan_ung": draw.one_of(_REACTIONS), "ngay_phan_ung": (given + timedelta(days=1)).isoformat()}
    if draw.happens(0.05):
        told |= {"trang_thai": "0", "ly_do": "Sốt cao"}
    if draw.happens(0.3):
        told["ngay_hen"] = (given + timedelta(days=365)).isoformat()
    return {field: value for field, value in told.items() if value is not None}
