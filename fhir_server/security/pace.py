"""How often one client may ask, and how much it may take away: a bucket that fills steadily.

Entries of a batch count, each for one. Each process keeps buckets of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from time import monotonic

from fhir_server.errors import FhirError, Kind

MOST_CLIENTS = 10_000  # that are remembered; who was not heard of for longest is forgotten, with a full bucket
BURST_SECONDS = 10.0  # of requests may come at once
DAY = 86_400.0


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Pace:
    """rate: how much a second and client goes on for ever. told: what a client does that goes beyond. burst: seconds of
    the rate that may come at once."""

    def __init__(
        self, rate: float, told: str, burst: float = BURST_SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._rate = rate
        self._told = told
        self._most = max(1.0, rate * burst)
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def spend(self, client: str, amount: int = 1) -> None:
        """Counts what one request is. Raises FhirError THROTTLED with Retry-After; then nothing is counted."""
        now = self._clock()
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = _Bucket(self._most, now)
            if len(self._buckets) > MOST_CLIENTS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(client)
        bucket.left = min(self._most, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        wanted = min(float(amount), self._most)  # what is more than all at once is given to a full bucket
        if bucket.left < wanted:
            wait = max(1, ceil((wanted - bucket.left) / self._rate))
            raise FhirError(
                Kind.THROTTLED, f"this client {self._told}; try again later", headers={"Retry-After": str(wait)}
            )
        bucket.left -= wanted
