"""How often one client may ask, and how much it may take away: a bucket that fills steadily, one for all processes.

Entries of a batch count, each for one. A process draws a little from the bucket in advance, so that few requests ask
the database; what it holds and does not use is the tolerance: a client never gets more than its limit, and up to
HAND_SECONDS of it less for each process that holds some.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from fhir_server.errors import FhirError, Kind
from fhir_server.store.contract import Store

MOST_CLIENTS = 10_000  # of which a process holds something; what it holds for who asked longest ago is let go
BURST_SECONDS = 10.0  # of requests may come at once
HAND_SECONDS = 0.25  # of the rate that a process draws in advance
DAY = 86_400.0


@dataclass(slots=True)
class _Hand:
    """What a process has drawn for a client and not spent. wait_until: ms before which the bucket has not enough."""

    left: float = 0.0
    wait_until: int = 0
    drawing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Pace:
    """name: of the limit, among those of the store. rate: how much a second and client goes on for ever. told: what a
    client does that goes beyond. burst: seconds of the rate that may come at once. clock: ms since the epoch."""

    def __init__(
        self, store: Store, name: str, rate: float, told: str, clock: Callable[[], int], burst: float = BURST_SECONDS
    ) -> None:
        self._store = store
        self._name = name
        self._rate = rate
        self._told = told
        self._most = max(1.0, rate * burst)
        self._clock = clock
        self._hands: OrderedDict[str, _Hand] = OrderedDict()

    async def spend(self, client: str, amount: int = 1) -> None:
        """Counts what one request is. Raises FhirError THROTTLED with Retry-After; then nothing is counted."""
        hand = self._hand(client)
        wanted = min(float(amount), self._most)  # what is more than all at once is given to a full bucket
        if hand.left < wanted:
            async with hand.drawing:  # the others wait: what is drawn may do for them, too
                if hand.left < wanted:
                    await self._draw(client, hand, wanted)
        hand.left -= wanted

    def _hand(self, client: str) -> _Hand:
        hand = self._hands.get(client)
        if hand is None:
            hand = self._hands[client] = _Hand()
            if len(self._hands) > MOST_CLIENTS:
                self._hands.popitem(last=False)
        self._hands.move_to_end(client)
        return hand

    async def _draw(self, client: str, hand: _Hand, wanted: float) -> None:
        now, least = self._clock(), wanted - hand.left
        if now < hand.wait_until:
            raise self._too_much(hand.wait_until - now)
        most = max(least, self._rate * HAND_SECONDS)
        drawn, left = await self._store.draw(f"{self._name}\n{client}", (least, most), self._rate, self._most, now)
        if not drawn:
            wait = ceil((least - left) / self._rate * 1000)
            hand.wait_until = now + wait
            raise self._too_much(wait)
        hand.left += drawn

    def _too_much(self, ms: int) -> FhirError:
        headers = {"Retry-After": str(max(1, ceil(ms / 1000)))}
        return FhirError(Kind.THROTTLED, f"this client {self._told}; try again later", headers=headers)
