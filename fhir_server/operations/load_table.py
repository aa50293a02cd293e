"""Loads a code system as a table and tells of it by CodeSystem resources; what was cut off goes on where it stopped."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fhir_server.interactions.exchange import Context, FhirResponse
from fhir_server.interactions.write import Write
from fhir_server.interactions.writing import perform
from fhir_server.model.resources import Resource
from fhir_server.store.table_contract import Row, Table
from fhir_server.terminology.loaded import aliases
from fhir_server.terminology.staging import Staging
from fhir_server.terminology.table_files import TableFile, describe, read, resource_id
from fhir_server.terminology.tabular import Told

BATCH = 1_000
# What is being done, how much of it is done, and how much there is (None: nobody knows).
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a file. codes: of the whole table. written: those that this call has written."""

    head: Resource
    codes: int
    written: int
    told: Told


async def load_table(context: Context, file: TableFile, progress: Progress) -> Loaded:
    """Fills a table from a file and makes it known to every process; nothing happens when the same file is loaded.

    Memory does not grow with the file. Another file for the same URL and version takes the place of the one before
    once it is whole. Raises FhirError as `describe` and `read` do; the table before stays then.
    """
    described = describe(file)
    for table in await context.store.tables.ready():
        if table.digest == described.digest and _key(table.head) == _key(described.head):
            await _publish(context, described.head, table.count)
            return Loaded(described.head, table.count, 0, Told())
    with tempfile.TemporaryDirectory(prefix="fhir-terminology-") as folder:
        staging = Staging(Path(folder) / "staging.sqlite")
        try:
            told = read(described, staging, lambda done: progress("Reading", done, None))
            codes = staging.end()
            number, last = await context.store.tables.begin(described.head, described.digest)
            written = await _write(context, number, staging.rows(last), lambda done: progress("Writing", done, codes))
            await context.store.tables.finish(number, codes)
        finally:
            staging.close()
    await context.terminology.announce()
    await _publish(context, described.head, codes)
    return Loaded(described.head, codes, written, told)


async def _write(context: Context, number: int, rows: Iterator[Row], on_row: Callable[[int], None]) -> int:
    done = 0
    while batch := list(islice(rows, BATCH)):
        await context.store.tables.write(number, batch)
        done += len(batch)
        on_row(done)
    return done


async def remove_table(context: Context, table: Table) -> None:
    """The table and the resources that describe it."""
    await context.store.tables.remove(table.number)
    await context.terminology.announce()
    for resource in _descriptions(table.head, table.count):
        await perform(context, Write("DELETE", "CodeSystem", resource["id"]), _silent)


async def _publish(context: Context, head: Resource, codes: int) -> None:
    for resource in _descriptions(head, codes):
        await perform(context, Write("PUT", "CodeSystem", resource["id"], resource=resource), _silent)


def _descriptions(head: Resource, codes: int) -> Iterator[Resource]:
    """A CodeSystem for each URL; content `not-present` (R4 CodeSystem), for the concepts are in the table."""
    yield {**head, "count": codes}
    for alias in aliases(head):
        name = alias.rstrip("/").rpartition("/")[2]
        yield {**head, "id": resource_id(name, head["version"]), "url": alias, "count": codes}


def _key(head: Resource) -> str:
    return f"{head['url']}|{head['version']}"


def _silent(done: object) -> FhirResponse:
    return FhirResponse(204)
