"""Reads a whole store and compares: bytes with version and time, keys with the resource, history without gaps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from fhir_server.errors import FhirError
from fhir_server.interactions.exchange import Context
from fhir_server.model.dates import instant
from fhir_server.model.registry import UnknownSystems
from fhir_server.model.resources import Resource, decode
from fhir_server.store.contract import EVERYTHING, Find, HistoryQuery, Stored

PAGE = 200
MOST_TOLD = 100


class StoreCheck:
    """faults: a sentence each, at most MOST_TOLD of the `found`; they name resources and hold nothing of a person."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.faults: list[str] = []
        self.found = 0
        self.resources = 0
        self.versions = 0

    async def run(self, report: Callable[[int, int | None], None]) -> None:
        store = self._context.store
        types = sorted(self._context.capability.types)
        total = sum([await store.count(type, {}, EVERYTHING) for type in types])
        for type in types:
            async for stored in self._live(type):
                self.resources += 1
                report(self.resources, total)
                await self._check(stored)
            await self._check_old_versions(type)

    async def _live(self, type: str) -> AsyncIterator[Stored]:
        last = ""
        while True:
            query = Find(type, {"_id": {"$gt": last}}, (("_id", 1),), PAGE, want_sort=True, want_keys=True)
            page = await self._context.store.find(query, EVERYTHING)
            for stored in page:
                yield stored
            if len(page) < PAGE:
                return
            last = page[-1].id

    async def _check(self, stored: Stored) -> None:
        resource = self._content(stored)
        if resource is None:
            return
        try:
            indexed = self._context.search.index(resource, self._context.store.registry)
        except UnknownSystems as missing:
            self._tell(stored, f"{len(missing.uris)} of its code systems have no number")
            return
        wanted, kept = set(indexed.keys), set(stored.keys or ())
        if wanted != kept:
            self._tell(stored, f"{len(wanted - kept)} search keys are missing and {len(kept - wanted)} are too many")
        if _comparable(indexed.sort) != _comparable(stored.sort or {}):
            self._tell(stored, "its sort values are not those of the resource")

    def _content(self, stored: Stored) -> Resource | None:
        """The resource, when its bytes say the same as the document around them."""
        try:
            resource: Resource = decode(stored.raw)
        except FhirError:
            self._tell(stored, "its bytes are no JSON")
            return None
        meta = resource.get("meta", {})
        said = (resource.get("resourceType"), resource.get("id"), meta.get("versionId"), meta.get("lastUpdated"))
        if said != (stored.type, stored.id, str(stored.version), instant(stored.updated)):
            self._tell(stored, "type, id, version or time in its bytes are not those it is stored under")
            return None
        return resource

    async def _check_old_versions(self, type: str) -> None:
        """Every version of a type, newest first: each but the newest must have its successor before it."""
        seen: dict[str, int] = {}  # ids of which older versions must still come -> the last version seen
        async for page in self._history(type):
            await self._check_newest(type, [stored for stored in page if stored.id not in seen])
            for stored in page:
                newer = seen.get(stored.id)
                if newer is not None:
                    self._check_old(stored, newer)
                if stored.version == 1:
                    seen.pop(stored.id, None)
                else:
                    seen[stored.id] = stored.version
        for id, version in seen.items():
            self._tell_of(f"{type}/{id}", f"version {version - 1} is missing")

    def _check_old(self, stored: Stored, newer: int) -> None:
        self.versions += 1
        if newer != stored.version + 1:
            self._tell(stored, f"version {newer} comes after it")
        if not stored.deleted:
            self._content(stored)

    async def _check_newest(self, type: str, page: list[Stored]) -> None:
        """The newest version of each is the current one (or older than it, when somebody writes meanwhile)."""
        newest: dict[str, Stored] = {}
        for stored in page:
            newest.setdefault(stored.id, stored)
        current = await self._context.store.read_many(type, list(newest), EVERYTHING)
        for id, stored in newest.items():
            if id not in current or current[id].version < stored.version:
                self._tell(stored, "it is in history and there is no current version")

    async def _history(self, type: str) -> AsyncIterator[list[Stored]]:
        before: tuple[int, str, int] | None = None
        while True:
            page = await self._context.store.history(HistoryQuery(type, limit=PAGE, before=before), EVERYTHING)
            yield page
            if len(page) < PAGE:
                return
            last = page[-1]
            before = (last.updated, f"{last.type}/{last.id}", last.version)

    def _tell(self, stored: Stored, fault: str) -> None:
        self._tell_of(f"{stored.type}/{stored.id} version {stored.version}", fault)

    def _tell_of(self, what: str, fault: str) -> None:
        self.found += 1
        if len(self.faults) < MOST_TOLD:
            self.faults.append(f"{what}: {fault}")


def _comparable(sort: Mapping[str, Any]) -> dict[str, Any]:
    """Pairs as the database gives them back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in sort.items()}
