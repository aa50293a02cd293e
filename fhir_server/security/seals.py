"""Seals over the record of accesses: what was written can be neither changed nor taken away without its showing.

Every second each server process seals the events that it has written since: it adds a block to a chain that all
processes share. A block holds the ids of its events, a keyed digest of their bytes that goes on from the process's own
last block, the hash of the block before it in the common chain, and the hash of itself.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_server.model.resources import encode
from fhir_server.store.contract import EVERYTHING, Find, Store, Stored

TYPE = "AuditEvent"
LATE_MS = 15_000  # events older than this at the start that no block holds belong to a process that was killed
LOOK_BACK_MS = 48 * 3600 * 1000
MOST_OF_A_BLOCK = 2_000
Block = Mapping[str, Any]


@dataclass(slots=True)
class Seals:
    """The seals of one process. chain: its name; own: the digest that its chain has come to."""

    store: Store
    clock: Callable[[], int]
    key: bytes
    chain: str
    own: str = ""
    _waiting: list[tuple[str, bytes]] = field(default_factory=list)

    @classmethod
    async def open(cls, store: Store, clock: Callable[[], int], chain: str) -> Seals:
        made = cls(store, clock, await store.secret("audit-chain"), chain)
        await made._take_in_orphans()
        return made

    def add(self, events: Iterable[Stored]) -> None:
        """Events that are stored and will be in the next block."""
        self._waiting += [(event.id, hashlib.sha256(event.raw).digest()) for event in events]

    async def seal(self) -> None:
        """Adds the blocks for what waits, and none for nothing. Raises FhirError; what waits goes on waiting then."""
        while batch := self._waiting[:MOST_OF_A_BLOCK]:
            digest = digest_of(self.key, self.own, (content for _, content in batch))
            while not await self._append([id for id, _ in batch], digest):
                pass  # another process was faster: once more behind its block
            self.own = digest
            del self._waiting[: len(batch)]

    async def _append(self, ids: Sequence[str], digest: str) -> bool:
        last = await self.store.last_block()
        block = {
            "n": last["n"] + 1 if last else 0,
            "before": last["hash"] if last else "",
            "chain": self.chain,
            "own": self.own,
            "ids": list(ids),
            "digest": digest,
            "at": self.clock(),
        }
        return await self.store.append_block({**block, "hash": hash_of(self.key, block)})

    async def _take_in_orphans(self) -> None:
        """Events of processes that were killed before they could seal them."""
        until, since = self.clock() - LATE_MS, self.clock() - LOOK_BACK_MS
        held: set[str] = set()
        async for block in self.store.blocks(since - LATE_MS):
            held.update(block["ids"])
        last = ""
        while True:
            condition = {"u": {"$gte": since, "$lt": until}, "_id": {"$gt": last}}
            page = await self.store.find(Find(TYPE, condition, (("_id", 1),), 500), EVERYTHING)
            self.add(event for event in page if event.id not in held)
            if len(page) < 500:
                return
            last = page[-1].id


def digest_of(key: bytes, before: str, contents: Iterable[bytes]) -> str:
    """The digest of a chain after the sha256 of each event, in order."""
    return hmac.digest(key, before.encode() + b"".join(contents), "sha256").hex()


def hash_of(key: bytes, block: Block) -> str:
    """The hash of a block without its own. Only who has the key can make one."""
    names = ("n", "before", "chain", "own", "ids", "digest", "at")
    return hmac.digest(key, encode([block[name] for name in names]), "sha256").hex()


@dataclass(slots=True)
class Verdict:
    """What a verification came to. faults: one sentence each. head: number and hash of the last block."""

    blocks: int = 0
    events: int = 0
    unsealed: int = 0
    faults: list[str] = field(default_factory=list)
    head: tuple[int, str] | None = None


async def verify(store: Store, now: int, kept_since: int) -> Verdict:
    """Walks the chain from its beginning and every event in it. kept_since: events before this time (ms) may have been
    removed when their time was over; blocks never are."""
    key, verdict = await store.secret("audit-chain"), Verdict()
    before, own, sealed = "", dict[str, str](), set[str]()
    async for block in store.blocks(None):
        place = f"block {block['n']}"
        if block["n"] != verdict.blocks or block["before"] != before:
            verdict.faults.append(f"{place}: a block before it is missing or was put in")
        if block["hash"] != hash_of(key, block):
            verdict.faults.append(f"{place}: it was changed")
        if block["own"] != own.get(block["chain"], ""):
            verdict.faults.append(f"{place}: a block of the same process is missing")
        await _verify_events(store, key, block, verdict, kept_since)
        own[block["chain"]], before = block["digest"], block["hash"]
        verdict.head = (block["n"], block["hash"])
        verdict.blocks = block["n"] + 1
        sealed.update(block["ids"])
    async for event in store.walk(TYPE, EVERYTHING, raw=False):
        if event.id not in sealed:
            verdict.unsealed += 1
            if event.updated < now - LOOK_BACK_MS:
                verdict.faults.append(f"{TYPE}/{event.id}: no block holds it")
    return verdict


async def _verify_events(store: Store, key: bytes, block: Block, verdict: Verdict, kept_since: int) -> None:
    found = await store.read_many(TYPE, block["ids"], EVERYTHING)
    verdict.events += len(found)
    if not found and block["at"] < kept_since:
        return
    missing = [id for id in block["ids"] if id not in found or found[id].deleted]
    if missing:
        verdict.faults.append(
            f"block {block['n']}: {len(missing)} events are missing, the first is {TYPE}/{missing[0]}"
        )
        return
    contents = (hashlib.sha256(found[id].raw).digest() for id in block["ids"])
    if digest_of(key, block["own"], contents) != block["digest"]:
        verdict.faults.append(f"block {block['n']}: an event in it was changed")


async def blocks_of(store: Store) -> AsyncIterator[Block]:
    """Every block, from the first on."""
    async for block in store.blocks(None):
        yield block
