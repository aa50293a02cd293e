"""Visits to the station in sample health records: vital signs, findings of every organ, services, diagnoses."""

from __future__ import annotations

from fhir_server.records.population import Draw, Person, lists
from fhir_server.records.sample_health import Visit, Vitals
from fhir_server.records.sample_tags import Tag, dmy


def station_visit(person: Person, visit: Visit, tag: Tag) -> str:
    """One HOSOKHAMCHUABENH."""
    draw = Draw(f"visit/{visit.key}")
    diagnoses = "".join(
        f"<CHANDOANBENH>{tag('MABENH', code)}{tag('TENBENH', name)}{tag('KETLUAN', name)}</CHANDOANBENH>"
        for code, name in ((visit.code, visit.name), *visit.others)
    )
    rows = [
        tag("MA_LK", visit.key),
        tag("NGAYKHAM", dmy(visit.start.date())),
        tag("NGAYBATDAU", dmy(visit.start.date())),
        tag("NGAYKETTHUC", dmy(visit.end.date())),
        tag("MABACSI", draw.one_of(lists("treatments")["doctors"])),
        tag("BACSIKHAM", "Bác sĩ mẫu"),
        tag("LYDOKHAM", visit.reason),
        tag("BENHSU", f"{visit.reason} từ {draw.between(1, 7)} ngày nay" if draw.happens(0.5) else ""),
        *(_vitals(visit.vitals, tag) if visit.measured else ()),
        *(_examination(person, draw, tag) if visit.measured else (tag("KHAMTIMMACH", "Bình thường"),)),
        tag("TUVAN", visit.advice),
        _services(draw, tag) if visit.measured else "",
        f"<CHANDOANKETLUAN>{diagnoses}</CHANDOANKETLUAN>",
    ]
    return f"<HOSOKHAMCHUABENH>{''.join(rows)}</HOSOKHAMCHUABENH>\n"


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


def _examination(person: Person, draw: Draw, tag: Tag) -> tuple[str, ...]:
    """Eyes and every organ, as at a yearly examination."""
    findings = dict(lists("treatments")["findings"])
    if person.sex == "2" and person.age() >= 18:
        findings["KHAMPHUKHOA"] = "Không viêm"
    glasses = draw.happens(0.3)
    return (
        tag("SUDUNGKINH", "1" if glasses else "0"),
        tag("MATPHAI", f"{draw.between(5, 10)}/10"),
        tag("MATTRAI", f"{draw.between(5, 10)}/10"),
        *(tag(name, text) for name, text in findings.items()),
    )


def _services(draw: Draw, tag: Tag) -> str:
    """CANLAMSANG: laboratory tests, and an image for some."""
    care = lists("treatments")
    test = draw.one_of(care["laboratory"])
    result = "; ".join(f"{name}: {value} {unit}".strip() for _, name, value, unit, _ in test["indices"])
    rows = [(test["service"], "1", test["name"], result)]
    if draw.happens(0.4):
        image = care["imaging"]
        rows.append((image["service"], "2", image["name"], image["conclusion"]))
    shown = "".join(
        f"<DICHVU>{tag('MADICHVU', code)}{tag('MANHOM', group)}{tag('TENDICHVU', name)}{tag('KETQUA', text)}</DICHVU>"
        for code, group, name, text in rows
    )
    return f"<CANLAMSANG>{shown}</CANLAMSANG>"
