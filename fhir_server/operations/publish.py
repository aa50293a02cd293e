"""Stores the shipped terminology, profiles and operations as resources too, for clients to read and search."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from fhir_server.config import DATA_ROOT
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.planning import draft
from fhir_server.model.resources import Resource
from fhir_server.store.contract import Store, Transaction
from fhir_server.store.values import EVERYTHING, Put, Written
from fhir_server.terminology.load import Part, Terminology, read_head

BATCH = 100
# Folders of definitions that the terminology does not read, one a file.
_BESIDE = (
    "terminology/naming_systems",
    "profiles/vn_basic/structure_definitions",
    "profiles/vn_basic/operation_definitions",
)

log = structlog.get_logger("fhir_server.terminology")
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class _Definition:
    type: str
    id: str
    part: Part

    @property
    def name(self) -> str:
        return f"{self.type}/{self.id}"


async def is_published(store: Store, root: Path = DATA_ROOT) -> bool:
    """True when all that is shipped has been stored as it is."""
    published = await store.tables.published()
    return not _changed(_digests(Terminology.load(root), root), published)


async def publish(context: Context, on_progress: Progress, root: Path = DATA_ROOT) -> int:
    """Stores every shipped definition that is new or has changed since it was stored; gives how many.

    What a client has changed or deleted stays as the client left it. root: the folder that holds terminology/ and
    profiles/.
    """
    published = await context.store.tables.published()
    digests = _digests(context.terminology.shipped, root)
    changed = _changed(digests, published)
    done = 0
    for start in range(0, len(changed), BATCH):
        batch = changed[start : start + BATCH]
        puts = await _puts(context, batch, {name: version for name, (version, _) in published.items()})
        try:
            written = await context.store.transact(partial(_apply, [put for _, put in puts]))
        except FhirError as fault:
            if fault.kind is not Kind.PRECONDITION:
                raise
            continue  # another process does the same, and is ahead
        await context.store.tables.note_published(
            {one.name: (new.stored.version, digests[one]) for (one, _), new in zip(puts, written, strict=True)}
        )
        done += len(puts)
        on_progress(start + len(batch), len(changed))
    if done:
        await context.terminology.announce()
    return done


def _digests(shipped: Terminology, root: Path) -> dict[_Definition, str]:
    return {one: hashlib.sha256(one.part.content()).hexdigest() for one in _definitions(shipped, root)}


def _changed(digests: Mapping[_Definition, str], published: Mapping[str, tuple[int, str]]) -> list[_Definition]:
    return [one for one, digest in digests.items() if published.get(one.name, (0, ""))[1] != digest]


def _definitions(shipped: Terminology, root: Path) -> Iterator[_Definition]:
    for entry in shipped.entries():
        yield _Definition(entry.head.resourceType, entry.head.id, entry.source)
    for folder in _BESIDE:
        for file in sorted((root / folder).glob("*.json")):
            head = read_head(file.read_bytes())
            yield _Definition(head.resourceType, head.id, Part(file))


async def _puts(
    context: Context, batch: Sequence[_Definition], published: dict[str, int]
) -> list[tuple[_Definition, Put]]:
    """Those that may be written: nobody else has a resource of that name, or has changed ours."""
    found: list[tuple[_Definition, Put]] = []
    for type in dict.fromkeys(one.type for one in batch):
        of_type = [one for one in batch if one.type == type]
        stored = await context.store.read_many(type, [one.id for one in of_type], EVERYTHING)
        for one in of_type:
            there = stored.get(one.id)
            if there is not None and there.version != published.get(one.name):
                log.info("left as a client has it", resource=one.name)
                continue
            resource: Resource = one.part.read()
            found.append((one, Put(await draft(context, resource, one.id), there.version if there else 0)))
    return found


async def _apply(puts: list[Put], transaction: Transaction) -> list[Written]:
    return await transaction.apply(puts)
