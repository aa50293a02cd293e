"""A code system that is kept in the database as a table: the same questions as to a list in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.store.contract import Store
from fhir_server.store.table_contract import ABOVE, PARENTS, VALUES, WORDS, Row, Table, beginning_with
from fhir_server.store.values import Filter
from fhir_server.terminology.code_systems import ICD10_MARKS, CodeSystem, Concept, concept_of
from fhir_server.terminology.filters import whole_pattern
from fhir_server.terminology.folding import fold_name, fold_words
from fhir_server.terminology.neighbours import nearest, variants
from fhir_server.terminology.unread import Need

# Our extension: another URL by which the codes of a system are known.
ALIAS = "urn:vn-basic:StructureDefinition:code-system-alias"
# Codes that one question may list, read or carry into another.
MOST_CODES = 20_000
# Codes below another that $lookup tells, and candidates that a name or a neighbour is chosen from.
_MOST_CHILDREN = 1_000
_CANDIDATES = 200
_STEP = 5_000
_LAST = "\U0010ffff"
# What a row that is kept counts as.
ROW_BYTES = 1_000


class LoadedSystem(CodeSystem):
    """A table that is whole: a code that it does not have does not exist. Its methods raise Unread."""

    def __init__(self, table: Table, need: Need) -> None:
        super().__init__(table.head)
        self.number = table.number
        self.count = table.count
        self.need = need

    @property
    def complete(self) -> bool:
        return True

    def get(self, code: str) -> Concept | None:
        found = self._concept(code)
        if found is None:
            spelt = code if self.case_sensitive else code.upper()
            spelt = spelt.rstrip(ICD10_MARKS) if self.structure is not None else spelt
            return self._concept(spelt) if spelt != code else None
        return found

    def _concept(self, code: str) -> Concept | None:
        row = self._row(code)
        return concept_of_row(row, self.language) if row is not None else None

    def _row(self, code: str) -> Row | None:
        async def read(store: Store) -> Row | None:
            return (await store.tables.rows(self.number, [code])).get(code)

        row: Row | None = self.need(("row", self.number, code), read, ROW_BYTES)
        return row

    def find(self, text: str) -> Concept | None:
        words, key = fold_words(text), fold_name(text)
        if not words:
            return None
        found = [row for row in self.page({WORDS: {"$all": list(words)}}, 0, _CANDIDATES) if _bears(row, key)]
        return concept_of_row(found[0], self.language) if len(found) == 1 else None

    def has(self, code: str) -> bool | None:
        return self.get(code) is not None

    def parents(self, code: str) -> tuple[str, ...]:
        row = self._row(code)
        return row.parents if row is not None else ()

    def children(self, code: str) -> tuple[str, ...]:
        return tuple(child for child, _ in self.codes({PARENTS: code}, _MOST_CHILDREN))

    def ancestors(self, code: str) -> set[str]:
        row = self._row(code)
        return set(row.above) - {code} if row is not None else set()

    def descendants(self, code: str) -> set[str]:
        """Raises FhirError(TOO_COSTLY) when there are more than MOST_CODES."""
        found = {below for below, _ in self.codes({ABOVE: code}, MOST_CODES + 2)}
        if len(found) > MOST_CODES + 1:
            raise FhirError(Kind.TOO_COSTLY, f"{code!r} of {self.title} stands above more than {MOST_CODES} codes")
        return found - {code}

    def neighbours(self, code: str, most: int) -> tuple[Concept, ...]:
        async def read(store: Store) -> tuple[Concept, ...]:
            rows = await store.tables.rows(self.number, variants(code))
            found = {row.code: row.display for row in rows.values()}
            for length in range(len(code) - 1, 1, -1):
                if len(found) >= most:
                    break
                start = code[:length]
                listed = await store.tables.codes(self.number, beginning_with(self.number, start), "", _CANDIDATES)
                found.update(listed)
            near = nearest(code, found, most)
            return tuple(Concept(one, found[one]) for one in near) or await self._read_alike(store, code, most)

        near: tuple[Concept, ...] = self.need(("near", self.number, code, most), read, ROW_BYTES)
        return near

    async def _read_alike(self, store: Store, name: str, most: int) -> tuple[Concept, ...]:
        words = fold_words(name)
        for wanted in (words, words[:1]) if words else ():
            found = await store.tables.codes(self.number, {"$and": list(beginning_words(wanted))}, "", most)
            if found:
                return tuple(Concept(code, display) for code, display in found)
        return ()

    # --- by a Filter over rows ----------------------------------------------------------------------------------------

    def page(self, filter: Filter, skip: int, limit: int) -> list[Row]:
        async def read(store: Store) -> list[Row]:
            return await store.tables.page(self.number, filter, skip, limit)

        rows: list[Row] = self.need(("page", self.number, _key(filter), skip, limit), read, 0)
        return rows

    def codes(self, filter: Filter, limit: int) -> list[tuple[str, str | None]]:
        """(code, display) of those that fit, in order."""

        async def read(store: Store) -> list[tuple[str, str | None]]:
            return await store.tables.codes(self.number, filter, "", limit)

        found: list[tuple[str, str | None]] = self.need(("codes", self.number, _key(filter), limit), read, 0)
        return found

    def total(self, filter: Filter) -> int:
        async def read(store: Store) -> int:
            return await store.tables.count(self.number, filter)

        number: int = self.need(("count", self.number, _key(filter)), read, 0)
        return number

    def matching(self, expression: str, of_display: bool) -> list[str]:
        """The codes that match a regular expression, or whose display does. The database is never asked by an
        expression: all codes go by, a few thousand at a time. Raises FhirError(TOO_COSTLY) for over MOST_CODES."""
        pattern = whole_pattern(expression)

        async def read(store: Store) -> list[str]:
            found: list[str] = []
            after = ""
            while True:
                step = await store.tables.codes(self.number, {}, after, _STEP)
                found += [code for code, display in step if pattern.is_valid((display or "") if of_display else code)]
                if len(found) > MOST_CODES:
                    text = f"the expression {expression[:100]!r} names more than {MOST_CODES} codes of {self.title}"
                    raise FhirError(Kind.TOO_LARGE, text)
                if len(step) < _STEP:
                    return found
                after = step[-1][0]

        codes: list[str] = self.need(("matching", self.number, expression, of_display), read, 0)
        return codes


def beginning_words(words: Iterable[str]) -> Iterator[Filter]:
    """For each folded word the rows of which a name has a word that begins so."""
    for word in words:
        yield {WORDS: {"$elemMatch": {"$gte": word, "$lt": word + _LAST}}}


def aliases(head: Resource) -> list[str]:
    """The other URLs by which the codes of a table are known."""
    return [one["valueUri"] for one in head.get("extension", ()) if one["url"] == ALIAS]


def _key(filter: Filter) -> str:
    return msgspec.json.encode(filter).decode()


def _bears(row: Row, key: str) -> bool:
    return any(fold_name(name) == key for name in concept_of_row(row).names())


def concept_of_row(row: Row, language: str | None = None) -> Concept:
    """The concept that a row is. language: that of the table."""
    more: dict[str, Any] = msgspec.json.decode(row.more) if row.more else {}
    properties = more.get("property", [])
    if row.inactive and not any(one["code"] in ("inactive", "status") for one in properties):
        properties = [*properties, {"code": "inactive", "valueBoolean": True}]
    whole: Mapping[str, Any] = {**more, "code": row.code, "property": properties}
    return concept_of({**whole, "display": row.display} if row.display else whole, row.parents, language)


def value_text(property: str, value: str) -> str:
    """How `property = value` stands in a row."""
    return f"{property}={value}"


def having(property: str) -> Filter:
    """Rows that have any value of a property; `>` follows `=`."""
    return {VALUES: {"$elemMatch": {"$gte": f"{property}=", "$lt": f"{property}>"}}}
