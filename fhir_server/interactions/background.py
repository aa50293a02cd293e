"""Work that goes on beside requests for as long as a server runs, and work that is done only while a lease is kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from fhir_server.errors import FhirError


@asynccontextmanager
async def again_and_again(
    look: Callable[[], Awaitable[object]], seconds: float, name: str, log: structlog.stdlib.BoundLogger
) -> AsyncIterator[None]:
    """While it is open `look` is called, and again so many seconds after it ended. What it raises is logged: while the
    database is away the next look may find it again. name: of the work, `re-indexing`."""
    task = asyncio.create_task(_again_and_again(look, seconds, name, log))
    try:
        yield
    finally:
        while not task.done():  # the driver may take a cancellation for its own
            task.cancel()
            await asyncio.wait([task], timeout=1)


async def _again_and_again(
    look: Callable[[], Awaitable[object]], seconds: float, name: str, log: structlog.stdlib.BoundLogger
) -> None:
    while True:
        try:
            await look()
        except FhirError as fault:
            log.warning(f"{name} waits", diagnostics=fault.diagnostics)
        except Exception as fault:  # nobody awaits this task: what is not logged here is lost
            log.error(f"{name} failed and will begin again", exc_info=fault)
        await asyncio.sleep(seconds)


async def while_leased(work: Coroutine[Any, Any, object], keep: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Does the work and keeps a lease meanwhile, every so many seconds; when it cannot be kept, the work is stopped."""
    task = asyncio.create_task(work)
    try:
        while True:
            done, _ = await asyncio.wait([task], timeout=seconds)
            if done:
                await task
                return
            if not await keep():
                return
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
