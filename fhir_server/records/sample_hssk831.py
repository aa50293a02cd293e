"""Sample records as HSSK-831 XML: one personal health record a file."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from datetime import date
from xml.sax.saxutils import escape

from fhir_server.records.population import STATION, STATION_NAME, TODAY, Household, Person, Place
from fhir_server.records.sample_health import Allergy, Birth, Disease, Dose, Health, Relative, Visit, Vitals

# The day of an old record, when there were districts.
OLD_DAY = date(2025, 3, 15)

Tag = Callable[[str, object], str]


def _tag(name: str, value: object) -> str:
    """An element, or nothing for an empty value."""
    return f"<{name}>{escape(str(value))}</{name}>" if value not in (None, "") else ""


def _always(name: str, value: object) -> str:
    """An element, empty for an empty value, as some senders write."""
    return f"<{name}>{escape(str(value))}</{name}>" if value not in (None, "") else f"<{name}></{name}>"


def dmy(day: date | None) -> str:
    return f"{day.day:02d}/{day.month:02d}/{day.year}" if day else ""


def knows_blood_group(person: Person) -> bool:
    """One in three has been typed."""
    return person.number % 3 == 0


def name_as_written(person: Person) -> str:
    """The name in the letters that this record happens to use."""
    if "decomposed-name" in person.odd:
        return unicodedata.normalize("NFD", person.name)
    return person.name.upper() if "upper-case-name" in person.odd else person.name


def hssk831(person: Person, health: Health, household: Household, old: tuple[Place, str] | None) -> bytes:
    """The XML of one record. old: the address in the codes before 2025-07-01 and its district, for an old record."""
    tag = _always if "empty-tags" in person.odd else _tag
    day = OLD_DAY if old else TODAY
    visits = [one for one in health.station if one.start.date() <= day]
    body = [
        '<?xml version="1.0" encoding="utf-8"?>\n<DATA>\n<HEADER>',
        tag("MESSAGE_VERSION", "1.0"),
        tag("SENDER_CODE", STATION),
        tag("SENDER_NAME", STATION_NAME.format(ward=person.place.ward_name)),
        tag("TRANSACTION_TYPE", ""),
        tag("TRANSACTION_DATE", dmy(day)),
        tag("REQUEST_ID", f"MAU831-{person.number:07d}"),
        tag("ACTION_TYPE", "0"),
        "</HEADER>\n<BODY>\n<HOSOSUCKHOE>\n",
        _person(person, household, old, tag),
        _history(person, health, day, tag),
        _doses([one for one in health.doses if (one.given or TODAY) <= day], tag),
        "<DANHSACHHOSOKHAMCHUABENH>",
        *(_visit(one, tag) for one in visits),
        "</DANHSACHHOSOKHAMCHUABENH>\n</HOSOSUCKHOE>\n</BODY>\n",
        "<SECURITY><SIGNATURE></SIGNATURE></SECURITY>\n</DATA>\n",
    ]
    return "".join(body).encode()


def birth_as_written(person: Person) -> str:
    """dd/MM/yyyy; what is unknown is 00."""
    if "year-of-birth-only" in person.odd:
        return f"00/00/{person.born.year}"
    if "month-of-birth-only" in person.odd:
        return f"00/{person.born.month:02d}/{person.born.year}"
    return dmy(person.born)


def _person(person: Person, household: Household, old: tuple[Place, str] | None, tag: Tag) -> str:
    place, district = old or (person.place, "")
    paper = person.cccd or person.cmnd or person.passport
    rows = [
        tag("MADINHDANH", person.cccd),
        tag("VNEID", ""),
        tag("MABHXH", person.bhxh if "no-number" not in person.odd else ""),
        tag("MATHE", person.card),
        tag("MAHO_GIADINH", f"38{STATION[2:]}{person.household:06d}"),
        tag("HOTEN", name_as_written(person)),
        tag("GIOITINH", person.sex),
        tag("NHOMMAU_HEABO", person.abo if knows_blood_group(person) else ""),
        tag("NHOMMAU_HERH", person.rh if knows_blood_group(person) else ""),
        tag("NGAYSINH", birth_as_written(person)),
        tag("MATINH_KHAISINH", person.birth_province),
        tag("MADANTOC", person.ethnic),
        tag("MAQUOCTICH", "000"),
        tag("MATONGIAO", person.religion),
        tag("MANGHENGHIEP", person.occupation),
        tag("SOCMND", paper),
        tag("DIACHI_THUONGTRU", place.text),
        *_place(place, district, "THUONGTRU", tag),
        tag("DIACHI_HIENTAI", place.text),
        *_place(place, district, "HIENTAI", tag),
        tag("DIENTHOAI_CD", ""),
        tag("DIENTHOAI_DD", person.phone),
        tag("EMAIL", ""),
        *(_relation(kin, other, guards, tag) for kin, other, guards in relations(person, household)),
    ]
    return f"<THONGTINCHUNG>{''.join(rows)}</THONGTINCHUNG>\n"


def _place(place: Place, district: str, kind: str, tag: Tag) -> tuple[str, ...]:
    return (
        tag(f"MATINH_{kind}", place.province),
        tag(f"MAHUYEN_{kind}", district),
        tag(f"MAXA_{kind}", place.ward),
    )


def relations(person: Person, household: Household) -> Iterable[tuple[str, Person, bool]]:
    """(word of kinship, relative, is the guardian) of the relatives in the household."""
    minor = person.age() < 18
    for number, kin in ((person.father, "Bố"), (person.mother, "Mẹ")):
        other = household.by_number(number)
        if other is not None and minor:
            yield kin, other, True
    spouse = household.by_number(person.spouse)
    if spouse is not None:
        yield ("Vợ" if spouse.sex == "2" else "Chồng"), spouse, False


def _relation(kin: str, other: Person, guards: bool, tag: Tag) -> str:
    rows = [
        tag("LOAI_QUANHE", ""),
        tag("TEN_QUANHE", kin),
        tag("MADINHDANH", other.cccd),
        tag("HOTEN", other.name),
        tag("DIENTHOAI", ""),
        tag("DIDONG", other.phone),
        tag("GIAMHO", "1" if guards else "0"),
    ]
    return f"<QUANHE_GIADINH>{''.join(rows)}</QUANHE_GIADINH>"


def _history(person: Person, health: Health, day: date, tag: Tag) -> str:
    own = _diseases_and_allergies(
        [one for one in health.allergies if one.since <= day], [one for one in health.diseases if one.since <= day], tag
    )
    rows = [
        _birth(health.birth, tag) if health.birth else "",
        _risks(health, tag) if person.age() >= 18 else "",
        f"<TIEUSU_BENHTAT>{own}</TIEUSU_BENHTAT>" if own else "",
        tag("TIENSU_PHAUTHUAT", "Không"),
        _family(health.relatives, tag),
    ]
    return f"<TIENSU>{''.join(rows)}</TIENSU>\n"


def _birth(birth: Birth, tag: Tag) -> str:
    rows = [
        tag("LOAIDE", "1" if birth.caesarean else "0"),
        tag("DETHIEUTHANG", "1" if birth.preterm else "0"),
        tag("BINGAT_LUCDE", "0"),
        tag("CANNANG", birth.grams),
        tag("CHIEUDAI", birth.length),
        tag("DITAT_BAMSINH", ""),
    ]
    return f"<TINHTRANG_LUCSINH>{''.join(rows)}</TINHTRANG_LUCSINH>"


def _risks(health: Health, tag: Tag) -> str:
    rows = [
        f"<DSYEUTO>{tag('LOAI', kind)}{tag('TENLOAI', name)}{tag('TRANGTHAI', level)}</DSYEUTO>"
        for kind, name, level in (("1", "Hút thuốc lá", health.smokes), ("2", "Uống rượu bia", health.drinks))
    ]
    return f"<YEUTO_SUCKHOE>{''.join(rows)}</YEUTO_SUCKHOE>"


def _diseases_and_allergies(
    allergies: list[Allergy], diseases: list[Disease], tag: Tag, kin: Iterable[str] = ()
) -> str:
    """The two lists; kin: who has each, allergies first, for the family's."""
    names = iter(kin)
    found = [
        f"<DSDIUNG>{tag('LOAI', one.group)}{tag('MASO', '')}{tag('TEN', one.agent)}{tag('MOTA', one.reaction)}"
        f"{tag('NGUOIMAC', next(names, ''))}</DSDIUNG>"
        for one in allergies
    ]
    ill = [
        f"<DSBENH>{tag('LOAIBENH', one.group)}{tag('TENBENH', one.name)}{tag('TRANGTHAI', '1' if one.current else '0')}"
        f"{tag('MOTA', f'Phát hiện năm {one.since.year}')}{tag('NGUOIMAC', next(names, ''))}</DSBENH>"
        for one in diseases
    ]
    return (f"<DIUNG>{''.join(found)}</DIUNG>" if found else "") + (f"<BENHTAT>{''.join(ill)}</BENHTAT>" if ill else "")


def _family(relatives: tuple[Relative, ...], tag: Tag) -> str:
    allergies = [(one.kin, one.allergy) for one in relatives if one.allergy]
    diseases = [(one.kin, one.disease) for one in relatives if one.disease]
    kin = [name for name, _ in allergies] + [name for name, _ in diseases]
    found = _diseases_and_allergies([one for _, one in allergies], [one for _, one in diseases], tag, kin)
    return f"<TIENSU_GIADINH>{found}</TIENSU_GIADINH>" if found else ""


def _doses(doses: list[Dose], tag: Tag) -> str:
    rows = [
        "<THONGTINMUITIEM>"
        + tag("MAVACXIN", one.code)
        + tag("TENVACXIN", one.name)
        + tag("LOAIVACXIN", one.programme)
        + tag("TRANGTHAI", "1" if one.given else "0")
        + tag("NGAYTIEM", dmy(one.given))
        + tag("THANGTHAI", one.month)
        + tag("PHANUNGSAUTIEM", one.reaction)
        + tag("NGAYHENTIEM", dmy(one.due))
        + tag("SOMUIUONVANMETIEM", one.number)
        + "</THONGTINMUITIEM>"
        for one in doses
    ]
    return f"<TIEMCHUNG>{''.join(rows)}</TIEMCHUNG>\n"


def _vitals(vitals: Vitals, tag: Tag) -> tuple[str, ...]:
    return (
        tag("MACH", vitals.pulse),
        tag("NHIETDO", vitals.temperature),
        tag("HUYETAPTT", vitals.systolic),
        tag("HUYETAPTD", vitals.diastolic),
        tag("NHIPTHO", vitals.breaths),
        tag("CHIEUCAO", vitals.height),
        tag("CHISOBMI", vitals.bmi),
        tag("CANNANG", vitals.weight),
        tag("VONGBUNG", vitals.waist),
    )


def _visit(visit: Visit, tag: Tag) -> str:
    diagnoses = "".join(
        f"<CHANDOANBENH>{tag('MABENH', code)}{tag('TENBENH', name)}{tag('KETLUAN', name)}</CHANDOANBENH>"
        for code, name in ((visit.code, visit.name), *visit.others)
    )
    rows = [
        tag("MA_LK", visit.key),
        tag("NGAYKHAM", dmy(visit.start.date())),
        tag("NGAYBATDAU", dmy(visit.start.date())),
        tag("NGAYKETTHUC", dmy(visit.end.date())),
        tag("MABACSI", "BS" + visit.facility),
        tag("BACSIKHAM", "Bác sĩ mẫu"),
        tag("LYDOKHAM", visit.reason),
        tag("BENHSU", ""),
        *(_vitals(visit.vitals, tag) if visit.measured else ()),
        tag("KHAMTIMMACH", "Bình thường"),
        tag("TUVAN", visit.advice),
        f"<CHANDOANKETLUAN>{diagnoses}</CHANDOANKETLUAN>",
    ]
    return f"<HOSOKHAMCHUABENH>{''.join(rows)}</HOSOKHAMCHUABENH>\n"
