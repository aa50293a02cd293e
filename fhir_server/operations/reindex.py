"""Writes the search keys of stored resources anew after definitions have changed; neither version nor time changes.

`fhir-server migrate` does it while nothing is served, `following` in the background of a server, and `$reindex` tells
how far it is. Until it ends, a search by a parameter that is being indexed is refused instead of answered wrongly.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial

import structlog

from fhir_server.errors import FhirError, Issue, Kind
from fhir_server.interactions.background import again_and_again, while_leased
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.packages import adopt_packages
from fhir_server.interactions.parameters import adopt
from fhir_server.interactions.planning import draft
from fhir_server.model.outcomes import outcome
from fhir_server.model.resources import decode, encode
from fhir_server.store.contract import Transaction
from fhir_server.store.values import EVERYTHING, LEDGER_TYPE, Put, Stored

BATCH = 50
# A process learns of changed parameters within LOOK_SECONDS and writes their keys from then on. What the slowest one
# wrote before is covered, because nobody begins to re-index sooner than this.
LOOK_SECONDS = 2.0
PATIENCE_SECONDS = 3 * LOOK_SECONDS
LEASE_SECONDS = 60.0

log = structlog.get_logger("fhir_server.reindex")
Progress = Callable[[int, int | None], None]


async def reindex(context: Context, on_progress: Progress) -> int:
    """Rewrites every resource of each type whose parameters have new letters, then makes those the letters.

    Cut off and run again it passes over what is done. Gives how many resources were looked at.
    """
    wanted = dict(context.store.registry.pending)
    types = sorted({type for type, _ in wanted})
    total = sum([await context.store.count(type, {}, EVERYTHING) for type in types])
    done = 0
    if LEDGER_TYPE in types:
        done += await context.store.ledger.reindex(
            lambda raw: context.search.index(decode(raw), context.store.registry).keys
        )
    for type in (type for type in types if type != LEDGER_TYPE):
        async for number in rewritten(context, type):
            done += number
            await context.store.note_reindexed(done, total)
            on_progress(done, total)
    await _end(context, wanted, done)
    on_progress(done, total)
    return done


async def rewritten(context: Context, type: str) -> AsyncIterator[int]:
    """Writes anew what every resource of a type is found and narrowed by, and tells of each batch how many it had."""
    batch: list[Stored] = []
    async for found in context.store.walk(type, EVERYTHING):
        batch.append(found)
        if len(batch) == BATCH:
            yield await _rewrite(context, batch)
            batch = []
    if batch:
        yield await _rewrite(context, batch)


async def _end(context: Context, wanted: Mapping[tuple[str, str], str], done: int) -> None:
    if wanted:
        await context.store.note_reindexed(done, done)
        await context.store.switch_letters(wanted)


async def _rewrite(context: Context, batch: list[Stored]) -> int:
    puts = [Put(await draft(context, decode(found.raw), found.id), found.version) for found in batch]
    try:
        await context.store.transact(partial(_apply, puts))
    except FhirError as fault:
        if fault.kind is not Kind.PRECONDITION:
            raise
        # One of them was written meanwhile, with the new keys: the others go one by one.
        for put in puts:
            await _rewrite_one(context, put)
    return len(batch)


async def _rewrite_one(context: Context, put: Put) -> None:
    try:
        await context.store.transact(partial(_apply, [put]))
    except FhirError as fault:
        if fault.kind is not Kind.PRECONDITION:
            raise


async def _apply(puts: list[Put], transaction: Transaction) -> None:
    await transaction.apply(puts)


# --- in the background of a server -----------------------------------------------------------------------------------


def following(context: Context, owner: str) -> AbstractAsyncContextManager[None]:
    """While it is open this process learns of changed parameters and terminology, and of all processes one re-indexes.
    owner: the name of this process among all."""
    return again_and_again(partial(_follow, context, owner), LOOK_SECONDS, "re-indexing", log)


async def take_up(context: Context) -> None:
    """The parameters and packages that other processes have announced; all again where it was cut off."""
    announced = await context.store.announced()  # first: what is announced meanwhile is taken up at the next look
    if announced != context.store.registry.taken_up:
        await adopt(context)
        await adopt_packages(context)
        context.store.registry.taken_up = announced


async def _follow(context: Context, owner: str) -> None:
    await take_up(context)
    await context.terminology.follow()
    lead = partial(context.store.lead_reindex, owner, LEASE_SECONDS)
    if context.store.registry.pending and await lead():
        await asyncio.sleep(PATIENCE_SECONDS)
        await while_leased(reindex(context, lambda done, total: None), lead, LEASE_SECONDS / 3)


async def reindex_operation(context: Context, request: FhirRequest) -> FhirResponse:
    """`$reindex`: GET tells how far a re-index is; POST makes this process look for one to do at once."""
    if request.method == "POST":
        await take_up(context)
    waiting = sorted({f"{type}.{code}" for type, code in context.store.registry.pending})
    if not waiting:
        return _told(200, "every search parameter is indexed")
    progress = await context.store.reindexed()
    counted = f", {progress[0]} of {progress[1]} resources done" if progress else ""
    return _told(202, f"being indexed: {', '.join(waiting[:50])}{counted}")


def _told(status: int, text: str) -> FhirResponse:
    return FhirResponse(status, encode(outcome([Issue("information", "informational", text)])))
