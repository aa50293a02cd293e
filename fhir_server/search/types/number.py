"""Number parameters: decimals, integers and ranges of them (R4 Search, number)."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_server.search.compile import disjunction
from fhir_server.search.entry import Write
from fhir_server.search.lookup import Lookup, Setting, unknown_modifier
from fhir_server.search.number_ranges import range_ends, read_number, span_part
from fhir_server.search.parts import Parts, Sought, part_writers
from fhir_server.search.path import Path
from fhir_server.search.tree import Leaf
from fhir_server.store.values import Filter

_NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})

MODIFIERS: frozenset[str] = frozenset()


def writers(letters: str, paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Write]]:
    """For each path of a parameter the function that writes the keys of one of its values."""
    return part_writers(letters, readers(paths, setting))


def readers(paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Parts]]:
    for path in paths:
        if path.type in _NUMBERS:
            yield path, lambda value, entry: span_part(value, value)
        elif path.type == "Range":
            yield path, lambda value, entry: span_part(*range_ends(value))


def filter(leaf: Leaf, letters: str, lookup: Lookup) -> Filter:
    """Raises FhirError for a modifier or value that numbers do not have."""
    if leaf.modifier is not None:
        raise unknown_modifier(leaf)
    return disjunction(read_number(leaf.param.code, value).sought().filter(letters) for value in leaf.values)


def seek(leaf: Leaf, value: str, paths: tuple[Path, ...], lookup: Lookup) -> Sought:
    """What a value asks of one number. Raises FhirError when it is none."""
    return read_number(leaf.param.code, value).sought()
