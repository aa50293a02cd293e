"""Promises of what is kept beside the resources for a day: answers to requests sent again, and deferred requests."""

from __future__ import annotations

import asyncio

import pytest

from fhir_server.errors import FhirError, Kind
from fhir_server.store.answers import PART_BYTES
from fhir_server.store.contract import Transaction
from fhir_server.store.mongo import MongoStore
from fhir_server.store.values import EVERYTHING, Put
from tests.contract.conftest import FailPoints
from tests.contract.drafts import a_draft

LEASE = 30.0


async def once(store: MongoStore, id: str, key: str) -> bytes:
    """Creates a resource and answers with its id, once for each key."""

    async def work(transaction: Transaction) -> bytes:
        before = await transaction.answered(key)
        if before is not None:
            return before
        await transaction.apply([Put(a_draft(id=id), 0)])
        await transaction.keep_answer(key, id.encode())
        return id.encode()

    return await store.transact(work)


async def test_of_many_transactions_with_one_key_one_writes_and_all_get_its_answer(store: MongoStore) -> None:
    answers = await asyncio.gather(*[once(store, f"o{number}", "key") for number in range(16)])
    assert len(set(answers)) == 1
    assert await store.count("Organization", {}, EVERYTHING) == 1


async def test_an_answer_is_kept_only_when_its_transaction_commits(store: MongoStore) -> None:
    async def undone(transaction: Transaction) -> None:
        assert await transaction.answered("key") is None
        await transaction.keep_answer("key", b"answer")
        raise FhirError(Kind.CONFLICT, "undone")

    with pytest.raises(FhirError, match="undone"):
        await store.transact(undone)
    assert await once(store, "o1", "key") == b"o1"


async def test_an_answer_longer_than_a_document_comes_back_whole(store: MongoStore) -> None:
    long = bytes(range(256)) * (PART_BYTES // 128)

    async def keep(transaction: Transaction) -> None:
        await transaction.keep_answer("key", long)

    await store.transact(keep)
    assert await store.transact(lambda transaction: transaction.answered("key")) == long


async def test_whoever_comes_first_is_agreed_with_by_all(store: MongoStore) -> None:
    told = await asyncio.gather(*[store.agree("key", str(number).encode()) for number in range(16)])
    assert len(set(told)) == 1
    assert await store.agree("other", b"mine") == b"mine"


async def test_a_deferred_request_is_leased_to_one_owner_and_settled_by_it(store: MongoStore) -> None:
    await store.defer("1", "an", b"request")
    leases = await asyncio.gather(*[store.lease("1", f"owner {number}", LEASE) for number in range(8)])
    assert sorted(lease is not None for lease in leases) == [False] * 7 + [True]
    owner = f"owner {leases.index(b'request')}"
    waiting = await store.deferred("1", "an")
    assert waiting is not None
    assert (waiting.done, waiting.held, waiting.answer) == (False, True, None)
    await store.settle("1", "somebody else", b"wrong")
    await store.settle("1", owner, b"answer")
    settled = await store.deferred("1", "an")
    assert settled is not None
    assert (settled.done, settled.answer) == (True, b"answer")
    assert await store.lease("1", owner, LEASE) is None


async def test_a_lease_that_ran_out_can_be_taken_by_another_owner(store: MongoStore) -> None:
    await store.defer("1", "", b"request")
    assert await store.lease("1", "dead", 0.0) == b"request"
    left = await store.deferred("1", "")
    assert left is not None
    assert not left.held
    assert await store.lease("1", "heir", LEASE) == b"request"
    assert not await store.renew("1", "dead", LEASE)
    assert await store.renew("1", "heir", LEASE)


async def test_a_cancelled_request_is_forgotten_and_its_owner_is_told(store: MongoStore) -> None:
    await store.defer("1", "an", b"request")
    await store.lease("1", "owner", LEASE)
    assert not await store.cancel("1", "somebody else")
    assert await store.cancel("1", "an")
    assert not await store.renew("1", "owner", LEASE)
    await store.settle("1", "owner", b"answer")
    assert await store.deferred("1", "an") is None
    assert not await store.cancel("1", "an")


async def test_a_deferred_request_is_nobody_elses_business(store: MongoStore) -> None:
    await store.defer("1", "an", b"request")
    assert await store.deferred("1", "binh") is None


async def test_what_could_not_be_settled_is_settled_by_the_next_try(store: MongoStore, failpoints: FailPoints) -> None:
    await store.defer("d", "caller", b"request")
    assert await store.lease("d", "owner", 30) == b"request"
    with failpoints("failCommand", failCommands=["update"], errorCode=10107), pytest.raises(FhirError):
        await store.settle("d", "owner", b"first")
    await store.settle("d", "owner", b"second")
    found = await store.deferred("d", "caller")
    assert found is not None
    assert (found.done, found.answer) == (True, b"second")
