"""The promise that no error of the driver leaves the store: every public method, under every kind of fault."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.store.contract import Transaction
from fhir_server.store.embedded import Embedded
from fhir_server.store.mongo import MongoStore, open_store
from fhir_server.store.table_contract import Row
from fhir_server.store.values import EVERYTHING, Find, HistoryQuery, Installed, Narrowing, Put, Remove
from tests.contract.drafts import a_draft, a_member, put


async def walk(store: MongoStore) -> None:
    async for _ in store.walk("Organization", EVERYTHING):
        pass


async def as_it_was(store: MongoStore) -> None:
    await store.at(await store.moment()).entries("clients")


async def keep_moments(store: MongoStore) -> None:
    async with store.keeping_moments(300):
        await store.moment()


async def load(store: MongoStore) -> None:
    async with store.bulk_load():
        await put(store, a_draft())


async def check(store: MongoStore) -> None:
    async for _ in store.check(lambda resource: None):
        pass


def inside(work: Callable[[Transaction], Awaitable[Any]]) -> Callable[[MongoStore], Awaitable[Any]]:
    return lambda store: store.transact(work)


PACKAGE = Installed("a.package", {})
# Each public method, and each method of the transaction.
ATTEMPTS: dict[str, Callable[[MongoStore], Awaitable[Any]]] = {
    "read": lambda store: store.read("Organization", "1", EVERYTHING),
    "read_many": lambda store: store.read_many("Organization", ["1"], EVERYTHING),
    "vread": lambda store: store.vread("Organization", "1", 1, EVERYTHING),
    "find": lambda store: store.find(Find("Organization", {}), EVERYTHING),
    "count": lambda store: store.count("Organization", {"k": "k"}, EVERYTHING),
    "history": lambda store: store.history(HistoryQuery(), EVERYTHING),
    "history_count": lambda store: store.history_count(HistoryQuery("Organization"), EVERYTHING),
    "intern": lambda store: store.intern(["urn:new"]),
    "known_system": lambda store: store.known_system("urn:unknown"),
    "ensure_letters": lambda store: store.ensure_letters({("Organization", "name"): "x"}),
    "switch_letters": lambda store: store.switch_letters({("Organization", "name"): "aa"}),
    "announce_parameters": lambda store: store.announce_parameters(),
    "announced": lambda store: store.announced(),
    "lead_reindex": lambda store: store.lead_reindex("me", 1),
    "note_reindexed": lambda store: store.note_reindexed(1, 2),
    "reindexed": lambda store: store.reindexed(),
    "types": lambda store: store.types(),
    "old_types": lambda store: store.old_types(),
    "moment": lambda store: store.moment(),
    "at": as_it_was,
    "keeping_moments": keep_moments,
    "secret": lambda store: store.secret("new"),
    "keep": lambda store: store.keep(b"content"),
    "kept": lambda store: store.kept("hash"),
    "agree": lambda store: store.agree("key", b"content"),
    "defer": lambda store: store.defer("new", "", b"request"),
    "lease": lambda store: store.lease("1", "owner", 1.0),
    "renew": lambda store: store.renew("1", "owner", 1.0),
    "settle": lambda store: store.settle("1", "owner", b"answer"),
    "deferred": lambda store: store.deferred("1", ""),
    "cancel": lambda store: store.cancel("1", ""),
    "weigh": lambda store: store.weigh("Organization", {"k": "key"}, 10),
    "sampled": lambda store: store.sampled("Organization", {"k": "key"}),
    "enter": lambda store: store.enter("clients", "1", {}),
    "replace": lambda store: store.replace("clients", "1", {}, {}),
    "entry": lambda store: store.entry("clients", "1"),
    "entries": lambda store: store.entries("clients"),
    "entries_named": lambda store: store.entries_named("clients", ["1"]),
    "due": lambda store: store.due("clients", "a"),
    "erase": lambda store: store.erase("1"),
    "draw": lambda store: store.draw("bucket", (1.0, 1.0), 1.0, 1.0, 0),
    "find_at_once": lambda store: store.find_at_once([Find("Organization", {})] * 2, EVERYTHING),
    "withdraw": lambda store: store.withdraw("clients", "a"),
    "ledger:open": lambda store: store.ledger.open(),
    "ledger:seal": lambda store: store.ledger.seal("chain", 1, bytes(32), 1),
    "ledger:find": lambda store: store.find(Find("AuditEvent", {}), EVERYTHING),
    "ledger:count": lambda store: store.count("AuditEvent", {}, EVERYTHING),
    "ledger:left_behind": lambda store: store.ledger.left_behind(1),
    "ledger:prune": lambda store: store.ledger.prune(1),
    "follow_changes": lambda store: store.follow_changes("follower"),
    "catch_up_changes": lambda store: store.catch_up_changes("other follower"),
    "change_span": lambda store: store.change_span(),
    "changes": lambda store: store.changes(0, 1, 1),
    "changes_before": lambda store: store.changes_before(0),
    "latest_changes": lambda store: store.latest_changes(["1"], 0, 1, ["Patient"]),
    "deleted_of": lambda store: store.deleted_of(["1"], 0, 1),
    "packages": lambda store: store.packages(),
    "install": lambda store: store.install(PACKAGE, [b"{}"]),
    "package_resources": lambda store: store.package_resources(PACKAGE),
    "uninstall": lambda store: store.uninstall("a.package"),
    "ready": lambda store: store.ready(),
    "walk": walk,
    "renarrow_versions": lambda store: store.renarrow_versions("Organization", lambda *_: Narrowing()),
    "versions": lambda store: anext(store.versions("Organization")),
    "bulk_load": load,
    "check": check,
    "transact": lambda store: put(store, a_draft(name="other")),
    "transact: vread": inside(lambda transaction: transaction.vread("Organization", "1", 2, EVERYTHING)),
    "transact: versions": inside(lambda transaction: transaction.versions("Organization", [("1", 2)], EVERYTHING)),
    "transact: history": inside(lambda transaction: transaction.history(HistoryQuery(limit=1), EVERYTHING)),
    "transact: history_count": inside(lambda transaction: transaction.history_count(HistoryQuery(), EVERYTHING)),
    "transact: rely_on": inside(lambda transaction: transaction.rely_on(["name"])),
    "transact: upset": inside(lambda transaction: transaction.upset(["name"])),
    "transact: read": inside(lambda transaction: transaction.read("Organization", "1", EVERYTHING)),
    "transact: find": inside(lambda transaction: transaction.find(Find("Organization", {}), EVERYTHING)),
    "transact: claim": inside(lambda transaction: transaction.claim("criterion")),
    "transact: create": inside(lambda transaction: transaction.apply([Put(a_draft(id="new"), 0)])),
    "transact: first of its type": inside(lambda transaction: transaction.apply([Put(a_draft("Slot"))])),
    "transact: examine": inside(lambda transaction: transaction.examine([Put(a_draft())])),
    "transact: member": inside(lambda transaction: transaction.apply([Put(a_member("p", "c"))])),
    "transact: answered": inside(lambda transaction: transaction.answered("key")),
    "transact: keep_answer": inside(lambda transaction: transaction.keep_answer("key", b"answer")),
    "tables: generation": lambda store: store.tables.generation(),
    "tables: announce": lambda store: store.tables.announce(),
    "tables: ready": lambda store: store.tables.ready(),
    "tables: begin": lambda store: store.tables.begin({"url": "urn:x", "version": "1"}, "digest"),
    "tables: write": lambda store: store.tables.write(1, [Row("A")]),
    "tables: finish": lambda store: store.tables.finish(1, 1),
    "tables: remove": lambda store: store.tables.remove(1),
    "tables: rows": lambda store: store.tables.rows(1, ["A"]),
    "tables: page": lambda store: store.tables.page(1, {}, 0, 10),
    "tables: codes": lambda store: store.tables.codes(1, {}, "", 10),
    "tables: count": lambda store: store.tables.count(1, {}),
    "tables: published": lambda store: store.tables.published(),
    "tables: note_published": lambda store: store.tables.note_published({"CodeSystem/x": (1, "digest")}),
    "transact: remove": inside(lambda transaction: transaction.apply([Remove("Organization", "1")])),
}
COMMANDS = ["find", "getMore", "aggregate", "count", "insert", "update", "delete", "findAndModify", "commitTransaction"]
COMMANDS += ["create", "createIndexes", "listCollections", "listIndexes", "ping", "getParameter"]
KINDS = {Kind.UNAVAILABLE, Kind.TOO_COSTLY, Kind.TIMEOUT, Kind.CONFLICT, Kind.UNEXPECTED}
FAULTS: dict[str, dict[str, Any]] = {
    "connection closed": {"closeConnection": True},
    "time limit": {"errorCode": 50},
    "shutdown": {"errorCode": 11600},
    "primary stepped down": {"errorCode": 10107},
    "disk full": {"errorCode": 14031},
    "not allowed": {"errorCode": 13},
    "unknown": {"errorCode": 8},
    "write conflict": {"errorCode": 112, "errorLabels": ["TransientTransactionError"]},
}


@pytest.fixture
async def hasty(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MongoStore]:
    """A store with one resource that gives up soon."""
    monkeypatch.setattr("fhir_server.store.mongo.SELECTION_MS", 100)
    patient = await open_store(str(settings.mongodb_uri), settings)
    await put(patient, a_draft())
    await patient.close()
    opened = await open_store(str(settings.mongodb_uri), settings.model_copy(update={"transaction_seconds": 0.1}))
    yield opened
    await opened.close()


def test_the_table_of_attempts_names_every_public_method() -> None:
    public = {
        name
        for name, _ in inspect.getmembers(MongoStore, inspect.isfunction)
        if not name.startswith("_") and name not in ("open", "close")
    }
    assert public == {name for name in ATTEMPTS if ":" not in name}


async def outcomes(store: MongoStore) -> dict[str, Any]:
    """What each attempt ends with, all made at once."""
    told = await asyncio.gather(*[attempt(store) for attempt in ATTEMPTS.values()], return_exceptions=True)
    return dict(zip(ATTEMPTS, told, strict=True))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_only_fhir_errors_leave_the_store(hasty: MongoStore, failpoints: Any, fault: dict[str, Any]) -> None:
    with failpoints("failCommand", failCommands=COMMANDS, appName="fhir-server", **fault):
        told = await outcomes(hasty)
    assert {name: type(one).__name__ for name, one in told.items()} == dict.fromkeys(ATTEMPTS, "FhirError")
    assert {one.kind for one in told.values()} <= KINDS


async def test_a_database_that_is_gone_is_told_as_unavailable_by_every_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.store.mongo.SELECTION_MS", 100)
    server = Embedded(tmp_path, 256)
    store = await open_store(server.start(), Settings(transaction_seconds=4.0))
    try:
        await put(store, a_draft())
        server.stop()
        told = await outcomes(store)
        assert {name: one.kind for name, one in told.items() if one.kind is not Kind.UNAVAILABLE} == {}
        assert all("Retry-After" in one.headers for one in told.values())
    finally:
        server.stop()
        await store.close()


async def test_a_transaction_that_the_cache_cannot_hold_is_refused_with_nothing_written(
    store: MongoStore, failpoints: Any
) -> None:
    await put(store, a_draft())
    with (
        failpoints("failCommand", failCommands=["insert"], errorCode=388),
        pytest.raises(FhirError, match="send it in parts") as refused,
    ):
        await put(store, a_draft(id="2"), a_draft("Location"))
    assert refused.value.kind is Kind.TOO_COSTLY
    assert await store.count("Organization", {}, EVERYTHING) == 1


async def test_a_transaction_that_met_others_in_the_cache_has_another_chance(
    store: MongoStore, failpoints: Any
) -> None:
    await put(store, a_draft())
    with failpoints("failCommand", times=1, failCommands=["insert"], errorCode=388):
        (written,) = await put(store, a_draft(id="2"))
    assert written.created


async def test_what_patients_say_is_in_no_line_of_the_log(
    hasty: MongoStore, failpoints: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        failpoints("failCommand", failCommands=["insert", "find"], appName="fhir-server", errorCode=8),
        caplog.at_level("DEBUG", "fhir_server"),
    ):
        for attempt in (
            put(hasty, a_draft(id="2", name="Nguyễn Văn An")),
            hasty.find(Find("Organization", {"k": "nguyen"}), EVERYTHING),
        ):
            with pytest.raises(FhirError) as refused:
                await attempt
            assert refused.value.__cause__ is None
    assert "code 8" in caplog.text
    assert "guy" not in caplog.text
