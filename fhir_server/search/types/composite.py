"""Composite parameters: values that belong together within one element (R4 Search, Composite Search Parameters).

Each pair (or triple) of one element is one sub-document in `x`, its components named a, b, c, and a query compares all
of them there at once. Keys join the heads of the first two components.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Protocol

from msgspec.structs import replace

from fhir_server.search.clauses import beginning, between, each, element, key, whole
from fhir_server.search.compile import disjunction
from fhir_server.search.entry import Entry, Write
from fhir_server.search.escapes import split
from fhir_server.search.lookup import Lookup, Setting, unknown_modifier, unusable
from fhir_server.search.parts import Part, Parts, Sought, below
from fhir_server.search.path import Path, Walk
from fhir_server.search.tree import Leaf
from fhir_server.store.values import NOTHING, Filter

_NAMES = "abcdef"
_JOIN = "\x1a"
# The combinations of one element that are kept; more than this is no measured value.
_MOST_PAIRS = 256

MODIFIERS: frozenset[str] = frozenset()


class Kind(Protocol):
    """A search type whose values can be components."""

    def readers(self, paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Parts]]: ...

    def seek(self, leaf: Leaf, value: str, paths: tuple[Path, ...], lookup: Lookup) -> Sought | None: ...


@dataclass(frozen=True, slots=True)
class Component:
    """One component as compiled for one kind of element: what reads its parts, and whether from the whole resource."""

    readers: tuple[tuple[Walk, Parts, bool], ...]

    def parts(self, item: Any, resource: Any, entry: Entry) -> list[Part]:
        return [
            part
            for walk, parts, from_resource in self.readers
            for value in walk(resource if from_resource else item)
            for part in parts(value, entry)
        ]


def component(kind: Kind, paths: tuple[Path, ...], setting: Setting) -> Component:
    return Component(tuple((path.walk(), parts, path.from_resource) for path, parts in kind.readers(paths, setting)))


def writer(letters: str, walk: Walk, components: Sequence[Component]) -> Write:
    """The function that writes the keys of all the elements of a resource that a path leads to."""
    backwards = tuple(reversed(components))

    def write(resource: Any, entry: Entry) -> None:
        for item in walk(resource):
            found: list[list[Part]] = []
            # The last component is the value, of which an element has one type or none: it is looked at first.
            for one in backwards:
                parts = one.parts(item, resource, entry)
                if not parts:
                    break
                found.append(parts)
            else:
                _write(letters, found[::-1], entry)

    return write


def _write(letters: str, found: list[list[Part]], entry: Entry) -> None:
    for parts in islice(product(*found), _MOST_PAIRS):
        entry.keys.update([f"{letters}{first}{_JOIN}{second}" for first in parts[0].heads for second in parts[1].heads])
        entry.extend_sort(letters, {name: part.facts for name, part in zip(_NAMES, parts, strict=False)})


# --- queries ---------------------------------------------------------------------------------------------------------


def filter(leaf: Leaf, letters: str, lookup: Lookup, kinds: Mapping[str, Kind]) -> Filter:
    """kinds: the search types by name. Raises FhirError for a modifier, for the wrong number of components and for a
    value that a component cannot be searched by; and UnknownSystems."""
    if leaf.modifier is not None:
        raise unknown_modifier(leaf)
    return disjunction(_one(leaf, value, letters, lookup, kinds) for value in leaf.values)


def _one(leaf: Leaf, value: str, letters: str, lookup: Lookup, kinds: Mapping[str, Kind]) -> Filter:
    values = split(value, "$")
    if len(values) != len(leaf.param.components):
        raise unusable(leaf.param.code, value, f"must be {len(leaf.param.components)} values joined by $")
    sought = []
    for place, text in enumerate(values):
        param = lookup.component(leaf.type, leaf.param, place)
        one = kinds[param.type].seek(replace(leaf, param=param), text, lookup.paths(leaf.type, param), lookup)
        if one is None:
            return NOTHING
        sought.append(one)
    conditions = [below(name, one.condition) for name, one in zip(_NAMES, sought, strict=False)]
    return each([_driver(letters, *sought[:2]), element(letters, {"$and": conditions})])


def _driver(letters: str, first: Sought, second: Sought) -> Filter:
    if first.exact is None:
        return whole(letters)
    start = f"{letters}{first.exact}{_JOIN}"
    if second.exact is not None:
        return key(start + second.exact)
    if second.low is not None and second.high is not None:
        return between(start + second.low, start + second.high)
    return beginning(start)
