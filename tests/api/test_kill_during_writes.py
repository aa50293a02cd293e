"""Kill -9 of mongod and of the server while 32 clients write: what was acknowledged is there, nothing is half there."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import zlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from running_server import PATIENCE, RunningServer, environment, needs_embedded, processes_of, run_here, running_server

from fhir_server.store.embedded import running_uri
from tests.builders import a_bundle, a_condition, a_patient, an_entry
from tests.many_clients import Answer, Caller, at_once, callers, until_all_answer

pytestmark = needs_embedded

KILLS = int(os.environ.get("FHIR_TEST_ROUNDS", "1"))  # of each: mongod and server
CLIENTS, WORKERS = 32, 2
ENOUGH = 10 * CLIENTS  # writes acknowledged before each kill
MARK = "urn:mark"
SHARED = 8  # patients that several clients write in transactions
Identity = tuple[str, str]
VERSION = re.compile(rb'"reference":"([^"]+/_history/[0-9]+)"')


@dataclass
class Ledger:
    """What the clients were told. versions: the bytes of each version, None for a deletion. marks: whether each
    transaction was acknowledged; false is not known."""

    versions: dict[tuple[str, str, int], bytes | None] = field(default_factory=dict)
    marks: dict[str, bool] = field(default_factory=dict)

    def stored(self, body: bytes, resource: dict[str, Any]) -> None:
        """body: the bytes of the answer, in which those of the resource stand."""
        key = (resource["resourceType"], resource["id"], int(resource["meta"]["versionId"]))
        assert key not in self.versions, f"{key} was acknowledged twice"
        self.versions[key] = body


def marked(resource: dict[str, Any], mark: str) -> dict[str, Any]:
    return resource | {"identifier": [{"system": MARK, "value": mark}]}


@dataclass
class Writer:
    """One client. made: ids of the patients that it has created and not deleted."""

    place: int
    ledger: Ledger
    turn: int = 0
    made: list[str] = field(default_factory=list)

    async def write(self, one: Caller) -> None:
        """Its next write. Raises ConnectionError when the server goes away."""
        self.turn += 1
        kinds: list[Callable[[Caller], Awaitable[None]]] = [self.create, self.update, self.transact, self.delete]
        await kinds[self.turn % len(kinds)](one)

    async def create(self, one: Caller) -> None:
        answer = await one.ask("POST", "Patient", a_patient(f"An {self.place} {self.turn}"))
        if answer.status == 201:
            self.ledger.stored(answer.body, answer.json)
            self.made.append(answer.id)
        self.expect(answer, 201)

    async def update(self, one: Caller) -> None:
        id = f"own-{self.place}"
        answer = await one.ask("PUT", f"Patient/{id}", a_patient(f"An {self.turn}", id=id))
        if answer.status in (200, 201):
            self.ledger.stored(answer.body, answer.json)
        self.expect(answer, 200, 201)

    async def delete(self, one: Caller) -> None:
        if not self.made:
            return
        id = self.made.pop()
        answer = await one.ask("DELETE", f"Patient/{id}")
        if answer.status == 204:
            self.ledger.versions["Patient", id, 2] = None
        self.expect(answer, 204)

    async def transact(self, one: Caller) -> None:
        mark, patient = f"{self.place}-{self.turn}", f"shared-{self.place % SHARED}"
        conditions = [marked(a_condition(f"Patient/{patient}"), mark) for _ in range(2)]
        bundle = a_bundle(
            "transaction",
            an_entry("PUT", f"Patient/{patient}", marked(a_patient(id=patient), mark)),
            *[an_entry("POST", "Condition", condition) for condition in conditions],
        )
        self.ledger.marks[mark] = False
        answer = await one.ask("POST", "", bundle, prefer="return=representation")
        if answer.status == 200:
            self.ledger.marks[mark] = True
            for entry in answer.json["entry"]:
                self.ledger.stored(answer.body, entry["resource"])
        self.expect(answer, 200)

    def expect(self, answer: Answer, *statuses: int) -> None:
        """A conflict or a database that is away is told as such; nothing else is."""
        assert answer.status in (*statuses, 409, 503, 504), answer.body


async def write_until_killed(base: str, ledger: Ledger, writers: list[Writer], kills: list[Callable[[], None]]) -> None:
    """All write at once; after ENOUGH acknowledged writes each kill comes, the last of which ends the server."""
    gone = asyncio.Event()

    async def write(place: int, one: Caller) -> None:
        while not gone.is_set():
            try:
                await writers[place].write(one)
            except ConnectionError:
                assert gone.is_set() or await ended(gone), "the server hung up on a client"

    async def kill() -> None:
        for end in kills:
            enough = len(ledger.versions) + ENOUGH
            while len(ledger.versions) < enough:
                await asyncio.sleep(0.01)
            end()
        gone.set()

    async with callers(base, CLIENTS) as clients:
        await asyncio.gather(kill(), at_once(clients, write))


async def ended(gone: asyncio.Event) -> bool:
    """A client may see the end of the server before the one who ended it says so."""
    async with asyncio.timeout(PATIENCE):
        return await gone.wait()


async def verify(base: str, ledger: Ledger) -> None:
    async with callers(base, CLIENTS) as clients:
        wanted = iter(list(ledger.versions.items()))

        async def read(place: int, one: Caller) -> None:
            for (type, id, version), body in wanted:
                answer = await one.ask("GET", f"{type}/{id}/_history/{version}")
                assert answer.status == (410 if body is None else 200), f"{type}/{id}/{version}: {answer.body!r}"
                assert body is None or answer.body in body

        await at_once(clients, read)
        await verify_transactions(clients[0], ledger)
        await verify_histories(clients[0], ledger)


async def verify_transactions(one: Caller, ledger: Ledger) -> None:
    conditions = Counter(marks_of(await pages(one, f"Condition?identifier={MARK}|&_count=1000")))
    patients: Counter[str] = Counter()
    for place in range(SHARED):
        patients.update(marks_of(await pages(one, f"Patient/shared-{place}/_history?_count=1000")))
    assert set(conditions.values()) == {2}
    assert conditions.keys() == patients.keys()
    assert set(patients.values()) == {1}
    assert {mark for mark, known in ledger.marks.items() if known} <= conditions.keys() <= ledger.marks.keys()


async def verify_histories(one: Caller, ledger: Ledger) -> None:
    """Without gaps; every version that was acknowledged is in them."""
    told: dict[Identity, set[int]] = defaultdict(set)
    for type, id, version in ledger.versions:
        told[type, id].add(version)
    several = [identity for identity, versions in told.items() if max(versions) > 1]
    for type, id in several:
        entries = await pages(one, f"{type}/{id}/_history?_count=1000")
        versions = [int(entry["response"]["etag"].strip('W/"')) for entry in entries]
        assert versions == list(range(len(versions), 0, -1))
        assert told[type, id] <= set(versions)


def verify_accesses(data_dir: Path, ledger: Ledger) -> None:
    """Every write that was acknowledged is on record: in a page, or kept until somebody writes that page."""
    with MongoClient[dict[str, Any]](running_uri(data_dir)) as client:
        kept = [one["raw"] for one in client["fhir"]["audit_recorded"].find()]
        written = [zlib.decompress(page["raws"]) for page in client["fhir"]["audit_pages"].find()]
    told = {name.decode() for raw in (*kept, *written) for name in VERSION.findall(raw)}
    assert {f"{type}/{id}/_history/{version}" for type, id, version in ledger.versions} <= told


def marks_of(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["resource"]["identifier"][0]["value"] for entry in entries]


async def pages(one: Caller, path: str) -> list[dict[str, Any]]:
    """The entries of all pages."""
    found: list[dict[str, Any]] = []
    while path:
        bundle = (await one.ask("GET", path)).json
        found += bundle.get("entry", ())
        path = next((link["url"].partition("/fhir/")[2] for link in bundle["link"] if link["relation"] == "next"), "")
    return found


def kill_mongod(server: RunningServer) -> None:
    pid = server.mongod()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def kill_server(server: RunningServer) -> None:
    """All its processes at once; mongod ends with them."""
    for pid in processes_of(server.process.pid):
        os.kill(pid, signal.SIGKILL)


def test_what_was_acknowledged_survives_kills_of_mongod_and_of_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = environment(tmp_path / "data", FHIR_WORKERS=str(WORKERS))
    ledger = Ledger()
    writers = [Writer(place, ledger) for place in range(CLIENTS)]
    for _ in range(KILLS):
        server = RunningServer(env, "--no-sample").wait_until_ready()
        asyncio.run(until_all_answer(server.base, WORKERS))
        kills = [lambda server=server: kill_mongod(server), lambda server=server: kill_server(server)]  # type: ignore[misc]
        asyncio.run(write_until_killed(server.base, ledger, writers, kills))  # type: ignore[arg-type]
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        with running_server({**env, "FHIR_WORKERS": "1"}, "--no-sample") as again:
            asyncio.run(verify(again.base, ledger))
            verify_accesses(tmp_path / "data", ledger)
            for command in (("check", "--store"), ("audit", "verify")):
                checked = run_here(*command, env=env, capture=capsys)
                assert checked.returncode == 0, checked.stdout
