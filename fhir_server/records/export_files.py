"""Records as files of their format: XML in its envelope, with tables in base64 where the format has them, JSON, CSV."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import orjson

from fhir_server.records.checks import holds
from fhir_server.records.csv_files import CsvLayout
from fhir_server.records.export import Export
from fhir_server.records.export_items import written
from fhir_server.records.scopes import split_path, walk
from fhir_server.records.source import Tree
from fhir_server.records.xml_cuts import Parts

MEDIA_TYPES = {
    "xml": "application/xml",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
}
_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")  # what XML 1.0 has no place for


def forms(export: Export) -> tuple[str, ...]:
    """The kinds of file that a format is written as, its own first."""
    if export.format.xml is not None:
        return ("xml",)
    return ("json", "ndjson", "csv") if export.format.csv is not None else ("json", "ndjson")


def together(export: Export) -> bool:
    """True when one file may hold records of several people; else each has an envelope of its own."""
    return export.format.xml is None or not export.format.xml.context or export.format.xml.parts is not None


def body(export: Export, records: Sequence[Tree], form: str, facility: str, today: date) -> bytes:
    """A file of records. facility: the sender that the envelope names. today: when it is written."""
    if form == "xml":
        return "".join(_xml(export, records, facility, today)).encode()
    if form == "csv":
        return "".join(csv_lines(export, records)).encode()
    if form == "ndjson":
        return b"".join(orjson.dumps(one) + b"\n" for one in records)
    return orjson.dumps(records[0] if len(records) == 1 else list(records), option=orjson.OPT_INDENT_2) + b"\n"


# --- XML -------------------------------------------------------------------------------------------------------------


def _xml(export: Export, records: Sequence[Tree], facility: str, today: date) -> Iterator[str]:
    container, envelope = export.format.xml, export.data["envelope"]
    assert container is not None
    shared = {name: element(name, records[0].get(name, {})) for name in container.context} if records else {}
    words = {**shared, **written(today, {}), "facility": _escaped(facility), "count": str(len(records))}
    yield envelope["before"].format_map(words)
    for record in records:
        if container.parts:
            yield _parts(container.parts, container.record, export.data, record)
        else:
            yield element(container.record, record.get(container.record, {}))
    yield envelope["after"].format_map(words)


def _parts(parts: Parts, tag: str, data: Mapping[str, Any], record: Tree) -> str:
    """A record whose tables are whole documents in base64."""
    roots, names = data["roots"], data.get("part_names", {})
    files = []
    for part in sorted(set(record) & set(roots), key=list(roots).index):
        for table in record[part] if isinstance(record[part], list) else [record[part]]:
            document = f"{_DECLARATION}\n{element(roots[part], table)}\n".encode()
            content = base64.b64encode(document).decode()
            files.append(
                f"<{parts.element}><{parts.name}>{_part_name(names.get(part, part), record)}</{parts.name}>"
                f"<{parts.content}>{content}</{parts.content}></{parts.element}>"
            )
    return f"<{tag}>{''.join(files)}</{tag}>"


def _part_name(name: str | Sequence[Mapping[str, Any]], record: Tree) -> str:
    """The name of a table; of one that bears several, the first whose condition the record meets."""
    if isinstance(name, str):
        return name
    return next(
        str(one["name"])
        for one in name
        if all(holds(walk(record, split_path(path)), what) for path, what in one.get("when", {}).items())
    )


def element(tag: str, content: Any) -> str:
    """XML of a tree; a list repeats its element."""
    if isinstance(content, list):
        return "".join(element(tag, one) for one in content)
    inner = "".join(element(name, one) for name, one in content.items()) if isinstance(content, dict) else None
    return f"<{tag}>{_escaped(str(content)) if inner is None else inner}</{tag}>"


def _escaped(text: str) -> str:
    return _NO_XML.sub("", text).translate(_ESCAPES)


# --- CSV -------------------------------------------------------------------------------------------------------------


def csv_lines(export: Export, records: Iterable[Tree]) -> Iterator[str]:
    """A header, then for each record a line a row kind, those of one record together."""
    layout = export.format.csv
    assert layout is not None
    columns = csv_columns(export, layout)
    yield _line(columns)
    for record in records:
        for row in _rows(layout, record):
            yield _line([row.get(column, "") for column in columns])


def csv_columns(export: Export, layout: CsvLayout) -> list[str]:
    """Every column that a row may need: the kind, the key, then the fields of each row kind in the format's order."""
    checks = export.format.checks
    order = checks.order if checks else {}
    own = {path for path, _ in layout.rows.values()}
    found = [layout.kind, *layout.key, *layout.record_columns]
    for path, _ in layout.rows.values():
        for at, names in order.items():
            if at[: len(path)] == path and (at == path or at not in own):
                found += [_column(layout, (*at[len(path) :], name)) for name in names if (*at, name) not in order]
    return list(dict.fromkeys(filter(None, found)))


def _column(layout: CsvLayout, keys: tuple[str, ...]) -> str:
    """The column of a field below its row: renamed where the name is taken by the key."""
    name = ".".join(keys)
    return next((column for column, field in layout.rename.items() if field == name), name)


def _rows(layout: CsvLayout, record: Tree) -> Iterator[dict[str, str]]:
    outer = {name: record[name] for name in (*layout.key, *layout.record_columns) if name in record}
    own = {path for path, _ in layout.rows.values()}
    for kind, (path, _) in layout.rows.items():
        part: Any = record
        for name in path:
            part = part.get(name, {}) if isinstance(part, dict) else {}
        for one in part if isinstance(part, list) else [part]:
            cells = dict(_cells(layout, one, (), path, own))
            if cells:
                yield {layout.kind: kind, **outer, **cells}


def _cells(
    layout: CsvLayout, part: Any, keys: tuple[str, ...], path: tuple[str, ...], own: set[tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    for name, value in part.items():
        if (*path, *keys, name) in own:
            continue
        if isinstance(value, dict):
            yield from _cells(layout, value, (*keys, name), path, own)
        else:
            yield _column(layout, (*keys, name)), ";".join(value) if isinstance(value, list) else str(value)


def _line(cells: Sequence[str]) -> str:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerow(cells)
    return made.getvalue()
