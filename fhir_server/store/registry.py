"""The durable registry: letters of search parameters, numbers of code systems, and the version of the store itself.

    registry: {_id: "schema", version}
              {_id: "counters", systems: 12, types: {Patient: 31, …}}
              {_id: "generation", number: grows when parameters change}
              {_id: "letters Patient name", type, code, letters?, definition?, pending?: {letters, definition}}
              {_id: "reindex", done, total: resources of the re-index under way, owner, until: end of its lease}
    systems:  {_id: URI, n: number}

A number or a pair of letters is taken from a counter before it is written down, so what a crash or a race leaves
unused is never given again.
"""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pymongo import ReturnDocument, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from fhir_server.model.registry import Registry
from fhir_server.store.documents import Document
from fhir_server.store.faults import DUPLICATE_KEY
from fhir_server.store.values import StartError

SCHEMA_VERSION = 1
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_MOST_PARAMETERS = len(_DIGITS) ** 2

Definitions = Mapping[tuple[str, str], str]


def letters_of(number: int) -> str:
    """Two base-62 characters. Raises StartError when a type has had more parameters than there are pairs."""
    if number >= _MOST_PARAMETERS:
        raise StartError(f"A resource type has had {number} search parameters; {_MOST_PARAMETERS} is the most.")
    return _DIGITS[number // len(_DIGITS)] + _DIGITS[number % len(_DIGITS)]


class DurableRegistry:
    """Reads and extends the registry of one database. `snapshot` is what the rest of the program sees."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self.snapshot = Registry()
        self._definitions: Definitions = {}
        self._registry: AsyncCollection[Document] = database["registry"]
        self._systems: AsyncCollection[Document] = database["systems"]

    async def schema_version(self) -> int:
        """The version of the store's own shape; a new database gets the version of this program."""
        found = await self._registry.find_one_and_update(
            {"_id": "schema"},
            {"$setOnInsert": {"version": SCHEMA_VERSION}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return int(found["version"]) if found else 0

    async def set_schema_version(self, version: int) -> None:
        await self._registry.update_one({"_id": "schema"}, {"$set": {"version": version}})

    async def load(self) -> None:
        """Fills the snapshot with what the database holds. Pending are the letters of definitions that this process has
        heard of: it could write no keys for others."""
        generation = await self.generation()
        letters: dict[tuple[str, str], str] = {}
        pending: dict[tuple[str, str], str] = {}
        async for row in self._registry.find({"type": {"$exists": True}}):
            name = (row["type"], row["code"])
            if "letters" in row:
                letters[name] = row["letters"]
            if "pending" in row and row["pending"]["definition"] == self._definitions.get(name):
                pending[name] = row["pending"]["letters"]
        self.snapshot.letters.update(letters)
        self.snapshot.pending.clear()
        self.snapshot.pending.update(pending)
        self.snapshot.generation = generation
        async for row in self._systems.find():
            self.snapshot.systems[row["_id"]] = row["n"]

    async def generation(self) -> int:
        found = await self._registry.find_one({"_id": "generation"})
        return found["number"] if found else 1

    async def announce(self) -> None:
        """Tells every process that the parameters have changed."""
        next_number = {"$add": [{"$ifNull": ["$number", 1]}, 1]}
        await self._registry.update_one({"_id": "generation"}, [{"$set": {"number": next_number}}], upsert=True)

    async def ensure_letters(self, definitions: Definitions, in_use: Iterable[str]) -> None:
        """Gives letters to each (type, code), and new ones to those whose definition has changed.

        in_use: the types that have stored resources: what is new there is pending until they have been re-indexed.
        """
        self._definitions = definitions
        known = {(row["type"], row["code"]): row async for row in self._registry.find({"type": {"$exists": True}})}
        changed = [name for name, row in known.items() if name in definitions and _is_news(row, definitions[name])]
        absent = [name for name in definitions if name not in known]
        stored = frozenset(in_use)
        if absent or changed:
            given = await self._take_letters([*absent, *changed])
            rows = [_letters_row(name, given[name], definitions[name], name[0] in stored) for name in absent]
            await self._insert(rows)
            await self._update(changed, given, definitions, stored)
            if any(name[0] in stored for name in (*absent, *changed)):
                await self.announce()
        await self.load()

    async def _take_letters(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        by_type: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name in sorted(names):
            by_type[name[0]].append(name)
        steps = {f"types.{type}": len(wanted) for type, wanted in by_type.items()}
        ends = (await self._count(steps))["types"]
        return {
            name: letters_of(ends[type] - len(wanted) + place)
            for type, wanted in by_type.items()
            for place, name in enumerate(wanted)
        }

    async def _count(self, steps: Mapping[str, int]) -> dict[str, Any]:
        """The counters after each has been moved on by its steps."""
        counters = await self._registry.find_one_and_update(
            {"_id": "counters"}, {"$inc": dict(steps)}, upsert=True, return_document=ReturnDocument.AFTER
        )
        return counters or {}

    async def _insert(self, rows: list[Document]) -> None:
        """Another worker may have been first with a row; its letters hold then."""
        if rows:
            await _insert_new(self._registry, rows)

    async def _update(
        self,
        names: Sequence[tuple[str, str]],
        given: Mapping[tuple[str, str], str],
        definitions: Definitions,
        in_use: frozenset[str],
    ) -> None:
        updates = []
        for name in names:
            new = {"letters": given[name], "definition": definitions[name]}
            # Only over the row that was read: of two workers that see the change, one gives the letters.
            guard = {"_id": _row_id(name), "pending.definition": {"$ne": definitions[name]}}
            guard["definition"] = {"$ne": definitions[name]}
            change: dict[str, Any] = {"$set": {"pending": new}} if name[0] in in_use else {"$set": new}
            updates.append(UpdateOne(guard, change))
        if updates:
            await self._registry.bulk_write(updates, ordered=False)

    async def intern(self, uris: Sequence[str]) -> None:
        """A number for each URI, the same for every worker and for ever."""
        missing = [uri for uri in dict.fromkeys(uris) if uri not in self.snapshot.systems]
        await self._find_systems(missing)
        missing = [uri for uri in missing if uri not in self.snapshot.systems]
        if missing:
            end = (await self._count({"systems": len(missing)}))["systems"]
            rows = [{"_id": uri, "n": end - len(missing) + 1 + place} for place, uri in enumerate(missing)]
            await _insert_new(self._systems, rows)
            await self._find_systems(missing)

    async def known_system(self, uri: str) -> int | None:
        if uri not in self.snapshot.systems:
            await self._find_systems([uri])
        return self.snapshot.systems.get(uri)

    async def _find_systems(self, uris: Sequence[str]) -> None:
        if uris:
            async for row in self._systems.find({"_id": {"$in": list(uris)}}):
                self.snapshot.systems[row["_id"]] = row["n"]

    async def switch(self, done: Definitions) -> None:
        """Ends a re-index: the pending letters that all stored resources have keys with become the letters.

        done: {(type, code): the pending letters}. What has become pending since then stays so.
        """
        promote: list[Mapping[str, Any]] = [
            {"$replaceWith": {"$mergeObjects": ["$$ROOT", "$pending"]}},
            {"$unset": "pending"},
        ]
        updates = [
            UpdateOne({"_id": _row_id(name), "pending.letters": letters}, promote) for name, letters in done.items()
        ]
        if updates:
            await self._registry.bulk_write(updates, ordered=False)
        await self.announce()
        await self.load()

    async def lead(self, owner: str, seconds: float) -> bool:
        """The times are the database's own."""
        until = {"$add": ["$$NOW", int(seconds * 1000)]}
        free = {"$expr": {"$or": [{"$eq": ["$owner", {"$literal": owner}]}, {"$lte": ["$until", "$$NOW"]}]}}
        await _insert_new(self._registry, [{"_id": "reindex", "owner": "", "done": 0, "total": 0}])
        taken = await self._registry.update_one(
            {"_id": "reindex", **free}, [{"$set": {"owner": {"$literal": owner}, "until": until}}]
        )
        return bool(taken.matched_count)

    async def note_progress(self, done: int, total: int) -> None:
        await self._registry.update_one({"_id": "reindex"}, {"$set": {"done": done, "total": total}}, upsert=True)

    async def progress(self) -> tuple[int, int] | None:
        found = await self._registry.find_one({"_id": "reindex"})
        return (found["done"], found["total"]) if found else None


def _row_id(name: tuple[str, str]) -> str:
    return f"letters {name[0]} {name[1]}"


def _letters_row(name: tuple[str, str], letters: str, definition: str, is_pending: bool) -> Document:
    row = {"_id": _row_id(name), "type": name[0], "code": name[1]}
    own = {"letters": letters, "definition": definition}
    return {**row, "pending": own} if is_pending else {**row, **own}


def _is_news(row: Document, definition: str) -> bool:
    return definition not in (row.get("definition"), row.get("pending", {}).get("definition"))


async def _insert_new(collection: AsyncCollection[Document], rows: list[Document]) -> None:
    """Inserts the rows whose `_id` is new and leaves the others as they are."""
    try:
        await collection.insert_many(rows, ordered=False)
    except BulkWriteError as refused:
        if any(error["code"] != DUPLICATE_KEY for error in refused.details["writeErrors"]):
            raise
