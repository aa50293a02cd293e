"""`fhir-server check`: definitions, settings and database, and with `--store` every stored resource."""

from __future__ import annotations

import asyncio
import os

from fhir_server.cli.database import context, database
from fhir_server.cli.settings import unknown_variables
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.model.personal import without_numbers

MOST_TOLD = 100


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
    """Every disagreement of the store, the first ones word for word."""
    faults: list[str] = []
    found = 0
    async for problem in opened.store.check(lambda resource: opened.search.index(resource, opened.store.registry)):
        found += 1
        if found <= MOST_TOLD:
            faults.append(without_numbers(f"{problem.place}: {problem.fault}"))
    if found > MOST_TOLD:
        faults.append(f"and {found - MOST_TOLD} more")
    if not found:
        print("ok     every stored resource agrees with its keys, its history and its patient's compartment")
    return faults
