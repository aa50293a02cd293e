"""CSV files of records: lines of one key that stand together become one record."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import IO, Any

from fhir_server.records.source import Place, Problem, SourceRecord, Tree

LINE_LIMIT = 1 << 20
LINES_LIMIT = 10_000  # lines of one record
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """How lines become a record (mappings/<format>/csv.json).

    kind: the column that names the row kind, "" where there is one kind alone. key: columns that make one record;
    without any, every line is one. record_columns: columns of the record itself. rows: row kind -> (path, several).
    rename: column -> field. lists: columns that hold `;` lists. known_by: columns that tell a file of this format.
    """

    kind: str
    key: tuple[str, ...]
    record_columns: tuple[str, ...]
    rows: Mapping[str, tuple[tuple[str, ...], bool]]
    rename: Mapping[str, str]
    lists: frozenset[str]
    known_by: frozenset[str]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> CsvLayout:
        kind, key = data.get("kind", ""), tuple(data.get("key", ()))
        return cls(
            kind,
            key,
            tuple(data.get("record_columns", ())),
            {name: (_path(row["into"]), bool(row.get("many"))) for name, row in data["rows"].items()},
            data.get("rename", {}),
            frozenset(data.get("lists", ())),
            frozenset(data.get("known_by", filter(None, (kind, *key)))),
        )


def _path(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(".")))


def read_csv(stream: IO[bytes], name: str, format: str, layout: CsvLayout) -> Iterator[SourceRecord]:
    """Every record in order. Memory: the lines of one record."""
    first = stream.readline(LINE_LIMIT).decode("utf-8-sig", "surrogateescape")
    delimiter = max(_DELIMITERS, key=first.count)
    rows = csv.reader(_lines(stream, first), delimiter=delimiter, strict=False)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        missing = sorted(column for column in layout.known_by if column not in header)
        if missing:
            yield SourceRecord(format, Place(name, 0, 1), None, (_no_column(missing),))
            return
        twice = next((column for column in header if column and header.count(column) > 1), "")
        if twice:
            text = (f"two columns {twice}", f"có hai cột {twice}")
            problem = Problem("error", "not-well-formed", text, field=twice)
            yield SourceRecord(format, Place(name, 0, 1), None, (problem,))
            return
        yield from _Collector(name, format, layout, header).records(rows)
    except csv.Error as fault:
        text = (f"not a CSV file: {fault}", f"không phải tệp CSV: {fault}")
        problem = Problem("error", "not-well-formed", text)
        yield SourceRecord(format, Place(name, 0, rows.line_num), None, (problem,))


def _lines(stream: IO[bytes], first: str) -> Iterator[str]:
    # Bytes that are not UTF-8 become surrogates, which the record that holds them is refused for.
    rest = iter(lambda: stream.readline(LINE_LIMIT).decode("utf-8", "surrogateescape"), "")
    return chain((first,), rest)


def _no_column(missing: list[str]) -> Problem:
    names = ", ".join(missing)
    return Problem("error", "no-column", (f"no column {names}", f"thiếu cột {names}"), field=names)


class _Collector:
    def __init__(self, name: str, format: str, layout: CsvLayout, header: list[str]) -> None:
        self._name = name
        self._format = format
        self._layout = layout
        self._header = header
        self._number = 0

    def records(self, rows: Iterator[list[str]]) -> Iterator[SourceRecord]:
        held: list[dict[str, str]] = []
        key: tuple[str, ...] = ()
        line = start = 1
        for row in rows:
            line = rows.line_num  # type: ignore[attr-defined]
            # What stands under no name is kept under "", for its record to be refused.
            cells = {
                name: value for name, cell in zip_longest(self._header, row, fillvalue="") if (value := cell.strip())
            }
            if not cells:
                continue
            own = tuple(cells.get(column, "") for column in self._layout.key)
            if held and (own != key or not self._layout.key):
                yield from self._record(held, start)
                held = []
            if not held:
                key, start = own, line
            if len(held) <= LINES_LIMIT:
                held.append(cells)
        if held:
            yield from self._record(held, start)
        if self._number == 0:
            text = ("the file holds no record", "tệp không có hồ sơ nào")
            yield SourceRecord(self._format, Place(self._name), None, (Problem("error", "no-record", text),))

    def _record(self, rows: list[dict[str, str]], line: int) -> Iterator[SourceRecord]:
        self._number += 1
        place = Place(self._name, self._number, line)
        problem = self._fault(rows)
        if problem is not None:
            yield SourceRecord(self._format, place, None, (problem,))
            return
        layout = self._layout
        record: Tree = {column: rows[0][column] for column in layout.key if column in rows[0]}
        for row in rows:
            record.update((column, row[column]) for column in layout.record_columns if column in row)
            self._put(record, row)
        yield SourceRecord(self._format, place, record)

    def _fault(self, rows: list[dict[str, str]]) -> Problem | None:
        if len(rows) > LINES_LIMIT:
            text = (f"more than {LINES_LIMIT} lines in one record", f"một hồ sơ có hơn {LINES_LIMIT} dòng")
            return Problem("error", "too-large", text)
        for row in rows:
            if "" in row:
                text = (
                    "a value under no column; is a delimiter within a text?",
                    "có giá trị nằm ngoài các cột; dấu phân cách trong chữ?",
                )
                return Problem("error", "not-well-formed", text, found=row[""])
            kind = row.get(self._layout.kind, "")
            if kind not in self._layout.rows:
                names = ", ".join(self._layout.rows)
                text = (f"no such row kind {kind!r}", f"không có loại dòng {kind!r}")
                return Problem("error", "row-kind", text, self._layout.kind, kind, (names, names))
            if any("\udc80" <= letter <= "\udcff" for cell in row.values() for letter in cell):
                text = (
                    "bytes that are not UTF-8; convert the file first",
                    "có byte không phải UTF-8; hãy chuyển mã tệp trước",
                )
                return Problem("error", "encoding", text)
        return None

    def _put(self, record: Tree, row: dict[str, str]) -> None:
        layout = self._layout
        path, several = layout.rows[row.get(layout.kind, "")]
        item: Tree = {}
        outer = {layout.kind, *layout.key, *layout.record_columns}
        for column, cell in row.items():
            if column not in outer:
                value = [part.strip() for part in cell.split(";") if part.strip()] if column in layout.lists else cell
                _place(item, layout.rename.get(column, column).split("."), value)
        node = record
        for name in path[:-1]:
            node = node.setdefault(name, {})
        if not path:
            record.update(item)
        elif several:
            node.setdefault(path[-1], []).append(item)
        else:
            node[path[-1]] = {**node.get(path[-1], {}), **item}


def _place(item: Tree, path: list[str], value: object) -> None:
    for name in path[:-1]:
        item = item.setdefault(name, {})
    item[path[-1]] = value
