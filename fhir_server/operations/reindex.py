"""Writes the search keys of stored resources anew after definitions have changed; neither version nor time changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.planning import draft
from fhir_server.model.resources import decode
from fhir_server.store.contract import EVERYTHING, Put, Stored, Transaction

BATCH = 50


async def reindex(context: Context, on_progress: Callable[[int, int | None], None]) -> int:
    """Rewrites every resource of each type whose definitions have new letters, then makes those the letters.

    Cut off and run again it passes over what is done. Gives how many resources were looked at.
    """
    types = sorted({type for type, _ in context.store.registry.pending})
    total = sum([await context.store.count(type, {}, EVERYTHING) for type in types])
    done = 0
    for type in types:
        batch: list[Stored] = []
        async for found in context.store.walk(type, EVERYTHING):
            batch.append(found)
            if len(batch) == BATCH:
                done += await _rewrite(context, batch)
                on_progress(done, total)
                batch = []
        done += await _rewrite(context, batch)
    if types:
        await context.store.switch_letters()
    on_progress(done, total)
    return done


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
