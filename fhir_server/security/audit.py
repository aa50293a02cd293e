"""The record of every access, as AuditEvents (R4 section 6.4): of a write inside its transaction, of all else in a
queue that is bounded, written a few times a second, and emptied when the server stops.

No personal number goes on record: in queries each is replaced by a keyed hash, by which an auditor can still look for
it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

import structlog

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.access import Access
from fhir_server.interactions.exchange import Context, FhirResponse
from fhir_server.interactions.planning import draft
from fhir_server.interactions.rights import ALL_RIGHTS, NOBODY
from fhir_server.model.resources import Resource
from fhir_server.security.events import Events
from fhir_server.security.seals import Seals
from fhir_server.store.contract import Put, Transaction, Written

log = structlog.get_logger("fhir_server.audit")

MOST_WAITING = 5_000  # events in the queue; beyond it requests wait
FLUSH_SECONDS = 0.25
FLUSH_AT = 200  # events that are written at once without waiting for the time
PATIENCE_SECONDS = 5.0  # for which a request waits for room in the queue before it is refused
SEAL_SECONDS = 1.0
REFUSED_A_SECOND = 20  # refusals of unknown callers that are recorded one by one; the others are counted


@dataclass(slots=True)
class _Waiting:
    event: Resource
    written: asyncio.Future[None] | None


@dataclass(slots=True)
class _Crowd:
    """Refusals of callers who are not known, in one second. left_out: those beyond the ones recorded one by one."""

    second: int = 0
    recorded: int = 0
    left_out: int = 0


@dataclass(slots=True)
class AuditTrail:
    """interactions.access.Audit. strict: an access is on record before it is answered."""

    context: Context
    events: Events
    seals: Seals
    strict: bool
    _queue: list[_Waiting] = field(default_factory=list)
    _flushing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _crowd: _Crowd = field(default_factory=_Crowd)

    # --- what the interactions call ----------------------------------------------------------------------------------

    async def inside(self, access: Access, transaction: Transaction, written: Sequence[Written]) -> None:
        event = self.events.of_write(access, [one.stored for one in written if one.changed])
        access.event = (await transaction.apply([await self._put(event)]))[0].stored

    async def done(self, access: Access, response: FhirResponse) -> None:
        if access.event is not None:
            self.seals.add([access.event])
            return
        await self._record(self.events.of_answer(access, response))

    async def refused(self, access: Access, fault: FhirError) -> None:
        access.event = None  # its transaction was undone
        await self._record(self.events.of_refusal(access, fault))

    async def stranger(self, access: Access, fault: FhirError) -> None:
        """A caller who was not let in. A flood of them is counted, so that it cannot fill the disk."""
        second = access.at // 1000
        if second != self._crowd.second:
            await self._tell_crowd()
            self._crowd = _Crowd(second)
        self._crowd.recorded += 1
        if self._crowd.recorded <= REFUSED_A_SECOND:
            await self._record(self.events.of_refusal(access, fault))
        else:
            self._crowd.left_out += 1

    async def _tell_crowd(self) -> None:
        crowd, self._crowd = self._crowd, _Crowd()
        if crowd.left_out:
            await self._record(self.events.of_crowd(crowd.left_out, crowd.second * 1000))

    # --- the queue ---------------------------------------------------------------------------------------------------

    async def _record(self, event: Resource) -> None:
        if len(self._queue) >= MOST_WAITING:
            await self._wait_for_room()
        future = asyncio.get_running_loop().create_future() if self.strict else None
        self._queue.append(_Waiting(event, future))
        if self.strict or len(self._queue) >= FLUSH_AT:
            self._wake.set()
        if future is not None:
            await future

    async def _wait_for_room(self) -> None:
        """Raises FhirError UNAVAILABLE: what cannot be recorded is not answered."""
        self._wake.set()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(self._queue) >= MOST_WAITING:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise _unrecorded() from None

    async def flush(self) -> None:
        """Writes all that waits. Raises FhirError when the store does not take it; it goes on waiting then."""
        async with self._flushing:
            while batch := self._queue[:FLUSH_AT]:
                puts = [await self._put(one.event) for one in batch]
                written = await self.context.store.transact(partial(_apply, puts))
                del self._queue[: len(batch)]
                self._room.set()
                self.seals.add([one.stored for one in written])
                for one in batch:
                    if one.written is not None and not one.written.done():
                        one.written.set_result(None)

    async def _put(self, event: Resource) -> Put:
        return Put(await draft(self.context, event, self.context.new_id()), 0, "POST")

    # --- in the background -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Flushes and seals until it is cancelled. A database that is away makes it wait, and never loses anything."""
        sealed = monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), FLUSH_SECONDS)
            self._wake.clear()
            try:
                await self.flush()
                if monotonic() - sealed >= SEAL_SECONDS:
                    await self._tell_crowd_of_the_past()
                    await self.seals.seal()
                    sealed = monotonic()
            except FhirError as fault:
                log.error("accesses wait to be recorded", waiting=len(self._queue), diagnostics=fault.diagnostics)
                await asyncio.sleep(FLUSH_SECONDS)

    async def _tell_crowd_of_the_past(self) -> None:
        if self._crowd.second < self.context.clock() // 1000:
            await self._tell_crowd()

    async def stop(self) -> None:
        """Empties the queue and seals what is left."""
        await self._tell_crowd()
        await self.flush()
        await self.seals.seal()


@asynccontextmanager
async def auditing(context: Context, strict: bool) -> AsyncIterator[AuditTrail]:
    """The audit of one server process while it runs."""
    plain = context.with_(rights=ALL_RIGHTS, caller=NOBODY, audit=None)
    events = await Events.open(plain)
    trail = AuditTrail(plain, events, await Seals.open(plain.store, plain.clock, plain.new_id()), strict)
    task = asyncio.create_task(trail.run())
    try:
        yield trail
    finally:
        while not task.done():  # the driver may take a cancellation for its own
            task.cancel()
            await asyncio.wait([task], timeout=1)
        try:
            await trail.stop()
        except FhirError as fault:
            log.critical("accesses were not recorded", lost=len(trail._queue), diagnostics=fault.diagnostics)


async def _apply(puts: Sequence[Put], transaction: Transaction) -> list[Written]:
    return await transaction.apply(puts)


def _unrecorded() -> FhirError:
    text = "this access cannot be put on record now, so it is not answered; try again"
    return FhirError(Kind.UNAVAILABLE, text, headers={"Retry-After": "5"})
