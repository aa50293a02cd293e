"""The store and the record of accesses alone: for commands on the registers, which need nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import uvloop

from fhir_server.audit.access import Access, Agent, Pairs
from fhir_server.audit.trail import Trail
from fhir_server.cli.database import database
from fhir_server.cli.faults import CannotRun
from fhir_server.cli.person import login
from fhir_server.cli.settings import without_secrets
from fhir_server.config import DATA_ROOT, Settings
from fhir_server.definitions.capabilities import Capability
from fhir_server.definitions.load import Definitions
from fhir_server.errors import FhirError
from fhir_server.model.ids import new_id, now
from fhir_server.model.resources import decode
from fhir_server.search.extract import Extractor
from fhir_server.search.model import SearchModel
from fhir_server.store.contract import Store
from fhir_server.store.mongo import open_store
from fhir_server.store.values import EVERYTHING, LEDGER_TYPE, StartError
from fhir_server.terminology.naming import NamingSystems

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the person who logged in works with one command."""

    store: Store
    trail: Trail
    agent: Agent

    async def note(self, kind: str, details: Pairs = (), patients: Iterable[str] = (), status: int = 200) -> None:
        """Puts on record what is done. kind: of `audit.event.KINDS`. Raises FhirError: then it must not be done."""
        await self.trail.note(Access(kind, self.agent, status, now(), patients=tuple(patients), details=details))
        await self.trail.flush()


def at_desk(settings: Settings, command: str, work: Callable[[Desk], Awaitable[T]]) -> T:
    """What the work gives, on the database of the settings, joined where a server runs. Raises CannotRun."""

    async def run(running: Settings) -> T:
        try:
            async with _open(running, command) as desk:
                return await work(desk)
        except (StartError, FhirError) as fault:
            raise CannotRun(without_secrets(str(fault))) from None

    with database(settings, share=True) as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(running))


@asynccontextmanager
async def _open(settings: Settings, command: str) -> AsyncIterator[Desk]:
    definitions = Definitions.load(DATA_ROOT)
    extractor = Extractor(definitions, settings.zone, NamingSystems.load(DATA_ROOT).canonical)
    search = SearchModel(definitions, extractor, settings, Capability.load(DATA_ROOT / "capability_statement.json"))
    store = await open_store(settings.mongodb_uri or "", settings)
    trail = Trail(store, search, settings.audit, now, new_id)
    try:
        search.adopt([decode(found.raw) async for found in store.walk("SearchParameter", EVERYTHING)])
        store.ledger.index_by(lambda resource: search.index(resource, store.registry))
        await store.ensure_letters(search.declared((LEDGER_TYPE,)))
        yield Desk(store, trail, Agent(subject=login(), client=f"fhir-server {command}"))
    finally:
        await trail.close()
        await store.close()
