"""The rules of each format: of the insurer's list each is applied by its check or left out with a reason; what the
others check is told of a record that breaks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from records_sources import FORMATS

from fhir_server.model.resources import decode
from fhir_server.records.checks import Checks
from fhir_server.records.source import Tree

FOLDER = FORMATS.by_name["bhxh"].folder
LISTED = decode((FOLDER / "rules.json").read_bytes())
HELD = decode((FOLDER / "checks.json").read_bytes())
CHECKS = Checks(HELD)
OLD, NEW = "2025-06-30", "2026-03-02"  # the district was required until between them
TABLES = [table["at"][1:] for table in LISTED["tables"]]
KINDS = {
    "field-required": ("required", "together"),
    "field-form": ("pattern",),
    "field-value": ("equals",),
    "field-differs": ("same",),
    "field-sum": ("days",),
    "date-order": ("not-before", "not-after"),
    "table-not-expected": ("only-when",),
}


def listed() -> Iterator[tuple[str, str, str, int, str, str]]:
    """(table, field, form, length, what is asked, what applies it) of each rule."""
    for table in LISTED["tables"]:
        for _, field, form, length, asks in table["fields"]:
            for ask, by in asks.items():
                yield table["at"][1:], field, form, length, ask, by


def told(content: Tree, on: str = OLD) -> set[tuple[str, str]]:
    """(rule, field) of each finding."""
    return {(one.rule, name) for one in CHECKS.run(content, on, NEW, "warning") for name in one.field.split(", ")}


def test_the_checks_hold_the_fields_of_the_list_in_its_order_with_their_length() -> None:
    for of_list, of_checks in zip(LISTED["tables"], HELD["tables"], strict=True):
        assert of_checks["at"] == of_list["at"]
        fields = [(name, spec[1]) for name, spec in of_checks["fields"].items()]
        assert fields == [(field, length) for _, field, _, length, _ in of_list["fields"]]


def test_no_rule_of_the_list_is_without_a_word_and_a_check_or_reason() -> None:
    rules = list(listed())
    assert Counter(by in LISTED["left_out"] for *_, by in rules) == {False: 376, True: 72}
    assert {ask for *_, ask, _ in rules} == LISTED["asks"].keys()
    assert {by for *_, by in rules} >= LISTED["left_out"].keys()


@pytest.mark.parametrize("table", TABLES)
def test_a_row_with_nothing_in_it_is_told_all_that_the_list_requires(table: str) -> None:
    required = {field for at, field, _, _, ask, _ in listed() if (at, ask) == (table, "required")}
    found = {field for rule, field in told({table: {"OTHER": "x"}}) if rule == "field-required"}
    assert found >= required
    conditional = {field for at, field, *_, by in listed() if at == table and by.startswith("field-required")}
    assert found <= conditional


@pytest.mark.parametrize("table", TABLES)
def test_a_value_that_is_too_long_or_no_number_is_told_in_each_field_of_the_list(table: str) -> None:
    (fields,) = (one["fields"] for one in LISTED["tables"] if one["at"] == f"/{table}")
    long = told({table: {field: "1" * (length + 1) for _, field, _, length, _ in fields}})
    limited = {field for _, field, _, length, _ in fields if length}
    assert {field for rule, field in long if rule == "field-length"} == limited
    words = told({table: {field: "x" for _, field, *_ in fields}})
    numbers = {field for _, field, form, *_ in fields if form == "number"}
    assert {field for rule, field in words if rule == "field-form"} >= numbers


@pytest.mark.parametrize("table", sorted({table for table, _, _, _, ask, _ in listed() if ask == "same"}))
def test_a_table_that_says_something_else_than_the_first_is_told(table: str) -> None:
    same = {field for at, field, _, _, ask, _ in listed() if (at, ask) == (table, "same")}
    # One field bears another name in the first table.
    first = {"PP_DIEU_TRI" if field == "PP_DIEUTRI" else field: "1" for field in same}
    assert not any(rule == "field-differs" for rule, _ in told({"XML1": first, table: dict.fromkeys(same, "1")}))
    found = told({"XML1": first, table: dict.fromkeys(same, "2")})
    assert {field for rule, field in found if rule == "field-differs"} == same


def test_each_other_rule_of_the_list_names_a_check_of_its_field() -> None:
    tables = {table["at"][1:]: table for table in HELD["tables"]}
    missing = [
        (table, field, ask)
        for table, field, _, _, ask, by in listed()
        if by not in LISTED["left_out"] and ask not in ("required", "as-in-xml1")
        if not any(_tells(check, field, by) for check in tables[table]["rules"])
    ]
    assert missing == []


def _tells(check: Mapping[str, Any], field: str, by: str) -> bool:
    rule, _, other = by.partition(" ")
    return check["rule"] in KINDS[rule] and (other or field) in (check.get("field"), *check.get("fields", ()))


@pytest.mark.parametrize(
    ("row", "rule", "field"),
    [
        ({"MA_XU_TRI": "1;4"}, "field-required", "NGAY_BAT_DAU_XU_TRI"),
        ({"MA_TINH_TRANG_DK": "9; 1"}, "field-required", "LAN_XN_PCR"),
        ({"LAN_XN_PCR": "4"}, "field-form", "LAN_XN_PCR"),
        (
            {"NGAY_BAT_DAU_XU_TRI": "20260301", "NGAY_KET_THUC_XU_TRI": "20260331", "SO_NGAY_CAP_THUOC_ARV": "31"},
            "field-sum",
            "SO_NGAY_CAP_THUOC_ARV",
        ),
    ],
)
def test_treatment_of_hiv_is_checked_by_its_own_rules(row: dict[str, str], rule: str, field: str) -> None:
    assert (rule, field) in told({"XML6": row}, NEW)


def test_fewer_days_of_drugs_than_days_of_treatment_are_right() -> None:
    days = {"NGAY_BAT_DAU_XU_TRI": "20260301", "NGAY_KET_THUC_XU_TRI": "20260331", "SO_NGAY_CAP_THUOC_ARV": "30"}
    assert not {rule for rule, _ in told({"XML6": days})} & {"field-sum"}
    assert not {rule for rule, _ in told({"XML6": {**days, "SO_NGAY_CAP_THUOC_ARV": "28"}})} & {"field-sum"}


def test_other_numbers_than_those_of_an_identity_paper_are_told() -> None:
    for right in ("038185000124", "123456789", "B1234567"):
        assert ("field-form", "SO_CCCD") not in told({"XML1": {"SO_CCCD": right}})
    for wrong in ("38185000124", "b1234567", "0381850001244"):
        assert ("field-form", "SO_CCCD") in told({"XML1": {"SO_CCCD": wrong}})


def test_a_supply_and_a_service_bear_their_names() -> None:
    for row, missing in (
        ({"MA_VAT_TU": "N1"}, {"TEN_VAT_TU"}),
        ({"MA_DICH_VU": "02.1"}, {"TEN_DICH_VU"}),
        ({"MA_VAT_TU": "N1", "MA_DICH_VU": "02.1"}, {"TEN_VAT_TU"}),  # a supply used in a service
        ({"DU_PHONG": "x"}, {"MA_DICH_VU"}),
    ):
        found = {field for rule, field in told({"XML3": row}) if rule == "field-required"}
        assert found & {"TEN_VAT_TU", "TEN_DICH_VU", "MA_DICH_VU"} == missing


# --- formats without an official list ---------------------------------------------------------------------------------

OTHERS = {
    name: decode((format.folder / "checks.json").read_bytes())
    for name, format in FORMATS.by_name.items()
    if name != "bhxh" and format.checks is not None
}
RULES = [
    (name, table["at"], rule)
    for name, held in OTHERS.items()
    for table in held["tables"]
    for rule in table.get("rules", ())
]
DATES = {"not-before": ("02/01/2026", "01/01/2026"), "not-after": ("01/01/2026", "02/01/2026")}  # the other, its own


def at(path: str, row: Any) -> dict[str, Any]:
    for name in reversed(path.strip("/").split("/")):
        row = {name: row} if name else row
    return row


def joined(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: joined(one.get(name), other.get(name)) for name in one | other}
    return one if other is None else other


def broken(table: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    """A record that breaks a rule and meets its condition."""
    row = {
        path: "x" if what == "present" else what[0] for path, what in rule.get("when", {}).items() if what != "absent"
    }
    record: dict[str, Any] = {}
    if rule["rule"] in DATES:
        other, own = DATES[rule["rule"]]
        row[rule["field"]] = own
        record = at(rule["than"], other) if rule["than"].startswith("/") else at(table, {rule["than"]: other})
    elif rule["rule"] == "same":
        (name,) = rule["fields"]
        row[name], record = "1", at(rule["as"], {rule["named"][name]: "2"})
    elif rule["rule"] != "required":
        row.setdefault(rule["field"], "?")
    return joined(record, at(table, row or {"OTHER": "x"}))


@pytest.mark.parametrize(("name", "table", "rule"), RULES, ids=str)
def test_a_record_that_breaks_a_rule_is_told_so_in_its_field(name: str, table: str, rule: Mapping[str, Any]) -> None:
    found = Checks(OTHERS[name]).run(broken(table, rule), NEW, NEW, "warning")
    (wanted,) = (told for told, kinds in KINDS.items() if rule["rule"] in kinds)
    fields = {(one.rule, field.rpartition("/")[2]) for one in found for field in one.field.split(", ")}
    assert (wanted, rule.get("field") or rule["fields"][0]) in fields
