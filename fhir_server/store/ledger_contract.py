"""What the store promises of the ledger: AuditEvents that are only ever appended, in chains of pages.

Every process writes one chain. A page holds a stretch of it: events in order, and the SHA-256 of the bytes of each. The
head of a chain is folded from those digests, so each event stands on all before it. Heads are sealed into one common
chain of seals, so a chain cannot lose its end, nor be replaced, without the seals telling.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from fhir_server.model.resources import Resource
from fhir_server.store.values import Filter, Find, Indexed, Stored, View

BEGINNING = bytes(32)  # what the first link of every chain follows


class Event(msgspec.Struct, frozen=True):
    """An AuditEvent on its way into the ledger. raw: its JSON with id and meta, version 1; the id is a UUID of version
    7, made of `at`, ms since the epoch. keys: what its page is found by (`ledger_pages.plain_keys`)."""

    id: str
    at: int
    raw: bytes
    keys: tuple[str, ...]


def digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def fold(head: bytes, digests: Iterable[bytes]) -> bytes:
    """The head of a chain after events with these digests."""
    for one in digests:
        head = hashlib.sha256(head + one).digest()
    return head


class Page(msgspec.Struct, frozen=True):
    """A stretch of one chain. number: of the page, from 1. first: the place of its first event in the chain, from 1.
    at: when it was written, ms. before: the head that it follows. late: its events were left behind by a process that
    did not live to write the page."""

    chain: str
    number: int
    first: int
    at: int
    digests: tuple[bytes, ...]
    before: bytes
    late: bool = False

    @property
    def head(self) -> bytes:
        return fold(self.before, self.digests)


@dataclass(frozen=True, slots=True)
class Seal:
    """One link of the common chain: the head of a chain at a time. number: of the seal, from 1. pages: how many pages
    the chain had. before: the hash of the seal before."""

    number: int
    at: int
    chain: str
    pages: int
    head: bytes
    before: bytes

    @property
    def hash(self) -> bytes:
        told = f"{self.number} {self.at} {self.chain} {self.pages} {self.head.hex()}"
        return hashlib.sha256(self.before + told.encode()).digest()


def head_of(seal: Seal) -> str:
    """A seal as an operator notes it: `12:9f86…`."""
    return f"{seal.number}:{seal.hash.hex()}"


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where verification begins after old events were pruned. chains: {chain: (pages pruned, events pruned, head)}.
    seals: how many were pruned, and hash: that of the last of them. until: what was written before it is gone, ms."""

    chains: Mapping[str, tuple[int, int, bytes]] = field(default_factory=dict)
    seals: int = 0
    hash: bytes = BEGINNING
    until: int = 0


class Ledger(Protocol):
    """Of its events it answers as the store does of every other type; `Transaction.record` leaves events for it."""

    def index_by(self, index: Callable[[Resource], Indexed]) -> None:
        """Says how an event is found and sorted (`search.index`); before anything is searched."""
        ...

    async def open(self) -> None:
        """Makes what the ledger needs; once a process, before the first `record` and `append`."""
        ...

    async def append(self, page: Page, events: Sequence[Event]) -> None:
        """Writes a page, durably. Sent again it changes nothing."""
        ...

    async def forget(self, ids: Sequence[str]) -> None:
        """Lets go of events that transactions have recorded, once their page is written."""
        ...

    async def left_behind(self, until: int) -> list[Event]:
        """Events that transactions recorded before `until` (ms) and nobody has written into a page, oldest first."""
        ...

    async def seal(self, chain: str, pages: int, head: bytes, at: int) -> Seal:
        """Puts the head of a chain at the end of the common chain."""
        ...

    async def find(self, query: Find, view: View) -> list[Stored]: ...

    async def count(self, filter: Filter, view: View, cap: int | None) -> int: ...

    async def read_many(self, ids: Sequence[str], view: View) -> dict[str, Stored]: ...

    async def anchor(self) -> Anchor: ...

    def seals(self, after: int = 0) -> AsyncIterator[Seal]:
        """In order, from the one after this number."""
        ...

    async def chains(self) -> list[str]:
        """The names of all chains that have pages."""
        ...

    def pages(self, chain: str, after: int = 0) -> AsyncIterator[tuple[Page, list[bytes]]]:
        """Pages in order with the bytes of their events, from the one after this number."""
        ...

    def waiting(self, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """Ids and bytes of the events that transactions have kept and that are in no page yet."""
        ...

    def unfindable(self) -> AsyncIterator[tuple[str, int]]:
        """Chain and number of each page that is not found by what its events say: what they are searched by, or their
        times, are not theirs. Pages with events that were not written so are passed over."""
        ...

    async def prune(self, until: int) -> int:
        """Removes pages from the beginning of each chain, as far as they were written before `until` (ms), and the
        seals that speak of nothing else; `anchor` tells where verification begins now. Gives how many events went. Cut
        off and run again it goes on."""
        ...

    async def reindex(self, keys: Callable[[bytes], tuple[str, ...]]) -> int:
        """Writes what pages are found by anew. keys: what an event is found by. Gives how many events there are."""
        ...
