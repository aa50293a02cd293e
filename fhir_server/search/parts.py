"""One value as the index keeps it: key heads that narrow the walk, and facts that a query compares exactly.

Numbers, quantities and dates are kept so, and every component of a composite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from fhir_server.search.clauses import Whole, between, each, element, key, whole
from fhir_server.search.entry import Entry, Write
from fhir_server.search.path import Path
from fhir_server.store.values import Filter


class Part(msgspec.Struct, frozen=True):
    """heads: texts below the parameter's letters, one of which every matching query looks for. facts: kept in `x`."""

    heads: tuple[str, ...]
    facts: dict[str, Any]


Parts = Callable[[Any, Entry], Iterable[Part]]


class Sought(msgspec.Struct, frozen=True):
    """What a query value asks of one Part: exact is a head it must have; low and high a range (high outside) in which
    it must have one; neither when heads cannot tell. is_whole: that range has all there are. condition: over the
    facts."""

    condition: Filter
    exact: str | None = None
    low: str | None = None
    high: str | None = None
    is_whole: bool = False

    def driver(self, letters: str) -> Filter:
        if self.exact is not None:
            return key(letters + self.exact)
        if self.low is not None and self.high is not None:
            found = between(letters + self.low, letters + self.high)
            return Whole(found) if self.is_whole else found
        return whole(letters)

    def filter(self, letters: str) -> Filter:
        return each([self.driver(letters), element(letters, self.condition)])


def part_writers(letters: str, readers: Iterable[tuple[Path, Parts]]) -> Iterator[tuple[Path, Write]]:
    """Writers that keep each part: its heads as keys, its facts in the list of the parameter."""
    for path, parts in readers:
        yield path, _writer(letters, parts)


def _writer(letters: str, parts: Parts) -> Write:
    def write(value: Any, entry: Entry) -> None:
        for part in parts(value, entry):
            entry.keys.update([letters + head for head in part.heads])
            entry.extend_sort(letters, part.facts)

    return write


def below(name: str, condition: Filter) -> Filter:
    """A condition over facts as one over the facts kept under a name."""
    found: dict[str, Any] = {}
    for path, value in condition.items():
        if path.startswith("$"):
            found[path] = [below(name, one) for one in value]
        else:
            found[f"{name}.{path}"] = value
    return found
