"""Lets transactions of this process that are about the same things run one after another.

Only a matter of speed: those of several processes still meet in the database, and it alone decides what is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary


class Turns:
    """The queues of one process, by name; a queue is there as long as somebody stands in it."""

    def __init__(self) -> None:
        self._queues: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def taken(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Within it nobody else has a turn for any of the names; they are taken in one order, so nobody deadlocks."""
        async with AsyncExitStack() as held:
            for name in sorted(set(names)):
                await held.enter_async_context(self._queues.setdefault(name, asyncio.Lock()))
            yield
