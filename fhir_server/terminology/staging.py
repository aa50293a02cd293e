"""A code system on its way from its files into a table: put together and ordered on disk, in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from fhir_server.store.table_contract import Row
from fhir_server.terminology.folding import fold_words
from fhir_server.terminology.loaded import value_text

_BUFFER = 5_000
# A name of more words, a word or a property of more characters is found by its beginning only.
_MOST_WORDS = 80
_LONGEST_WORD = 64
_LONGEST_VALUE = 200
_CACHE_KIB = 32_768

_TABLES = """
CREATE TABLE concept (code TEXT PRIMARY KEY, display TEXT, definition TEXT, inactive INTEGER, abstract INTEGER)
    WITHOUT ROWID;
CREATE TABLE designation (code TEXT, language TEXT, use TEXT, value TEXT, rank INTEGER);
CREATE TABLE note (key TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID;
CREATE TABLE property (code TEXT, name TEXT, kind TEXT, value TEXT, PRIMARY KEY (code, name, value)) WITHOUT ROWID;
CREATE TABLE edge (child TEXT, parent TEXT, PRIMARY KEY (child, parent)) WITHOUT ROWID;
"""
_INSERTS = {
    "concept": "INSERT OR IGNORE INTO concept VALUES (?, ?, ?, ?, ?)",
    "designation": "INSERT INTO designation VALUES (?, ?, ?, ?, ?)",
    "property": "INSERT OR IGNORE INTO property VALUES (?, ?, ?, ?)",
    "note": "INSERT INTO note VALUES (?, ?) ON CONFLICT DO UPDATE SET number = min(number, excluded.number)",
    "edge": "INSERT OR IGNORE INTO edge VALUES (?, ?)",
}
_DISPLAYS = """
UPDATE concept SET display = (
    SELECT value FROM designation WHERE designation.code = concept.code ORDER BY rank, rowid LIMIT 1
) WHERE display IS NULL
"""
_ABOVE = """
WITH RECURSIVE above(code) AS (
    SELECT ? UNION SELECT edge.parent FROM edge JOIN above ON edge.child = above.code
) SELECT code FROM above
"""


class Staging:
    """Concepts, names, properties and edges as they come, in any order; then rows in the order of their codes.

    path: of a file that does not exist yet; it is the caller's to remove.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.executescript(_TABLES)
        self._waiting: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _INSERTS}

    def close(self) -> None:
        self._database.close()

    def concept(
        self,
        code: str,
        display: str | None = None,
        definition: str | None = None,
        inactive: bool = False,
        abstract: bool = False,
    ) -> None:
        """A code; what is said first of one counts."""
        self._add("concept", (code, display or None, definition or None, inactive, abstract))

    def designation(self, code: str, value: str, language: str | None = None, use: Any = None, rank: int = 0) -> None:
        """Another name. use: a Coding. rank: of a code that has no display the name of the lowest rank becomes it."""
        self._add("designation", (code, language, msgspec.json.encode(use).decode() if use else None, value, rank))

    def property(self, code: str, name: str, kind: str, value: Any) -> None:
        """kind: the name of the value[x], `valueCode`."""
        self._add("property", (code, name, kind, msgspec.json.encode(value).decode()))

    def edge(self, child: str, parent: str) -> None:
        """The parent subsumes the child; an edge to a code that never comes is left out."""
        self._add("edge", (child, parent))

    def note(self, key: str, number: int) -> None:
        """Keeps a number for `noted`; of several the lowest."""
        self._add("note", (key, number))

    def noted(self, key: str, otherwise: int) -> int:
        self._flush("note")
        found = self._database.execute("SELECT number FROM note WHERE key = ?", (key,)).fetchone()
        return int(found[0]) if found else otherwise

    def has(self, code: str) -> bool:
        self._flush("concept")
        return self._database.execute("SELECT 1 FROM concept WHERE code = ?", (code,)).fetchone() is not None

    def _add(self, table: str, row: tuple[Any, ...]) -> None:
        waiting = self._waiting[table]
        waiting.append(row)
        if len(waiting) >= _BUFFER:
            self._flush(table)

    def _flush(self, table: str) -> None:
        if not self._waiting[table]:
            return
        self._database.executemany(_INSERTS[table], self._waiting[table])
        self._waiting[table].clear()

    def end(self) -> int:
        """Everything has come. Gives how many codes there are."""
        for table in _INSERTS:
            self._flush(table)
        self._database.execute("DELETE FROM edge WHERE parent NOT IN (SELECT code FROM concept)")
        self._database.execute("CREATE INDEX designation_of ON designation (code)")
        self._database.execute(_DISPLAYS)
        self._database.commit()
        return int(self._database.execute("SELECT count(*) FROM concept").fetchone()[0])

    def rows(self, after: str = "") -> Iterator[Row]:
        """The rows behind a code, in order."""
        ordered = "SELECT code, display, definition, inactive, abstract FROM concept WHERE code > ? ORDER BY code"
        for code, display, definition, inactive, abstract in self._database.execute(ordered, (after,)):
            yield self._row(code, display, definition, bool(inactive), bool(abstract))

    def _row(self, code: str, display: str | None, definition: str | None, inactive: bool, abstract: bool) -> Row:
        names = self._all("SELECT language, use, value FROM designation WHERE code = ? ORDER BY rowid", code)
        properties = self._all("SELECT name, kind, value FROM property WHERE code = ? ORDER BY name, value", code)
        more = _more(definition, names, properties, abstract)
        told = [(name, msgspec.json.decode(value)) for name, _, value in properties]
        return Row(
            code=code,
            display=display,
            inactive=inactive,
            abstract=abstract,
            parents=tuple(one for (one,) in self._all("SELECT parent FROM edge WHERE child = ? ORDER BY parent", code)),
            above=tuple(one for (one,) in self._all(_ABOVE, code)),
            words=_words([display or "", *(value for _, _, value in names)]),
            values=tuple(dict.fromkeys(value_text(name, text_of(value))[:_LONGEST_VALUE] for name, value in told)),
            more=msgspec.json.encode(more) if more else b"",
        )

    def _all(self, query: str, code: str) -> list[Any]:
        return self._database.execute(query, (code,)).fetchall()


def _more(definition: str | None, names: list[Any], properties: list[Any], abstract: bool) -> dict[str, Any]:
    more: dict[str, Any] = {"definition": definition} if definition else {}
    if names:
        more["designation"] = [
            {
                name: item
                for name, item in (("language", language), ("use", use and msgspec.json.decode(use)), ("value", value))
                if item
            }
            for language, use, value in names
        ]
    told = [{"code": name, kind: msgspec.json.decode(value)} for name, kind, value in properties]
    if abstract:
        told.append({"code": "notSelectable", "valueBoolean": True})
    if told:
        more["property"] = told
    return more


def _words(names: list[str]) -> tuple[str, ...]:
    words = dict.fromkeys(word[:_LONGEST_WORD] for name in names for word in fold_words(name))
    return tuple(words)[:_MOST_WORDS]


def text_of(value: Any) -> str:
    """A property's value as filters name it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.get("code", "")) if isinstance(value, dict) else str(value)
