"""The ledger on MongoDB: pages of AuditEvents (`ledger_pages`), and the seals beside them.

audit_recorded: {_id: id of an event, at, raw}: what transactions have kept, until it is in a page
audit_seals:    {_id: 1, at, chain, pages, head, before}
audit_state:    {_id: "anchor", chains: {chain: [pages, events, head]}, seals, hash, until}
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from pymongo import ASCENDING, DESCENDING, IndexModel, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from fhir_server.errors import FhirError, Kind
from fhir_server.model.registry import UnknownSystems
from fhir_server.model.resources import Resource, decode
from fhir_server.store.documents import Document
from fhir_server.store.evaluate import satisfies
from fhir_server.store.faults import wrapped
from fhir_server.store.indexes import create
from fhir_server.store.inserts import insert
from fhir_server.store.ledger_contract import BEGINNING, Anchor, Event, Page, Seal, digest
from fhir_server.store.ledger_order import in_order
from fhir_server.store.ledger_pages import (
    PAGES,
    Places,
    document_of,
    id_of,
    keys_of,
    ms_of,
    name_of,
    noted,
    page_filter,
    page_of,
    plain_keys,
    raws_of,
)
from fhir_server.store.values import LEDGER_TYPE, NOTHING, ORDER_SHIFT, Filter, Find, Indexed, Stored, View

T = TypeVar("T")

RECORDED, SEALS, STATE = "audit_recorded", "audit_seals", "audit_state"
COLLECTIONS = (PAGES, RECORDED, SEALS, STATE)
_INDEXES = (
    IndexModel([("k", ASCENDING), ("to", DESCENDING)], name="keys"),
    IndexModel([("to", DESCENDING)], name="to"),
    IndexModel([("from", ASCENDING)], name="from"),
)
_PAGES_A_REPLY = 16
_STEP = 1_000
# What access is narrowed by: an event is in nobody's compartment and of no organisation.
_NARROWING: Document = {"p": None, "w": None, "s": 0, "c": 0, "a": []}


class MongoLedger:
    """ledger_contract.Ledger on one database, and what transactions write for it."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        limit_seconds: float,
        learn: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        """learn: the numbers of code systems, which another process may have given."""
        self._database = database
        self._learn = learn
        self._limit_seconds = limit_seconds
        self._pages: AsyncCollection[Document] = database[PAGES]
        self._recorded: AsyncCollection[Document] = database[RECORDED]
        self._seals: AsyncCollection[Document] = database[SEALS]
        self._state: AsyncCollection[Document] = database[STATE]
        self._index: Callable[[Resource], Indexed] = lambda resource: Indexed()

    def index_by(self, index: Callable[[Resource], Indexed]) -> None:
        self._index = index

    async def open(self) -> None:
        with wrapped("opening the ledger"):
            existing = set(await self._database.list_collection_names())
            for name in sorted(set(COLLECTIONS) - existing):
                await create(self._database, name)
            await self._pages.create_indexes(list(_INDEXES))

    # --- writing -----------------------------------------------------------------------------------------------------

    async def record(self, events: Sequence[Event], session: AsyncClientSession) -> None:
        """Inside a transaction."""
        if events:
            documents = [{"_id": event.id, "at": event.at, "raw": event.raw} for event in events]
            await insert(self._database, RECORDED, documents, session)

    async def adopt(self, page: Page, events: Sequence[Event], session: AsyncClientSession) -> bool:
        """Inside a transaction: as Transaction.adopt."""
        left = {"_id": {"$in": [event.id for event in events]}}
        if await self._recorded.count_documents(left, session=session) < len(events):
            return bool(await self._pages.count_documents({"_id": name_of(page.chain, page.number)}, session=session))
        await self._recorded.delete_many(left, session=session)
        await insert(self._database, PAGES, [document_of(page, events)], session)
        return True

    async def append(self, page: Page, events: Sequence[Event]) -> None:
        with wrapped("writing audit events"):
            try:
                await self._pages.insert_one(document_of(page, events))
            except DuplicateKeyError:  # it was written when that was not confirmed
                return

    async def forget(self, ids: Sequence[str]) -> None:
        with wrapped("writing audit events"):
            await self._recorded.delete_many({"_id": {"$in": list(ids)}})

    async def left_behind(self, until: int) -> list[Event]:
        with wrapped("looking for audit events that were left behind"):
            cursor = self._recorded.find({"at": {"$lt": until}}, sort=[("_id", ASCENDING)], limit=_STEP)
            found = {document["_id"]: document async for document in cursor}
        if not found:
            return []
        known = await self.read_many(list(found), View())
        await self.forget(list(known))
        left = [(id, int(one["at"]), bytes(one["raw"])) for id, one in found.items() if id not in known]
        return [Event(id, at, raw, await self._knowing(partial(self._keys, raw))) for id, at, raw in left]

    def _keys(self, raw: bytes) -> tuple[str, ...]:
        return plain_keys(self._index(decode(raw)).keys)

    async def _knowing(self, read: Callable[[], T]) -> T:
        """What is read of events, learning first the code systems that another process was the first to meet."""
        while True:
            try:
                return read()
            except UnknownSystems as unknown:
                await self._learn(sorted(unknown.uris))

    async def seal(self, chain: str, pages: int, head: bytes, at: int) -> Seal:
        with wrapped("sealing the audit events"):
            while True:
                number, before = await self._last_seal()
                made = Seal(number + 1, at, chain, pages, head, before)
                told = {"_id": made.number, "at": at, "chain": chain, "pages": pages, "head": head, "before": before}
                try:
                    await self._seals.insert_one(told)
                except DuplicateKeyError:  # another process has sealed meanwhile
                    continue
                return made

    async def _last_seal(self) -> tuple[int, bytes]:
        last = await self._seals.find_one(sort=[("_id", DESCENDING)])
        if last is not None:
            return _seal(last).number, _seal(last).hash
        anchor = await self.anchor()
        return anchor.seals, anchor.hash

    # --- as the store does of every other type -----------------------------------------------------------------------

    async def find(self, query: Find, view: View) -> list[Stored]:
        filter = view.narrow(LEDGER_TYPE, query.filter)
        if query.limit <= 0:
            return []
        with wrapped(f"a search of {LEDGER_TYPE}", self._limit_seconds):
            found = await in_order(query, lambda way: self._matches(filter, way))
        return [_shaped(query, one) for one in found]

    async def count(self, filter: Filter, view: View, cap: int | None) -> int:
        number = 0
        with wrapped(f"counting {LEDGER_TYPE}", self._limit_seconds):
            async for _, events in self._matches(view.narrow(LEDGER_TYPE, filter), DESCENDING):
                number += len(events)
                if cap is not None and number >= cap:
                    return cap
        return number

    async def read_many(self, ids: Sequence[str], view: View) -> dict[str, Stored]:
        found: dict[str, Stored] = {}
        for start in range(0, len(ids), _STEP):
            some = list(ids[start : start + _STEP])
            query = Find(LEDGER_TYPE, {"_id": {"$in": some}}, limit=len(some))
            found.update((one.id, one) for one in await self.find(query, view))
        return found

    async def _matches(self, filter: Filter, way: int) -> AsyncIterator[tuple[int, list[Document]]]:
        """The events that satisfy a filter, page by page, and the time that no later page goes beyond: pages come by
        their latest event downwards, or by their earliest one upwards. Raises FhirError TOO_COSTLY."""
        if filter == NOTHING or not satisfies(_NARROWING, _of_narrowing(filter)):
            return
        deadline = monotonic() + self._limit_seconds
        async for document in self._candidates(page_filter(filter), way):
            events = await self._knowing(partial(self._events, document, filter))
            yield document["to" if way == DESCENDING else "from"], events
            await asyncio.sleep(0)
            if monotonic() > deadline:
                text = f"a search of {LEDGER_TYPE} took more than {self._limit_seconds:g} seconds; narrow it by date"
                raise FhirError(Kind.TOO_COSTLY, text)

    async def _candidates(self, filter: Filter, way: int) -> AsyncIterator[Document]:
        fields = {"digests": 0, "before": 0}
        limit_ms = int(self._limit_seconds * 1000)
        if way == DESCENDING:
            cursor = self._pages.find(filter, fields, sort=[("to", DESCENDING)], batch_size=_PAGES_A_REPLY)
            async for document in cursor.max_time_ms(limit_ms):
                yield document
            return
        # No index has keys and beginnings both: the names are put in order first, which needs little memory.
        names = self._pages.find(filter, {"_id": 1}, sort=[("from", ASCENDING)]).max_time_ms(limit_ms)
        ordered = [document["_id"] async for document in names]
        for start in range(0, len(ordered), _PAGES_A_REPLY):
            some = ordered[start : start + _PAGES_A_REPLY]
            found = {one["_id"]: one async for one in self._pages.find({"_id": {"$in": some}}, fields)}
            for name in some:
                if name in found:
                    yield found[name]

    def _events(self, document: Document, filter: Filter) -> list[Document]:
        """The events of a page that satisfy the filter, as documents of any other type."""
        raws = raws_of(document)
        found = []
        for number in sorted(Places(document, len(raws)).of(filter)):
            at, raw = raws[number]
            event = self._document(at, raw)
            if satisfies(event, filter):
                found.append(event)
        return found

    def _document(self, at: int, raw: bytes) -> Document:
        resource = decode(raw)
        indexed = self._index(resource)
        id = str(resource.get("id"))
        told: Document = {"_id": id, "v": 1, "u": at, "o": _order(at, id), "k": indexed.keys}
        return told | _NARROWING | {"x": dict(indexed.sort), "raw": raw}

    # --- verification and pruning ------------------------------------------------------------------------------------

    async def anchor(self) -> Anchor:
        with wrapped("reading the state of the ledger"):
            found = await self._state.find_one({"_id": "anchor"})
        if found is None:
            return Anchor()
        chains = {chain: (row[0], row[1], bytes(row[2])) for chain, row in found["chains"].items()}
        return Anchor(chains, found["seals"], bytes(found["hash"]), found["until"])

    async def seals(self, after: int = 0) -> AsyncIterator[Seal]:
        async for document in self._walk(self._seals, {"$gt": after}):
            yield _seal(document)

    async def chains(self) -> list[str]:
        """One look for each chain: the first page behind all pages of the chain before."""
        found: list[str] = []
        with wrapped("reading the chains of audit events"):
            while page := await self._pages.find_one(
                {"_id": {"$gt": f"{found[-1]}0" if found else ""}}, {"_id": 1}, sort=[("_id", ASCENDING)]
            ):
                found.append(str(page["_id"]).rpartition("/")[0])
        return found

    async def pages(self, chain: str, after: int = 0) -> AsyncIterator[tuple[Page, list[bytes]]]:
        span = {"$gt": name_of(chain, after), "$lt": f"{chain}0"}  # "0" follows "/"
        async for document in self._walk(self._pages, span, 50):
            yield page_of(document), _bytes_of(document)

    async def waiting(self, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        async for document in self._walk(self._recorded, {"$gt": after}):
            yield document["_id"], bytes(document["raw"])

    async def unfindable(self) -> AsyncIterator[tuple[str, int]]:
        async for document in self._walk(self._pages, {"$gt": ""}, 50):
            try:
                found = await self._knowing(partial(self._is_findable, document))
            except (ValueError, KeyError, FhirError):
                continue  # its events are not those that were written: verification tells that
            if not found:
                chain, _, number = str(document["_id"]).rpartition("/")
                yield chain, int(number)

    def _is_findable(self, document: Document) -> bool:
        events = raws_of(document)
        if b"".join(digest(raw) for _, raw in events) != document["digests"]:
            raise ValueError("its events are others")
        times, ids = [at for at, _ in events], [id_of(raw) for _, raw in events]
        if times != [ms_of(id) for id in ids] or (document["from"], document["to"]) != (min(times), max(times)):
            return False
        told = keys_of([self._keys(raw) for _, raw in events], ids)
        try:
            return dict(noted(told)) == dict(noted(document))
        except ValueError:
            return False

    async def _walk(
        self, collection: AsyncCollection[Document], span: Mapping[str, Any], step: int = _STEP
    ) -> AsyncIterator[Document]:
        """Documents in the order of `_id`, in steps of their own: it survives a restart of the database."""
        while True:
            with wrapped("reading audit events"):
                batch = await collection.find({"_id": span}, sort=[("_id", ASCENDING)], limit=step).to_list()
            for document in batch:
                yield document
            if len(batch) < step:
                return
            span = {**span, "$gt": batch[-1]["_id"]}

    async def prune(self, until: int) -> int:
        anchor = await self.anchor()
        ends = dict(anchor.chains)
        removed = 0
        for chain in await self.chains():
            pages, events, head = ends.get(chain, (0, 0, BEGINNING))
            async for page, raws in self.pages(chain, after=pages):
                if page.at >= until:
                    break
                pages, events, head = page.number, page.first + len(raws) - 1, page.head
                removed += len(raws)
            if pages:
                ends[chain] = (pages, events, head)
        seals, hash = anchor.seals, anchor.hash
        async for seal in self.seals(after=anchor.seals):
            if seal.at >= until or seal.pages > ends.get(seal.chain, (0, 0, b""))[0]:
                break
            seals, hash = seal.number, seal.hash
        await self._remove(Anchor(ends, seals, hash, max(until, anchor.until)))
        return removed

    async def _remove(self, anchor: Anchor) -> None:
        chains = {chain: list(row) for chain, row in anchor.chains.items()}
        told = {"chains": chains, "seals": anchor.seals, "hash": anchor.hash, "until": anchor.until}
        with wrapped("pruning audit events"):
            # First: what was removed without it would look stolen.
            await self._state.replace_one({"_id": "anchor"}, told, upsert=True)
            for chain, (pages, _, _) in anchor.chains.items():
                await self._pages.delete_many({"_id": {"$gt": name_of(chain, 0), "$lte": name_of(chain, pages)}})
            await self._seals.delete_many({"_id": {"$lte": anchor.seals}})

    async def reindex(self, keys: Callable[[bytes], tuple[str, ...]]) -> int:
        count = 0
        async for document in self._walk(self._pages, {"$gt": ""}, 50):
            raws = _bytes_of(document)
            told = keys_of([plain_keys(keys(raw)) for raw in raws], [id_of(raw) for raw in raws])
            with wrapped("re-indexing audit events"):
                await self._pages.bulk_write([UpdateOne({"_id": document["_id"]}, {"$set": told})])
            count += len(raws)
        return count


def _order(at: int, id: str) -> int:
    """The order key of the second, as of every type, and within the second by milliseconds."""
    seconds, ms = divmod(at, 1000)
    return seconds << ORDER_SHIFT | ms << 20 | zlib.crc32(id.encode()) & 0xFFFFF


def _bytes_of(document: Document) -> list[bytes]:
    try:
        return [raw for _, raw in raws_of(document)]
    except ValueError:
        return []  # which no digest fits


def _of_narrowing(filter: Filter) -> Filter:
    """The part of a filter that says what the caller may see, which is the same for all events."""
    told = [part for part in filter.get("$and", ()) if part.keys() <= _NARROWING.keys()]
    own = {name: wanted for name, wanted in filter.items() if name in _NARROWING}
    return {"$and": [*told, own]}


def _shaped(query: Find, event: Document) -> Stored:
    return Stored(
        LEDGER_TYPE,
        event["_id"],
        event["v"],
        event["u"],
        event["raw"] if query.raw else b"",
        order=event["o"],
        sort=event["x"] if query.want_sort else None,
        keys=tuple(event["k"]) if query.want_keys or query.keys_within else None,
        method="POST",
    )


def _seal(document: Document) -> Seal:
    head, before = bytes(document["head"]), bytes(document["before"])
    return Seal(int(document["_id"]), int(document["at"]), document["chain"], int(document["pages"]), head, before)
