"""Promises of the store under concurrency and under a database that fails in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.store.contract import Transaction
from fhir_server.store.mongo import MongoStore, open_store
from fhir_server.store.values import EVERYTHING, INDEX_KEYS, Find, HistoryQuery, Put, Stored
from tests.contract.drafts import a_draft, apply, put


async def outcome(attempt: Any) -> Any:
    """The result, or the kind of the FhirError."""
    try:
        return await attempt
    except FhirError as refused:
        return refused.kind


async def test_of_32_updates_that_expect_one_version_one_wins(store: MongoStore) -> None:
    await put(store, a_draft(value=0))
    outcomes = await asyncio.gather(
        *[outcome(put(store, a_draft(value=number), expected=1)) for number in range(1, 33)]
    )
    assert outcomes.count(Kind.PRECONDITION) == 31
    assert len(await store.history(HistoryQuery("Organization", "1", limit=100), EVERYTHING)) == 2


async def test_the_first_writes_of_a_type_hinder_no_search_of_it_by_another_process(
    store: MongoStore, settings: Settings
) -> None:
    """A search names the index that it walks; MongoDB refuses it while the collection is there and the index not."""
    other = await open_store(str(settings.mongodb_uri), settings)

    async def look(type: str, made: asyncio.Task[Any]) -> None:
        query = Find(type, {"k": "a"}, limit=2, hint=INDEX_KEYS)
        while not made.done():
            await other.find(query, EVERYTHING)
            await other.transact(lambda transaction: transaction.find(query, EVERYTHING))

    for type in ("Organization", "Location", "Group"):
        made = asyncio.create_task(put(store, a_draft(type, keys=["a"])))
        await asyncio.gather(made, *[look(type, made) for _ in range(4)])
        assert [one.id for one in await other.find(Find(type, {"k": "a"}, hint=INDEX_KEYS), EVERYTHING)] == ["1"]
    await other.close()


async def test_32_updates_without_an_expectation_are_each_in_history_once(store: MongoStore) -> None:
    outcomes = await asyncio.gather(*[put(store, a_draft(value=number)) for number in range(32)])
    told = await store.history(HistoryQuery("Organization", "1", limit=100), EVERYTHING)
    assert sorted(one[0].stored.version for one in outcomes) == list(range(1, 33))
    assert [one.version for one in told] == list(range(32, 0, -1))
    assert sorted(one.raw for one in told) == sorted(one[0].stored.raw for one in outcomes)


async def test_of_32_creates_of_one_id_one_wins(store: MongoStore) -> None:
    outcomes = await asyncio.gather(*[outcome(put(store, a_draft(value=number), expected=0)) for number in range(32)])
    assert outcomes.count(Kind.PRECONDITION) == 31


async def create_if_none(store: MongoStore, id: str, criterion: str) -> Stored:
    async def work(transaction: Transaction) -> Stored:
        await transaction.claim(criterion)
        found = await transaction.find(Find("Organization", {"k": criterion}, limit=2), EVERYTHING)
        if found:
            return found[0]
        return (await transaction.apply([Put(a_draft(id=id, keys=[criterion]), 0)]))[0].stored

    return await store.transact(work)


async def test_a_claimed_condition_creates_one_resource_however_many_ask_at_once(
    store: MongoStore, settings: Settings
) -> None:
    others = [await open_store(str(settings.mongodb_uri), settings) for _ in range(2)]
    try:
        for round in range(10):
            criterion = f"identifier={round}"
            asked = [
                create_if_none(one, f"{round}-{number}-{place}", criterion)
                for number in range(4)
                for place, one in enumerate((store, *others))
            ]
            assert len({one.id for one in await asyncio.gather(*asked)}) == 1
            assert await store.count("Organization", {"k": criterion}, EVERYTHING) == 1
    finally:
        for other in others:
            await other.close()


async def test_transactions_over_the_same_resources_in_opposite_orders_all_commit(store: MongoStore) -> None:
    ids = [f"o{number}" for number in range(6)]
    await put(store, *[a_draft(id=id) for id in ids])

    async def work(number: int) -> None:
        order = ids if number % 2 else ids[::-1]

        async def touch(transaction: Transaction) -> None:
            for id in order:
                await transaction.apply([Put(a_draft(id=id, value=number))])
                await asyncio.sleep(0)

        await store.transact(touch)

    await asyncio.gather(*[work(number) for number in range(1, 13)])
    for id in ids:
        assert await store.history_count(HistoryQuery("Organization", id), EVERYTHING) == 13


async def test_every_worker_may_write_a_type_for_the_first_time_at_once(store: MongoStore, settings: Settings) -> None:
    others = [await open_store(str(settings.mongodb_uri), settings) for _ in range(3)]
    try:
        drafts = [(one, f"{place}-{number}") for place, one in enumerate((store, *others)) for number in range(5)]
        await asyncio.gather(
            *[put(one, *[a_draft(type, id) for type in ("Slot", "Task", "List")]) for one, id in drafts]
        )
        assert [await store.count(type, {}, EVERYTHING) for type in ("Slot", "Task", "List")] == [20, 20, 20]
        assert await store.ready() == {"types": 3, "generation": 1}
    finally:
        for other in others:
            await other.close()


@pytest.fixture
async def hurried(store: MongoStore, settings: Settings) -> AsyncIterator[MongoStore]:
    """A store with one Organization and little time for a transaction: enough for what has its collections."""
    await put(store, a_draft(value=0))
    opened = await open_store(str(settings.mongodb_uri), settings.model_copy(update={"transaction_seconds": 1.0}))
    yield opened
    await opened.close()


async def test_conflicts_that_outlast_the_time_limit_are_refused_with_nothing_written(
    hurried: MongoStore, failpoints: Any
) -> None:
    with failpoints("failCommand", failCommands=["insert"], errorCode=112, errorLabels=["TransientTransactionError"]):
        assert await outcome(put(hurried, a_draft(id="2"), a_draft(id="3"))) is Kind.CONFLICT
    assert await hurried.count("Organization", {}, EVERYTHING) == 1


async def test_whoever_waits_for_others_until_the_time_is_over_is_told_of_a_conflict(hurried: MongoStore) -> None:
    over = asyncio.Event()

    async def hold(transaction: Transaction) -> None:
        try:
            await over.wait()
        except asyncio.CancelledError:
            await over.wait()  # its own time is over, and it still holds the queue up
            raise

    holding = asyncio.create_task(outcome(hurried.transact(hold, about=("one",))))
    await asyncio.sleep(0)
    waiting = hurried.transact(lambda transaction: transaction.apply([Put(a_draft(value=1))]), about=("one",))
    assert await outcome(waiting) is Kind.CONFLICT
    over.set()
    assert await holding is Kind.TIMEOUT


@pytest.mark.parametrize("command", ["find", "insert", "update", "commitTransaction"])
async def test_work_runs_again_after_a_transient_error_and_its_outcome_is_there_once(
    store: MongoStore, failpoints: Any, command: str
) -> None:
    await put(store, a_draft(value=0))
    with failpoints(
        "failCommand", times=2, failCommands=[command], errorCode=251, errorLabels=["TransientTransactionError"]
    ):
        (written, other) = await put(store, a_draft(value=1), a_draft(id="2"))
    assert (written.stored.version, other.stored.version) == (2, 1)
    assert await store.history_count(HistoryQuery(), EVERYTHING) == 3


@pytest.mark.parametrize(
    "lost",
    [{"writeConcernError": {"code": 64, "errmsg": "the answer was lost"}}, {"closeConnection": True}],
    ids=["committed and the answer lost", "connection lost"],
)
async def test_a_commit_of_unknown_outcome_is_asked_again_and_is_there_once(
    store: MongoStore, failpoints: Any, lost: dict[str, Any]
) -> None:
    await put(store, a_draft(value=0))
    with failpoints("failCommand", times=2, failCommands=["commitTransaction"], **lost):
        (written,) = await put(store, a_draft(value=1))
    assert written.stored.version == 2
    read = await store.read("Organization", "1", EVERYTHING)
    assert read is not None
    assert read.raw == written.stored.raw
    assert await store.history_count(HistoryQuery(), EVERYTHING) == 2


async def test_a_commit_whose_outcome_stays_unknown_is_told_as_such(hurried: MongoStore, failpoints: Any) -> None:
    lost = {"code": 64, "errmsg": "the answer was lost"}
    with failpoints("failCommand", failCommands=["commitTransaction"], writeConcernError=lost):
        with pytest.raises(FhirError, match="told by reading it") as refused:
            await put(hurried, a_draft(value=1))
        assert refused.value.kind is Kind.TIMEOUT


async def test_a_transaction_over_its_time_limit_is_ended_and_writes_nothing(settings: Settings) -> None:
    short = await open_store(str(settings.mongodb_uri), settings.model_copy(update={"transaction_seconds": 1.0}))

    async def forever(transaction: Transaction) -> None:
        await transaction.apply([Put(a_draft())])
        await asyncio.Event().wait()

    try:
        with pytest.raises(FhirError, match="1 seconds; nothing was written") as refused:
            await short.transact(forever)
        assert refused.value.kind is Kind.TIMEOUT
        assert await short.read("Organization", "1", EVERYTHING) is None
    finally:
        await short.close()


async def test_transactions_are_ended_at_their_limit_whatever_they_are_doing(settings: Settings) -> None:
    """The driver may pass over a cancellation that meets a send; the work must not go on then."""
    short = await open_store(str(settings.mongodb_uri), settings.model_copy(update={"transaction_seconds": 0.05}))
    ids = iter(range(1_000))

    async def forever(transaction: Transaction) -> None:
        await transaction.apply([Put(a_draft(id=str(next(ids))))])
        await transaction.read("Organization", "1", EVERYTHING)
        await asyncio.Event().wait()

    try:
        for _ in range(15):
            outcomes = await asyncio.gather(*[outcome(short.transact(forever)) for _ in range(8)])
            assert set(outcomes) <= {Kind.TIMEOUT, Kind.CONFLICT}
        assert await short.count("Organization", {}, EVERYTHING) == 0
    finally:
        await short.close()


async def test_what_shares_a_name_queues_and_what_does_not_is_not_held_up(store: MongoStore) -> None:
    running: list[str] = []
    most: dict[str, int] = {}
    all_in = asyncio.Barrier(2)

    async def work(name: str) -> None:
        async def enter(transaction: Transaction) -> None:
            running.append(name)
            most[name] = max(most.get(name, 0), running.count(name))
            if name != "one":
                await all_in.wait()  # both are inside at once, or neither ever ends
            await transaction.read("Organization", "1", EVERYTHING)
            running.remove(name)

        await store.transact(enter, about=(name,))

    await asyncio.gather(*[work(name) for name in ("one", "one", "one", "two", "three")])
    assert most == {"one": 1, "two": 1, "three": 1}


async def test_who_upsets_what_another_relies_on_is_met_whoever_commits_first(store: MongoStore) -> None:
    await put(store, a_draft())
    runs = {"rely": 0, "upset": 0}
    both_have_read = asyncio.Barrier(2)

    async def work(transaction: Transaction, how: str) -> bool:
        """What it saw: whether the other has committed before."""
        runs[how] += 1
        found = await transaction.read("Organization", "2" if how == "upset" else "3", EVERYTHING)
        if runs[how] == 1:
            await both_have_read.wait()
        await (transaction.rely_on(["1"]) if how == "rely" else transaction.upset(["1"]))
        await transaction.apply([Put(a_draft(id="2" if how == "rely" else "3"))])
        return found is not None

    saw = await asyncio.gather(*[store.transact(partial(work, how=how)) for how in runs])
    assert sorted(saw) == [False, True]


async def test_those_who_rely_on_one_thing_do_not_wait_for_each_other(store: MongoStore) -> None:
    holding: set[int] = set()
    both = asyncio.Event()

    async def work(transaction: Transaction, who: int) -> None:
        await transaction.rely_on([f"{number}" for number in range(2)])
        holding.add(who)  # whoever meets the other at a gate tries again at others, while that one waits here
        if len(holding) == 2:
            both.set()
        await both.wait()

    await asyncio.gather(*[store.transact(partial(work, who=who)) for who in range(2)])


async def test_a_caller_that_goes_away_leaves_nothing_half_done(store: MongoStore) -> None:
    reached = asyncio.Event()

    async def work(transaction: Transaction) -> None:
        await transaction.apply([Put(a_draft())])
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.transact(work))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.read("Organization", "1", EVERYTHING) is None
    await apply(store, Put(a_draft()))


async def test_callers_that_go_away_in_the_middle_of_reads_write_nothing(store: MongoStore) -> None:
    """The driver may pass over a cancellation that meets a send; the commit does not."""
    reading = asyncio.Semaphore(0)

    async def work(transaction: Transaction) -> None:
        for _ in range(200):
            await transaction.read("Organization", "1", EVERYTHING)
            reading.release()
        await transaction.apply([Put(a_draft(id=f"o{id(asyncio.current_task())}"), 0)])

    tasks = [asyncio.create_task(store.transact(work)) for _ in range(8)]
    for _ in range(40):
        await reading.acquire()
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in outcomes] == [asyncio.CancelledError] * 8
    assert await store.count("Organization", {}, EVERYTHING) == 0
