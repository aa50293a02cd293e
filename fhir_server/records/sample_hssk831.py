"""Sample records as HSSK-831 XML: one personal health record a file."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from datetime import date, timedelta
from xml.sax.saxutils import escape

from fhir_server.records.population import STATION, STATION_NAME, TODAY, Draw, Household, Person, Place, lists
from fhir_server.records.sample_health import Allergy, Disease, Dose, Health, Relative
from fhir_server.records.sample_history import history_after, history_before, past_operations
from fhir_server.records.sample_tags import Tag, dmy
from fhir_server.records.sample_visits import station_visit

# The day of an old record, when there were districts.
OLD_DAY = date(2025, 3, 15)


def _tag(name: str, value: object) -> str:
    """An element, or nothing for an empty value."""
    return f"<{name}>{escape(str(value))}</{name}>" if value not in (None, "") else ""


def _always(name: str, value: object) -> str:
    """An element, empty for an empty value, as some senders write."""
    return f"<{name}>{escape(str(value))}</{name}>" if value not in (None, "") else f"<{name}></{name}>"


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
    content = [
        _person(person, household, old, tag),
        _history(person, health, day, tag),
        _doses(person, [one for one in health.doses if (one.given or TODAY) <= day], tag),
        "<DANHSACHHOSOKHAMCHUABENH>",
        *(station_visit(person, one, tag) for one in visits),
        "</DANHSACHHOSOKHAMCHUABENH>\n</HOSOSUCKHOE>\n</BODY>\n",
    ]
    # A request number is used once for one content, so senders make it of the content.
    digest = hashlib.sha256("".join(content).encode()).hexdigest()
    body = [
        '<?xml version="1.0" encoding="utf-8"?>\n<DATA>\n<HEADER>',
        tag("MESSAGE_VERSION", "1.0"),
        tag("SENDER_CODE", STATION),
        tag("SENDER_NAME", STATION_NAME.format(ward=person.place.ward_name)),
        tag("TRANSACTION_TYPE", ""),
        tag("TRANSACTION_DATE", dmy(day)),
        tag("REQUEST_ID", f"MAU831-{person.number:07d}-{digest[:12]}"),
        tag("ACTION_TYPE", "0"),
        "</HEADER>\n<BODY>\n<HOSOSUCKHOE>\n",
        *content,
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
    draw = Draw(f"831/{person.number}")
    rows = [
        tag("MADINHDANH", person.cccd),
        tag("VNEID", f"VNEID{person.number:07d}" if draw.happens(0.05) else ""),
        tag("MABHXH", person.bhxh if "no-number" not in person.odd else ""),
        tag("MATHE", person.card),
        tag("MAHO_GIADINH", f"38{STATION[2:]}{person.household:06d}"),
        tag("MA_NHANKHAU", f"38{STATION[2:]}{person.number:07d}"),
        tag("HOTEN", name_as_written(person)),
        tag("QUANHE_CHUHO", _TO_HOUSEHOLDER[person.role]),
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
        tag("NGAYCAP", dmy(_issued(person)) if paper else ""),
        tag("NOICAP", lists("treatments")["card_office"] if paper else ""),
        tag("DIACHI_THUONGTRU", place.text),
        *_place(place, district, "THUONGTRU", tag),
        tag("DIACHI_HIENTAI", place.text),
        *_place(place, district, "HIENTAI", tag),
        tag("DIENTHOAI_CD", f"02379{person.household:06d}" if draw.happens(0.05) else ""),
        tag("DIENTHOAI_DD", person.phone),
        tag("EMAIL", f"nguoi{person.number}@example.vn" if draw.happens(0.1) else ""),
        *(_relation(kin, other, guards, tag) for kin, other, guards in relations(person, household)),
    ]
    return f"<THONGTINCHUNG>{''.join(rows)}</THONGTINCHUNG>\n"


_TO_HOUSEHOLDER = {"chu-ho": "Chủ hộ", "vo": "Vợ", "con": "Con", "cha": "Bố", "me": "Mẹ"}


def _issued(person: Person) -> date:
    """A day on which the card may have been issued: in 2021, or at 14."""
    return max(date(2021, 5, 1 + person.number % 28), person.born + timedelta(days=30))


def _place(place: Place, district: str, kind: str, tag: Tag) -> tuple[str, ...]:
    return (
        tag(f"MATINH_{kind}", place.province),
        tag(f"MAHUYEN_{kind}", district),
        tag(f"MAXA_{kind}", place.ward),
        tag(f"MATHONXOM_{kind}", place.hamlet),
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


_KINDS_OF_KIN = {"Bố": "1", "Mẹ": "2", "Vợ": "3", "Chồng": "4"}


def _relation(kin: str, other: Person, guards: bool, tag: Tag) -> str:
    rows = [
        tag("LOAI_QUANHE", _KINDS_OF_KIN[kin]),
        tag("TEN_QUANHE", kin),
        tag("MADINHDANH", other.cccd),
        tag("HOTEN", other.name),
        tag("DIENTHOAI", f"02379{other.household:06d}" if other.number % 20 == 0 else ""),
        tag("DIDONG", other.phone),
        tag("GIAMHO", "1" if guards else "0"),
    ]
    return f"<QUANHE_GIADINH>{''.join(rows)}</QUANHE_GIADINH>"


def _history(person: Person, health: Health, day: date, tag: Tag) -> str:
    own = _diseases_and_allergies(
        [one for one in health.allergies if one.since <= day], [one for one in health.diseases if one.since <= day], tag
    )
    rows = [
        *history_before(person, health, tag),
        f"<TIEUSU_BENHTAT>{own}</TIEUSU_BENHTAT>" if own else "",
        tag("TIENSU_PHAUTHUAT", past_operations(person)),
        _family(health.relatives, tag),
        *history_after(person, tag),
    ]
    return f"<TIENSU>{''.join(rows)}</TIENSU>\n"


def _diseases_and_allergies(
    allergies: list[Allergy], diseases: list[Disease], tag: Tag, kin: Iterable[str] = ()
) -> str:
    """The two lists; kin: who has each, allergies first, for the family's."""
    names = iter(kin)
    found = [
        f"<DSDIUNG>{tag('LOAI', one.group)}{tag('MASO', _allergen(one))}{tag('TEN', one.agent)}"
        f"{tag('MOTA', one.reaction)}{tag('NGUOIMAC', next(names, ''))}</DSDIUNG>"
        for one in allergies
    ]
    ill = [
        f"<DSBENH>{tag('LOAIBENH', one.group)}{tag('TENBENH', one.name)}{tag('TRANGTHAI', '1' if one.current else '0')}"
        f"{tag('MOTA', f'Phát hiện năm {one.since.year}')}{tag('NGUOIMAC', next(names, ''))}</DSBENH>"
        for one in diseases
    ]
    return (f"<DIUNG>{''.join(found)}</DIUNG>" if found else "") + (f"<BENHTAT>{''.join(ill)}</BENHTAT>" if ill else "")


def _allergen(allergy: Allergy) -> str:
    """The sender's code, of food alone."""
    return f"DU{len(allergy.agent):03d}" if allergy.group == "3" else ""


def _family(relatives: tuple[Relative, ...], tag: Tag) -> str:
    allergies = [(one.kin, one.allergy) for one in relatives if one.allergy]
    diseases = [(one.kin, one.disease) for one in relatives if one.disease]
    kin = [name for name, _ in allergies] + [name for name, _ in diseases]
    found = _diseases_and_allergies([one for _, one in allergies], [one for _, one in diseases], tag, kin)
    return f"<TIENSU_GIADINH>{found}</TIENSU_GIADINH>" if found else ""


def _doses(person: Person, doses: list[Dose], tag: Tag) -> str:
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
    mothers = tag("SOMUIUONVANMETIEM", person.number % 4 + 1) if person.age() < 1 else ""
    return f"<TIEMCHUNG>{''.join(rows)}{mothers}</TIEMCHUNG>\n"
