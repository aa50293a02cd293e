"""What was read for one question and may serve another, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any


class Kept:
    """Values by key; what was unused longest goes first. most_bytes: what all of them may count together."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

    def get(self, key: Hashable) -> Any:
        """The value of a key that is kept."""
        self._held.move_to_end(key)
        return self._held[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """size: what the value counts as; one that is larger than the whole room is not kept."""
        if size > self._most:
            return
        self._bytes += size - self._held.pop(key, (None, 0))[1]
        self._held[key] = (value, size)
        while self._bytes > self._most:
            _, (_, freed) = self._held.popitem(last=False)
            self._bytes -= freed
