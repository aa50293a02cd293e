"""Code systems kept as tables: nobody sees one that is not whole, and what is asked of one never mixes with another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fhir_server.errors import FhirError, Kind
from fhir_server.store.mongo import MongoStore
from fhir_server.store.table_contract import ABOVE, WORDS, Row, beginning_with, with_codes

URL = "urn:test:CodeSystem:letters"


def a_head(version: str = "1", **changes: Any) -> dict[str, Any]:
    return {"resourceType": "CodeSystem", "url": URL, "version": version, "status": "active", **changes}


def rows(*codes: str) -> list[Row]:
    """A chain: each stands below the one before."""
    return [
        Row(
            code, f"Chữ {code}", parents=codes[place - 1 : place], above=codes[: place + 1], words=("chu", code.lower())
        )
        for place, code in enumerate(codes)
    ]


async def a_table(store: MongoStore, head: dict[str, Any], *codes: str, digest: str = "x") -> int:
    number, _ = await store.tables.begin(head, digest)
    await store.tables.write(number, rows(*codes))
    await store.tables.finish(number, len(codes))
    return number


async def test_a_table_is_seen_when_it_is_whole(store: MongoStore) -> None:
    number, last = await store.tables.begin(a_head(), "digest")
    assert last == ""
    await store.tables.write(number, rows("A", "B"))
    assert await store.tables.ready() == []
    await store.tables.finish(number, 2)
    (table,) = await store.tables.ready()
    assert (table.number, table.head["url"], table.digest, table.count) == (number, URL, "digest", 2)


async def test_filling_goes_on_behind_the_last_code_and_what_is_there_is_not_written_twice(store: MongoStore) -> None:
    number, _ = await store.tables.begin(a_head(), "digest")
    await store.tables.write(number, rows("A", "B"))
    again, last = await store.tables.begin(a_head(), "digest")
    assert (again, last) == (number, "B")
    await store.tables.write(number, rows("A", "B", "C")[1:])
    assert await store.tables.count(number, {}) == 3


async def test_a_file_that_has_changed_is_begun_anew_and_takes_the_place_of_the_one_before(store: MongoStore) -> None:
    old = await a_table(store, a_head(), "A", "B")
    new, last = await store.tables.begin(a_head(), "other")
    assert new != old
    assert last == ""
    await store.tables.write(new, rows("C"))
    assert [table.number for table in await store.tables.ready()] == [old]
    await store.tables.finish(new, 1)
    assert [table.number for table in await store.tables.ready()] == [new]
    assert await store.tables.count(old, {}) == 0


async def test_what_was_begun_before_another_file_does_not_take_its_place(store: MongoStore) -> None:
    (old, _), (new, _) = [await store.tables.begin(a_head(), digest) for digest in ("a", "b")]
    await store.tables.write(new, rows("A", "B"))
    await store.tables.finish(new, 2)
    with pytest.raises(FhirError) as refused:
        await store.tables.finish(old, 1)
    assert refused.value.kind is Kind.CONFLICT
    assert [table.number for table in await store.tables.ready()] == [new]
    assert await store.tables.count(new, {}) == 2


async def test_versions_are_kept_apart_and_removed_apart(store: MongoStore) -> None:
    one, two = await a_table(store, a_head("1"), "A", "B"), await a_table(store, a_head("2"), "B")
    assert set(await store.tables.rows(one, ["A", "B", "C"])) == {"A", "B"}
    assert set(await store.tables.rows(two, ["A", "B"])) == {"B"}
    await store.tables.remove(one)
    assert [table.number for table in await store.tables.ready()] == [two]
    assert (await store.tables.count(one, {}), await store.tables.count(two, {})) == (0, 1)


async def test_the_first_table_does_not_read_the_rows_of_the_tenth(store: MongoStore) -> None:
    numbers = [await a_table(store, a_head(str(version)), f"X{version}") for version in range(12)]
    for version, number in enumerate(numbers):
        assert await store.tables.codes(number, {}, "", 10) == [(f"X{version}", f"Chữ X{version}")]
        assert await store.tables.codes(number, beginning_with(number, "X"), "", 10) == [
            (f"X{version}", f"Chữ X{version}")
        ]


async def test_rows_come_back_as_they_were_and_by_page_in_the_order_of_their_codes(store: MongoStore) -> None:
    number, _ = await store.tables.begin(a_head(), "digest")
    whole = Row("A", "Chữ A", True, True, ("P",), ("A", "P"), ("chu",), ("kind=vowel",), b'{"definition":"a"}')
    await store.tables.write(number, [whole, *rows("B", "C", "D")])
    assert await store.tables.rows(number, ["A"]) == {"A": whole}
    assert [row.code for row in await store.tables.page(number, {}, 1, 2)] == ["B", "C"]
    assert [row.code for row in await store.tables.page(number, {ABOVE: "B"}, 1, 9)] == ["C", "D"]
    assert [code for code, _ in await store.tables.codes(number, {}, "B", 9)] == ["C", "D"]
    assert await store.tables.count(number, {WORDS: "chu"}) == 4
    assert await store.tables.count(number, with_codes(number, ["A", "Z"])) == 1


async def test_every_process_sees_that_terminology_has_changed(store: MongoStore) -> None:
    before = await store.tables.generation()
    await store.tables.announce()
    assert await store.tables.generation() > before


async def test_the_removal_that_was_cut_off_is_ended_later(store: MongoStore) -> None:
    number = await a_table(store, a_head(), "A")
    await store._database["code_tables"].update_one({"_id": number}, {"$set": {"state": "removing"}})
    assert await store.tables.ready() == []
    await store.tables.sweep()
    assert await store.tables.count(number, {}) == 0


async def test_what_two_processes_note_as_published_at_once_is_all_noted(store: MongoStore) -> None:
    names = [f"CodeSystem/{number}" for number in range(8)]
    await asyncio.gather(*[store.tables.note_published({name: (1, "old")}) for name in names])
    await store.tables.note_published({names[0]: (2, "new")})
    assert await store.tables.published() == dict.fromkeys(names, (1, "old")) | {names[0]: (2, "new")}
