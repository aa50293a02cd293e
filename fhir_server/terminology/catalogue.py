"""All terminology that this server knows: what is shipped, what clients have stored, and what was loaded as tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

import msgspec

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.store.contract import Store
from fhir_server.store.table_contract import Table
from fhir_server.store.values import EVERYTHING, Stored
from fhir_server.terminology.kept import Kept
from fhir_server.terminology.load import Entry, Head, Index, Raw, Terminology, head_of, read_head
from fhir_server.terminology.loaded import aliases
from fhir_server.terminology.naming import NamingSystems
from fhir_server.terminology.scope import Place, Scope
from fhir_server.terminology.unread import Unread

T = TypeVar("T")

# The resource types that define terminology.
TYPES = ("CodeSystem", "ValueSet", "ConceptMap", "NamingSystem")
# What each process keeps ready of what it had to read, as bytes of JSON.
KEPT_BYTES = 24 << 20
# Things that one question may need one after the other.
_MOST_READINGS = 5_000
# Up to this many changed definitions are read one by one, more in a walk over all of their type.
_FEW = 50


class Catalogue:
    """Answers questions on the terminology of the moment.

    shipped and naming: what came with the program; they never change, and answer without waiting.
    """

    def __init__(self, shipped: Terminology, naming: NamingSystems, store: Store) -> None:
        self.shipped = shipped
        self.naming = naming
        self._store = store
        self._kept = Kept(KEPT_BYTES)
        self._stored: dict[tuple[str, str], Entry] = {}
        self._packaged: list[Entry] = []
        self._tables: list[Table] = []
        self._generation = 0
        self._index = Index.of(shipped.entries())
        self._adopting = asyncio.Lock()
        self._asked = self._done = 0

    async def ask(self, question: Callable[[Terminology], T]) -> T:
        """The answer of a pure function of the terminology, which is called again after each thing that it lacked was
        read. Raises what it raises, and FhirError(TOO_LARGE) when there is no end to what it lacks."""
        scope = self.scope()
        for _ in range(_MOST_READINGS):
            try:
                return question(scope)
            except Unread as unread:
                wanted = unread
            scope.hold(wanted, await wanted.read(self._store))
        raise FhirError(Kind.TOO_LARGE, "the answer needs more of the database than one request may read")

    def scope(self) -> Scope:
        """What is known now, for one question that is put without `ask`."""
        return Scope(self.shipped, self._index, self._kept)

    @property
    def has_tables(self) -> bool:
        """True when a code system was loaded as a table."""
        return bool(self._tables)

    def entries(self, type: str) -> Iterator[Entry]:
        """Every definition of a type."""
        return self._index.entries(type)

    def naming_systems(self) -> Iterator[Resource]:
        """What the NamingSystem resources of packages and those that are stored name."""
        for entry in (*self._packaged, *self._stored.values()):
            if entry.head.resourceType == "NamingSystem":
                yield {"uniqueId": entry.head.uniqueId}

    def take(self, packaged: Iterable[bytes]) -> None:
        """Puts the definitions of the installed packages, as JSON, in the place of those before. What is shipped goes
        before them, and what clients store."""
        heads = ((read_head(content), content) for content in packaged)
        self._packaged = [Entry(head, Raw(content), rank=-1) for head, content in heads]
        self._rebuild()

    def _rebuild(self) -> None:
        packaged = (entry for entry in self._packaged if entry.head.resourceType != "NamingSystem")
        self._index = Index.of([*self.shipped.entries(), *packaged, *self._added()])

    async def follow(self) -> None:
        """Reads what another process has changed, if one has."""
        if await self._store.tables.generation() != self._generation:
            await self.adopt()

    async def announce(self) -> None:
        """Takes what this process has changed, and tells the others."""
        await self._store.tables.announce()
        await self.adopt()

    async def adopt(self) -> None:
        """Takes what the store has now. Of the resources only the heads are read, and those alone that have changed."""
        self._asked += 1
        wanted = self._asked
        async with self._adopting:
            if self._done < wanted:  # else one that began after this call has done it already
                covered = self._asked
                await self._adopt()
                self._done = covered

    async def _adopt(self) -> None:
        generation = await self._store.tables.generation()
        as_shipped = await self._store.tables.published()
        for type in TYPES:
            await self._adopt_type(type, dict(_of_type(as_shipped, type)))
        self._tables = await self._store.tables.ready()
        self._rebuild()
        self._generation = generation

    async def _adopt_type(self, type: str, as_shipped: Mapping[str, int]) -> None:
        """as_shipped: id -> version of the resources that only repeat what came with the program."""
        walked = self._store.walk(type, EVERYTHING, raw=False)
        now = {found.id: found.version async for found in walked if as_shipped.get(found.id) != found.version}
        known = {id: entry.source.version for (kind, id), entry in self._stored.items() if kind == type}
        for id in known.keys() - now.keys():
            del self._stored[type, id]
        changed = [id for id, version in now.items() if known.get(id) != version]
        async for found in self._read(type, changed):
            self._stored[type, found.id] = _entry(found)

    async def _read(self, type: str, ids: list[str]) -> AsyncIterator[Stored]:
        if len(ids) > _FEW:
            wanted = frozenset(ids)
            async for found in self._store.walk(type, EVERYTHING):
                if found.id in wanted:
                    yield found
            return
        for id in ids:
            one = await self._store.read(type, id, EVERYTHING)
            if one is not None and not one.deleted:
                yield one

    def _added(self) -> Iterator[Entry]:
        tables = [Entry(head_of(table.head), table, rank=1) for table in _by_every_url(self._tables)]
        whole = {entry.head.canonical for entry in tables}
        for (type, _), entry in self._stored.items():
            # A resource without concepts describes the table; it does not take its place.
            describes = entry.head.content == "not-present" and entry.head.canonical in whole
            if entry.head.url and type != "NamingSystem" and not describes:
                yield entry
        yield from tables


def _of_type(published: Mapping[str, tuple[int, str]], type: str) -> Iterator[tuple[str, int]]:
    for name, (version, _) in published.items():
        kind, _, id = name.partition("/")
        if kind == type:
            yield id, version


def _by_every_url(tables: Iterable[Table]) -> Iterator[Table]:
    """Each table once for each URL by which its codes are known."""
    for table in tables:
        yield table
        for alias in aliases(table.head):
            yield replace(table, head={**table.head, "url": alias})


def _entry(found: Stored) -> Entry:
    """A definition that cannot be read as one (stored while validation only reported) defines nothing."""
    try:
        head = read_head(found.raw)
    except msgspec.DecodeError:
        head = Head(found.type, found.id)
    return Entry(head, Place(found.type, found.id, found.version, len(found.raw)), rank=1)
