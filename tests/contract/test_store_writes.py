"""Promises of the store about writing: versions, times, compare-and-set, deletions, limits."""

from __future__ import annotations

from decimal import Decimal
from itertools import count

import pytest

from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Digits, decode
from fhir_server.store.contract import Transaction
from fhir_server.store.mongo import MongoStore, open_store
from fhir_server.store.values import EVERYTHING, Find, HistoryQuery, Put, Remove, Stored
from tests.contract.drafts import a_draft, apply, put, remove


async def versions(store: MongoStore, type: str = "Organization", id: str = "1") -> list[Stored]:
    return await store.history(HistoryQuery(type, id, limit=100), EVERYTHING)


async def test_a_new_resource_has_version_1_and_is_read_as_the_bytes_that_were_told(store: MongoStore) -> None:
    (written,) = await put(store, a_draft(name="Trạm y tế"), method="POST")
    assert (written.created, written.changed, written.stored.version) == (True, True, 1)
    read = await store.read("Organization", "1", EVERYTHING)
    assert read is not None
    assert (read.raw, read.method, read.updated) == (written.stored.raw, "POST", written.stored.updated)
    body = decode(read.raw)
    assert body["meta"]["versionId"] == "1"
    assert body["name"] == "Trạm y tế"


async def test_decimals_and_odd_field_names_come_back_digit_for_digit(store: MongoStore) -> None:
    sent = {"$where": {"a.b": [Digits("1.10"), Digits("1e2")]}, "": "\x00", "long": 1 << 70}
    await put(store, a_draft(extra=sent))
    read = await store.read("Organization", "1", EVERYTHING)
    assert read is not None
    assert b'{"$where":{"a.b":[1.10,1e2]}' in read.raw
    assert decode(read.raw)["extra"] == {**sent, "$where": {"a.b": [Decimal("1.10"), Decimal("1e2")]}}


async def test_an_update_makes_the_next_version_and_keeps_the_old_one(store: MongoStore) -> None:
    (first,) = await put(store, a_draft(name="A"), method="POST")
    (second,) = await put(store, a_draft(name="B"))
    assert (second.created, second.changed, second.stored.version) == (False, True, 2)
    assert await store.vread("Organization", "1", 1, EVERYTHING) == Stored(
        "Organization", "1", 1, first.stored.updated, first.stored.raw, method="POST", created=True
    )
    assert [(one.version, one.method) for one in await versions(store)] == [(2, "PUT"), (1, "POST")]


async def test_last_updated_grows_with_each_version_though_the_clock_stands_or_goes_back(settings: Settings) -> None:
    times = count(1_800_000_000_000, -5)
    store = await open_store(str(settings.mongodb_uri), settings, clock=lambda: next(times))
    try:
        for number in range(4):
            await put(store, a_draft(value=number))
        assert [one.updated for one in await versions(store)] == [1_800_000_000_000 + step for step in (3, 2, 1, 0)]
    finally:
        await store.close()


async def test_identical_content_makes_no_new_version(store: MongoStore) -> None:
    (first,) = await put(store, a_draft(name="A", active=True, meta={"tag": [{"code": "x"}]}))
    same = {
        "meta": {"versionId": "77", "lastUpdated": "2001-01-01", "tag": [{"code": "x"}]},
        "active": True,
        "name": "A",
    }
    (second,) = await put(store, a_draft(**same))
    assert (second.created, second.changed) == (False, False)
    assert second.stored == first.stored
    assert len(await versions(store)) == 1


async def test_identical_content_takes_new_search_keys_without_a_new_version(store: MongoStore) -> None:
    await put(store, a_draft(name="A", keys=["old"]))
    (second,) = await put(store, a_draft(name="A", keys=["new"], sort={"aa": ["x", "y"]}))
    assert (second.changed, second.stored.version) == (False, 1)
    assert await store.find(Find("Organization", {"k": "old"}), EVERYTHING) == []
    (found,) = await store.find(Find("Organization", {"k": "new"}, want_sort=True, want_keys=True), EVERYTHING)
    assert (found.sort, found.keys, found.version) == ({"aa": ["x", "y"]}, ("new",), 1)


@pytest.mark.parametrize(("expected", "stored_versions"), [(0, 1), (2, 1), (1, 0), (1, 2)])
async def test_a_put_that_expects_another_version_is_refused(
    store: MongoStore, expected: int, stored_versions: int
) -> None:
    for number in range(stored_versions):
        await put(store, a_draft(value=number))
    with pytest.raises(FhirError) as refused:
        await put(store, a_draft(name="other"), expected=expected)
    assert refused.value.kind is Kind.PRECONDITION
    assert len(await versions(store)) == stored_versions


async def test_a_put_that_expects_the_current_version_is_taken(store: MongoStore) -> None:
    await put(store, a_draft(name="A"), expected=0)
    (second,) = await put(store, a_draft(name="B"), expected=1)
    assert second.stored.version == 2


async def test_a_deletion_leaves_a_tombstone_that_is_read_and_never_found(store: MongoStore) -> None:
    await put(store, a_draft(keys=["k"], order=5))
    gone = await remove(store, "Organization", "1")
    assert (gone.changed, gone.stored.deleted, gone.stored.version, gone.stored.raw) == (True, True, 2, b"")
    read = await store.read("Organization", "1", EVERYTHING)
    assert read is not None
    assert (read.deleted, read.version, read.method) == (True, 2, "DELETE")
    for filter in (
        {},
        {"k": "k"},
        {"k": {"$nin": ["z"]}},
        {"_id": "1"},
        {"u": {"$gt": 0}},
        {"$or": [{"k": {"$ne": 1}}]},
    ):
        assert await store.find(Find("Organization", filter, sort=(("_id", 1),)), EVERYTHING) == []
        assert await store.count("Organization", filter, EVERYTHING) == 0


async def test_deleting_what_is_absent_or_deleted_writes_nothing(store: MongoStore) -> None:
    absent = await remove(store, "Organization", "1")
    assert (absent.changed, absent.stored.version, absent.stored.deleted) == (False, 0, True)
    assert await store.read("Organization", "1", EVERYTHING) is None
    await put(store, a_draft())
    await remove(store, "Organization", "1")
    assert not (await remove(store, "Organization", "1")).changed
    assert len(await versions(store)) == 2


async def test_a_delete_that_expects_another_version_is_refused(store: MongoStore) -> None:
    await put(store, a_draft())
    with pytest.raises(FhirError) as refused:
        await remove(store, "Organization", "1", expected=4)
    assert refused.value.kind is Kind.PRECONDITION
    assert (await remove(store, "Organization", "1", expected=1)).changed


async def test_a_put_after_a_deletion_goes_on_with_version_and_history(store: MongoStore) -> None:
    await put(store, a_draft(name="A"))
    await remove(store, "Organization", "1")
    (again,) = await put(store, a_draft(name="A"), expected=0)
    assert (again.created, again.stored.version) == (True, 3)
    assert [(one.version, one.deleted) for one in await versions(store)] == [(3, False), (2, True), (1, False)]


async def test_one_refused_op_leaves_nothing_of_the_others(store: MongoStore) -> None:
    await put(store, a_draft(id="old"))
    with pytest.raises(FhirError):
        await apply(
            store,
            Put(a_draft(id="new")),
            Put(a_draft("Location", "new")),
            Remove("Organization", "old"),
            Put(a_draft(id="other"), expected=3),
        )
    assert await store.read_many("Organization", ["new", "other"], EVERYTHING) == {}
    assert await store.read("Location", "new", EVERYTHING) is None
    assert len(await versions(store, id="old")) == 1


async def test_work_that_fails_writes_nothing_and_its_own_error_comes_out(store: MongoStore) -> None:
    async def fails(transaction: Transaction) -> None:
        await transaction.apply([Put(a_draft())])
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await store.transact(fails)
    assert await store.read("Organization", "1", EVERYTHING) is None


async def test_a_transaction_sees_its_own_writes_and_nobody_else_does_before_its_end(store: MongoStore) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.apply([Put(a_draft(keys=["k"]))])
        own = await transaction.read("Organization", "1", EVERYTHING)
        assert own is not None
        assert [one.id for one in await transaction.find(Find("Organization", {"k": "k"}), EVERYTHING)] == ["1"]
        assert await store.read("Organization", "1", EVERYTHING) is None

    await store.transact(work)
    assert await store.read("Organization", "1", EVERYTHING) is not None


async def test_ops_on_one_identity_are_applied_in_their_order(store: MongoStore) -> None:
    written = await apply(
        store, Put(a_draft(name="A")), Remove("Organization", "1"), Put(a_draft(name="B")), Put(a_draft(id="2"))
    )
    assert [one.stored.version for one in written] == [1, 2, 3, 1]
    assert [one.version for one in await versions(store)] == [3, 2, 1]


async def test_outcomes_come_in_the_order_of_the_ops(store: MongoStore) -> None:
    drafts = [a_draft(type, str(number)) for number in (3, 1, 2) for type in ("Organization", "Location")]
    written = await put(store, *drafts)
    assert [(one.stored.type, one.stored.id) for one in written] == [(draft.type, draft.id) for draft in drafts]


async def test_resources_are_ordered_by_their_date_from_before_1970_to_far_ahead(store: MongoStore) -> None:
    seconds = [-10_000_000_000, -2_208_988_800, -1, 0, 1, 1_700_000_000, 253_370_764_800]
    await put(store, *[a_draft(id=str(place), order=second) for place, second in enumerate(seconds)])
    found = await store.find(Find("Organization", {}), EVERYTHING)
    assert [one.id for one in found] == ["6", "5", "4", "3", "2", "1", "0"]
    assert [one.order for one in found] == sorted((one.order for one in found), reverse=True)


async def test_without_a_date_the_first_created_comes_first_and_an_update_does_not_move_it(
    settings: Settings,
) -> None:
    times = count(1_800_000_000_000, 1000)
    store = await open_store(str(settings.mongodb_uri), settings, clock=lambda: next(times))
    try:
        for id in ("a", "b", "c"):
            await put(store, a_draft(id=id))
        before = await store.read("Organization", "a", EVERYTHING)
        await put(store, a_draft(id="a", name="changed"))
        after = await store.read("Organization", "a", EVERYTHING)
        assert before is not None
        assert after is not None
        assert after.order == before.order
        await put(store, a_draft(id="dated", order=-10_000_000_000))
        found = await store.find(Find("Organization", {}, (("o", 1),)), EVERYTHING)
        assert [one.id for one in found] == ["a", "b", "c", "dated"]
    finally:
        await store.close()


async def test_a_resource_over_15_mib_is_refused_with_the_limit_before_anything_is_written(store: MongoStore) -> None:
    with pytest.raises(FhirError) as refused:
        await put(store, a_draft(id="small"), a_draft(id="large", text="x" * (15 << 20)))
    assert refused.value.kind is Kind.TOO_LONG
    assert "15 MiB" in refused.value.diagnostics
    assert await store.read_many("Organization", ["small", "large"], EVERYTHING) == {}


async def test_a_resource_just_below_15_mib_has_versions_like_any_other(store: MongoStore) -> None:
    large = "x" * ((15 << 20) - 500)
    await put(store, a_draft(text=large))
    (second,) = await put(store, a_draft(text=large, active=True))
    assert second.stored.version == 2
    first = await store.vread("Organization", "1", 1, EVERYTHING)
    assert first is not None
    assert len(first.raw) > 15_700_000


@pytest.mark.parametrize("id", ["", "a b", "ä", "x" * 65, "a/b", "\x00", "\ud800"])
async def test_an_id_that_r4_does_not_allow_is_refused_and_never_found(store: MongoStore, id: str) -> None:
    with pytest.raises(FhirError) as refused:
        await put(store, a_draft(id=id))
    assert refused.value.kind is Kind.VALUE
    assert await store.read("Organization", id, EVERYTHING) is None
    assert await store.vread("Organization", id, 1, EVERYTHING) is None
    assert await versions(store, id=id) == []


@pytest.mark.parametrize("type", ["registry", "Patient_history", "system.users", "", "A", "$cmd", "Patient.x"])
async def test_no_collection_but_those_of_resource_types_can_be_named(store: MongoStore, type: str) -> None:
    for attempt in (
        put(store, a_draft(type)),
        store.read(type, "schema", EVERYTHING),
        store.find(Find(type, {}), EVERYTHING),
        store.count(type, {}, EVERYTHING),
        store.history(HistoryQuery(type), EVERYTHING),
    ):
        with pytest.raises(FhirError) as refused:
            await attempt
        assert refused.value.kind is Kind.UNKNOWN_TYPE


async def test_search_keys_that_are_no_text_are_refused(store: MongoStore) -> None:
    with pytest.raises(FhirError) as refused:
        await put(store, a_draft(keys=["\ud800"]))
    assert refused.value.kind is Kind.VALUE
