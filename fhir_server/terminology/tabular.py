"""Code lists that come as one table: a row a code, and what stands above it in columns before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.terminology.folding import fold_words
from fhir_server.terminology.sheets import Cells, sheets
from fhir_server.terminology.staging import Staging

OnRow = Callable[[int], None]

# The header stands within so many rows.
_HEADER_ROWS = 30
_MOST_TOLD = 20
_NO = frozenset({"", "0", "false", "no", "khong", "n"})
_MARKS = {"†": "dagger", "+": "dagger", "*": "asterisk"}


@dataclass(frozen=True, slots=True)
class Level:
    """Where the columns of one level are, counted from 0; None for a column that is not there."""

    code: int
    vi: int | None
    en: int | None
    abstract: bool
    parent: int | None = None
    definition: int | None = None
    inactive: int | None = None
    abstract_column: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """levels: outermost first. flags: property -> column of a mark. others: property -> column of a text."""

    levels: tuple[Level, ...]
    flags: Mapping[str, int]
    others: Mapping[str, int]


@dataclass
class Told:
    """What a person should know of a file that was read: rows that hold no code, the first of them by number."""

    skipped: int = 0
    examples: list[str] = field(default_factory=list)

    def skip(self, row: int, text: str) -> None:
        self.skipped += 1
        if len(self.examples) < _MOST_TOLD:
            self.examples.append(f"row {row}: {text[:60]!r} is no code of this system")


def read_table(
    path: Path, description: Mapping[str, Any], columns: Mapping[str, int], staging: Staging, on_row: OnRow
) -> Told:
    """Puts every row into the staging.

    description: a file of terminology/tables. columns: where the caller says that `code`, `vi` and `en` are, counted
    from 1. Raises FhirError(INVALID) for a file in which no header names a column of codes.
    """
    pattern, dotted = _pattern(description)
    told = Told()
    for sheet in sheets(path):
        start, layout, rows = _find_header(sheet, description, columns)
        if layout is not None:
            reading = _Reading(layout, pattern, dotted, staging, told)
            for number, row in enumerate(rows, start + 1):
                reading.row(number, row)
                on_row(number)
            return told
    named = ", ".join(description["levels"][-1]["code"])
    raise FhirError(Kind.INVALID, f"{path.name}: no row of the first {_HEADER_ROWS} has a column named {named}")


def _pattern(description: Mapping[str, Any]) -> tuple[re.Pattern[str] | None, bool]:
    """The shape of a code, and whether it is one of ICD-10, whose dot may be missing."""
    own = {one["url"].rpartition(":")[2]: one for one in description["code_system"].get("extension", ())}
    text = own.get("code-pattern", {}).get("valueString")
    return re.compile(text) if text else None, own.get("code-structure", {}).get("valueCode") == "icd-10"


def _find_header(
    sheet: Iterator[Cells], description: Mapping[str, Any], columns: Mapping[str, int]
) -> tuple[int, Layout | None, Iterator[Cells]]:
    """(number of the header's row, the layout, the rows behind it)."""
    for number, row in enumerate(islice(sheet, _HEADER_ROWS), 1):
        layout = _layout([" ".join(fold_words(cell)) for cell in row], description, columns)
        if layout is not None:
            return number, layout, sheet
    return 0, None, chain()


def _layout(header: Sequence[str], description: Mapping[str, Any], columns: Mapping[str, int]) -> Layout | None:
    by_place: Mapping[str, Any] = next(
        (one for one in description.get("layouts", ()) if one["columns"] == len(header)), {}
    )
    levels = [_level(header, one) for one in description["levels"]]
    last = _with_columns(levels[-1], by_place, columns)
    if last is None:
        return None
    found = (*(one for one in levels[:-1] if one is not None), last)
    flags = {name: place - 1 for name, place in by_place.get("flags", {}).items()}
    others = _others(header, found) if description.get("properties") is True else {}
    return Layout(found, flags, others)


def _level(header: Sequence[str], described: Mapping[str, Any]) -> Level | None:
    def place(name: str) -> int | None:
        return next((header.index(one) for one in described.get(name, ()) if one in header), None)

    code = place("code")
    if code is None:
        return None
    return Level(
        code,
        place("vi"),
        place("en"),
        described.get("abstract", False),
        *(place(name) for name in ("parent", "definition", "inactive", "abstract_column")),
    )


def _with_columns(level: Level | None, by_place: Mapping[str, Any], columns: Mapping[str, int]) -> Level | None:
    """Where the person says that a column is goes before its name, and its name before its usual place."""
    code = columns.get("code", by_place.get("code") if level is None else None)
    if code is None and level is None:
        return None
    base = level or Level(0, None, None, False)
    places = {name: columns[name] - 1 if name in columns else getattr(base, name) for name in ("vi", "en")}
    return Level(
        code - 1 if code is not None else base.code,
        places["vi"],
        places["en"],
        base.abstract,
        base.parent,
        base.definition,
        base.inactive,
        base.abstract_column,
    )


def _others(header: Sequence[str], levels: Sequence[Level]) -> dict[str, int]:
    taken = {place for level in levels for place in _places(level)}
    return {name.replace(" ", "-"): place for place, name in enumerate(header) if name and place not in taken}


def _places(level: Level) -> set[int | None]:
    return {level.code, level.vi, level.en, level.parent, level.definition, level.inactive, level.abstract_column}


class _Reading:
    def __init__(
        self, layout: Layout, pattern: re.Pattern[str] | None, dotted: bool, staging: Staging, told: Told
    ) -> None:
        self._layout = layout
        self._pattern = pattern
        self._dotted = dotted
        self._staging = staging
        self._told = told

    def row(self, number: int, row: Cells) -> None:
        above: str | None = None
        last = len(self._layout.levels) - 1
        for place, level in enumerate(self._layout.levels):
            text = _cell(row, level.code)
            if not text:
                if place == last and any(row):
                    self._told.skip(number, "")
                continue
            code, marks = self._code(text)
            if code is None:
                if place == last:
                    self._told.skip(number, text)
                continue
            self._concept(code, level, row, above, marks)
            above = code

    def _code(self, text: str) -> tuple[str | None, list[str]]:
        """The code, and the properties that its marks say."""
        if self._pattern is None:
            return text, []
        marks = [_MARKS[mark] for mark in text if mark in _MARKS]
        code = "".join(letter for letter in text.upper() if letter not in _MARKS).strip()
        if self._dotted and "." not in code and "-" not in code and len(code) > 3:
            code = f"{code[:3]}.{code[3:]}"
        return (code, marks) if self._pattern.fullmatch(code) else (None, [])

    def _concept(self, code: str, level: Level, row: Cells, above: str | None, marks: list[str]) -> None:
        if level is self._layout.levels[-1]:
            self._properties(code, row, marks)
        if self._staging.has(code):
            return
        for parent in self._parents(code, level, row, above):
            if parent != code:
                self._staging.edge(code, parent)
        vi, en = _cell(row, level.vi), _cell(row, level.en)
        abstract = level.abstract or _is_set(row, level.abstract_column)
        definition = _cell(row, level.definition)
        self._staging.concept(code, vi or en, definition, _is_set(row, level.inactive), abstract)
        if vi and en:
            self._staging.designation(code, en, "en")

    def _parents(self, code: str, level: Level, row: Cells, above: str | None) -> list[str]:
        """As the row says; of a five-character code of ICD-10 the four-character one, where the table has it."""
        named = self._code(_cell(row, level.parent))[0] if level.parent is not None else None
        if named:
            return [named]
        if self._dotted and "." in code:
            shorter = code[:-1].rstrip(".")
            return [shorter] if above is None or self._staging.has(shorter) else [shorter, above]
        return [above] if above else []

    def _properties(self, code: str, row: Cells, marks: list[str]) -> None:
        flags = [name for name, place in self._layout.flags.items() if _is_set(row, place)]
        for name in (*marks, *flags):
            self._staging.property(code, name, "valueBoolean", True)
        for name, place in self._layout.others.items():
            text = _cell(row, place)
            if text:
                self._staging.property(code, name, "valueString", text)


def _cell(row: Cells, place: int | None) -> str:
    return row[place] if place is not None and place < len(row) else ""


def _is_set(row: Cells, place: int | None) -> bool:
    return " ".join(fold_words(_cell(row, place))) not in _NO
