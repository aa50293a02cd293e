"""$records-changed: each person who changed comes once, in the order of commits, and nothing is missed."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from fhir_server.model.resources import encode
from tests.api.conftest import Client


def person(number: int, name: str = "Nguyễn Văn An", **more: Any) -> dict[str, Any]:
    return {
        "ma_ho_so": str(number),
        "ma_cskcb": "38901",
        "ngay_cap_nhat": "2026-06-30",
        "hanh_chinh": {"ho_ten": name, "ngay_sinh": "1985", "gioi_tinh": "1", "so_dinh_danh": f"0380859{number:05d}"},
        **more,
    }


async def send(client: Client, *records: dict[str, Any]) -> None:
    answer = await client.http.post(
        "/records", content=encode(list(records)), headers={"content-type": "application/json"}
    )
    assert answer.json()["stored"] == len(records), answer.text


async def changed(client: Client, query: str = "") -> dict[str, Any]:
    """A page, after the follower has told what was committed before."""
    await settled(client)
    answer = await client.get(f"$records-changed{query}")
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def settled(client: Client) -> None:
    """Waits until the follower of the application has numbered what was written: a marker written last is told."""
    answer = await client.get("$records-changed?_since=2099-01-01T00:00:00Z")
    while answer.status_code == 503:  # the application has only just begun
        await asyncio.sleep(0.05)
        answer = await client.get("$records-changed?_since=2099-01-01T00:00:00Z")
    since = token(answer.json())
    marker = await client.created({"resourceType": "Patient", "name": [{"text": "marker"}]})
    while True:
        page = (await client.get(f"$records-changed?_since={since}&_count=1000")).json()
        since = token(page)
        if f"Patient/{marker['id']}" in [entry["request"]["url"] for entry in page.get("entry", ())]:
            return
        await asyncio.sleep(0.02)


def people(page: dict[str, Any]) -> list[str]:
    """Names of the Patients in the order they are told."""
    resources = [entry.get("resource", {}) for entry in page.get("entry", ())]
    return [one["name"][0]["text"] for one in resources if one.get("resourceType") == "Patient"]


def token(page: dict[str, Any]) -> str:
    return str(page["identifier"]["value"])


async def test_each_person_comes_once_at_the_last_change(client: Client) -> None:
    since = token(await changed(client))
    await send(client, person(1, "Một"), person(2, "Hai"))
    await send(client, person(1, "Một mới"))
    page = await changed(client, f"?_since={since}")
    names = [name for name in people(page) if name != "marker"]
    assert sorted(names) == ["Hai", "Một mới"]
    assert names[-1] == "Một mới"
    assert [name for name in people(await changed(client, f"?_since={token(page)}")) if name != "marker"] == []


async def test_the_basic_group_of_a_person_is_a_transaction_that_another_server_can_take(client: Client) -> None:
    since = token(await changed(client))
    history = {"di_ung": [{"loai": "1", "ten": "Penicillin"}], "benh_tat": [{"ten_benh": "Tăng huyết áp"}]}
    await send(client, person(1, tien_su=history))
    page = await changed(client, f"?_since={since}")
    types = {entry["request"]["url"].split("/")[0] for entry in page["entry"]}
    assert {"Patient", "AllergyIntolerance", "Condition"} <= types
    posted = await client.send("POST", "", {key: page[key] for key in ("resourceType", "type", "entry")})
    assert posted.status_code == 200, posted.text


async def test_what_is_gone_is_told_as_a_deletion(client: Client) -> None:
    await send(client, person(1, tien_su={"di_ung": [{"loai": "1", "ten": "Penicillin"}]}))
    since = token(await changed(client))
    allergy = (await client.get("AllergyIntolerance")).json()["entry"][0]["resource"]["id"]
    await client.send("DELETE", f"AllergyIntolerance/{allergy}")
    page = await changed(client, f"?_since={since}")
    deleted = [entry["request"]["url"] for entry in page["entry"] if entry["request"]["method"] == "DELETE"]
    assert f"AllergyIntolerance/{allergy}" in deleted
    lines = await ndjson(client, f"?_since={since}&format=basic")
    assert [line["record"]["hanh_chinh"]["ho_ten"] for line in lines if "record" in line][:1] == ["Nguyễn Văn An"]


async def test_who_is_joined_into_another_and_taken_out_again_is_told_once_each_by_the_right_id(client: Client) -> None:
    history = {"di_ung": [{"loai": "1", "ten": "Penicillin"}]}
    await send(client, person(71, "Một", tien_su=history), person(72, "Hai"))  # of no other test
    found = {one["resource"]["name"][0]["text"]: one["resource"]["id"] for one in await listed(client, "Patient")}
    source, target = found["Một"], found["Hai"]
    (allergy,) = [one["resource"]["id"] for one in await listed(client, "AllergyIntolerance")]
    since = token(await changed(client))
    for operation, patient in (("merge", target), ("unmerge", source)):
        await client.send(
            "POST", f"Patient/${operation}", joining(source, *(() if operation == "unmerge" else (target,)))
        )
        page = await changed(client, f"?_since={since}")
        urls = [entry["request"]["url"] for entry in page["entry"]]
        told = {entry["request"]["url"]: entry.get("resource", {}) for entry in page["entry"]}
        assert len(urls) == len(told)
        assert {f"Patient/{source}", f"Patient/{target}", f"AllergyIntolerance/{allergy}"} <= told.keys()
        assert told[f"AllergyIntolerance/{allergy}"]["patient"]["reference"] == f"Patient/{patient}"
        lines = {
            line["patient"]: line for line in await ndjson(client, f"?_since={since}&format=basic") if "patient" in line
        }
        assert ("replaced_by" in lines[source], "record" in lines[target]) == (operation == "merge", True)
        since = token(page)
    assert "record" in lines[source]


async def listed(client: Client, type: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = (await client.get(f"{type}?_count=100")).json()["entry"]
    return entries


def joining(source: str, *target: str) -> dict[str, Any]:
    named = zip(("source-patient", "target-patient"), (source, *target), strict=False)
    rows = [{"name": name, "valueReference": {"reference": f"Patient/{id}"}} for name, id in named]
    return {"resourceType": "Parameters", "parameter": rows}


async def ndjson(client: Client, query: str) -> list[dict[str, Any]]:
    import json

    answer = await client.get(f"$records-changed{query}")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_pages_lead_on_to_everybody_and_then_to_changes(client: Client) -> None:
    await send(client, *(person(number, f"Người {number}") for number in range(7)))
    page = await changed(client, "?_count=3")
    seen = people(page)
    while "link" in page:
        (next_link,) = page["link"]
        answer = await client.http.get(httpx.URL(next_link["url"]).raw_path.decode())
        page = answer.json()
        seen += people(page)
    assert sorted(name for name in set(seen) if name != "marker") == [f"Người {number}" for number in range(7)]


async def test_nothing_is_missed_while_others_write(client: Client) -> None:
    since = token(await changed(client))
    seen: set[str] = set()
    done = asyncio.Event()

    async def write(writer: int) -> None:
        for number in range(6):
            await send(client, person(writer * 100 + number, f"{writer} {number}"))

    async def read() -> None:
        nonlocal since
        while not done.is_set():
            page = (await client.get(f"$records-changed?_since={since}&_count=5")).json()
            seen.update(people(page))
            since = token(page)
            await asyncio.sleep(0.02)

    reading = asyncio.create_task(read())
    await asyncio.gather(*(write(writer) for writer in range(3)))
    await settled(client)
    done.set()
    await reading
    for _ in range(10):
        page = (await client.get(f"$records-changed?_since={since}&_count=1000")).json()
        seen.update(people(page))
        since = token(page)
    assert {f"{writer} {number}" for writer in range(3) for number in range(6)} <= seen


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?_since=yesterday", 400),
        ("?_since=00000000.5", 410),
        ("?_count=0", 400),
        ("?_count=9999", 400),
        ("?format=word", 400),
        ("?colour=red", 400),
        ("?_since=2099-01-01T00:00:00%2B07:00", 200),
        ("?_since=2001-01-01", 200),
    ],
)
async def test_what_makes_no_sense_is_refused(client: Client, query: str, status: int) -> None:
    await settled(client)
    assert (await client.get(f"$records-changed{query}")).status_code == status


async def test_a_token_tells_nothing_of_how_much_has_changed_and_counts_only_as_it_was_given(client: Client) -> None:
    first = token(await changed(client, "?_count=1"))
    second = token(await changed(client))
    assert len(first) == len(second)
    assert second.startswith("c_")
    broken = second[:-6] + ("AAAAAA" if second[-6:] != "AAAAAA" else "BBBBBB")
    assert (await client.get(f"$records-changed?_since={broken}")).status_code == 400
