"""Questions about what is not in memory: a pure function asks, what it lacks is read, and it is asked again.

A question is a function of a Terminology. Where it needs something that only the store has it raises `Unread`, which
says how to read that; whoever put the question awaits the reading and puts it anew. So all the rules of terminology
stay pure and are written once, for lists in memory and for tables of half a million codes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from fhir_server.store.contract import Store

# Reads what a question needs.
Reading = Callable[[Store], Awaitable[Any]]


class Unread(Exception):  # it says what happened
    """A question needs what `read` gives, under the name `key`. size: bytes it counts as when it is kept for other
    questions, 0 for what is not kept."""

    def __init__(self, key: Hashable, read: Reading, size: int) -> None:
        super().__init__(f"{key} has not been read")
        self.key = key
        self.read = read
        self.size = size


# Gives what a key names, or raises Unread.
Need = Callable[[Hashable, Reading, int], Any]
