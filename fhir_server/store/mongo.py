"""The store on MongoDB: opens a database and offers what `store.contract` promises."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError

from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.model.registry import Registry
from fhir_server.model.resources import Resource
from fhir_server.store.answers import Answers
from fhir_server.store.buckets import Buckets
from fhir_server.store.changes import Changes
from fhir_server.store.check import check
from fhir_server.store.concerns import database_of
from fhir_server.store.contract import Transaction
from fhir_server.store.deferrals import Deferrals
from fhir_server.store.documents import Document
from fhir_server.store.erasing import erase
from fhir_server.store.faults import wrapped
from fhir_server.store.history import History
from fhir_server.store.indexes import HISTORY, Collections, types_of
from fhir_server.store.keeping import Keeping
from fhir_server.store.ledger import MongoLedger
from fhir_server.store.ledger_contract import Ledger
from fhir_server.store.ledger_pages import PAGES
from fhir_server.store.packages import Packages
from fhir_server.store.reads import Reads
from fhir_server.store.registers import Registers
from fhir_server.store.registry import SCHEMA_VERSION, DurableRegistry
from fhir_server.store.renarrowing import renarrow_versions
from fhir_server.store.tables import MongoTables
from fhir_server.store.transactions import Transactions
from fhir_server.store.values import (
    EVERYTHING,
    LEDGER_TYPE,
    Change,
    ChangeSpan,
    Deferred,
    Filter,
    Find,
    HistoryQuery,
    Indexed,
    Installed,
    Narrowing,
    Problem,
    StartError,
    Stored,
    View,
)
from fhir_server.store.versions import versions
from fhir_server.store.weights import Weights

T = TypeVar("T")
# Types that a server stores by itself when it starts: a store with no other is still empty.
TERMINOLOGY = {"CodeSystem", "ValueSet", "ConceptMap", "NamingSystem"}
SELECTION_MS = 5_000  # how long an operation waits for a primary: a restart of the embedded mongod takes one second
_LEAST_WIRE_VERSION = 13  # MongoDB 5.0
_WINDOW, _USUAL_WINDOW = "minSnapshotHistoryWindowInSeconds", 300
_UNAUTHORIZED = 13


def _now() -> int:
    return time.time_ns() // 1_000_000


async def open_store(uri: str, settings: Settings, clock: Callable[[], int] = _now) -> MongoStore:
    """The store in the database `settings.mongodb_database`. clock: ms since the epoch.

    Raises StartError when the URI is not one, nobody answers, the server is a standalone mongod or too old, or the
    store was written by another version of this program.
    """
    try:
        client: AsyncMongoClient[Document] = AsyncMongoClient(uri, appname="fhir-server", **_patience(uri, settings))
    except (InvalidURI, ConfigurationError, ValueError) as fault:
        raise StartError(f"FHIR_MONGODB_URI is no address of a MongoDB: {fault}.") from None
    store = MongoStore(client, settings, clock)
    try:
        await _refuse_unfit(client)
        await store.open()
    except BaseException as fault:
        await store.close()
        if isinstance(fault, OperationFailure) and fault.code in (_UNAUTHORIZED, 18):
            raise StartError(f"MongoDB refuses the user or the password of FHIR_MONGODB_URI: {fault.code}.") from None
        if isinstance(fault, PyMongoError):
            raise StartError(f"MongoDB cannot be used: {_first_sentence(fault)}.") from None
        raise
    return store


def _patience(uri: str, settings: Settings) -> dict[str, Any]:
    """How long the driver waits, in ms, as far as the operator's own URI does not say it: arguments would go before."""
    longest = int(max(settings.search_seconds, settings.transaction_seconds) * 1000)
    waits = {"serverSelectionTimeoutMS": SELECTION_MS, "socketTimeoutMS": longest + 10_000}
    return {name: limit for name, limit in waits.items() if f"{name.lower()}=" not in uri.lower()}


async def _refuse_unfit(client: AsyncMongoClient[Document]) -> None:
    hello = await client.admin.command("hello")
    if hello["maxWireVersion"] < _LEAST_WIRE_VERSION:
        raise StartError("This MongoDB is too old; version 5.0 or later is needed.")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise StartError(
            "FHIR_MONGODB_URI names a standalone mongod, and transactions need a replica set: start it with "
            "--replSet and run rs.initiate() once (one member is enough)."
        )


def _first_sentence(fault: PyMongoError) -> str:
    return str(fault).partition(", Timeout:")[0].partition(", full error:")[0]


class MongoStore:
    """contract.Store on one MongoDB database; see there for what each method promises."""

    def __init__(
        self,
        client: AsyncMongoClient[Document],
        settings: Settings,
        clock: Callable[[], int],
        moment: int | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._database = database_of(client, settings.mongodb_database, moment)
        self._collections = Collections(self._database, settings.ward_index)
        self._durable = DurableRegistry(self._database)
        self._keeping = Keeping(self._database)
        self._answers = Answers(self._database)
        self._buckets = Buckets(self._database)
        self._deferrals = Deferrals(self._database)
        self._changes = Changes(client, self._database)
        self.tables = MongoTables(self._database, settings.search_seconds)
        self._packages = Packages(self._database)
        self._registers = Registers(self._database)
        ledger = MongoLedger(self._database, settings.search_seconds, self.intern)
        self.ledger: Ledger = ledger
        self._reads = Reads(self._database, self._collections, settings.search_seconds, ledger)
        self._weights = Weights(self._database, self._reads.limit_seconds)
        self._history = History(self._reads, self._collections)
        self.registry: Registry = self._durable.snapshot
        self._transactions = Transactions(
            client, self._reads, self._collections, ledger, self.registry, clock, settings.transaction_seconds
        )

    async def open(self) -> None:
        """Makes what every store has, finishes what a killed process left, reads the registry. Raises StartError."""
        existing = await self._keeping.open()
        await self._changes.open(existing)
        version = await self._durable.schema_version()
        if version > SCHEMA_VERSION:
            raise StartError(
                f"The database {self._database.name!r} was written by a newer program "
                f"(store version {version}; this program knows {SCHEMA_VERSION})."
            )
        if version < SCHEMA_VERSION:
            raise StartError(
                f"The database {self._database.name!r} has store version {version} and this program needs "
                f"{SCHEMA_VERSION}: run `fhir-server migrate`."
            )
        await self._collections.open()
        await self._durable.load()

    async def close(self) -> None:
        await self._client.close()

    async def moment(self) -> int:
        with wrapped("asking for the time"):
            return await self._changes.moment()

    def at(self, moment: int) -> MongoStore:
        return MongoStore(self._client, self._settings, self._clock, moment)

    @asynccontextmanager
    async def keeping_moments(self, seconds: int) -> AsyncIterator[None]:
        with wrapped("keeping moments"):
            before = await self._keep_moments(seconds)
        yield
        if before is not None:
            with wrapped("keeping moments"):
                await self._keep_moments(_USUAL_WINDOW if before == seconds else before)

    async def _keep_moments(self, seconds: int) -> int | None:
        """For how many seconds they were kept; None where the account may not ask."""
        try:
            before = await self._client.admin.command({"getParameter": 1, _WINDOW: 1})
            await self._client.admin.command({"setParameter": 1, _WINDOW: seconds})
        except OperationFailure as fault:
            if fault.code == _UNAUTHORIZED:
                return None
            raise
        return int(before[_WINDOW])

    async def ready(self) -> dict[str, int]:
        """What is in place: types and generation. Raises FhirError UNAVAILABLE when something is missing."""
        with wrapped("the readiness check"):
            lacking = await self._collections.without_indexes()
            types = await self._collections.types()
        if lacking:
            raise FhirError(Kind.UNAVAILABLE, f"indexes are being built: {', '.join(lacking)}")
        return {"types": len(types), "generation": self.registry.generation}

    async def ensure_letters(self, definitions: Mapping[tuple[str, str], str]) -> None:
        """Gives letters to search parameters. definitions: {(resource type, code): hash of the definition}."""
        with wrapped("reading the registry"):
            await self._durable.ensure_letters(definitions, await self._types())

    async def switch_letters(self, done: Mapping[tuple[str, str], str]) -> None:
        with wrapped("ending a re-index"):
            await self._durable.switch(done)

    async def announce_parameters(self) -> None:
        with wrapped("announcing changed search parameters"):
            await self._durable.announce()

    async def announced(self) -> int:
        with wrapped("reading the registry"):
            return await self._durable.generation()

    async def lead_reindex(self, owner: str, seconds: float) -> bool:
        with wrapped("leasing a re-index"):
            return await self._durable.lead(owner, seconds)

    async def note_reindexed(self, done: int, total: int) -> None:
        with wrapped("noting the progress of a re-index"):
            await self._durable.note_progress(done, total)

    async def reindexed(self) -> tuple[int, int] | None:
        with wrapped("reading the progress of a re-index"):
            return await self._durable.progress()

    async def intern(self, uris: Sequence[str]) -> None:
        with wrapped("giving numbers to code systems"):
            await self._durable.intern(uris)

    async def known_system(self, uri: str) -> int | None:
        with wrapped("looking up a code system"):
            return await self._durable.known_system(uri)

    async def read(self, type: str, id: str, view: View) -> Stored | None:
        return await self._reads.read(type, id, view)

    async def read_many(self, type: str, ids: Sequence[str], view: View) -> dict[str, Stored]:
        return await self._reads.read_many(type, ids, view)

    async def vread(self, type: str, id: str, version: int, view: View) -> Stored | None:
        if type == LEDGER_TYPE:
            return await self._reads.read(type, id, view) if version == 1 else None
        return await self._history.vread(type, id, version, view)

    async def find(self, query: Find, view: View) -> list[Stored]:
        return await self._reads.find(query, view)

    async def find_at_once(self, queries: Sequence[Find], view: View) -> list[Stored]:
        return await self._reads.find_at_once(queries, view)

    async def count(self, type: str, filter: Filter, view: View, cap: int | None = None) -> int:
        return await self._reads.count(type, filter, view, cap)

    async def weigh(self, type: str, filter: Filter, cap: int, view: View = EVERYTHING) -> int:
        if self._collections.deferred:
            return cap
        ward = view.ward(type) if self._collections.by_ward else None
        if ward is not None:
            filter = {"$and": [{"w": ward}, filter]} if filter else {"w": ward}
        return await self._weights.of(type, filter, cap)

    async def sampled(self, type: str, filter: Filter) -> int:
        return await self._weights.sampled(type, filter)

    async def types(self) -> set[str]:
        with wrapped("listing the resource types"):
            return await self._types()

    async def old_types(self) -> set[str]:
        with wrapped("listing the resource types"):
            existing = await self._collections.existing()
        return {type for type in types_of(existing) if type + HISTORY in existing}

    async def _types(self) -> set[str]:
        existing = await self._collections.existing()
        return types_of(existing) | ({LEDGER_TYPE} if PAGES in existing else set())

    async def history(self, query: HistoryQuery, view: View) -> list[Stored]:
        return await self._history.page(query, view)

    async def history_count(self, query: HistoryQuery, view: View) -> int:
        return await self._history.count(query, view)

    async def transact(self, work: Callable[[Transaction], Awaitable[T]], about: Iterable[str] = ()) -> T:
        return await self._transactions.run(work, about)

    def walk(self, type: str, view: View, raw: bool = True) -> AsyncIterator[Stored]:
        return self._reads.walk(type, view, raw)

    def versions(
        self, type: str, old: bool = False, deleted: bool = False, after: str = ""
    ) -> AsyncIterator[tuple[str, Stored]]:
        return versions(self._database, type, old, deleted, after)

    @asynccontextmanager
    async def bulk_load(self, joins: bool | None = None) -> AsyncIterator[bool]:
        """For a first load of millions: into an empty store, indexes are built once at the end.

        Gives whether they are put off; while they are, a search of any type but Patient reads all of it, so load by
        given ids. Fifty thousand resources take the same time either way. If the process dies meanwhile, the next start
        builds the indexes. joins: for a process that takes part in the load of another: whether that one puts them off;
        that one builds them.
        """
        with wrapped("preparing a load"):
            begins = not await self._collections.types() - TERMINOLOGY
        self._collections.deferred = begins if joins is None else joins
        try:
            yield self._collections.deferred
        finally:
            if joins is not None:
                self._collections.deferred = False
            elif self._collections.deferred:
                with wrapped("building indexes"):
                    await self._collections.build()

    async def renarrow_versions(self, type: str, narrow: Callable[[Resource, str], Narrowing]) -> None:
        with wrapped("narrowing old versions"):
            await renarrow_versions(self._database, type, narrow)

    async def packages(self) -> list[Installed]:
        with wrapped("reading the packages"):
            return await self._packages.all()

    async def package_resources(self, package: Installed) -> list[bytes]:
        with wrapped("reading a package"):
            return await self._packages.resources(package)

    async def install(self, package: Installed, resources: Sequence[bytes]) -> None:
        with wrapped("installing a package"):
            await self._packages.install(package, resources)
            await self._durable.announce()

    async def uninstall(self, identity: str) -> bool:
        with wrapped("removing a package"):
            gone = await self._packages.remove(identity)
            await self._durable.announce()
            return gone

    async def check(self, index: Callable[[Resource], Indexed]) -> AsyncIterator[Problem]:
        with wrapped("checking the store"):
            async for problem in check(self._database, self._collections, index):
                yield problem

    async def follow_changes(self, owner: str) -> None:
        with wrapped("following the changes"):
            await self._changes.follow(owner)

    async def catch_up_changes(self, owner: str) -> bool:
        with wrapped("numbering changes"):
            return await self._changes.catch_up(owner)

    async def change_span(self) -> ChangeSpan | None:
        with wrapped("reading the sequence of changes"):
            return await self._changes.span()

    async def changes(self, after: int, until: int, limit: int) -> list[Change]:
        with wrapped("reading changes"):
            return await self._changes.page(after, until, limit)

    async def changes_before(self, moment: int) -> int | None:
        with wrapped("looking for a moment among the changes"):
            return await self._changes.before(moment)

    async def latest_changes(
        self, patients: Sequence[str], after: int, until: int, types: Sequence[str]
    ) -> dict[str, int]:
        with wrapped("reading changes"):
            return await self._changes.latest(patients, after, until, types)

    async def deleted_of(self, patients: Sequence[str], after: int, until: int) -> list[Change]:
        with wrapped("reading deletions"):
            return await self._changes.deleted(patients, after, until)

    async def secret(self, name: str) -> bytes:
        return await self._keeping.secret(name)

    async def keep(self, content: bytes) -> str:
        with wrapped("keeping a query"):
            return await self._keeping.keep(content)

    async def kept(self, hash: str) -> bytes | None:
        with wrapped("reading a kept query"):
            return await self._keeping.kept(hash)

    async def agree(self, key: str, content: bytes) -> bytes:
        with wrapped("agreeing on a request"):
            return await self._answers.agree(key, content)

    async def draw(
        self, name: str, amount: tuple[float, float], rate: float, size: float, now: int
    ) -> tuple[float, float]:
        with wrapped("counting what a client asks"):
            return await self._buckets.draw(name, amount, rate, size, now)

    async def enter(self, register: str, name: str, entry: Mapping[str, Any]) -> bool:
        with wrapped(f"entering into {register}"):
            return await self._registers.enter(register, name, entry)

    async def replace(self, register: str, name: str, entry: Mapping[str, Any], was: Mapping[str, Any]) -> bool:
        with wrapped(f"changing {register}"):
            return await self._registers.replace(register, name, entry, was)

    async def entry(self, register: str, name: str) -> dict[str, Any] | None:
        with wrapped(f"reading {register}"):
            return await self._registers.entry(register, name)

    async def entries_named(self, register: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        with wrapped(f"reading {register}"):
            return await self._registers.named(register, names)

    async def entries(self, register: str) -> dict[str, dict[str, Any]]:
        with wrapped(f"reading {register}"):
            return await self._registers.entries(register)

    async def due(self, register: str, until: str) -> dict[str, dict[str, Any]]:
        with wrapped(f"reading {register}"):
            return await self._registers.due(register, until)

    async def withdraw(self, register: str, name: str) -> None:
        with wrapped(f"changing {register}"):
            await self._registers.withdraw(register, name)

    async def erase(self, patient: str, beside: Collection[tuple[str, str]] = ()) -> int:
        with wrapped("erasing a record"):
            return await erase(self._database, await self._collections.types(), patient, beside)

    async def defer(self, id: str, caller: str, request: bytes) -> None:
        with wrapped("keeping a request"):
            await self._deferrals.defer(id, caller, request)

    async def lease(self, id: str, owner: str, seconds: float) -> bytes | None:
        with wrapped("taking a deferred request"):
            return await self._deferrals.lease(id, owner, seconds)

    async def renew(self, id: str, owner: str, seconds: float) -> bool:
        with wrapped("holding a deferred request"):
            return await self._deferrals.renew(id, owner, seconds)

    async def settle(self, id: str, owner: str, answer: bytes) -> None:
        with wrapped("keeping an answer"):
            await self._deferrals.settle(id, owner, answer)

    async def deferred(self, id: str, caller: str) -> Deferred | None:
        with wrapped("looking for a deferred request"):
            return await self._deferrals.deferred(id, caller)

    async def cancel(self, id: str, caller: str) -> bool:
        with wrapped("cancelling a deferred request"):
            return await self._deferrals.cancel(id, caller)
