"""How often one client may ask: a bucket of requests that fills steadily. Entries of a batch count, each for one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from fhir_server.errors import FhirError, Kind

MOST_CLIENTS = 10_000  # that are remembered; who was not heard of for longest is forgotten, with a full bucket
BURST_SECONDS = 10.0  # of requests may come at once


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Pace:
    """rate: requests a second and client that go on for ever; 0 is no limit."""

    def __init__(self, rate: float, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._most = max(1.0, rate * BURST_SECONDS)
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def spend(self, client: str) -> None:
        """Counts one request. Raises FhirError THROTTLED with Retry-After."""
        if self._rate <= 0:
            return
        now = self._clock()
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = _Bucket(self._most, now)
            if len(self._buckets) > MOST_CLIENTS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(client)
        bucket.left = min(self._most, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.left < 1.0:
            wait = max(1, round((1.0 - bucket.left) / self._rate))
            text = f"this client asks more than {self._rate:g} times a second; try again later"
            raise FhirError(Kind.THROTTLED, text, headers={"Retry-After": str(wait)})
        bucket.left -= 1.0
