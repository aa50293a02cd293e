"""Writes docs/mappings/: one table per record format, and one of its rules where listed, from the mapping data alone.

python scripts/mapping_tables.py          writes the pages
python scripts/mapping_tables.py --check  exits 1 when a page is not what the data says
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rule_tables import checks_page, rules_page

from fhir_server.records.mapping_files import read_mapping, read_shared

ROOT = Path(__file__).resolve().parent.parent
MAPPINGS, PAGES = ROOT / "mappings", ROOT / "docs" / "mappings"

HEADER = (
    "| Trường nguồn / source | Ý nghĩa | Meaning | FHIR | Cách chuyển / transform | Danh mục / lists and maps "
    "| Khi trống / when absent | Khi sai / when wrong |\n|---|---|---|---|---|---|---|---|\n"
)
ABSENT = {
    "leave": "bỏ qua / left out",
    "tell": "cảnh báo / warning",
    "refuse": "**từ chối hồ sơ / record refused**",
}
WRONG = {"tell": "bỏ qua, cảnh báo / left out, warning", "refuse": "**từ chối hồ sơ / record refused**"}
# Transforms that take every text, so that nothing can be wrong.
TAKES_ALL = {
    "text", "as_written", "lines", "identifier", "person_name", "phone", "email", "local_coding", "logical_reference",
    "zero_pad", "last_two", "semicolon_list", "narrative", "first_of_list",
}  # fmt: skip
WORDS = {
    "not": "∉",
    "starts": "bắt đầu bằng / starts with",
    "ends": "kết thúc bằng / ends with",
    "any": "có / has",
    "any_starts": "có mã bắt đầu bằng / has a code that starts with",
    "words": "có chữ / has the word",
    "other_than": "có và ∉ / present and ∉",
    "shape": "có dạng / has the form",
    "not_shape": "không có dạng / has not the form",
    "below": "<",
    "not_below": "≥",
    "same": "= ",
    "same_day": "cùng ngày / same day as",
    "not_same_day": "khác ngày / not the same day as",
}
SIGNS = {
    "present": "có / present",
    "absent": "trống / absent",
    "number": "là số / is a number",
    "words": "là chữ / is no number",
}
KEPT = {
    "concept": "giữ mã, cảnh báo / code kept, warning",
    "list_coding": "giữ mã, cảnh báo / code kept, warning",
    "concept_by_text": "giữ chữ / text kept",
    "icd10": "giữ chữ, cảnh báo / text kept, warning",
    "blood_group": "giữ chữ, cảnh báo / text kept, warning",
    "list_display": "không ghi tên / no name is written",
    "birth_time": "như ngày sinh / as of the date of birth",
}
BY_SHAPE = frozenset({"identifier_by_shape", "shared_reference"})


def page(data: Mapping[str, Any]) -> str:
    """The whole page of one format."""
    title = data["title"]
    parts = [
        f"# {title['vi']}\n\n{title['en']}. Mapping `{data['format']}`, version {data['version']}.\n\n",
        "Trang này được sinh ra từ `mappings/` bằng `scripts/mapping_tables.py`; đừng sửa tay. "
        "This page is generated; edit the mapping instead.\n\n",
        _record(data),
    ]
    parts += [_group(group, ()) for group in data["resources"]]
    if data.get("left_out"):
        parts.append("## Chưa chuyển / left out\n\n| Nguồn / source | Lý do | Reason |\n|---|---|---|\n")
        parts += [f"| `{path}` | {why['vi']} | {why['en']} |\n" for path, why in data["left_out"].items()]
    return "".join(parts)


def _record(data: Mapping[str, Any]) -> str:
    record = data["record"]
    facts = {
        "Khóa hồ sơ / key of a record (the first that is there)": "; ".join(
            _quoted(paths, " + ") for paths in record["key"]
        ),
        "Của con mang số của cha mẹ, thêm / of a child under a parent's number, besides": _quoted(
            record.get("child", {"told_by": ()})["told_by"]
        ),
        "Nơi gửi / sender": _quoted(record["facility"]),
        "Ngày hồ sơ / day of the record (chooses the code lists)": _quoted(record["date"]["source"]),
    }
    table = "".join(f"| {what} | {fields} |\n" for what, fields in facts.items() if fields)
    return f"| | |\n|---|---|\n{table}\n" + "".join(f"- {line}\n" for line in _labels(data)) + "\n"


def _quoted(paths: Iterable[str], between: str = ", ") -> str:
    return between.join(f"`{path}`" for path in paths)


def _group(group: Mapping[str, Any], above: tuple[str, ...]) -> str:
    each = group.get("each", ".")
    here = ("", *_parts(each)) if each.startswith("/") else (*above, *_parts(each))
    head = f"## {group['type']} `{group['name']}`\n\n"
    lines = [_from(group, here)]
    if group.get("only"):
        lines.append(f"Chỉ khi FHIR_RESTRICTED_TABLES có / only when FHIR_RESTRICTED_TABLES names `{group['only']}`")
    if group.get("derived"):
        lines.append(
            "Suy ra từ hồ sơ, không dùng để viết lại hồ sơ / follows from the record, not needed to write it back"
        )
    if group.get("when"):
        lines.append(f"Khi / when: {condition(group['when'])}")
    if group.get("key"):
        lines.append("Id: " + ", ".join(f"`{path}`" for path in group["key"]))
    if group.get("owner", "record") != "record":
        lines.append(f"Thuộc về / belongs to: {group['owner']}")
    lines += [
        f"Cảnh báo / warning when {condition(note['when'])}: {note['vi']} / {note['en']}"
        for note in group.get("notes", ())
    ]
    lines += _labels(group)
    fixed = _fixed(group.get("fixed", {}))
    if fixed:
        lines.append(f"Cố định / fixed: {fixed}")
    text = head + "".join(f"- {line}\n" for line in lines) + "\n" + HEADER
    text += "".join(_row(row, group["type"]) for row in group["rows"]) + "\n"
    return text + "".join(_group(child, here) for child in group.get("resources", ()))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part and part != "."]


def _from(group: Mapping[str, Any], here: tuple[str, ...]) -> str:
    if "each_of" in group:
        return "Mỗi giá trị khác nhau của / each different value of " + ", ".join(
            f"`{path}`" for path in group["each_of"]
        )
    if group.get("each") == "*":
        return "Mỗi dòng của nhóm / each row of the group"
    return f"Từ / from `{'/'.join(here) or '/'}`" + _split(group)


def _labels(data: Mapping[str, Any]) -> list[str]:
    """What makes resources restricted."""
    return [
        f"Nhãn / label `{label['value']['code']}`{when}: {label['vi']} / {label['en']}"
        for label in data.get("labels", ())
        for when in (f" khi / when {condition(label['when'])}" if label.get("when") else "",)
    ]


def _split(group: Mapping[str, Any]) -> str:
    if group.get("group_by"):
        return f", gộp theo / rows joined by {', '.join(group['group_by'])}"
    return f", mỗi phần tử `;` / each item of the `;` list {', '.join(group['split'])}" if group.get("split") else ""


def _fixed(fixed: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}` = `{_short(value)}`" for name, value in fixed.items())


def _short(value: Any) -> str:
    """The codes within a value; the value itself where there are none."""
    codes = list(_codes(value))
    return " ".join(codes) if codes else json.dumps(value, ensure_ascii=False)


def _codes(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "code" in value and isinstance(value["code"], str):
            yield value["code"]
        for item in value.values():
            yield from _codes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _codes(item)


def _row(row: Mapping[str, Any], type: str) -> str:
    cells = [_source(row), row["vi"], row["en"], _target(row, type), _transform(row)]
    cells += [_lists(row), _absent(row), _wrong(row)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _source(row: Mapping[str, Any]) -> str:
    when = f" khi / when {condition(row['when'])}" if row.get("when") else ""
    if "link" in row:
        return f"→ {'#' if row['link'] == '#' else row['link']}{when}"
    if "value" in row:
        return f"= `{_short(row['value'])}`{when}"
    if "line" in row:
        return f"số thứ tự / position + {row['line']}{when}"
    sources = row["source"] if isinstance(row["source"], list) else [row["source"]]
    return " / ".join(f"`{source}`" for source in sources) + when


def condition(when: Any) -> str:
    """A condition in a few signs."""
    if isinstance(when, list):
        return " **hoặc/or** ".join(condition(one) for one in when)
    return ", ".join(f"`{path}` {_rule(rule)}" for path, rule in when.items())


def _rule(rule: Any) -> str:
    if isinstance(rule, str):
        return SIGNS[rule]
    if isinstance(rule, list):
        return "∈ " + ", ".join(rule)
    ((name, values),) = rule.items()
    if name in ("is_word", "not_words"):
        return f"{'=' if name == 'is_word' else '≠'} «không»"
    if isinstance(values, str):
        return f"{WORDS[name]} `{values}`"
    return f"{WORDS[name]} {', '.join(values) if isinstance(values, list) else values}"


def _target(row: Mapping[str, Any], type: str) -> str:
    """Where the value goes; in brackets what is not read when the record is written back."""
    shown = _place(row, type)
    return f"({shown})" if row.get("derived") else shown


def _place(row: Mapping[str, Any], type: str) -> str:
    return f"{row['on']}: `{row['target']}`" if "on" in row else f"`{type}.{row['target']}`"


def _names(row: Mapping[str, Any]) -> list[str]:
    names = row.get("as", "text")
    return names if isinstance(names, list) else [names]


def _transform(row: Mapping[str, Any]) -> str:
    return " → ".join(f"`{name}`" for name in _names(row)) if "source" in row else ""


def _lists(row: Mapping[str, Any]) -> str:
    options = row.get("with", {})
    found = [options[name] for name in ("list", "map", "kind", "system") if name in options]
    found += [*options.get("maps", ()), *options.get("kinds", ())]
    found += [options["otherwise"]] if "otherwise" in options else []
    return ", ".join(f"`{name}`" for name in found)


def _absent(row: Mapping[str, Any]) -> str:
    if "source" not in row:
        return "–"
    if "copy_of" in row:
        return f"lấy `{row['copy_of']}` / that one stands for it"
    if "default" in row:
        return f"`{_short(row['default'])}`"
    return ABSENT[row.get("absent", "leave")]


def _wrong(row: Mapping[str, Any]) -> str:
    names = _names(row)
    if "copy_of" in row:
        return "khác thì giữ / kept where it differs"
    if "source" not in row:
        return "–"
    if names[-1] in KEPT:
        return KEPT[names[-1]]
    if names[-1] in BY_SHAPE:
        other = row.get("with", {}).get("otherwise")
        return f"ghi là / taken as `{other}`" if other else "giữ số, không có hệ thống / kept without a system"
    if all(name in TAKES_ALL for name in names):
        return "nhận mọi chữ / any text is taken"
    return "bỏ qua / left out" if row.get("with", {}).get("loose") else WRONG[row.get("wrong", "refuse")]


def _read(file: Path) -> Any:
    return json.loads(file.read_bytes()) if file.exists() else None


def pages() -> dict[Path, str]:
    """Path → content of every page."""
    found = {}
    shared = read_shared(MAPPINGS)
    for file in sorted(MAPPINGS.glob("*/mapping.json")):
        name, data = file.parent.name, read_mapping(file.parent, shared)
        found[PAGES / f"{name}.md"] = page(data)
        checks = _read(file.parent / "checks.json")
        if checks is not None:
            listed = _read(file.parent / "rules.json")
            found[PAGES / f"{name}-rules.md"] = (
                checks_page(name, data["title"], checks, condition)
                if listed is None
                else rules_page(name, data["title"], listed, checks, condition)
            )
    return found


def main() -> int:
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what the mapping says", file=sys.stderr)
        return 1 if stale else 0
    PAGES.mkdir(parents=True, exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
