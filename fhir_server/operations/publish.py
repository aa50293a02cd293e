"""Stores the shipped terminology, profiles, operations and search parameters, and what packages define, as resources
too, for clients to read and search."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.search_params import as_resource
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.packages import stored_as
from fhir_server.interactions.planning import draft
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.store.contract import Store, Transaction
from fhir_server.store.values import EVERYTHING, Installed, Op, Put, Remove, Written
from fhir_server.terminology.load import Part, Terminology, read_head

BATCH = 100
# Folders of definitions that the terminology does not read, one a file.
_BESIDE = (
    "terminology/naming_systems",
    "profiles/vn_basic/structure_definitions",
    "profiles/vn_basic/operation_definitions",
)
# What stands before a package's revision in the note of what was stored from it.
_PACKAGE = "package "

log = structlog.get_logger("fhir_server.terminology")
Progress = Callable[[int, int | None], None]
# Of what is to be stored: `CodeSystem/ward` → its JSON; → what tells that from another content.
Contents = Mapping[str, Callable[[], bytes]]
Digests = Mapping[str, str]
# What was stored: name → (version, digest); without a digest it was deleted again.
Published = Mapping[str, tuple[int, str]]


async def is_published(store: Store, root: Path = DATA_ROOT) -> bool:
    """True when all that is shipped, and just what is installed, has been stored as it is."""
    published = await store.tables.published()
    packages = await store.packages()
    wanted = [_digests(_shipped(Terminology.load(root), root)), *map(_digests_of, packages)]
    return not any(_changed(digests, published) for digests in wanted) and not _left_over(packages, published)


async def publish(context: Context, on_progress: Progress, root: Path = DATA_ROOT) -> int:
    """Stores every definition, shipped or of a package, that is new or has changed since it was stored; gives how many.

    What a client has changed or deleted stays as the client left it. root: the folder that holds terminology/ and
    profiles/.
    """
    shipped = _shipped(context.terminology.shipped, root)
    return await _store(context, shipped, _digests(shipped), on_progress) + await publish_packages(context, on_progress)


async def publish_packages(context: Context, on_progress: Progress = lambda done, total: None) -> int:
    """Stores what the installed packages define, and deletes what packages that are gone have left; gives how many were
    stored."""
    packages = await context.store.packages()
    await _delete_left_over(context, packages)
    done = 0
    for package in packages:
        digests = _digests_of(package)
        if _changed(digests, await context.store.tables.published()):
            found = await context.store.package_resources(package)
            contents = {name: partial(bytes, content) for name, content in zip(digests, found, strict=True)}
            done += await _store(context, contents, digests, on_progress)
    return done


async def _store(context: Context, contents: Contents, digests: Digests, on_progress: Progress) -> int:
    published = await context.store.tables.published()
    changed = _changed(digests, published)
    done = 0
    for start in range(0, len(changed), BATCH):
        batch = changed[start : start + BATCH]
        puts = await _puts(context, batch, contents, published)
        written = await _applied(context, list(puts.values()))
        noted = {name: (new.stored.version, digests[name]) for name, new in zip(puts, written, strict=False)}
        await context.store.tables.note_published(noted)
        done += len(noted)
        on_progress(start + len(batch), len(changed))
    if done:
        await context.terminology.announce()
    return done


async def _delete_left_over(context: Context, packages: Sequence[Installed]) -> None:
    """What a client has changed since stays."""
    published = await context.store.tables.published()
    names = _left_over(packages, published)
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        stored = await _as_stored(context, batch, published)
        there = {name: version for name, version in stored.items() if version}
        removes = [Remove(*_type_and_id(name), version) for name, version in there.items()]
        written = await _applied(context, removes)
        left = {name: (published[name][0], "") for name in batch if name not in there}
        gone = {name: (new.stored.version, "") for name, new in zip(there, written, strict=False)}
        await context.store.tables.note_published({**left, **gone})
    if names:
        await context.terminology.announce()


async def _applied(context: Context, ops: Sequence[Op]) -> list[Written]:
    """Nothing where another process does the same, and is ahead."""
    try:
        return await context.store.transact(partial(_apply, ops))
    except FhirError as fault:
        if fault.kind is not Kind.PRECONDITION:
            raise
        return []


async def _apply(ops: Sequence[Op], transaction: Transaction) -> list[Written]:
    return await transaction.apply(ops)


def _type_and_id(name: str) -> tuple[str, str]:
    type, _, id = name.partition("/")
    return type, id


# --- what there is


def _shipped(terminology: Terminology, root: Path) -> Contents:
    found = {f"{entry.head.resourceType}/{entry.head.id}": entry.source.content for entry in terminology.entries()}
    for file in (file for folder in _BESIDE for file in sorted((root / folder).glob("*.json"))):
        head = read_head(file.read_bytes())
        found[f"{head.resourceType}/{head.id}"] = Part(file).content
    for parameter in Definitions.load(root).own_search_params:
        resource = as_resource(parameter)
        found[f"SearchParameter/{resource['id']}"] = partial(encode, resource)
    return found


def _digests(contents: Contents) -> Digests:
    return {name: hashlib.sha256(content()).hexdigest() for name, content in contents.items()}


def _digests_of(package: Installed) -> Digests:
    return dict.fromkeys(stored_as(package), _PACKAGE + package.revision)


def _changed(digests: Digests, published: Published) -> list[str]:
    return [name for name, digest in digests.items() if published.get(name, (0, ""))[1] != digest]


def _left_over(packages: Sequence[Installed], published: Published) -> list[str]:
    installed = {name for package in packages for name in _digests_of(package)}
    return [name for name, (_, digest) in published.items() if digest.startswith(_PACKAGE) and name not in installed]


async def _puts(context: Context, batch: Sequence[str], contents: Contents, published: Published) -> dict[str, Put]:
    """Those that may be written."""
    stored = await _as_stored(context, batch, published)
    found: dict[str, Put] = {}
    for name, version in stored.items():
        resource: Resource = decode(contents[name]())
        found[name] = Put(await draft(context, resource, _type_and_id(name)[1]), version)
    return found


async def _as_stored(context: Context, batch: Sequence[str], published: Published) -> dict[str, int]:
    """The versions (0: none) of those that are as they were stored here: nobody else has a resource of that name, or
    has changed it."""
    found: dict[str, int] = {}
    pairs = [_type_and_id(name) for name in batch]
    for type in {type for type, _ in pairs}:
        ids = [id for kind, id in pairs if kind == type]
        there = await context.store.read_many(type, ids, EVERYTHING)
        for id in ids:
            one, name = there.get(id), f"{type}/{id}"
            if one is not None and one.version != published.get(name, (0, ""))[0]:
                log.info("left as a client has it", resource=name)
            else:
                found[name] = one.version if one is not None and not one.deleted else 0
    return found
