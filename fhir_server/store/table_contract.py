"""What the rest of the program may ask of the code systems that are kept as tables: one document a concept.

A table is one version of one code system. It is filled in the order of its codes and is seen by nobody until it is
whole; driver errors become FhirError as everywhere in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fhir_server.model.resources import Resource
from fhir_server.store.values import Filter

# Fields of a row that a Filter may name; see Row. INACTIVE and ABSTRACT are absent where they are false.
PARENTS, ABOVE, WORDS, VALUES, DISPLAY, INACTIVE, ABSTRACT = "p", "a", "w", "v", "d", "i", "n"
_LAST = "\U0010ffff"


def with_codes(number: int, codes: Iterable[str]) -> Filter:
    """The rows of a table that have one of these codes."""
    return {"_id": {"$in": [row_id(number, code) for code in codes]}}


def beginning_with(number: int, start: str) -> Filter:
    """The rows of a table whose code begins so; "" for all."""
    return {"_id": {"$gte": row_id(number, start), "$lt": row_id(number, start + _LAST)}}


def row_id(number: int, code: str) -> str:
    """The identity of a row: rows of one table stand together, in the order of their codes."""
    return f"{number}|{code}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is whole. head: the CodeSystem resource without its concepts. digest: of what it was filled from.
    count: its codes."""

    number: int
    head: Resource
    digest: str
    count: int


@dataclass(frozen=True, slots=True)
class Row:
    """One concept. above: the codes that subsume it, itself included. words: folded words of its names. values:
    `property=value` of those properties that filters may ask for. more: the rest as JSON (definition, designation,
    property)."""

    code: str
    display: str | None = None
    inactive: bool = False
    abstract: bool = False
    parents: tuple[str, ...] = ()
    above: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    more: bytes = b""


class Tables(Protocol):
    async def generation(self) -> int:
        """A number that grows whenever terminology has changed: what one process has read is old then."""
        ...

    async def announce(self) -> None:
        """Makes `generation` grow."""
        ...

    async def ready(self) -> list[Table]:
        """Every table that is whole."""
        ...

    async def begin(self, head: Resource, digest: str) -> tuple[int, str]:
        """The number of the table to fill, and the last code that an earlier attempt with the same digest has written
        ("" for none). A table that is whole and has this digest is begun anew only after `remove`."""
        ...

    async def write(self, number: int, rows: Sequence[Row]) -> None:
        """Rows in ascending order of their codes, behind all that were written before. Those that are there already are
        written again."""
        ...

    async def finish(self, number: int, count: int) -> None:
        """The table is whole and takes the place of another with the same URL and version, which is removed. Raises
        FhirError(CONFLICT) when one begun later has taken that place already."""
        ...

    async def remove(self, number: int) -> None:
        """The table is gone at once for all who ask, and then its rows."""
        ...

    async def sweep(self) -> None:
        """Removes the rows of tables whose removal was cut off."""
        ...

    async def rows(self, number: int, codes: Sequence[str]) -> dict[str, Row]:
        """The rows of these codes, as far as they are there."""
        ...

    async def page(self, number: int, filter: Filter, skip: int, limit: int) -> list[Row]:
        """Rows in the order of their codes. Raises FhirError(TOO_COSTLY) when it takes longer than a search may."""
        ...

    async def codes(self, number: int, filter: Filter, after: str, limit: int) -> list[tuple[str, str | None]]:
        """(code, display) in the order of the codes, behind one code."""
        ...

    async def count(self, number: int, filter: Filter) -> int: ...

    async def published(self) -> Mapping[str, tuple[int, str]]:
        """`Type/id` of each shipped definition that was stored as a resource -> its version then, and its digest."""
        ...

    async def note_published(self, noted: Mapping[str, tuple[int, str]]) -> None:
        """Adds to `published`."""
        ...
