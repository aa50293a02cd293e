"""The receiver's own checks of a dossier, as data: required fields, forms, lengths, order of dates, sums, sameness.

`mappings/<format>/checks.json` lists the tables of a record with their fields in order, and rules between fields. What
they find is told; whether it refuses the record is a setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from fhir_server.records.scopes import split_path, walk, walk_all
from fhir_server.records.source import Place, Problem, Tree

Row = Mapping[str, Any]
Finding = tuple[str, str, str, tuple[str, str], tuple[str, str]]  # rule, field, found, text, allowed
Rule = Callable[[Row, Tree], Sequence[Finding]]
Read = Callable[[Row, Tree], Any]

_NUMBER = re.compile(r"[+-]?\d{1,18}(?:\.\d{1,10})?", re.ASCII)
_YMD = re.compile(r"\d{4}(?:\d\d){0,2}", re.ASCII)
_DMY = re.compile(r"(?:(?:(\d\d?)/)?(\d\d?)/)?(\d{4})(?: (\d\d?):(\d\d)(?::\d\d)?)?", re.ASCII)
_ISO = re.compile(r"\d{4}(?:-\d\d(?:-\d\d(?:[T ]\d\d:\d\d.*)?)?)?", re.ASCII)

_WRONG_FORM = ("the value has not the form asked for", "giá trị sai định dạng")
_IN_FUTURE = ("this day had not come when the record was written", "ngày này chưa đến khi hồ sơ được lập")
# Form of a field -> (what it must look like, how to say so). "text" may be anything.
FORMS: Mapping[str, tuple[re.Pattern[str], tuple[str, str]]] = {
    "number": (_NUMBER, ("a number, decimals after a dot", "một số, phần thập phân sau dấu chấm")),
    "day": (re.compile(r"\d{8}", re.ASCII), ("yyyymmdd", "yyyymmdd")),
    "moment": (re.compile(r"\d{12}", re.ASCII), ("yyyymmddHHMM", "yyyymmddHHMM")),
    "birth": (
        re.compile(r"\d{8}(?:\d{4})?", re.ASCII),
        ("yyyymmddHHMM, 0 where unknown", "yyyymmddHHMM, không rõ ghi 0"),
    ),
    "dmy": (_DMY, ("dd/MM/yyyy", "dd/MM/yyyy")),
    "iso": (_ISO, ("yyyy-MM-dd", "yyyy-MM-dd")),
    "flag": (re.compile(r"[01]"), ("0 or 1", "0 hoặc 1")),
}


@dataclass(frozen=True, slots=True)
class _Field:
    pattern: re.Pattern[str] | None
    allowed: tuple[str, str]
    length: int  # 0: any
    is_past: bool  # a date of what has been when the record is written


@dataclass(frozen=True, slots=True)
class _Table:
    keys: tuple[str, ...]
    fields: Mapping[str, _Field]
    required: tuple[tuple[str, str], ...]  # (field, last day on which it is required or "")
    names_required: frozenset[str]
    rules: tuple[Rule, ...]


class Checks:
    """The checks of one format, compiled once."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        """Raises KeyError for a form or rule that does not exist."""
        until: Mapping[str, str] = data.get("required_until", {})
        self._tables = [_table(one, until) for one in data["tables"]]
        self.order: Mapping[tuple[str, ...], tuple[str, ...]] = {
            split_path(one["at"]): tuple(one["fields"]) for one in data["tables"]
        }

    def run(self, content: Tree, on: str, written: str, severity: str) -> Iterator[Problem]:
        """Every breach in a record. on: the record's day as YYYY-MM-DD…, "" unknown. written: the day that it was
        written by, YYYY-MM-DD. severity: what a breach is."""
        latest = (sortable(written), (f"not after {written}", f"không sau {written}"))
        for table in self._tables:
            rows = _rows(walk_all(content, table.keys)) if table.keys else [content]
            for number, row in enumerate(rows, 1):
                breaches = _breaches(table, row, content, on, latest)
                if breaches:
                    at = f"{table.keys[-1]}[{number}]/" if len(rows) > 1 else ""
                    place = Place("", part=table.keys[-1] if table.keys else "")
                    for rule, field, found, text, allowed in breaches:
                        names = ", ".join(f"{at}{name}" for name in field.split(", "))
                        yield Problem(severity, rule, text, names, found, allowed, place)


def _rows(items: Iterable[Any]) -> list[Row]:
    """The rows of a table however many lists its document wraps around them: what holds values is a row."""
    rows: list[Row] = []
    for item in items:
        if isinstance(item, list):
            rows += _rows(item)
        elif isinstance(item, dict):
            is_row = any(value.__class__ is str for value in item.values())
            rows += [item] if is_row else _rows(item.values())
    return rows


def _breaches(table: _Table, row: Row, content: Tree, on: str, latest: tuple[str, tuple[str, str]]) -> list[Finding]:
    """latest: day of a date in the past, as `sortable` gives it, and how to say so."""
    found: list[Finding] = []
    if not row.keys() >= table.names_required:
        missing = [name for name, until in table.required if name not in row and not (until and on >= until)]
        if missing:
            text = ("required fields are empty", "thiếu trường bắt buộc")
            found.append(("field-required", ", ".join(missing), "", text, ("", "")))
    fields = table.fields
    for name, value in row.items():
        field = fields.get(name)
        if field is None or value.__class__ is not str:
            continue
        if field.length and len(value) > field.length:
            allowed = (f"at most {field.length} characters", f"nhiều nhất {field.length} ký tự")
            found.append(("field-length", name, value, ("the value is too long", "giá trị quá dài"), allowed))
        elif field.pattern is not None and not field.pattern.fullmatch(value):
            found.append(("field-form", name, value, _WRONG_FORM, field.allowed))
        elif field.is_past and sortable(value)[:8] > latest[0]:
            found.append(("date-in-future", name, value, _IN_FUTURE, latest[1]))
    for rule in table.rules:
        found += rule(row, content)
    return found


def _table(data: Mapping[str, Any], until: Mapping[str, str]) -> _Table:
    fields = {}
    required = []
    for name, spec in data["fields"].items():
        form, length = spec[0], spec[1] if len(spec) > 1 else 0
        pattern, allowed = FORMS[form] if form != "text" else (None, ("", ""))
        fields[name] = _Field(pattern, allowed, length, "past" in spec)
        if "required" in spec:
            required.append((name, until.get(name, "")))
    rules = tuple(_when(one.get("when"), RULES[one["rule"]](one)) for one in data.get("rules", ()))
    return _Table(split_path(data["at"]), fields, tuple(required), frozenset(name for name, _ in required), rules)


# --- rules between fields --------------------------------------------------------------------------------------------


def _when(conditions: Mapping[str, Any] | None, rule: Rule) -> Rule:
    """The rule, for rows that meet all conditions: path -> list of texts | "present" | "absent" | {"not": […]} (and
    present)."""
    if not conditions:
        return rule
    meets = _all_of(conditions)
    return lambda row, content: rule(row, content) if meets(row, content) else ()


def _all_of(conditions: Mapping[str, Any]) -> Callable[[Row, Tree], bool]:
    tests = [(_reading(path), what) for path, what in conditions.items()]

    def meets(row: Row, content: Tree) -> bool:
        for read, what in tests:  # noqa: SIM110 - a generator takes three times as long
            if not holds(read(row, content), what):
                return False
        return True

    return meets


def _reading(path: str) -> Read:
    if path.startswith("/"):
        keys = split_path(path)
        return lambda row, content: walk(content, keys)
    return lambda row, content: row.get(path)


def holds(value: Any, what: Any) -> bool:
    """True when a field's value meets a condition: a list of texts, "present", "absent", {"not": […]}, {"shape": …}."""
    if what.__class__ is str:
        return bool((value is not None) == (what == "present"))
    if not isinstance(value, str):
        return False
    if not isinstance(what, Mapping):
        return value in what
    return re.fullmatch(what["shape"], value) is not None if "shape" in what else value not in what["not"]


def _required(data: Mapping[str, Any]) -> Rule:
    name = data["field"]
    text = ("required here and empty", "bắt buộc trong trường hợp này nhưng đang trống")
    found = [("field-required", name, "", text, ("", ""))]
    return lambda row, content: () if name in row else found


def _pattern(data: Mapping[str, Any]) -> Rule:
    name, pattern, allowed = data["field"], re.compile(data["pattern"], re.ASCII), (data["en"], data["vi"])

    def run(row: Row, content: Tree) -> Sequence[Finding]:
        value = row.get(name)
        if value.__class__ is not str or pattern.fullmatch(value):
            return ()
        return [("field-form", name, value, _WRONG_FORM, allowed)]

    return run


def _equals(data: Mapping[str, Any]) -> Rule:
    name, wanted = data["field"], data["value"]
    text = ("another value is expected here", "trường hợp này phải ghi giá trị khác")

    def run(row: Row, content: Tree) -> Sequence[Finding]:
        value = row.get(name, wanted)
        return (
            [("field-value", name, value, text, (wanted, wanted))] if isinstance(value, str) and value != wanted else ()
        )

    return run


def _only_when(data: Mapping[str, Any]) -> Rule:
    meets = _all_of(data["only"])
    found = [("table-not-expected", data["field"], "", (data["en"], data["vi"]), ("", ""))]
    return lambda row, content: () if meets(row, content) else found


@lru_cache(maxsize=8_192)
def sortable(value: str) -> str:
    """The digits of a date from the year down: `02/03/1985 08:15` is `198503020815`; unknown parts (00) are cut off."""
    dmy = _DMY.fullmatch(value) if "/" in value else None
    if dmy:
        digits = dmy[3] + (dmy[2] or "").zfill(2) + (dmy[1] or "").zfill(2)
        digits += dmy[4].zfill(2) + dmy[5] if dmy[4] else ""
    else:
        digits = value if value.isdigit() else re.sub(r"\D", "", value[:16])
    for end in (4, 6):
        if digits[end : end + 2] in ("00", ""):
            return digits[:end]
    return digits


def _in_order(data: Mapping[str, Any]) -> Rule:
    """The field is not before, or not after, another date, as far as both are told."""
    name, than, is_later = data["field"], data["than"], data["rule"] == "not-before"
    other = than.rpartition("/")[2]
    text = (f"earlier than {other}", f"sớm hơn {other}") if is_later else (f"later than {other}", f"muộn hơn {other}")
    bound = ("not before", "không trước") if is_later else ("not after", "không sau")
    read = _reading(than)

    def run(row: Row, content: Tree) -> Sequence[Finding]:
        told, there = row.get(name), read(row, content)
        if not isinstance(told, str) or not isinstance(there, str):
            return ()
        mine, others = sortable(told), sortable(there)
        length = min(len(mine), len(others))
        first, second = (others, mine) if is_later else (mine, others)
        if second[:length] >= first[:length]:
            return ()
        return [("date-order", name, told, text, (f"{bound[0]} {there}", f"{bound[1]} {there}"))]

    return run


def _same(data: Mapping[str, Any]) -> Rule:
    """The field says what the other table says; `named`: the name that a field bears there."""
    keys, named = split_path(data["as"]), data.get("named", {})
    fields = [(name, named.get(name, name)) for name in data["fields"]]
    text = (f"not as in {keys[-1]}", f"khác với bảng {keys[-1]}")

    def run(row: Row, content: Tree) -> Sequence[Finding]:
        other = walk(content, keys)
        if not isinstance(other, dict):
            return ()
        told = [(name, row.get(name), other.get(there)) for name, there in fields]
        return [
            ("field-differs", name, value, text, ("", ""))
            for name, value, expected in told
            if value != expected and isinstance(value, str) and isinstance(expected, str)
        ]

    return run


def _together(data: Mapping[str, Any]) -> Rule:
    names = data["fields"]
    text = ("filled in only in part; all or none", "chỉ ghi một phần; phải ghi đủ hoặc để trống cả")

    def run(row: Row, content: Tree) -> Sequence[Finding]:
        missing = [name for name in names if name not in row]
        is_partly = 0 < len(missing) < len(names)
        return [("field-required", ", ".join(missing), "", text, ("", ""))] if is_partly else ()

    return run


def _days(data: Mapping[str, Any]) -> Rule:
    """The field is the days between two others, or `at_most` those."""
    name, start, end, plus = data["field"], data["from"], data["to"], data["plus"]
    fewer = data.get("at_most", False)
    text = ("not the days between the two dates", "không bằng số ngày giữa hai ngày")
    if fewer:
        text = ("more than the days between the two dates", "nhiều hơn số ngày giữa hai ngày")

    def run(row: Row, content: Tree) -> Sequence[Finding]:
        told, first, last = _number(row.get(name)), _day(row.get(start)), _day(row.get(end))
        if told is None or not first or not last:
            return ()
        expected = (last - first).days + plus
        if told == expected or (told < expected and fewer):
            return ()
        shown = f"≤ {expected}" if fewer else f"{expected}"
        return [("field-sum", name, str(row[name]), text, (shown, shown))]

    return run


def _sum(data: Mapping[str, Any]) -> Rule:
    """The field is a sum and difference of fields of its row."""
    plus, minus = data["plus"], data.get("minus", ())

    def expected(row: Row, content: Tree) -> Decimal | None:
        parts = [_number(row.get(name)) for name in (*plus, *minus)]
        signs = [1] * len(plus) + [-1] * len(minus)
        known = [part * sign for part, sign in zip(parts, signs, strict=True) if part is not None]
        return sum(known, Decimal()) if len(known) == len(parts) else None

    return _amount(data, expected)


def _product(data: Mapping[str, Any]) -> Rule:
    """The field is the product of fields of its row."""

    def expected(row: Row, content: Tree) -> Decimal | None:
        made = Decimal(1)
        for name in data["of"]:
            part = _number(row.get(name))
            if part is None:
                return None
            made *= part
        return made

    return _amount(data, expected)


def _total(data: Mapping[str, Any]) -> Rule:
    """The field is the total of a field over rows of other tables, where there are any."""
    tables = [(split_path(one["at"]), one["field"]) for one in data["of"]]

    def expected(row: Row, content: Tree) -> Decimal | None:
        found = [_number(one.get(name)) for keys, name in tables for one in _rows(walk_all(content, keys))]
        return sum((part for part in found if part is not None), Decimal()) if any(found) else None

    return _amount(data, expected)


def _amount(data: Mapping[str, Any], expected: Callable[[Row, Tree], Decimal | None]) -> Rule:
    name, within = data["field"], Decimal(data["within"])
    text = ("not what the other fields add up to", "không khớp với các trường khác cộng lại")

    def run(row: Row, content: Tree) -> Sequence[Finding]:
        told = _number(row.get(name))
        wanted = expected(row, content) if told is not None else None
        if told is None or wanted is None or abs(told - wanted) <= within:
            return ()
        shown = f"{wanted.quantize(Decimal('0.01')):f}"
        return [("field-sum", name, str(row[name]), text, (shown, shown))]

    return run


def _number(value: Any) -> Decimal | None:
    try:
        return Decimal(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None
    except InvalidOperation:
        return None


def _day(value: Any) -> date | None:
    digits = sortable(value) if isinstance(value, str) else ""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) if len(digits) >= 8 else None
    except ValueError:
        return None


RULES: Mapping[str, Callable[[Mapping[str, Any]], Rule]] = {
    "required": _required,
    "pattern": _pattern,
    "equals": _equals,
    "only-when": _only_when,
    "not-before": _in_order,
    "not-after": _in_order,
    "same": _same,
    "together": _together,
    "days": _days,
    "sum": _sum,
    "product": _product,
    "total": _total,
}
