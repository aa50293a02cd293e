"""The receivers' checks of a dossier: what each rule finds, and that it stays quiet about what is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from records_sources import DOSSIER, FORMATS, health_record, person

from fhir_server.model.resources import decode
from fhir_server.records.checks import RULES, Checks, sortable
from fhir_server.records.importing import map_records
from fhir_server.records.source import Problem, Tree

BHXH = FORMATS.by_name["bhxh"].checks
HSSK = FORMATS.by_name["hssk831"].checks
BASIC = FORMATS.by_name["basic"].checks
ON = "2026-03-02"

WHOLE: Tree = {
    **DOSSIER, "MA_NGHE_NGHIEP": "00000", "LY_DO_VV": "Đau đầu", "SO_NGAY_DTRI": "0", "T_THUOC": "5.50", "T_VTYT": "0",
    "T_TONGCHI_BV": "5.50", "T_TONGCHI_BH": "5.50", "T_BNTT": "0", "T_BNCCT": "1.50", "T_BHTT": "4.00",
    "T_NGUONKHAC": "0", "T_BHTT_GDV": "0", "NAM_QT": "2026", "THANG_QT": "03", "MA_KHOA": "K01", "CAN_NANG": "50.5",
    "MA_HSBA": "HS1",
}  # fmt: skip


def drug(**fields: str) -> Tree:
    names = BHXH.order[("XML2",)] if BHXH else ()
    whole = dict.fromkeys((name for name in names if not name.startswith("T_NGUONKHAC")), "1")
    money = dict.fromkeys((name for name in names if name.startswith("T_NGUONKHAC")), "0")
    made = {**whole, **money, "MA_LK": "LK1", "NGAY_YL": "202603020815", "NGAY_TH_YL": "202603020815", **fields}
    return {"DSACH_CHI_TIET_THUOC": {"CHI_TIET_THUOC": made}}


def found(content: Tree, checks: Checks | None = BHXH, on: str = ON) -> list[Problem]:
    assert checks is not None
    return list(checks.run(content, on, ON, "warning"))


def told(fields: dict[str, Any], **tables: Tree) -> set[tuple[str, str]]:
    return {(one.rule, one.field) for one in found({"XML1": {**WHOLE, **fields}, **tables})}


def without(*names: str) -> Tree:
    return {name: value for name, value in WHOLE.items() if name not in names}


def test_a_dossier_that_is_right_is_not_told_of() -> None:
    one_drug = drug(SO_LUONG="2", DON_GIA="2.75", THANH_TIEN_BV="5.50")
    assert found({"XML1": WHOLE, "XML2": one_drug}) == []


def test_required_fields_that_are_empty_are_told_together() -> None:
    (problem,) = found({"XML1": without("MA_HSBA", "NAM_QT")})
    assert (problem.rule, problem.field, problem.severity) == ("field-required", "NAM_QT, MA_HSBA", "warning")
    assert problem.place is not None
    assert problem.place.part == "XML1"


def test_a_field_that_was_abolished_is_required_only_of_older_records() -> None:
    assert found({"XML1": WHOLE}, on="2025-06-30T08:00:00+07:00")[0].field == "MAHUYEN_CU_TRU"
    assert found({"XML1": WHOLE}, on="2025-07-01") == []


@pytest.mark.parametrize(
    ("fields", "rule", "field"),
    [
        ({"HO_TEN": "x" * 256}, "field-length", "HO_TEN"),
        ({"NGAY_RA": "2026-03-02"}, "field-form", "NGAY_RA"),
        ({"T_THUOC": "5,50"}, "field-form", "T_THUOC"),
        ({"MA_CSKCB": "3828"}, "field-form", "MA_CSKCB"),
        ({"NGAY_VAO_NOI_TRU": "202603010815"}, "date-order", "NGAY_VAO_NOI_TRU"),
        ({"NGAY_RA": "202603010815"}, "date-order", "NGAY_RA"),
        ({"NGAY_VAO": "198402020000", "NGAY_TTOAN": "202603020815"}, "date-order", "NGAY_VAO"),
        ({"SO_NGAY_DTRI": "1"}, "field-value", "SO_NGAY_DTRI"),
        ({"MA_LOAI_KCB": "03", "SO_NGAY_DTRI": "3"}, "field-sum", "SO_NGAY_DTRI"),
        ({"T_BHTT": "9.00"}, "field-sum", "T_BHTT"),
    ],
)
def test_a_wrong_value_is_told_by_rule_and_field(fields: dict[str, str], rule: str, field: str) -> None:
    assert (rule, field) in told(fields)


def test_rows_of_a_table_are_told_by_their_number() -> None:
    rows = [drug()["DSACH_CHI_TIET_THUOC"]["CHI_TIET_THUOC"], drug(NGAY_TH_YL="202603010000", MA_LK="other")]
    rows[1] = rows[1]["DSACH_CHI_TIET_THUOC"]["CHI_TIET_THUOC"]
    table = {"DSACH_CHI_TIET_THUOC": {"CHI_TIET_THUOC": rows}}
    problems = told({"T_THUOC": "2", "T_TONGCHI_BV": "2"}, XML2=table)
    assert problems == {("date-order", "XML2[2]/NGAY_TH_YL"), ("field-differs", "XML2[2]/MA_LK")}


def test_sums_over_other_tables_are_checked_where_those_are_there() -> None:
    assert told({"T_THUOC": "7"}, XML2=drug(SO_LUONG="2", DON_GIA="2.75", THANH_TIEN_BV="5.50")) == {
        ("field-sum", "T_THUOC")
    }
    assert told({"T_THUOC": "7", "T_TONGCHI_BV": "7"}) == set()


def test_a_table_that_goes_with_another_kind_of_visit_is_told() -> None:
    assert BHXH is not None
    summary = dict.fromkeys(BHXH.order[("XML8",)], "1") | {"MA_LK": "LK1", "NGAY_VAO": "202603020815"}
    summary |= {
        "NGAY_RA": "202603020815",
        "NGAY_CT": "20260302",
        "NGAY_SINHCON": "20260302",
        "NGAY_CONCHET": "20260302",
    }
    assert told({}, XML8=summary) == {("table-not-expected", "MA_LK")}


def test_fields_that_belong_together_are_all_there_or_none() -> None:
    assert BHXH is not None
    paper = {"MA_LK": "LK1", "SO_NGAY_NGHI": "3"}
    found_ = [one.field for one in found({"XML1": WHOLE, "XML7": paper}) if one.text[0].startswith("filled in only")]
    assert found_ == ["NGOAITRU_TUNGAY, NGOAITRU_DENNGAY"]


def test_a_health_record_is_checked_in_its_own_date_form() -> None:
    person = {"HOTEN": "An", "GIOITINH": "1", "NGAYSINH": "02/03/1985"}
    dose = {"TENVACXIN": "BCG", "TRANGTHAI": "1", "NGAYTIEM": "01/03/1985"}
    doses = [dose, {**dose, "NGAYTIEM": "1985"}]
    content = {
        "HEADER": {"SENDER_CODE": "38280", "TRANSACTION_DATE": "02/03/2026", "REQUEST_ID": "R"},
        "HOSOSUCKHOE": {
            "THONGTINCHUNG": person,
            "TIEMCHUNG": {"THONGTINMUITIEM": doses},
        },
    }
    assert [(one.rule, one.field) for one in found(content, HSSK)] == [("date-order", "THONGTINMUITIEM[1]/NGAYTIEM")]


def test_a_record_of_which_nothing_stands_at_the_top_is_told_what_it_lacks_there() -> None:
    assert BASIC is not None
    found = BASIC.run({"hanh_chinh": {"ho_ten": "Nguyễn Văn An"}, "tien_su": {"khac": "x"}}, "", ON, "warning")
    assert [one.field for one in found] == ["ma_ho_so, ma_cskcb"]


def test_a_basic_record_is_checked_beyond_its_schema() -> None:
    content = {
        "ma_ho_so": "1",
        "ma_cskcb": "38280",
        "hanh_chinh": {"ngay_sinh": "1985-03-02", "the_bhyt": {"tu_ngay": "2026-01-01", "den_ngay": "2025-12-31"}},
        "dot_kham": [{"ngay_vao": "1984-01-01"}],
    }
    rules = [(one.rule, one.field) for one in found(content, BASIC)]
    assert rules == [("date-order", "den_ngay"), ("date-order", "ngay_vao")]


@pytest.mark.parametrize(
    ("value", "digits"),
    [
        ("198500000000", "1985"),
        ("198503000000", "198503"),
        ("202603020815", "202603020815"),
        ("02/03/1985", "19850302"),
        ("3/1985", "198503"),
        ("1985", "1985"),
        ("02/03/1985 08:15", "198503020815"),
        ("2026-03-02T08:15:00+07:00", "202603020815"),
        ("2026-03", "202603"),
    ],
)
def test_dates_of_every_form_are_compared_as_far_as_they_are_known(value: str, digits: str) -> None:
    assert sortable(value) == digits


def test_every_kind_of_rule_is_used_by_a_format() -> None:
    used = {
        rule["rule"]
        for name in ("bhxh", "hssk831", "basic")
        for table in _data(name)["tables"]
        for rule in table.get("rules", ())
    }
    assert used == set(RULES)


def _data(name: str) -> Any:
    from fhir_server.model.resources import decode

    return decode((FORMATS.by_name[name].folder / "checks.json").read_bytes())


def test_a_state_of_a_dose_that_is_neither_given_nor_not_is_told() -> None:
    for state, told in (("1", False), ("9", True)):
        problems = found({"trang_thai": state}, FORMATS.by_name["tiemchung"].checks)
        assert (("field-form", "trang_thai") in {(one.rule, one.field) for one in problems}) is told


DAYS = {
    "moment": ("202603022359", "202603030000"),
    "dmy": ("02/03/2026", "03/03/2026"),
    "iso": ("2026-03-02", "2026-03-03"),
    "text": ("02/03/2026", "2096"),
}
PAST = [
    (name, table["at"], field, *DAYS.get(spec[0], ("20260302", "20260303")))
    for name, format in FORMATS.by_name.items()
    if format.checks is not None
    for table in decode((format.folder / "checks.json").read_bytes())["tables"]
    for field, spec in table["fields"].items()
    if "past" in spec
]


def test_a_date_of_what_has_been_is_told_when_it_is_after_the_day_of_the_record() -> None:
    for name, at, field, own_day, later in PAST:
        for value, wanted in ((own_day, False), (later, True)):
            row: Any = {field: value}
            for key in reversed(at.strip("/").split("/") if at != "/" else ()):
                row = {key: row}
            told = {(one.rule, one.field) for one in found(row, FORMATS.by_name[name].checks)}
            assert (("date-in-future", field) in told) is wanted, (at, field, value)


@pytest.mark.parametrize(
    ("dose", "day", "told"),
    [("03/03/2024", "02/03/2024", True), ("02/03/2024", "02/03/2024", False), ("01/01/2096", "01/01/2096", True)],
    ids=["after the record", "on its day", "after today"],
)
def test_a_dose_after_the_day_of_the_record_or_after_today_is_told(
    tmp_path: Path, dose: str, day: str, told: bool
) -> None:
    file = tmp_path / "a.xml"
    doses = [{"TENVACXIN": "BCG", "NGAYTIEM": dose, "TRANGTHAI": "1"}]
    file.write_bytes(health_record(person(doses=doses), day=day))
    ((outcome, _),) = map_records([file], FORMATS)
    rules = {(one.rule, one.field.rpartition("/")[2]) for one in outcome.problems}
    assert (("date-in-future", "NGAYTIEM") in rules) is told
