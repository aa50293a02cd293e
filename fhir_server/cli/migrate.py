"""`fhir-server migrate`: the stored data as this version wants it."""

from __future__ import annotations

import asyncio

from fhir_server.cli.database import context, database
from fhir_server.cli.faults import CannotRun
from fhir_server.cli.person import acting
from fhir_server.cli.progress import progress
from fhir_server.config import DATA_ROOT, Settings
from fhir_server.interactions.packages import name_resources
from fhir_server.operations.publish import publish_packages
from fhir_server.operations.reindex import reindex
from fhir_server.operations.renarrow import renarrow
from fhir_server.records.newborns import link_stored
from fhir_server.store.migrations import migrate as migrate_store
from fhir_server.store.values import StartError
from fhir_server.terminology.naming import NamingSystems


def migrate(settings: Settings) -> None:
    """Migrates, re-indexes where definitions have changed, and says what it did. Raises CannotRun."""
    with database(settings) as running:
        asyncio.run(_migrate(running))


async def _migrate(settings: Settings) -> None:
    try:
        before, after = await migrate_store(settings.mongodb_uri or "", settings)
    except StartError as fault:
        raise CannotRun(str(fault)) from None
    print(f"Store version {after}" + (f", migrated from {before}." if before != after else ": nothing to migrate."))
    async with context(settings, migrates=True) as opened:
        pending = len(opened.store.registry.pending)
        with progress("Re-indexing", "resources") as report:
            done = await reindex(opened, report)
        if pending:
            print(f"Search keys of {done} resources are as the {pending} changed definitions want them.")
        if named := await name_resources(opened):
            stored = await publish_packages(opened)
            print(f"{stored} definitions of {len(named)} packages are stored as resources.")
        with progress("Narrowing", "resources") as report:
            narrowed = await renarrow(opened, report)
        if narrowed:
            print(f"Every version of {narrowed} resources is narrowed by the rules of now.")
        if linked := await link_stored(acting(opened, "migrate"), NamingSystems.load(DATA_ROOT)):
            print(f"{linked} people are linked with the newborns that stand under their numbers.")
