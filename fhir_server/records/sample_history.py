"""The history of sample health records beside diseases and allergies: birth, risks, disabilities, births given."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_server.records.population import Draw, Person, lists
from fhir_server.records.sample_health import Birth, Health
from fhir_server.records.sample_tags import Tag


def history_before(person: Person, health: Health, tag: Tag) -> Iterator[str]:
    """TINHTRANG_LUCSINH, YEUTO_SUCKHOE and KHUYETTAT, as far as the person has them."""
    draw = Draw(f"history/{person.number}")
    if health.birth:
        yield _birth(health.birth, draw, tag)
    if person.age() >= 18:
        yield _risks(health, draw, tag)
    if draw.happens(0.05):
        kind, name, text = draw.one_of(lists("treatments")["disabilities"])
        found = tag("LOAI", kind) + tag("TENLOAI", name) + tag("MOTA", text)
        yield f"<KHUYETTAT><DSKHUYETTAT>{found}</DSKHUYETTAT></KHUYETTAT>"


def past_operations(person: Person) -> str:
    """«Không» for most."""
    draw = Draw(f"operations/{person.number}")
    if person.age() < 18 or not draw.happens(0.12):
        return "Không"
    return str(draw.one_of(lists("treatments")["operations"]))


def history_after(person: Person, tag: Tag) -> Iterator[str]:
    """SUCKHOE_SINHSAN of women, VANDEKHAC of a few."""
    draw = Draw(f"after/{person.number}")
    if person.sex == "2" and 18 <= person.age() <= 60:
        yield _births_given(draw, tag)
    if draw.happens(0.04):
        yield tag("VANDEKHAC", draw.one_of(lists("treatments")["other_matters"]))


def _birth(birth: Birth, draw: Draw, tag: Tag) -> str:
    in_kilograms = draw.happens(0.1)
    rows = [
        tag("LOAIDE", "1" if birth.caesarean else "0"),
        tag("DETHIEUTHANG", "1" if birth.preterm else "0"),
        tag("BINGAT_LUCDE", "1" if draw.happens(0.05) else "0"),
        tag("CANNANG", f"{birth.grams / 1000:.1f}" if in_kilograms else birth.grams),
        tag("CHIEUDAI", birth.length),
        tag("DITAT_BAMSINH", "Thừa ngón tay" if draw.happens(0.03) else ""),
        tag("KHAC", "Vàng da sơ sinh" if draw.happens(0.1) else ""),
    ]
    return f"<TINHTRANG_LUCSINH>{''.join(rows)}</TINHTRANG_LUCSINH>"


def _risks(health: Health, draw: Draw, tag: Tag) -> str:
    quit_smoking = health.smokes == "0" and draw.happens(0.1)
    factors = [
        ("1", "Hút thuốc lá", health.smokes, "", "1" if quit_smoking else ""),
        ("2", "Uống rượu bia", health.drinks, draw.between(1, 4) if health.drinks == "2" else "", ""),
        ("4", "Hoạt động thể lực", draw.one_of("012"), "", ""),
    ]
    rows = [
        f"<DSYEUTO>{tag('LOAI', kind)}{tag('TENLOAI', name)}{tag('TRANGTHAI', level)}{tag('SOLUONG', amount)}"
        f"{tag('DABO', stopped)}</DSYEUTO>"
        for kind, name, level, amount, stopped in factors
    ]
    if draw.happens(0.15):
        exposure, time = draw.one_of(lists("treatments")["exposures"])
        rows += [tag("YEUTO_TIEPXUC", exposure), tag("THOIGIAN_TIEPXUC", time)]
    rows.append(tag("LOAIHOXIGD", draw.one_of(lists("treatments")["latrines"])))
    rows.append(tag("KHAC", "Ít vận động" if draw.happens(0.1) else ""))
    return f"<YEUTO_SUCKHOE>{''.join(rows)}</YEUTO_SUCKHOE>"


def _births_given(draw: Draw, tag: Tag) -> str:
    births = draw.between(0, 4)
    lost, ended = int(draw.happens(0.15)), int(draw.happens(0.1))
    by_operation, preterm = min(births, int(draw.happens(0.3))), min(births, int(draw.happens(0.1)))
    difficult = min(births - by_operation, int(draw.happens(0.05)))
    rows = [
        tag("BIENPHAP_TRANHTHAI", draw.one_of(lists("treatments")["contraception"]) if births else ""),
        tag("KYTHAICUOI", draw.between(2010, 2025) if births else ""),
        tag("SOLAN_COTHAI", births + lost + ended),
        tag("SOLAN_SAYTHAI", lost),
        tag("SOLAN_PHATHAI", ended),
        tag("SOLAN_SINHDE", births),
        tag("SOLAN_DETHUONG", births - by_operation - difficult),
        tag("SOLAN_DEMO", by_operation),
        tag("SOLANDEKHO", difficult),
        tag("SOLANDE_DUTHANG", births - preterm),
        tag("SOLAN_DENON", preterm),
        tag("SOCON_HIENSONG", births),
        tag("BENH_PHUKHOA", "Viêm âm đạo" if draw.happens(0.1) else ""),
    ]
    return f"<SUCKHOE_SINHSAN>{''.join(rows)}</SUCKHOE_SINHSAN>"
