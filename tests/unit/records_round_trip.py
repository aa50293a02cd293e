"""What is the same in two records, and in the resources of two records, for tests of the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date
from functools import lru_cache
from typing import Any

import orjson
from records_sources import FORMATS

from fhir_server.model.resources import Digits, decode
from fhir_server.records.bundle import prepare, transaction
from fhir_server.records.checks import holds
from fhir_server.records.export import Export, Exported, export_of
from fhir_server.records.facts import Facts, WrongValue
from fhir_server.records.formats import Format
from fhir_server.records.record import Record, map_record
from fhir_server.records.scopes import split_path
from fhir_server.records.source import Place, SourceRecord
from fhir_server.records.transforms import TRANSFORMS

Keys = tuple[str, ...]


def resources_of(record: Record) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in transaction(record, FORMATS.tools.naming)["entry"]]


def mapped(format: Format, content: Any) -> Record:
    record = map_record(format, SourceRecord(format.name, Place("exported"), content))
    prepare(record, FORMATS.tools.naming)
    return record


def day_of(record: Record) -> date | None:
    return date.fromisoformat(record.moment[:10]) if len(record.moment) >= 10 else None


def back(record: Record, resources: list[dict[str, Any]]) -> Exported:
    """The record of a record's own resources."""
    return export_of(record.format).record(resources, record.facility, day_of(record), date(2026, 7, 1), record.key)


class Sameness:
    """What a record says in its mapped fields, so that two records can be compared: each text as the rows that read it
    take it, lists in any order, without what is left out or one-way."""

    def __init__(self, format: Format, on: date | None, facility: str) -> None:
        self._format = format
        self._export: Export = export_of(format)
        self._facts: Facts = format.tools.facts()
        self._facts.on, self._facts.facility = on, facility
        self._rows = rows_by_path(format)
        self._told: dict[tuple[Keys, str], Any] = {}  # most texts of two records are the same

    def of(self, content: Any, path: Keys = ()) -> Any:
        if isinstance(content, list) or path in self._export.many:
            items = content if isinstance(content, list) else [content]
            return tuple(sorted(repr(self._part(one, path)) for one in items))
        return self._part(content, path)

    def _part(self, content: Any, path: Keys) -> Any:
        if not isinstance(content, dict):
            return self._taken(content, path)
        kept = {}
        for name, value in content.items():
            at = (*path, name)
            if at in self._format.left_out or self._is_one_way(content, path, name):
                continue
            if isinstance(value, str) and at not in self._format.known:
                continue
            held = self.of(value, at)
            if held not in ((), {}, None, ""):
                kept[name] = held
        return {name: kept[name] for name in sorted(kept)}

    def _is_one_way(self, content: Mapping[str, Any], path: Keys, name: str) -> bool:
        return any(
            split_path(one["at"]) == path
            and name in one["fields"]
            and all(holds(content.get(field), what) for field, what in one.get("when", {}).items())
            for one in self._export.data.get("one_way", ())
        )

    def _taken(self, text: str, path: Keys) -> Any:
        if (path, text) not in self._told:
            rows = self._rows.get(path, ())
            self._told[path, text] = [self._value(row, text) for row in rows] if rows else text
        return self._told[path, text]

    def _value(self, row: Mapping[str, Any], text: str) -> Any:
        names = row.get("as", "text")
        options = {k: v for k, v in row.get("with", {}).items() if not k.endswith("_from")}
        values: list[Any] = [text]
        for name in [names] if isinstance(names, str) else names:
            made = []
            for value in values:
                try:
                    result = TRANSFORMS[name](value, options, self._facts)
                except WrongValue:
                    return text
                made += result if isinstance(result, list) else [result]
            values = made
        return json.dumps(values, default=lambda digits: digits.text if isinstance(digits, Digits) else str(digits))


@lru_cache(maxsize=8)
def rows_by_path(format: Format) -> Mapping[Keys, list[Mapping[str, Any]]]:
    """The rows that read a field; of one that repeats another's, those of the other, which stands for it."""
    found: dict[Keys, list[Mapping[str, Any]]] = {}
    for path, row in rows_of(format):
        found.setdefault(path, []).append(row)
    copies = {path: split_path(rows[0]["copy_of"]) for path, rows in found.items() if "copy_of" in rows[0]}
    return {path: found.get(copies.get(path, path), rows) for path, rows in found.items()}


def rows_of(format: Format) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """(path from the top, row) of every row that reads."""
    yield from _rows(format.data["resources"], ())


def _rows(groups: Any, above: Keys) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    for group in groups:
        each = group.get("each", ".")
        here = split_path(each) if each.startswith("/") else above + split_path(each)
        for row in group["rows"]:
            sources = row.get("source", [])
            for source in [sources] if isinstance(sources, str) else sources:
                if source.startswith("/"):
                    yield split_path(source), row
                elif source.startswith("../"):
                    yield above + split_path(source.replace("../", "")), row
                else:
                    yield here + split_path(source), row
        yield from _rows(group.get("resources", ()), here)


def bare(resources: list[dict[str, Any]]) -> list[bytes]:
    """The resources without ids and what names the record they came from; references by type alone, lists in any
    order."""
    return sorted(_text_of(_bare(one)) for one in resources)


def _text_of(value: Any) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS)


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _bare(item) for name, item in value.items() if name not in ("id", "meta")}
        if isinstance(value.get("reference"), str):
            kept["reference"] = value["reference"].partition("/")[0]
        return kept
    if isinstance(value, list):
        items = [_bare(one) for one in value]
        return sorted(items, key=_text_of) if len(items) > 1 else items
    return value


def filled(table: str, visit: dict[str, str]) -> dict[str, str]:
    """A row with something in every field: what the visit says where it is the same field, else what fits its kind."""
    tables = decode((FORMATS.by_name["bhxh"].folder / "checks.json").read_bytes())["tables"]
    (fields,) = [one["fields"] for one in tables if one["at"].split("/")[1] == table]
    of_kind = {"day": "20260302", "number": "1"}
    return {field: visit.get(field) or of_kind.get(kind[0], "A1") for field, kind in fields.items()}
