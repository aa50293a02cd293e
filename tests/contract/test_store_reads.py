"""Promises of the store about reading: by id, by filter, views, counts, walks, limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from pymongo import MongoClient

from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.store import reads
from fhir_server.store.contract import Transaction
from fhir_server.store.mongo import MongoStore, open_store
from fhir_server.store.values import (
    EVERYTHING,
    INDEX_KEYS,
    INDEX_ORDER,
    INDEX_UPDATED,
    NOTHING,
    Bound,
    Filter,
    Find,
    HistoryQuery,
    Narrowing,
    Put,
    Stored,
    View,
)
from tests.contract.drafts import a_draft, put, remove

Server = MongoClient[dict[str, Any]]


def ids(found: list[Stored]) -> list[str]:
    return [one.id for one in found]


def in_ward(ward: str) -> Any:
    return a_draft(id=ward, keys=["k"], narrowing=Narrowing(ward=ward))


async def test_a_type_that_was_never_written_is_empty_everywhere(store: MongoStore) -> None:
    assert await store.read("Slot", "1", EVERYTHING) is None
    assert await store.read_many("Slot", ["1"], EVERYTHING) == {}
    assert await store.vread("Slot", "1", 1, EVERYTHING) is None
    assert await store.find(Find("Slot", {}), EVERYTHING) == []
    assert await store.count("Slot", {"k": "x"}, EVERYTHING) == 0
    assert await store.history(HistoryQuery("Slot"), EVERYTHING) == []
    assert await store.history(HistoryQuery(), EVERYTHING) == []
    assert await store.history_count(HistoryQuery(), EVERYTHING) == 0
    assert [one async for one in store.walk("Slot", EVERYTHING)] == []


async def test_reads_that_wait_together_share_one_query(store: MongoStore, mongodb: Server, database_name: str) -> None:
    await put(store, *[a_draft(id=str(number)) for number in range(30)])
    database = mongodb[database_name]
    database.command("profile", 2)
    wanted = [str(number % 40) for number in range(120)]
    found = await asyncio.gather(*[store.read("Organization", id, EVERYTHING) for id in wanted])
    database.command("profile", 0)
    asked = {"op": "query", "ns": f"{database_name}.Organization"}
    assert database["system.profile"].count_documents(asked) == 1
    assert [one and one.id for one in found] == [id if int(id) < 30 else None for id in wanted]


async def test_reads_within_many_views_share_one_query_and_each_sees_what_its_own_allows(
    store: MongoStore, mongodb: Server, database_name: str
) -> None:
    wards = [f"{number:05}" for number in range(20)]
    await put(store, *map(in_ward, wards))
    database = mongodb[database_name]
    database.command("profile", 2)
    views = [View({"Organization": {"w": ward}}) for ward in wards]
    wanted = [(ward, views[(number + number % 2) % 20]) for number, ward in enumerate(wards)]
    found = await asyncio.gather(*[store.read("Organization", id, view) for id, view in wanted])
    database.command("profile", 0)
    asked = {"op": "query", "ns": f"{database_name}.Organization"}
    assert database["system.profile"].count_documents(asked) == 1
    assert [one and one.id for one in found] == [None if number % 2 else ward for number, ward in enumerate(wards)]


async def test_a_reader_that_goes_away_takes_no_other_with_it(store: MongoStore) -> None:
    await put(store, a_draft())
    tasks = [asyncio.create_task(store.read("Organization", "1", EVERYTHING)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(isinstance(answer, Stored) for answer in answers[1:])


async def test_a_read_that_begins_after_a_write_sees_it(store: MongoStore) -> None:
    async def write_and_read(number: int) -> bool:
        id = f"o{number % 5}"
        (written,) = await put(store, a_draft(id=id, value=number))
        read = await store.read("Organization", id, EVERYTHING)
        return read is not None and read.version >= written.stored.version

    assert all(await asyncio.gather(*[write_and_read(number) for number in range(40)]))


async def test_what_the_view_does_not_allow_is_in_no_read_of_any_kind(store: MongoStore) -> None:
    view = View({"Organization": {"w": "00001"}}, NOTHING)
    await put(store, in_ward("00001"), in_ward("00002"), a_draft("Location", "1"))
    await put(
        store, *[a_draft(id=ward, name="B", keys=["k"], narrowing=Narrowing(ward=ward)) for ward in ("00001", "00002")]
    )
    many = await asyncio.gather(*[store.read("Organization", id, view) for id in ("00001", "00002")])
    assert [one is not None for one in many] == [True, False]
    assert await store.read("Location", "1", view) is None
    assert set(await store.read_many("Organization", ["00001", "00002"], view)) == {"00001"}
    assert ids(await store.find(Find("Organization", {"k": "k"}), view)) == ["00001"]
    assert await store.count("Organization", {"k": "k"}, view) == 1
    for version in (1, 2):
        assert await store.vread("Organization", "00001", version, view) is not None
        assert await store.vread("Organization", "00002", version, view) is None
    assert await store.history(HistoryQuery("Organization", "00002"), view) == []
    assert ids(await store.history(HistoryQuery("Organization"), view)) == ["00001", "00001"]
    assert ids(await store.history(HistoryQuery(), view)) == ["00001", "00001"]
    assert await store.history_count(HistoryQuery(), view) == 2
    assert ids([one async for one in store.walk("Organization", view)]) == ["00001"]

    async def inside(transaction: Transaction) -> None:
        assert await transaction.read("Organization", "00002", view) is None
        assert ids(await transaction.find(Find("Organization", {"k": "k"}), view)) == ["00001"]

    await store.transact(inside)


async def test_readers_with_different_views_never_share_an_answer(store: MongoStore) -> None:
    await put(store, in_ward("00001"))
    views = [View({"Organization": {"w": ward}}) for ward in ("00001", "00002", "00001")]
    found = await asyncio.gather(*[store.read("Organization", "00001", view) for view in views])
    assert [one is not None for one in found] == [True, False, True]


async def test_a_tombstone_is_narrowed_as_the_resource_was(store: MongoStore) -> None:
    await put(store, in_ward("00001"))
    await remove(store, "Organization", "00001")
    assert await store.read("Organization", "00001", View({}, {"w": "00002"})) is None
    gone = await store.read("Organization", "00001", View({}, {"w": "00001"}))
    assert gone is not None
    assert gone.deleted


async def test_a_find_gives_one_page_in_the_order_asked_for(store: MongoStore) -> None:
    await put(store, *[a_draft(id=f"o{number}", order=number * 86_400, keys=["k"]) for number in range(5)])
    assert ids(await store.find(Find("Organization", {"k": "k"}, limit=3), EVERYTHING)) == ["o4", "o3", "o2"]
    upwards = Find("Organization", {"k": "k"}, (("o", 1),), hint=INDEX_KEYS)
    assert ids(await store.find(upwards, EVERYTHING)) == ["o0", "o1", "o2", "o3", "o4"]
    by_id = Find("Organization", {}, (("_id", -1),), limit=2)
    assert ids(await store.find(by_id, EVERYTHING)) == ["o4", "o3"]
    by_time = Find("Organization", {}, (("u", -1), ("_id", 1)), limit=2, hint=INDEX_UPDATED)
    assert ids(await store.find(by_time, EVERYTHING)) == ["o0", "o1"]
    assert await store.find(Find("Organization", {}, limit=0), EVERYTHING) == []


async def test_a_find_gives_bytes_sort_values_and_keys_only_when_asked(store: MongoStore) -> None:
    await put(store, a_draft(keys=["k"], sort={"aa": ["lo", "hi"]}, order=7))
    (bare,) = await store.find(Find("Organization", {"k": "k"}, raw=False), EVERYTHING)
    assert (bare.raw, bare.sort, bare.keys, bare.version) == (b"", None, None, 1)
    (full,) = await store.find(Find("Organization", {"k": "k"}, want_sort=True, want_keys=True), EVERYTHING)
    assert full.raw.startswith(b"{")
    assert (full.sort, full.keys) == ({"aa": ["lo", "hi"]}, ("k",))


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ((("x.aa", 1), ("_id", 1)), ["c", "a", "b", "none1", "none2"]),
        ((("x.aa", -1), ("_id", 1)), ["b", "a", "c", "none1", "none2"]),
        ((("x.aa", -1), ("_id", -1)), ["b", "a", "c", "none2", "none1"]),
        ((("x.bb.l", 1), ("x.aa", 1), ("_id", -1)), ["c", "none1", "a", "b", "none2"]),
    ],
)
async def test_lists_sort_by_their_outermost_value_and_missing_ones_come_last_in_both_directions(
    store: MongoStore, sort: tuple[tuple[str, int], ...], expected: list[str]
) -> None:
    values: dict[str, dict[str, Any]] = {
        "a": {"aa": ["x", "b"]},
        "b": {"aa": ["c", "y"]},
        "c": {"aa": ["w", "a"], "bb": [{"l": 1}, {"l": 2}]},
        "none1": {"bb": [{"l": 1}]},
        "none2": {},
    }
    await put(store, *[a_draft(id=id, sort=value) for id, value in values.items()])
    assert ids(await store.find(Find("Organization", {}, sort), EVERYTHING)) == expected
    assert ids(await store.find(Find("Organization", {}, sort, limit=2), EVERYTHING)) == expected[:2]


async def test_a_page_larger_than_one_reply_of_the_database_is_whole(store: MongoStore) -> None:
    text = "x" * (1 << 20)
    await put(store, *[a_draft(id=f"{number:02}", text=text) for number in range(40)])
    find = Find("Organization", {}, (("_id", 1),), limit=40)
    page = await store.find(find, EVERYTHING)
    assert ids(page) == [f"{number:02}" for number in range(40)]
    assert all(len(one.raw) > len(text) for one in page)
    assert len(await store.read_many("Organization", ids(page), EVERYTHING)) == 40
    assert await store.transact(lambda transaction: transaction.find(find, EVERYTHING)) == page


async def test_counts_are_exact_and_end_at_their_cap(store: MongoStore) -> None:
    await put(store, *[a_draft(id=str(number), keys=["all", f"odd{number % 2}"]) for number in range(10)])
    await remove(store, "Organization", "0")
    assert await store.count("Organization", {}, EVERYTHING) == 9
    assert await store.count("Organization", {"k": "odd1"}, EVERYTHING) == 5
    assert await store.count("Organization", {"$and": [{"k": "all"}, {"k": "odd0"}]}, EVERYTHING) == 4
    assert await store.count("Organization", {"k": "all"}, EVERYTHING, cap=3) == 3


async def test_a_walk_tells_every_live_resource_once_in_the_order_of_ids(store: MongoStore) -> None:
    await put(store, *[a_draft(id=f"{number:03}") for number in range(450)])
    await remove(store, "Organization", "100")
    walked = [one.id async for one in store.walk("Organization", EVERYTHING, raw=False)]
    assert walked == [f"{number:03}" for number in range(450) if number != 100]


async def test_a_walk_goes_on_past_what_is_written_and_deleted_meanwhile(store: MongoStore) -> None:
    await put(store, *[a_draft(id=f"{number:03}") for number in range(250)])
    walked = []
    async for one in store.walk("Organization", EVERYTHING):
        walked.append(one.id)
        if one.id == "010":
            await put(store, a_draft(id="000", name="edited"), a_draft(id="999"))
            await remove(store, "Organization", "240")
    assert walked == [f"{number:03}" for number in range(250) if number != 240] + ["999"]


async def test_a_search_over_the_time_limit_is_refused_with_the_limit(
    store: MongoStore, mongodb: Server, failpoints: Any
) -> None:
    await put(store, a_draft(keys=["k"]))
    with failpoints("maxTimeAlwaysTimeOut"):
        for attempt in (
            store.find(Find("Organization", {"k": "k"}), EVERYTHING),
            store.find(Find("Organization", {}, (("x.aa", 1),)), EVERYTHING),
            store.count("Organization", {"k": "k"}, EVERYTHING),
            store.read("Organization", "1", EVERYTHING),
            store.history(HistoryQuery(), EVERYTHING),
        ):
            with pytest.raises(FhirError) as refused:
                await attempt
            assert refused.value.kind is Kind.TOO_COSTLY
            assert "20 seconds" in refused.value.diagnostics


@pytest.mark.parametrize(
    ("find", "index"),
    [
        (Find("Organization", {"k": "k1"}), "k: 1"),
        (Find("Organization", {"k": {"$in": ["k1", "k2"]}}), "k: 1"),
        (Find("Organization", {}), "o: -1"),
        (Find("Organization", {"k": {"$nin": ["k1"]}}, hint=INDEX_ORDER), "o: -1"),
        (Find("Organization", {"u": {"$gte": 5}}, (("u", -1), ("_id", -1))), "u: 1"),
    ],
)
async def test_a_page_examines_no_more_documents_than_it_gives(
    store: MongoStore, mongodb: Server, database_name: str, find: Find, index: str
) -> None:
    await put(store, *[a_draft(id=f"o{number}", keys=[f"k{number % 3}"], order=number) for number in range(300)])
    database = mongodb[database_name]
    database.command("profile", 2)
    page = await store.find(find, EVERYTHING)
    database.command("profile", 0)
    (told,) = database["system.profile"].find({"op": "query", "ns": f"{database_name}.Organization"})
    assert len(page) == 20
    assert told["docsExamined"] <= 30
    assert told["planSummary"].startswith(f"IXSCAN {{ {index}")


@pytest.mark.parametrize(
    ("filter", "cap", "weight"),
    [
        ({"k": "k0"}, 1000, 100),
        ({"k": "k0"}, 30, 30),
        ({"k": {"$in": ["k0", "k1"]}}, 1000, 200),
        ({"k": {"$elemMatch": {"$gte": "k", "$lt": "l"}}}, 30, 30),
        ({"k": {"$elemMatch": {"$gte": "k0", "$lt": "k1"}}}, 100, 100),
        ({"k": {"$elemMatch": {"$gte": "k0", "$lt": "k0"}}}, 100, 0),
        ({"o": {"$gte": 200 << 30, "$lt": 300 << 30}}, 1000, 100),
        ({}, 1000, 300),
    ],
)
async def test_the_length_of_a_list_of_the_index_is_told_up_to_a_cap(
    store: MongoStore, filter: Filter, cap: int, weight: int
) -> None:
    await put(store, *[a_draft(id=f"o{number}", keys=[f"k{number % 3}"], order=number) for number in range(300)])
    assert await store.weigh("Organization", filter, cap) == weight
    assert await store.weigh("Organization", filter, 10) == min(weight, 10)


async def test_a_sample_tells_which_of_two_long_lists_is_the_longer_one(store: MongoStore) -> None:
    await put(store, *[a_draft(id=f"o{number}", keys=["k", f"k{number % 10 // 9}"]) for number in range(300)])
    assert await store.sampled("Organization", {"k": "k"}) == 100
    assert await store.sampled("Organization", {"k": "k0"}) > await store.sampled("Organization", {"k": "k1"})
    assert await store.sampled("Patient", {"k": "k0"}) == 0


async def test_a_weight_may_be_old_and_only_a_higher_cap_asks_again(store: MongoStore) -> None:
    await put(store, *[a_draft(id=f"o{number}", keys=["k"]) for number in range(5)])
    assert await store.weigh("Organization", {"k": "k"}, 3) == 3
    assert await store.weigh("Organization", {"k": "k"}, 10) == 5
    await put(store, a_draft(id="another", keys=["k"]))
    assert await store.weigh("Organization", {"k": "k"}, 10) == 5


async def test_no_hint_stands_in_the_way_of_a_search_before_the_indexes_are_built(store: MongoStore) -> None:
    async with store.bulk_load() as put_off:
        assert put_off
        await put(store, a_draft(keys=["k"]))
        assert ids(await store.find(Find("Organization", {"k": "k"}, hint=INDEX_KEYS), EVERYTHING)) == ["1"]
        assert await store.weigh("Organization", {"k": "k"}, 10) == 10


async def test_a_collection_that_another_process_has_made_without_its_indexes_is_searched(
    store: MongoStore, mongodb: Server, database_name: str
) -> None:
    mongodb[database_name].create_collection("Organization")
    by_key = Find("Organization", {"k": "k"}, hint=INDEX_KEYS)
    span: Filter = {"k": {"$elemMatch": {"$gte": "k", "$lt": "l"}}}
    assert await store.find(by_key, EVERYTHING) == []
    assert await store.weigh("Organization", span, 10) == 10

    async def look_and_write(transaction: Transaction) -> list[Stored]:
        found = await transaction.find(by_key, EVERYTHING)
        await transaction.apply([Put(a_draft("Patient"))])
        return found

    assert await store.transact(look_and_write) == []
    assert INDEX_KEYS in mongodb[database_name]["Organization"].index_information()
    assert await store.read("Patient", "1", EVERYTHING) is not None


async def test_an_index_that_is_gone_is_not_waited_for(store: MongoStore, mongodb: Server, database_name: str) -> None:
    await put(store, a_draft(keys=["k"]))
    mongodb[database_name]["Organization"].drop_index(INDEX_KEYS)
    by_key = Find("Organization", {"k": "k"}, hint=INDEX_KEYS)
    assert ids(await store.find(by_key, EVERYTHING)) == ["1"]
    with pytest.raises(FhirError) as refused:
        await store.transact(lambda transaction: transaction.find(by_key, EVERYTHING))
    assert refused.value.kind is Kind.UNEXPECTED


async def test_an_index_by_ward_is_made_of_what_is_there_and_walked_for_a_view_of_one_ward(
    settings: Settings, mongodb: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyed = [
        a_draft(id=f"{ward}-{key}", keys=[key], narrowing=Narrowing(ward=ward)) for ward in ("1", "2") for key in "ab"
    ]
    before = await open_store(str(settings.mongodb_uri), settings)
    await put(before, *keyed, a_draft(id="nowhere", keys=["a"]))
    await before.close()
    store = await open_store(str(settings.mongodb_uri), settings.model_copy(update={"ward_index": True}))
    view = View({"Organization": {"$and": [{"$and": [{"w": "1"}, {"s": 0}]}, {"c": 0}]}})
    assert ids(await store.find(Find("Organization", {"k": "a"}, hint=INDEX_KEYS), view)) == ["1-a"]
    assert ids(await store.find(Find("Organization", {"k": "a"}, hint=INDEX_KEYS), View(otherwise=NOTHING))) == []
    either = View({"Organization": {"$or": [{"w": "1"}, {"w": "2"}]}})
    found = await store.find(Find("Organization", {"k": "a"}, hint=INDEX_KEYS), either)
    assert sorted(ids(found)) == ["1-a", "2-a"]
    stats = mongodb[database_name]["Organization"].aggregate([{"$indexStats": {}}])
    assert {one["name"]: one["accesses"]["ops"] for one in stats}["ward"] == 1
    # Only what is met in the ward counts against a bound.
    assert await store.weigh("Organization", {"k": "a"}, 10, view) == 1
    assert await store.weigh("Organization", {"k": "a"}, 10) == 3
    monkeypatch.setattr(reads, "QUICK_MS", 0)
    either = {"k": {"$in": ["a", "b"]}}
    assert sorted(ids(await store.find(_bound(either, 3), view))) == ["1-a", "1-b"]
    with pytest.raises(FhirError, match="looked at 2"):
        await store.find(_bound(either, 2), view)
    await store.close()


async def test_a_bound_holds_in_a_transaction_and_from_the_start(store: MongoStore) -> None:
    await put(store, *(a_draft(id=f"{number}", keys=["k"]) for number in range(5)))
    find = _bound({"k": "k"}, 5)
    assert len(await store.transact(lambda transaction: transaction.find(replace(find, limit=3), EVERYTHING))) == 3
    with pytest.raises(FhirError, match="looked at 5") as refused:
        await store.transact(lambda transaction: transaction.find(find, EVERYTHING))
    assert refused.value.kind is Kind.TOO_COSTLY


def _bound(filter: Filter, most: int) -> Find:
    return Find("Organization", filter, hint=INDEX_KEYS, bound=Bound(filter, most))
