"""Searches over HTTP on stores of several sizes, interleaved with a bare ASGI answer and a bare driver in the same run.

    python -m bench.stores 100000 /tmp/small
    python -m bench.stores 5000000 /tmp/large
    python -m bench.search /tmp/small /tmp/large [--seconds 1] [--rounds 3] [--only chain]

Every round asks each search of each store by 1 and by 16 clients, so that a busy minute meets all of them. Documents
examined come from MongoDB's profiler and are exact; CPU is that of the server's and of mongod's processes; times depend
on the machine, and their ratios less so.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryFile
from typing import Any

import orjson
import uvloop
from pymongo import AsyncMongoClient, MongoClient
from pymongo.database import Database

from bench.load import load, request
from fhir_server.store.embedded import running_uri
from tests.running_server import RunningServer, environment, processes_of, running_server

CLIENTS = (1, 16)
VARIANTS = 200  # people and codes that the searches of one kind are about, in turn
HELLO, BY_ID, PAGE = "hello", "driver: by id", "driver: page of 20"
CCCD = "http://fhir.ehealth.gov.vn/core/sid/national_id"
PROVINCE = "urn:vn-basic:CodeSystem:province"
UCUM = "http://unitsofmeasure.org"

Json = dict[str, Any]


# --- what is asked ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """What is in a store, to ask for: ids, numbers and names of people, and how often each diagnosis is."""

    ids: list[str]
    numbers: list[str]
    names: list[str]
    codes: list[str]  # the most frequent first
    vaccines: list[str]

    @classmethod
    def of(cls, database: Database[Json]) -> Known:
        people = [
            orjson.loads(found["raw"])
            for found in database["Patient"].aggregate([{"$sample": {"size": 3 * VARIANTS}}, {"$project": {"raw": 1}}])
        ]
        people = [one for one in people if any(number["system"] == CCCD for number in one["identifier"])][:VARIANTS]
        return cls(
            [one["id"] for one in people],
            [number["value"] for one in people for number in one["identifier"] if number["system"] == CCCD],
            [one["name"][0]["text"] for one in people],
            _codes(database, "Condition", "code"),
            _codes(database, "Immunization", "vaccineCode"),
        )


def _codes(database: Database[Json], type: str, element: str) -> list[str]:
    counts: dict[str, int] = {}
    for found in database[type].find({}, {"raw": 1}).limit(30_000):
        for coding in orjson.loads(found["raw"])[element].get("coding", ())[:1]:
            counts[coding["code"]] = counts.get(coding["code"], 0) + 1
    return sorted(counts, key=lambda code: (-counts[code], code))


def searches(known: Known) -> dict[str, list[str]]:
    """Each kind with the queries that stand for it in turn."""
    frequent, rare, vaccine = known.codes[0], known.codes[-1], known.vaccines[0]
    turned = [" ".join(reversed(name.split())) for name in known.names]
    return {
        "read": [f"Patient/{id}" for id in known.ids],
        "identifier": [f"Patient?identifier={CCCD}|{number}" for number in known.numbers],
        "identifier without system": [f"Patient?identifier={number}" for number in known.numbers],
        "family name": ["Patient?name=nguyễn", "Patient?name=tran", "Patient?name=Lê"],
        "full name": [f"Patient?name={name}" for name in known.names],
        "given name first": [f"Patient?name={name}" for name in turned],
        "beginning of a name": ["Patient?name=ng", "Patient?name=tr", "Patient?name=ho"],
        "patient, newest first": [f"Immunization?patient={id}&_sort=-date" for id in known.ids],
        "code from a day on": [f"Immunization?vaccine-code={vaccine}&date=ge2022"],
        "code within a year, newest first": [f"Immunization?vaccine-code={vaccine}&date=2021&_sort=-date"],
        "code, oldest first": [f"Immunization?vaccine-code={vaccine}&_sort=date"],
        "two codes": [f"Condition?code={frequent}&clinical-status=active"],
        "birth date, sex, province": [
            f"Patient?birthdate=ge{year}&birthdate=lt{year + 5}&gender=female&residence={PROVINCE}|{province}"
            for year in range(1960, 2010, 10)
            for province in ("01", "38", "79")
        ],
        "birth date, sex, province by name": [
            f"Patient?birthdate=ge{year}&birthdate=lt{year + 5}&gender=male&address-state={name}"
            for year in range(1960, 2010, 10)
            for name in ("Tỉnh Thanh", "Thành phố Hà Nội")
        ],
        "weight over 60 kg": [f"Observation?value-quantity=gt60|{UCUM}|kg"],
        "include": [f"Immunization?vaccine-code={vaccine}&_include=Immunization:patient"],
        "revinclude": [
            f"Patient?identifier={number}&_revinclude=Condition:patient&_revinclude=Immunization:patient"
            for number in known.numbers
        ],
        "chain by identifier": [f"Immunization?patient.identifier={CCCD}|{number}" for number in known.numbers],
        "chain by a full name": [f"Immunization?patient.name={name}" for name in known.names],
        "chain by a family name": ["Immunization?patient.name=nguyen", "Immunization?patient.name=le"],
        "has a frequent diagnosis": [f"Patient?_has:Condition:patient:code={frequent}"],
        "has a rare diagnosis": [f"Patient?_has:Condition:patient:code={rare}"],
        "has one, and a birth date": [f"Patient?_has:Condition:patient:code={frequent}&birthdate=1985-03"],
        "not": [f"Condition?code:not={frequent}"],
        "by last update": ["Condition?_sort=-_lastUpdated"],
        "everything of a person": [f"Patient/{id}/*" for id in known.ids],
    }


# --- who is asked ----------------------------------------------------------------------------------------------------


class Store:
    """A server over one store."""

    def __init__(self, folder: Path, server: RunningServer) -> None:
        uri, mongod = running_uri(folder), server.mongod()
        assert uri is not None
        assert mongod is not None
        self.name = folder.name
        self.base = server.base
        self.uri = uri
        self.database: Database[Json] = MongoClient[Json](uri)["fhir"]
        self.size = sum(
            self.database[name].estimated_document_count()
            for name in self.database.list_collection_names()
            if name[0].isupper() and not name.endswith("_history")
        )
        self.server = processes_of(server.process.pid)
        self.mongod = [mongod]
        self.searches = searches(Known.of(self.database))
        for name in ("family name", "code, oldest first"):
            if later := self.page(self.searches[name][0], 100):
                self.searches[f"{name}, page 1"] = self.searches[name][:1]
                self.searches[f"{name}, page 100"] = [later]

    def examined(self, paths: list[str]) -> tuple[float, float, float]:
        """Queries, documents examined and matches told of a search, on average over some of its variants."""
        self.database.command("profile", 0)
        self.database.drop_collection("system.profile")
        self.database.create_collection("system.profile", capped=True, size=64 << 20)
        chosen = Random(1).sample(paths, min(len(paths), 20))
        self.database.command("profile", 2)
        told = [self.answer(path).count(b'"mode":"match"') for path in chosen]
        self.database.command("profile", 0)
        rows = [
            row
            for row in self.database["system.profile"].find({"op": {"$in": ["query", "command", "getmore"]}})
            if "system.profile" not in row["ns"] and "profile" not in row.get("command", {})
        ]
        documents = sum(row.get("docsExamined", 0) for row in rows)
        return len(rows) / len(chosen), documents / len(chosen), sum(told) / len(chosen)

    def answer(self, path: str) -> bytes:
        host, _, port = self.base.removeprefix("http://").partition("/")[0].partition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(request(self.base, path))
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(1 << 16)
            head, _, body = received.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(1 << 20)
        return body

    def page(self, path: str, number: int) -> str | None:
        """The URL of a later page, None when there are not so many."""
        url: str | None = path
        for _ in range(1, number):
            links = orjson.loads(self.answer(url))["link"] if url is not None else []
            url = next((link["url"] for link in links if link["relation"] == "next"), None)
        return url


@contextmanager
def hello() -> Iterator[tuple[str, list[int]]]:
    """A bare ASGI server: its URL and its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "bench.hello:app", "--port", str(port), "--no-access-log"]
    with subprocess.Popen([*command, "--log-level", "warning"]) as process:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{port}", [process.pid]
        finally:
            process.terminate()


# --- figures ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Figure:
    """times: seconds of each request; wall: seconds; server, mongod: seconds of CPU."""

    times: list[float] = field(default_factory=list)
    wall: float = 0.0
    server: float = 0.0
    mongod: float = 0.0

    def add(self, times: list[float], wall: float, server: float, mongod: float) -> None:
        self.times += times
        self.wall, self.server, self.mongod = self.wall + wall, self.server + server, self.mongod + mongod

    @property
    def p50(self) -> float:
        return statistics.median(self.times) * 1000

    @property
    def p99(self) -> float:
        return sorted(self.times)[int(len(self.times) * 0.99)] * 1000

    @property
    def rate(self) -> float:
        return len(self.times) / self.wall


Figures = dict[tuple[str, str, int], Figure]


def cpu_of(pids: list[int]) -> float:
    """Seconds of CPU that processes have used."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


class Driver:
    """PyMongo alone on a store: what no server in Python on it can do better than."""

    def __init__(self, store: Store) -> None:
        self._client = AsyncMongoClient[Json](store.uri)
        self._ids = [path.partition("/")[2] for path in store.searches["read"]]
        found = store.database["Immunization"].find_one(sort=[("o", -1)])
        assert found is not None
        code = orjson.loads(found["raw"])["vaccineCode"]["coding"][0]["code"]
        self._key = next(key for key in found["k"] if key[2:] == code)

    async def by_id(self, turn: int) -> None:
        command = {"find": "Patient", "filter": {"_id": self._ids[turn % len(self._ids)]}, "limit": 1}
        assert len((await self._client["fhir"].command(command))["cursor"]["firstBatch"]) == 1

    async def page(self, turn: int) -> None:
        command = {"find": "Immunization", "filter": {"k": self._key}, "projection": {"raw": 1}, "sort": {"o": -1}}
        assert (await self._client["fhir"].command({**command, "limit": 20, "batchSize": 20}))["cursor"]["firstBatch"]

    async def repeat(self, work: Callable[[int], Awaitable[None]], clients: int, seconds: float) -> list[float]:
        times: list[float] = []
        until = time.perf_counter() + seconds

        async def one(turn: int) -> None:
            while (began := time.perf_counter()) < until:
                await work(turn)
                times.append(time.perf_counter() - began)
                turn += clients

        await asyncio.gather(*[one(place) for place in range(clients)])
        return times


class Bench:
    def __init__(self, stores: list[Store], hello: tuple[str, list[int]], only: str) -> None:
        self._stores = stores
        self._hello, self._hello_pids = hello
        self._only = only
        self.figures: Figures = defaultdict(Figure)

    def kinds(self, store: Store) -> dict[str, list[str]]:
        return {name: paths for name, paths in store.searches.items() if self._only in name}

    async def run(self, seconds: float, rounds: int) -> None:
        drivers = {store.name: Driver(store) for store in self._stores}
        for turn in range(rounds + 1):
            if turn == 1:
                self.figures.clear()  # the first round was to warm up
            for clients in CLIENTS:
                await self._round(drivers, clients, seconds if turn else 0.2)

    async def _round(self, drivers: Mapping[str, Driver], clients: int, seconds: float) -> None:
        await self._measure((HELLO, "", clients), load(self._hello, [""], clients, seconds), self._hello_pids, [])
        for store in self._stores:
            driver = drivers[store.name]
            for title, work in ((BY_ID, driver.by_id), (PAGE, driver.page)):
                repeated = driver.repeat(work, clients, seconds)
                await self._measure((title, store.name, clients), repeated, [os.getpid()], store.mongod)
        for name in self.kinds(self._stores[0]):
            for store in self._stores:
                asked = load(store.base, store.searches[name], clients, seconds)
                await self._measure((name, store.name, clients), asked, store.server, store.mongod)

    async def _measure(
        self, place: tuple[str, str, int], work: Coroutine[Any, Any, list[float]], server: list[int], mongod: list[int]
    ) -> None:
        began, cpu, database = time.perf_counter(), cpu_of(server), cpu_of(mongod)
        times = await work
        took = time.perf_counter() - began
        self.figures[place].add(times, took, cpu_of(server) - cpu, cpu_of(mongod) - database)

    def table(self, store: Store) -> Iterator[str]:
        yield f"### {store.size:,} resources\n"
        yield (
            "| search | queries | examined | matches | p50 ms, 1 client | p99 | p50 ms, 16 clients | p99 | a second "
            "| of hello | CPU µs: server | mongod |"
        )
        yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
        for name in (HELLO, BY_ID, PAGE, *self.kinds(store)):
            one, many = (self.figures[name, "" if name == HELLO else store.name, clients] for clients in CLIENTS)
            of_hello = many.rate / self.figures[HELLO, "", CLIENTS[-1]].rate
            examined = (
                [f"{count:.1f}" for count in store.examined(store.searches[name])] if name in store.searches else []
            )
            cells = [name, *(examined or ["", "", ""]), f"{one.p50:.2f}", f"{one.p99:.2f}", f"{many.p50:.2f}"]
            cells += [f"{many.p99:.2f}", f"{many.rate:,.0f}", f"{of_hello:.1%}"]
            cells += [f"{cpu / len(many.times) * 1e6:,.0f}" for cpu in (many.server, many.mongod)]
            yield "| " + " | ".join(cells) + " |"

    def growth(self) -> Iterator[str]:
        """How much longer a page takes in each store than in the first, by one client."""
        first, *others = self._stores
        yield f"| p50 against that at {first.size:,} | " + " | ".join(f"{other.size:,}" for other in others) + " |"
        yield "|---|" + "---:|" * len(others)
        for name in self.kinds(first):
            alone = self.figures[name, first.name, 1].p50
            ratios = [f"{self.figures[name, other.name, 1].p50 / alone:.2f}" for other in others]
            yield f"| {name} | " + " | ".join(ratios) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="of stores, the smallest first")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each search in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="searches whose name has this text")
    asked = parser.parse_args()
    with ExitStack() as stack:
        log = stack.enter_context(TemporaryFile("w"))  # which the program that asks does not read meanwhile
        servers = [
            stack.enter_context(
                running_server(environment(folder, FHIR_MONGODB_CACHE_MB="2048"), "--no-sample", log=log)
            )
            for folder in asked.folders
        ]
        stores = [Store(folder, server) for folder, server in zip(asked.folders, servers, strict=True)]
        bench = Bench(stores, stack.enter_context(hello()), asked.only)
        uvloop.run(bench.run(asked.seconds, asked.rounds))
        for store in stores:
            print(*bench.table(store), "", sep="\n", flush=True)
        if len(stores) > 1:
            print(*bench.growth(), sep="\n")
        print(f"\nload {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
