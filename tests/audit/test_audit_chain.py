"""What is on record cannot be changed, taken away or put in without its showing, and where."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import pytest
from pymongo import MongoClient
from pymongo.database import Database
from structlog.testing import capture_logs

from fhir_server.audit.access import OPEN, Access, Touched
from fhir_server.audit.trail import SWEEP_MARGIN_MS, TELL_SECONDS, Trail
from fhir_server.audit.verify import Kept, Verdict, verify
from fhir_server.config import Settings
from fhir_server.errors import FhirError
from fhir_server.interactions.exchange import Context
from fhir_server.model.ids import new_id
from fhir_server.store.ledger_contract import head_of
from fhir_server.store.values import EVERYTHING, LEDGER_TYPE, Find

Page = dict[str, Any]


def a_read(context: Context, patient: str, status: int = 200) -> Access:
    return Access("read", OPEN, status, context.clock(), "r", (Touched("Patient", patient, 1),), (patient,))


def a_trail(context: Context, late_ms: int = 0) -> Trail:
    """Of another process on the same database. late_ms: how far its clock is ahead."""
    return Trail(context.store, context.search, "normal", lambda: context.clock() + late_ms, new_id)


@pytest.fixture(scope="module")
async def written(context: Context, database: Database[Any]) -> Trail:
    """A chain of three pages and two seals, and another of one page."""
    trail = a_trail(context)
    for page in range(3):
        for number in range(5):
            await trail.note(a_read(context, f"p{page}{number}"))
        trail._sealed_at = 0
        await trail.flush()
    await trail.close()
    other = a_trail(context)
    await other.note(a_read(context, "q"))
    await other.close()
    return trail


async def verified(context: Context, *kept: Kept) -> Verdict:
    return await verify(context.store.ledger, kept)


@contextmanager
def changed(database: Database[Any], name: str, id: object, change: Callable[[Page], None]) -> Iterator[None]:
    """A document as somebody with the database's password might leave it, and then as it was."""
    before = database[name].find_one({"_id": id})
    assert before is not None
    after = {**before}
    change(after)
    database[name].replace_one({"_id": id}, after)
    yield
    database[name].replace_one({"_id": id}, before)


@contextmanager
def removed(database: Database[Any], name: str, *ids: object) -> Iterator[None]:
    before = [database[name].find_one({"_id": id}) for id in ids]
    database[name].delete_many({"_id": {"$in": list(ids)}})
    yield
    database[name].insert_many(before)


def events_of(page: Page) -> list[tuple[int, bytes]]:
    return msgspec.msgpack.decode(zlib.decompress(page["raws"]), type=list[tuple[int, bytes]])


def with_events(change: Callable[[list[tuple[int, bytes]]], None]) -> Callable[[Page], None]:
    def apply(page: Page) -> None:
        events = events_of(page)
        change(events)
        page["raws"] = zlib.compress(msgspec.msgpack.encode(events))

    return apply


async def test_an_untouched_ledger_verifies(context: Context, written: Trail) -> None:
    verdict = await verified(context)
    assert verdict.faults == []
    assert (verdict.chains, verdict.pages, verdict.events, verdict.unsealed, verdict.late) == (2, 4, 16, 0, 0)


async def test_the_first_changed_event_is_named(context: Context, written: Trail, database: Database[Any]) -> None:
    name = f"{written.chain}/00000002"
    page = database["audit_pages"].find_one({"_id": name})
    assert page is not None
    at, raw = events_of(page)[1]
    id = msgspec.json.decode(raw)["id"]
    other = raw.replace(b'"outcome":"0"', b'"outcome":"4"')
    with changed(database, "audit_pages", name, with_events(lambda events: events.__setitem__(1, (at, other)))):
        faults = (await verified(context)).faults
    assert faults == [f"event 7 (chain {written.chain}, page 2): AuditEvent/{id} was changed"]


async def test_an_event_that_was_taken_away_shows(context: Context, written: Trail, database: Database[Any]) -> None:
    with changed(database, "audit_pages", f"{written.chain}/00000002", with_events(lambda events: events.pop(0))):  # type: ignore[arg-type, return-value]
        faults = (await verified(context)).faults
    assert faults == [f"event 6 (chain {written.chain}, page 2): it was taken away"]


async def test_an_event_that_was_put_in_shows(context: Context, written: Trail, database: Database[Any]) -> None:
    made_up = (1, b'{"resourceType":"AuditEvent","id":"made-up"}')
    name = f"{written.chain}/00000001"
    for place, number in ((0, 1), (5, 6)):
        with changed(database, "audit_pages", name, with_events(lambda events: events.insert(place, made_up))):  # noqa: B023
            faults = (await verified(context)).faults
        assert faults == [f"event {number} (chain {written.chain}, page 1): AuditEvent/made-up was put in"]


async def test_events_and_pages_in_another_order_show(
    context: Context, written: Trail, database: Database[Any]
) -> None:
    chain = written.chain
    second, third = f"{chain}/00000002", f"{chain}/00000003"
    with changed(database, "audit_pages", second, with_events(lambda events: events.reverse())):
        assert f"event 6 (chain {chain}, page 2)" in (await verified(context)).faults[0]

    def with_order(page: Page) -> None:
        with_events(lambda events: events.reverse())(page)
        digests = [page["digests"][start : start + 32] for start in range(0, len(page["digests"]), 32)]
        page["digests"] = b"".join(reversed(digests))

    with changed(database, "audit_pages", second, with_order):
        assert f"chain {chain}, page 2: it is not the page that seal 2 was put on" in (await verified(context)).faults
    pages = {name: database["audit_pages"].find_one({"_id": name}) for name in (second, third)}
    swapped = {name: {**page, "_id": name} for name, page in zip(pages, reversed(pages.values()), strict=True) if page}
    with (
        changed(database, "audit_pages", second, lambda page: page.update(swapped[second])),
        changed(database, "audit_pages", third, lambda page: page.update(swapped[third])),
    ):
        faults = (await verified(context)).faults
    assert f"chain {chain}, page 2: it does not follow the page before: one of them was changed" in faults


async def test_a_page_that_is_hidden_from_searches_shows(
    context: Context, written: Trail, database: Database[Any]
) -> None:
    name = f"{written.chain}/00000002"
    hidden = f"chain {written.chain}, page 2: it is not found by what its events say"
    for change in (
        lambda page: page.update(k=["#none", *page["k"][1:]]),
        lambda page: page.update({"from": page["from"] - 1}),
        lambda page: page.update({"to": page["to"] + 1}),
        lambda page: page.update(places=b"x"),
        lambda page: page.update(places=zlib.compress(msgspec.msgpack.encode([b"\x00" for _ in page["k"]]))),
        with_events(lambda events: events.__setitem__(0, (1, events[0][1]))),
    ):
        with changed(database, "audit_pages", name, change):
            (fault,) = (await verified(context)).faults
        assert fault.startswith(hidden)


async def test_a_chain_cut_off_with_its_seals_shows_by_a_seal_that_was_noted(
    context: Context, written: Trail, database: Database[Any]
) -> None:
    """Who takes away the last pages and all seals from then on leaves a shorter ledger, whole in itself."""
    last = (await verified(context)).seal
    assert last is not None
    noted = Kept(last.number, last.hash.hex())
    others = [page["_id"] for page in database["audit_pages"].find({"_id": {"$not": {"$regex": f"^{written.chain}/"}}})]
    with (
        removed(database, "audit_seals", 3, 4),
        removed(database, "audit_pages", f"{written.chain}/00000003", *others),
    ):
        assert (await verified(context)).faults == []
        assert (await verified(context, noted)).faults == [f"seal {last.number}: it was noted, and is not there"]


async def test_bytes_that_are_no_events_any_more_show(
    context: Context, written: Trail, database: Database[Any]
) -> None:
    with changed(database, "audit_pages", f"{written.chain}/00000001", lambda page: page.update(raws=b"x")):
        faults = (await verified(context)).faults
    assert faults == [f"event 1 (chain {written.chain}, page 1): it was taken away"]


async def test_a_page_forged_with_its_digests_shows(context: Context, written: Trail, database: Database[Any]) -> None:
    def forge(page: Page) -> None:
        with_events(lambda events: events.pop())(page)  # type: ignore[arg-type, return-value]
        page["digests"] = page["digests"][:-32]

    with changed(database, "audit_pages", f"{written.chain}/00000002", forge):
        faults = (await verified(context)).faults
    assert f"chain {written.chain}, page 2: it is not the page that seal 2 was put on" in faults
    assert f"chain {written.chain}, page 3: it does not follow the page before: one of them was changed" in faults


async def test_pages_that_were_taken_away_show(context: Context, written: Trail, database: Database[Any]) -> None:
    chain = written.chain
    with removed(database, "audit_pages", f"{chain}/00000002"):
        assert f"chain {chain}, page 3: the pages from 2 on are missing before it" in (await verified(context)).faults
    with removed(database, "audit_pages", f"{chain}/00000003"):
        assert f"chain {chain}: page 3, which seal 3 is on, is missing" in (await verified(context)).faults
    with removed(database, "audit_pages", *(f"{chain}/{number:08d}" for number in (1, 2, 3))):
        assert f"chain {chain}: page 1, which seal 1 is on, is missing" in (await verified(context)).faults


async def test_seals_that_were_changed_or_taken_away_show(
    context: Context, written: Trail, database: Database[Any]
) -> None:
    last = (await verified(context)).seal
    assert last is not None
    noted = Kept(last.number, last.hash.hex())
    assert (await verified(context, noted)).faults == []
    with changed(database, "audit_seals", 2, lambda seal: seal.update(at=1)):
        assert "seal 3: it does not follow seal 2: one of them was changed" in (await verified(context)).faults
    with removed(database, "audit_seals", 2):
        assert "seal 2: it is missing" in (await verified(context)).faults
    with removed(database, "audit_seals", last.number):
        assert (await verified(context)).unsealed == 1
        assert (await verified(context, noted)).faults == [f"seal {last.number}: it was noted, and is not there"]
    with changed(database, "audit_seals", last.number, lambda seal: seal.update(at=1)):
        assert (await verified(context, noted)).faults == [f"seal {last.number}: it is not the one that was noted"]


async def test_the_log_tells_a_seal_now_and_then(context: Context) -> None:
    now = context.clock()
    trail = Trail(context.store, context.search, "normal", lambda: now, new_id)
    with capture_logs() as logged:
        for later in (0, 1, TELL_SECONDS):
            now += int(later * 1000)
            await trail.note(a_read(context, "t"))
            trail._sealed_at = 0
            await trail.flush()
    seal = (await verified(context)).seal
    assert seal is not None
    told = [line for line in logged if line["event"] == "accesses sealed"]
    assert [line["seal"] for line in told] == [head_of(seal)]
    await trail.close()


async def test_what_a_killed_process_kept_with_a_write_is_written_by_another(
    context: Context, written: Trail, database: Database[Any]
) -> None:
    killed = a_trail(context)

    async def work(transaction: Any) -> None:
        await killed.write(transaction, [a_read(context, "left-behind")])

    await context.store.transact(work)
    assert database["audit_recorded"].count_documents({}) == 1
    await a_trail(context)._sweep()
    assert database["audit_recorded"].count_documents({}) == 1  # its process may live yet
    later = a_trail(context, late_ms=SWEEP_MARGIN_MS + 60_000)
    await later._sweep()
    await later.close()
    assert database["audit_recorded"].count_documents({}) == 0
    found = await context.store.find(Find(LEDGER_TYPE, {"k": "@left-behind"}), EVERYTHING)
    assert len(found) == 1
    verdict = await verified(context)
    assert (verdict.faults, verdict.late) == ([], 1)
    database["audit_recorded"].insert_one({"_id": found[0].id, "at": found[0].updated, "raw": found[0].raw})
    await a_trail(context, late_ms=SWEEP_MARGIN_MS + 60_000)._sweep()  # it was in a page already
    assert len(await context.store.find(Find(LEDGER_TYPE, {"k": "@left-behind"}), EVERYTHING)) == 1
    assert database["audit_recorded"].count_documents({}) == 0


async def test_of_two_processes_that_find_the_same_left_behind_one_writes_it(
    context: Context, written: Trail, database: Database[Any]
) -> None:
    killed, ahead = a_trail(context), SWEEP_MARGIN_MS + 60_000

    async def work(transaction: Any) -> None:
        await killed.write(transaction, [a_read(context, "found-twice")])

    await context.store.transact(work)
    sweepers = [a_trail(context, late_ms=ahead) for _ in range(4)]
    await asyncio.gather(*[sweeper._sweep() for sweeper in sweepers])
    assert len(await context.store.find(Find(LEDGER_TYPE, {"k": "@found-twice"}), EVERYTHING)) == 1
    assert database["audit_recorded"].count_documents({}) == 0
    assert (await verified(context)).faults == []


async def test_what_was_left_behind_is_written_though_the_first_answer_of_the_database_was_lost(
    context: Context, written: Trail, mongodb: MongoClient[dict[str, Any]]
) -> None:
    killed, sweeper = a_trail(context), a_trail(context, late_ms=SWEEP_MARGIN_MS + 60_000)

    async def work(transaction: Any) -> None:
        await killed.write(transaction, [a_read(context, "unconfirmed")])

    await context.store.transact(work)
    lost = {"failCommands": ["insert", "commitTransaction"], "writeConcernError": {"code": 64, "errmsg": "lost"}}
    mongodb.admin.command("configureFailPoint", "failCommand", mode={"times": 2}, data=lost)
    with suppress(FhirError):
        await sweeper._sweep()
    await sweeper.note(a_read(context, "after-it"))
    await sweeper.close()
    for patient in ("unconfirmed", "after-it"):
        assert len(await context.store.find(Find(LEDGER_TYPE, {"k": f"@{patient}"}), EVERYTHING)) == 1
    assert (await verified(context)).faults == []


async def test_an_event_of_a_transaction_that_was_undone_is_nowhere(context: Context, database: Database[Any]) -> None:
    trail = a_trail(context)

    async def work(transaction: Any) -> None:
        await trail.write(transaction, [a_read(context, "undone")])
        raise ValueError("undone")

    with pytest.raises(ValueError, match="undone"):
        await context.store.transact(work)
    assert database["audit_recorded"].count_documents({}) == 0


async def test_a_page_whose_writing_was_not_confirmed_is_written_once(
    context: Context, database: Database[Any]
) -> None:
    trail = a_trail(context)
    await trail.note(a_read(context, "once"))
    events, taken = await trail._taken()
    page = trail._page(events)
    await context.store.ledger.append(page, events)  # it arrived, and the answer was lost
    trail._pending = page, events, taken
    await trail.note(a_read(context, "twice"))
    await trail.close()
    assert database["audit_pages"].count_documents({"_id": {"$regex": f"^{trail.chain}"}}) == 2
    assert (await verified(context)).faults == []


async def test_a_queue_that_cannot_be_written_refuses_in_place_of_losing(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.audit.trail.MOST_WAITING", 3)
    monkeypatch.setattr("fhir_server.audit.trail.PATIENCE_SECONDS", 0.05)
    trail = a_trail(context)
    await trail._writing.acquire()  # as while the database is away
    for number in range(3):
        await trail.note(a_read(context, f"waits{number}"))
    with pytest.raises(FhirError, match="cannot be put on record") as refused:
        await trail.note(a_read(context, "refused"))
    assert refused.value.kind.status == 503
    trail._writing.release()
    await trail.close()
    found = await context.store.find(Find(LEDGER_TYPE, {"k": {"$in": ["@waits0", "@waits2"]}}), EVERYTHING)
    assert len(found) == 2


async def test_pruning_leaves_a_ledger_that_verifies(
    own_settings: Settings, mongodb: MongoClient[Any], context: Context, database: Database[Any]
) -> None:
    trail = a_trail(context)
    for number in range(3):
        trail._clock = lambda number=number: 1_000_000 * (number + 1)  # type: ignore[misc]
        await trail.note(Access("read", OPEN, 200, trail._clock(), "r", (Touched("Patient", f"old{number}", 1),)))
        trail._sealed_at = 0
        await trail.flush()
    trail._closing = True
    if trail._task is not None:
        await trail._task
    before = await verified(context)
    assert before.faults == []
    assert await context.store.ledger.prune(2_500_000) == 2
    assert await context.store.find(Find(LEDGER_TYPE, {"k": "@old1"}), EVERYTHING) == []
    assert len(await context.store.find(Find(LEDGER_TYPE, {"k": "@old2"}), EVERYTHING)) == 1
    after = await verified(context)
    assert (after.faults, after.events) == ([], before.events - 2)
    assert await context.store.ledger.prune(2_500_000) == 0
    with removed(database, "audit_state", "anchor"):
        assert any("missing" in fault for fault in (await verified(context)).faults)
