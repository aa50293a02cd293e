"""The page of a format's rules: what is checked in each field; of an official list also what is not, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Data = Mapping[str, Any]
Condition = Callable[[Any], str]  # a condition in a few signs

# Kind of rule in checks.json -> the rule of the import report that tells a breach.
TOLD_AS = {
    "required": "field-required",
    "together": "field-required",
    "pattern": "field-form",
    "equals": "field-value",
    "only-when": "table-not-expected",
    "not-before": "date-order",
    "not-after": "date-order",
    "same": "field-differs",
    "days": "field-sum",
    "sum": "field-sum",
    "product": "field-sum",
    "total": "field-sum",
}
# Form of a field in checks.json -> how a page says it.
FORMS = {
    "text": "chuỗi / text",
    "number": "số / number",
    "flag": "0, 1",
    "dmy": "dd/MM/yyyy",
    "iso": "yyyy-MM-dd",
    "day": "yyyymmdd",
    "moment": "yyyymmddHHMM",
    "birth": "yyyymmdd[HHMM]",
}
_PAST = "không sau ngày lập hồ sơ và hôm nay / not after the day of the record and today: `date-in-future`"
HEADER = (
    "| # | Trường / field | Dạng, độ dài / form, length | Quy tắc và kiểm tra / rules and checks |\n|---|---|---|---|\n"
)


def checks_page(format: str, title: Mapping[str, str], checks: Data, condition: Condition) -> str:
    """The whole page of a format for which there is no official list of rules. checks: its checks.json."""
    parts = [
        f"# Quy tắc kiểm tra: {title['vi']}\n\nRules: {title['en']}.\n\n",
        f"Trang này được sinh ra từ `mappings/{format}/checks.json` bằng `scripts/mapping_tables.py`; đừng sửa tay. "
        "This page is generated.\n\n",
        f"Mã nằm ngoài danh mục, ngày sai và số sai dạng còn được báo theo [bảng ánh xạ]({format}.md). Codes that "
        "their lists do not have, wrong dates and wrong numbers are told as the mapping says besides.\n",
    ]
    for table in checks["tables"]:
        parts.append(f"\n## {table['at'].strip('/') or 'hồ sơ / record'}\n\n")
        parts.append("| Trường / field | Dạng, độ dài / form, length | Quy tắc / rules |\n|---|---|---|\n")
        parts += [_check_line(name, spec, table, condition) for name, spec in table["fields"].items()]
    return "".join(parts)


def _check_line(field: str, spec: list[Any], table: Data, condition: Condition) -> str:
    form, length = FORMS[spec[0]], spec[1] if len(spec) > 1 else 0
    told = ["bắt buộc / required: `field-required`"] if "required" in spec else []
    told += [_PAST] if "past" in spec else []
    rules = [rule for rule in table.get("rules", ()) if field in (rule.get("field"), *rule.get("fields", ()))]
    told += [f"`{TOLD_AS[rule['rule']]}` {_detail(rule, condition)}".rstrip() for rule in rules]
    cells = [f"`{field}`", f"{form}, ≤ {length}" if length else form, "; ".join(told)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def rules_page(format: str, title: Mapping[str, str], rules: Data, checks: Data, condition: Condition) -> str:
    """The whole page of one format. rules, checks: its rules.json and checks.json."""
    asked = [ask for table in rules["tables"] for one in table["fields"] for ask in one[4].values()]
    left = sum(ask in rules["left_out"] for ask in asked)
    parts = [
        f"# Quy tắc kiểm tra: {title['vi']}\n\nRules: {title['en']}.\n\n",
        f"Trang này được sinh ra từ `mappings/{format}/rules.json` và `checks.json` bằng `scripts/mapping_tables.py`; "
        "đừng sửa tay. This page is generated.\n\n",
        "Dạng và độ dài của mọi trường được kiểm tra (`field-form`, `field-length`). Ngoài ra / Form and length of "
        f"every field are checked. Beyond them: {len(asked)} quy tắc / rules, {len(asked) - left} áp dụng / applied, "
        f"{left} không / left out.\n\n",
        "| Lý do không áp dụng | Why left out | Số quy tắc / rules |\n|---|---|---|\n",
    ]
    parts += [f"| {why['vi']} | {why['en']} | {asked.count(name)} |\n" for name, why in rules["left_out"].items()]
    held = {table["at"]: table for table in checks["tables"]}
    until = checks.get("required_until", {})
    for table in rules["tables"]:
        parts += [f"\n## {table['at'].strip('/')}\n\n", HEADER]
        parts += [_line(one, rules, held[table["at"]], until, condition) for one in table["fields"]]
        more = list(_more(table, held[table["at"]], condition))
        if more:
            parts += ["\nNgoài danh sách / beyond the list:\n\n", *more]
    return "".join(parts)


def _line(one: list[Any], rules: Data, table: Data, until: Mapping[str, str], condition: Condition) -> str:
    number, field, form, length, asks = one
    shape = "số / number" if form == "number" else "chuỗi / text"
    cells = [number, f"`{field}`", f"{shape}, {length}" if length else shape]
    told = []
    for ask, by in asks.items():
        words = f"{rules['asks'][ask]['vi']} / {rules['asks'][ask]['en']}"
        if by in rules["left_out"]:
            told.append(f"{words}: không áp dụng / left out")
            continue
        rule, _, other = by.partition(" ")
        details = [_detail(check, condition) for check in _checks(table, other or field, rule)]
        if ask == "required" and field in until:
            details = [f"trước / before {until[field]}"]
        elif ask == "required":
            details = []
        at = f" (`{other}`)" if other else ""
        told.append(f"{words}: `{rule}`{at}" + "".join(f" {detail}" for detail in details if detail))
    cells.append("; ".join(told))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _checks(table: Data, field: str, rule: str) -> Iterator[Data]:
    """The rules of a table in checks.json that tell of a field by that rule of the report."""
    for check in table.get("rules", ()):
        if TOLD_AS[check["rule"]] == rule and field in (check.get("field"), *check.get("fields", ())):
            yield check


def _detail(check: Data, condition: Condition) -> str:
    """What a rule says beyond its name."""
    details = []
    if "only" in check:
        details.append(condition(check["only"]))
    if "vi" in check and "only" not in check:
        details.append(f"{check['vi']} / {check['en']}")
    if "value" in check:
        details.append(f"= `{check['value']}`")
    if "than" in check:
        details.append(f"{'≥' if check['rule'] == 'not-before' else '≤'} `{check['than']}`")
    if check["rule"] == "days":
        plus = f" + {check['plus']}" if check["plus"] else ""
        details.append(f"{'≤' if check.get('at_most') else '='} `{check['to']}` − `{check['from']}`{plus}")
    if check["rule"] in ("same", "together"):
        details.append(f"= `{check['as']}`" if "as" in check else ", ".join(f"`{name}`" for name in check["fields"]))
    for kind, sign, key in (("sum", "+", "plus"), ("sum", "−", "minus"), ("product", "×", "of"), ("total", "Σ", "of")):
        names = check.get(key, ()) if check["rule"] == kind else ()
        details += [f"{sign} `{_name(name)}`" for name in names]
    if "when" in check:
        details.append(f"khi / when {condition(check['when'])}")
    return " ".join(details)


def _name(part: Any) -> str:
    return part if isinstance(part, str) else f"{part['at']}/{part['field']}"


def _more(listed: Data, table: Data, condition: Condition) -> Iterator[str]:
    """The checks of a table that the list does not ask."""
    asked = {(one[1], by.partition(" ")[0]) for one in listed["fields"] for by in one[4].values()}
    for check in table.get("rules", ()):
        rule = TOLD_AS[check["rule"]]
        fields = [name for name in (check.get("field"), *check.get("fields", ())) if name]
        new = [name for name in fields if (name, rule) not in asked]
        if new == fields:
            names = ", ".join(f"`{name}`" for name in new)
            yield f"- {names}: `{rule}` {_detail(check, condition)}\n"
    past = ", ".join(f"`{name}`" for name, spec in table["fields"].items() if "past" in spec)
    if past:
        yield f"- {past}: {_PAST}\n"
