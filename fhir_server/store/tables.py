"""Code systems kept as tables, on MongoDB; `table_contract.Tables` says what each method promises.

code_tables: {_id: number, key: "url|version", head: JSON, digest, state: filling | ready | removing, count}
             {_id: "numbers", last: the number given last}     {_id: "generation", number}
             {_id: "published", of: [["CodeSystem/ward", version, digest], …]}
concepts:    {_id: "3|J02.9", t: table, d: display, p: parents, a: above, w: words, v: values, i: inactive,
              n: abstract, m: the rest as JSON}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.store.documents import Document
from fhir_server.store.faults import DUPLICATE_KEY, wrapped
from fhir_server.store.indexes import create
from fhir_server.store.table_contract import Row, Table, beginning_with, row_id, with_codes
from fhir_server.store.values import Filter

TABLES, CONCEPTS = "code_tables", "concepts"
_FILLING, _READY, _REMOVING = "filling", "ready", "removing"
_INDEXES = tuple(
    IndexModel([("t", ASCENDING), (field, ASCENDING), ("_id", ASCENDING)], name=name)
    for field, name in (("a", "above"), ("w", "words"), ("p", "parents"), ("v", "values"))
)
_REMOVED_AT_ONCE = 5_000
_BRIEF = {"d": 1}


class MongoTables:
    """seconds: time that one query may take in the database."""

    def __init__(self, database: AsyncDatabase[Document], seconds: float) -> None:
        self._database = database
        self._tables: AsyncCollection[Document] = database[TABLES]
        self._concepts: AsyncCollection[Document] = database[CONCEPTS]
        self._seconds = seconds
        self._limit_ms = max(1, int(seconds * 1000))

    # --- what has changed ---------------------------------------------------------------------------------------------

    async def generation(self) -> int:
        with wrapped("reading the terminology"):
            found = await self._tables.find_one({"_id": "generation"})
        return int(found["number"]) if found else 0

    async def announce(self) -> None:
        with wrapped("announcing changed terminology"):
            await self._tables.update_one({"_id": "generation"}, {"$inc": {"number": 1}}, upsert=True)

    async def published(self) -> Mapping[str, tuple[int, str]]:
        with wrapped("reading the terminology"):
            found = await self._tables.find_one({"_id": "published"})
        return {name: (version, digest) for name, version, digest in (found or {}).get("of", ())}

    async def note_published(self, noted: Mapping[str, tuple[int, str]]) -> None:
        rows = [[name, version, digest] for name, (version, digest) in sorted(noted.items())]
        is_other = {"$not": {"$in": [{"$first": "$$this"}, {"$literal": list(noted)}]}}
        others = {"$filter": {"input": {"$ifNull": ["$of", []]}, "cond": is_other}}
        with wrapped("noting the published terminology"):
            # One command, for another process may note what it has stored at the same time.
            merge = [{"$set": {"of": {"$concatArrays": [others, {"$literal": rows}]}}}]
            await self._tables.update_one({"_id": "published"}, merge, upsert=True)

    # --- filling and removing -----------------------------------------------------------------------------------------

    async def ready(self) -> list[Table]:
        with wrapped("reading the terminology"):
            found = await self._tables.find({"state": _READY}).sort("_id", 1).to_list()
        return [Table(one["_id"], decode(one["head"]), one["digest"], one["count"]) for one in found]

    async def begin(self, head: Resource, digest: str) -> tuple[int, str]:
        key = _key(head)
        with wrapped("beginning a table"):
            await create(self._database, CONCEPTS)
            await self._concepts.create_indexes(list(_INDEXES))
            same = {"key": key, "digest": digest, "state": _FILLING}
            found = await self._tables.find_one_and_update(same, {"$set": {"head": encode(head)}})
            if found is not None:
                return int(found["_id"]), await self._last(found["_id"])
            # What was begun from another file is given up.
            await self._tables.update_many({"key": key, "state": _FILLING}, {"$set": {"state": _REMOVING}})
            number = await self._next_number()
            row = {"_id": number, "key": key, "head": encode(head), "digest": digest, "state": _FILLING, "count": 0}
            await self._tables.insert_one(row)
        return number, ""

    async def _next_number(self) -> int:
        counter = await self._tables.find_one_and_update(
            {"_id": "numbers"}, {"$inc": {"last": 1}}, upsert=True, return_document=ReturnDocument.AFTER
        )
        return int(counter["last"]) if counter else 1

    async def _last(self, number: int) -> str:
        last = await self._concepts.find_one(beginning_with(number, ""), {}, sort=[("_id", -1)])
        return _code(last) if last else ""

    async def write(self, number: int, rows: Sequence[Row]) -> None:
        with wrapped("writing concepts"):
            try:
                await self._concepts.insert_many([_document(number, row) for row in rows], ordered=False)
            except BulkWriteError as refused:
                if any(error["code"] != DUPLICATE_KEY for error in refused.details["writeErrors"]):
                    raise

    async def finish(self, number: int, count: int) -> None:
        with wrapped("ending a table"):
            table = await self._tables.find_one_and_update(
                {"_id": number, "state": {"$ne": _REMOVING}}, {"$set": {"state": _READY, "count": count}}
            )
            if table is None:
                raise FhirError(Kind.CONFLICT, "another file was loaded for this code system and version meanwhile")
            # Those begun before: of two that end at one time the one begun later stays.
            older = {"key": table["key"], "_id": {"$lt": number}}
            await self._tables.update_many(older, {"$set": {"state": _REMOVING}})
        await self.sweep()

    async def remove(self, number: int) -> None:
        with wrapped("removing a table"):
            await self._tables.update_one({"_id": number}, {"$set": {"state": _REMOVING}})
        await self.sweep()

    async def sweep(self) -> None:
        with wrapped("removing concepts"):
            async for table in self._tables.find({"state": _REMOVING}):
                while await self._remove_some(table["_id"]):
                    pass
                await self._tables.delete_one({"_id": table["_id"]})

    async def _remove_some(self, number: int) -> bool:
        """A part of the rows, so that no command takes longer than a connection waits."""
        all = beginning_with(number, "")
        step = await self._concepts.find(all, {}).sort("_id", 1).skip(_REMOVED_AT_ONCE).limit(1).to_list()
        if not step:
            await self._concepts.delete_many(all)
            return False
        await self._concepts.delete_many({"_id": {"$gte": row_id(number, ""), "$lt": step[0]["_id"]}})
        return True

    # --- reading ------------------------------------------------------------------------------------------------------

    async def rows(self, number: int, codes: Sequence[str]) -> dict[str, Row]:
        with wrapped("reading concepts", self._seconds):
            found = await self._concepts.find(with_codes(number, codes), max_time_ms=self._limit_ms).to_list()
        return {_code(one): _row(one) for one in found}

    async def page(self, number: int, filter: Filter, skip: int, limit: int) -> list[Row]:
        if limit <= 0:
            return []
        with wrapped("listing concepts", self._seconds):
            cursor = self._concepts.find(_of(number, filter), max_time_ms=self._limit_ms)
            return [_row(one) for one in await cursor.sort("_id", 1).skip(skip).limit(limit).to_list()]

    async def codes(self, number: int, filter: Filter, after: str, limit: int) -> list[tuple[str, str | None]]:
        if after:
            filter = {"$and": [{"_id": {"$gt": row_id(number, after)}}, filter]}
        with wrapped("listing codes", self._seconds):
            cursor = self._concepts.find(_of(number, filter), _BRIEF, max_time_ms=self._limit_ms)
            return [(_code(one), one.get("d")) for one in await cursor.sort("_id", 1).limit(limit).to_list()]

    async def count(self, number: int, filter: Filter) -> int:
        command = {"count": CONCEPTS, "query": _of(number, filter), "maxTimeMS": self._limit_ms}
        with wrapped("counting concepts", self._seconds):
            return int((await self._database.command(command))["n"])


def _key(head: Resource) -> str:
    return f"{head['url']}|{head.get('version', '')}"


def _code(document: Document) -> str:
    return str(document["_id"]).partition("|")[2]


def _of(number: int, filter: Filter) -> Filter:
    """The rows of one table: by the index of the field that the filter names, else in the order of the codes."""
    if not filter:
        return beginning_with(number, "")
    return {"$and": [{"t": number}, filter]}


def _document(number: int, row: Row) -> dict[str, Any]:
    fields = {"d": row.display, "i": row.inactive, "n": row.abstract, "m": row.more}
    lists = {"p": list(row.parents), "a": list(row.above), "w": list(row.words), "v": list(row.values)}
    given = {field: value for field, value in (fields | lists).items() if value}
    return {"_id": row_id(number, row.code), "t": number, **given}


def _row(document: Document) -> Row:
    return Row(
        code=_code(document),
        display=document.get("d"),
        inactive=document.get("i", False),
        abstract=document.get("n", False),
        parents=tuple(document.get("p", ())),
        above=tuple(document.get("a", ())),
        words=tuple(document.get("w", ())),
        values=tuple(document.get("v", ())),
        more=bytes(document.get("m", b"")),
    )
