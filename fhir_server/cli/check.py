"""`fhir-server check`: definitions, settings and database, and with `--store` every stored resource."""

from __future__ import annotations

import asyncio
import os

from fhir_server.cli.database import context, database
from fhir_server.cli.progress import progress
from fhir_server.cli.settings import unknown_variables
from fhir_server.cli.store_check import StoreCheck
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context


def check(settings: Settings, store: bool) -> bool:
    """Writes one line for each thing looked at; True when nothing was found. Raises CannotRun."""
    faults = [f"{name} is no setting; is it misspelt?" for name in unknown_variables(os.environ)]
    with database(settings, share=True) as running:
        faults += asyncio.run(_check(running, store))
    for fault in faults:
        print(f"FAULT  {fault}")
    print(f"{len(faults)} faults" if faults else "No faults.")
    return not faults


async def _check(settings: Settings, store: bool) -> list[str]:
    async with context(settings) as opened:
        statement = opened.capability
        print(f"ok     definitions: {len(statement.types)} resource types are declared")
        faults = [] if opened.store.registry.pending == {} else ["search definitions have changed: fhir-server migrate"]
        ready = await opened.store.ready()
        print(f"ok     database {settings.mongodb_database}: " + ", ".join(f"{name} {n}" for name, n in ready.items()))
        if store:
            faults += await _check_store(opened)
        return faults


async def _check_store(opened: Context) -> list[str]:
    looking = StoreCheck(opened)
    with progress("Reading the store", "resources") as report:
        await looking.run(report)
    print(f"ok     {looking.resources} resources and {looking.versions} older versions read")
    if looking.found > len(looking.faults):
        looking.faults.append(f"and {looking.found - len(looking.faults)} more")
    return looking.faults
