"""The audit trail of one process: accesses become events, and events are written in bulk as pages of its chain.

The events of a write are kept in the transaction of that write until their page is there. Reads wait in a queue with a
bound and are written every second, before the answer in strict mode, and when the process stops. When the queue is
full, callers wait; when that does not help they are refused. Nothing is dropped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal

import structlog
from msgspec.structs import replace

from fhir_server.audit.access import Access
from fhir_server.audit.event import Events, made
from fhir_server.audit.hiding import SECRET, Hiding
from fhir_server.errors import FhirError, Kind
from fhir_server.search.model import SearchModel
from fhir_server.store.contract import Store, Transaction
from fhir_server.store.ledger_contract import BEGINNING, Event, Page, Seal, digest, head_of

log = structlog.get_logger("fhir_server.audit")

Mode = Literal["off", "normal", "strict"]
FLUSH_SECONDS = 1.0
TELL_SECONDS = 600.0  # between seals that the log tells
PAGE_EVENTS = 256  # of one page at most; so many waiting are written at once
MOST_WAITING = 10_000  # accesses in the queue before callers wait
PATIENCE_SECONDS = 10.0  # that a caller waits for room, or in strict mode for its event
STOP_SECONDS = 20.0  # that a stop tries to write what is left
SWEEP_SECONDS = 600.0
SWEEP_MARGIN_MS = 120_000  # twice a transaction's limit: who recorded before then has written the page, or is no more
MOST_ALIKE = 1_000  # callers whose refusals are counted apart
# Refusals of callers who are not known or ask too much: a flood of them is told by number.
_COUNTED = frozenset({401, 429})


class Trail:
    """One chain. clock: ms since the epoch. new_id: a name for the chain, never used before."""

    def __init__(
        self, store: Store, search: SearchModel, mode: Mode, clock: Callable[[], int], new_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._search = search
        self._clock = clock
        self.mode = mode
        self.chain = new_id()
        self._pages, self._events, self._head = 0, 0, BEGINNING
        self._sealed, self._sealed_at = 0, 0
        self._told_at = clock()
        self._waiting: list[Access | Event] = []  # an Event is kept by its transaction already
        self._queued = 0  # that have ever waited
        self._callers: list[tuple[int, asyncio.Future[None]]] = []  # who waits until so many of them are written
        self._pending: tuple[Page, list[Event], int] | None = None  # a page that was not confirmed
        self._alike: Counter[Access] = Counter()
        self._maker: Events | None = None
        self._opening, self._writing = asyncio.Lock(), asyncio.Lock()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._swept: float | None = None

    @property
    def is_on(self) -> bool:
        return self.mode != "off"

    # --- what interactions call --------------------------------------------------------------------------------------

    async def note(self, access: Access) -> None:
        """Puts an access on record. Raises FhirError UNAVAILABLE when that cannot be done: then nothing is answered."""
        if not self.is_on:
            return None
        if not access.agent.is_known and (access.status in _COUNTED or access.interaction == "login"):
            return self._count(access)
        if len(self._waiting) >= MOST_WAITING:
            await self._until_written(self._queued - MOST_WAITING + PAGE_EVENTS)
        self._queue((access,))
        if self.mode == "strict":
            await self._until_written(self._queued)
        return None

    async def write(self, transaction: Transaction, accesses: Iterable[Access]) -> tuple[Event, ...]:
        """Keeps accesses with the transaction that they tell of; `committed` must follow when it is committed."""
        if not self.is_on:
            return ()
        maker = await self._opened()
        events = tuple([event for one in accesses for event in await made(maker, one, self._store.intern)])
        await transaction.record(events)
        return events

    def committed(self, events: Iterable[Event]) -> None:
        """Takes up what a committed transaction has kept."""
        self._queue(events)

    async def flush(self) -> None:
        """Writes all that waits. Raises FhirError; what was not written waits on."""
        async with self._writing:
            self._take_counted()
            left = len(self._waiting)
            while left > 0 or self._pending is not None:
                left -= await self._write_page()
            now = self._clock()
            if self._sealed < self._pages and (self._closing or now >= self._sealed_at + FLUSH_SECONDS * 1000):
                seal = await self._store.ledger.seal(self.chain, self._pages, self._head, now)
                self._sealed, self._sealed_at = self._pages, now
                self._tell(seal)

    async def close(self) -> None:
        """Writes what waits and seals the chain. What cannot be written is lost, and the log says how much."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_SECONDS)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.flush()
        except (FhirError, TimeoutError):
            log.error("accesses are lost: the database does not answer", accesses=len(self._waiting))

    def _tell(self, seal: Seal) -> None:
        """A log that is kept elsewhere proves later that the seal is still there (`audit verify --seal`)."""
        if seal.at >= self._told_at + TELL_SECONDS * 1000:
            log.info("accesses sealed", seal=head_of(seal))
            self._told_at = seal.at

    # --- the queue ---------------------------------------------------------------------------------------------------

    def _queue(self, more: Iterable[Access | Event]) -> None:
        before = len(self._waiting)
        self._waiting.extend(more)
        self._queued += len(self._waiting) - before
        self._start()
        if len(self._waiting) >= PAGE_EVENTS:
            self._wake.set()

    def _count(self, access: Access) -> None:
        """Alike: the same refusal from the same address."""
        agent = access.agent if len(self._alike) < MOST_ALIKE else replace(access.agent, address=None)
        self._alike[Access(access.interaction, agent, access.status, 0)] += 1
        self._start()

    def _take_counted(self) -> None:
        counted, self._alike = self._alike, Counter()
        for access, count in counted.items():
            details = (("count", str(count)),)
            self._queue((replace(access, at=self._clock(), details=details),))

    async def _until_written(self, number: int) -> None:
        """Until so many of those that ever waited are written. Raises FhirError UNAVAILABLE."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._callers.append((number, future))
        self._wake.set()
        try:
            await asyncio.wait_for(future, PATIENCE_SECONDS)
        except TimeoutError:
            text = "accesses cannot be put on record now, so nothing is answered; try again"
            raise FhirError(Kind.UNAVAILABLE, text, headers={"Retry-After": "5"}) from None

    def _tell_callers(self) -> None:
        written = self._queued - len(self._waiting)
        for number, future in self._callers:
            if number <= written and not future.done():
                future.set_result(None)
        self._callers = [(number, future) for number, future in self._callers if not future.done()]

    # --- the writer --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._closing:
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.flush()
                await self._sweep()
            except FhirError as fault:  # the database is away; what waits goes on waiting
                log.warning("accesses wait to be written", accesses=len(self._waiting), why=fault.kind.name)
            except Exception as fault:  # nobody awaits this task: what is not logged here is lost
                log.error("accesses could not be written", accesses=len(self._waiting), exc_info=fault)
                await asyncio.sleep(FLUSH_SECONDS)

    async def _opened(self) -> Events:
        async with self._opening:
            if self._maker is None:
                await self._store.ledger.open()
                hiding = Hiding(await self._store.secret(SECRET))
                self._maker = Events(self._search, self._store.registry, hiding)
        return self._maker

    async def _write_page(self) -> int:
        """One page of what waits first; gives how many it took. What was not confirmed is written again as it was, but
        a late page that another process wrote meanwhile is let go."""
        if self._pending is None:
            events, taken = await self._taken()
            self._pending = self._page(events), events, taken
        page, events, taken = self._pending
        kept = [one.id for one in self._waiting[:taken] if isinstance(one, Event)]
        if not page.late:
            await self._store.ledger.append(page, events)
        elif not await self._store.transact(lambda transaction: transaction.adopt(page, events)):
            self._pending = None
            return 0
        self._pending = None
        self._turn(page, len(events))
        del self._waiting[:taken]
        self._tell_callers()
        if kept:
            await self._store.ledger.forget(kept)
        return taken

    async def _taken(self) -> tuple[list[Event], int]:
        """The events of the first that wait, as far as they fill a page, and how many those are."""
        maker = await self._opened()
        events: list[Event] = []
        for taken, one in enumerate(self._waiting[:PAGE_EVENTS]):
            own = [one] if isinstance(one, Event) else await made(maker, one, self._store.intern)
            if events and len(events) + len(own) > PAGE_EVENTS:
                return events, taken
            events += own
        return events, min(len(self._waiting), PAGE_EVENTS)

    def _page(self, events: list[Event], late: bool = False) -> Page:
        digests = tuple(digest(event.raw) for event in events)
        return Page(self.chain, self._pages + 1, self._events + 1, self._clock(), digests, self._head, late)

    def _turn(self, page: Page, events: int) -> None:
        self._pages, self._events, self._head = page.number, self._events + events, page.head

    async def _sweep(self) -> None:
        """Writes the pages of events that processes have kept with a transaction and did not live to write."""
        now = asyncio.get_running_loop().time()
        if self._pending is not None or (self._swept is not None and now < self._swept + SWEEP_SECONDS):
            return
        self._swept = now
        await self._opened()
        while events := await self._store.ledger.left_behind(self._clock() - SWEEP_MARGIN_MS):
            for start in range(0, len(events), PAGE_EVENTS):
                async with self._writing:
                    if self._pending is not None:  # of a flush meanwhile, which has this page's number
                        return
                    some = events[start : start + PAGE_EVENTS]
                    self._pending = self._page(some, late=True), some, 0
                    await self._write_page()
            log.warning("found audit events that a process left behind", events=len(events))
            self._wake.set()
