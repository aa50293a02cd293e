"""The index entry of one resource while it is gathered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

# Longer codes, URIs and texts are kept by their beginning and a hash of the whole, on both sides of a search.
_LONGEST = 200
_CONTROL = dict.fromkeys(range(32), "\N{REPLACEMENT CHARACTER}")

# Parts of a key are set apart by characters that no code can hold.
PART = "\x1f"
OF_TYPE = "\x1d"
TEXT = "\x1c"
IDENTIFIER = "\x1e"
WORDS = "\x1b"

Write = Callable[[Any, "Entry"], None]


def plain(text: str) -> str:
    """A text as it stands in keys: without control characters, and bounded."""
    if len(text) <= _LONGEST and text.isprintable():
        return text
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return text.translate(_CONTROL).encode("utf-8", "replace").decode()


class Numbers:
    """The numbers of systems as they stand in keys, by the URI as written."""

    __slots__ = ("_canonical", "_known", "_systems")

    def __init__(self, systems: Mapping[str, int], canonical: Callable[[str], str]) -> None:
        self._systems = systems
        self._canonical = canonical
        self._known: dict[str, str] = {}

    def of(self, system: str, unknown: set[str]) -> str:
        """The number of a system; "" while it has none, and then it is put among the unknown ones."""
        found = self._known.get(system)
        return found if found is not None else self._look_up(system, unknown)

    def _look_up(self, system: str, unknown: set[str]) -> str:
        uri = self._canonical(system)
        number = self._systems.get(uri)
        if number is None:
            unknown.add(uri)
            return ""
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[system] = text = str(number)
        return text


class Entry:
    """keys: field `k`. sort: field `x`. order: see Indexed."""

    __slots__ = ("_numbers", "_unknown", "keys", "order", "sort")

    def __init__(self, numbers: Numbers, unknown: set[str]) -> None:
        """unknown: gets the systems that have no number yet."""
        self.keys: set[str] = set()
        self.sort: dict[str, Any] = {}
        self.order: int | None = None
        self._numbers = numbers
        self._unknown = unknown

    def number(self, system: str) -> str:
        """The number of a system as it stands in keys; "" while it has none."""
        return self._numbers.of(system, self._unknown)

    def extend_sort(self, letters: str, value: Any) -> None:
        """Adds a value to the list that a parameter is sorted and re-checked by."""
        found = self.sort.get(letters)
        if found is None:
            self.sort[letters] = [value]
        else:
            found.append(value)
            if len(found) > 2 and isinstance(value, str):
                found[:] = bounded(found)

    def join(self, other: Entry) -> None:
        """Adds what another entry has, which stays as it is. Nothing is written to this one afterwards."""
        self.keys |= other.keys
        if self.sort.keys().isdisjoint(other.sort):
            self.sort.update(other.sort)
        else:
            for letters, values in other.sort.items():
                self.sort[letters] = _joined(self.sort[letters], values) if letters in self.sort else values
        if other.order is not None:
            self.order = other.order


def _joined(values: Any, more: Any) -> Any:
    """values: of a list, or of a string parameter's texts."""
    if isinstance(values, list):
        return bounded(values + more)
    return {name: list(dict.fromkeys((*texts, *more[name]))) for name, texts in values.items()}


def bounded(values: list[Any]) -> list[Any]:
    """Texts that only sort are needed by their lowest and highest; facts that are compared are all kept."""
    return [min(values), max(values)] if len(values) > 2 and isinstance(values[0], str) else values
