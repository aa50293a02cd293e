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


class Entry:
    """keys: field `k`. sort: field `x`. order: see Indexed. unknown: systems met that have no number yet."""

    __slots__ = ("_canonical", "_numbers", "_systems", "keys", "order", "sort", "unknown")

    def __init__(self, systems: Mapping[str, int], numbers: dict[str, str], canonical: Callable[[str], str]) -> None:
        """numbers: what was looked up before, by URI as written."""
        self.keys: set[str] = set()
        self.sort: dict[str, Any] = {}
        self.order: int | None = None
        self.unknown: set[str] = set()
        self._systems = systems
        self._numbers = numbers
        self._canonical = canonical

    def number(self, system: str) -> str:
        """The number of a system as it stands in keys; "" while it has none."""
        found = self._numbers.get(system)
        return found if found is not None else self._look_up(system)

    def _look_up(self, system: str) -> str:
        uri = self._canonical(system)
        number = self._systems.get(uri)
        if number is None:
            self.unknown.add(uri)
            return ""
        if len(self._numbers) > 10_000:
            self._numbers.clear()
        self._numbers[system] = text = str(number)
        return text

    def extend_sort(self, letters: str, *values: Any) -> None:
        """Adds values to the list that a parameter is sorted and re-checked by."""
        found = self.sort.get(letters)
        if found is None:
            self.sort[letters] = list(values)
        else:
            found.extend(values)
