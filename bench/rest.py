"""REST over HTTP against the raw driver: `python -m bench.rest [--seconds 0.7] [--repeat 6] [--workers 2]`.

A server and a mongod of their own; create, update, read and a transaction of 50 creates by 1, 4 and 16 clients, and
between them the same documents written by PyMongo alone in a transaction of the same kind. The figures of a busy
machine are worth little; the ratios of one run, and CPU a resource, are worth more.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvloop
from pymongo import AsyncMongoClient
from pymongo.read_concern import ReadConcern

from fhir_server.store.concerns import MAJORITY
from fhir_server.store.embedded import running_uri
from fhir_server.store.indexes import Collections
from tests.many_clients import Caller, at_once, callers, until_all_answer
from tests.running_server import RunningServer, environment, processes_of, running_server

OURS, RAW = "transaction of 50", "the same by the driver"
CLIENTS = (1, 4, 16)
LARGE = 25_000
CCCD = "http://fhir.hl7.org.vn/core/sid/cccd"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
Json = dict[str, Any]
Work = Callable[[int, Caller], Awaitable[float]]


def concept(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def patient(number: int) -> Json:
    return {
        "resourceType": "Patient",
        "identifier": [{"use": "official", "system": CCCD, "value": f"{number:012d}"}],
        "active": True,
        "name": [{"use": "official", "text": "Nguyễn Văn An", "family": "Nguyễn", "given": ["Văn", "An"]}],
        "telecom": [{"system": "phone", "value": "0912345678", "use": "mobile"}],
        "gender": "male",
        "birthDate": "1985-03-02",
        "address": [{"use": "home", "text": "12 Lê Lợi, Bến Nghé", "line": ["12 Lê Lợi"], "country": "VN"}],
    }


def of_a_person(place: int, subject: Json) -> Json:
    """One of the four kinds of records that most bundles are made of."""
    day = f"2024-{place % 12 + 1:02d}-{place % 28 + 1:02d}"
    if place % 4 == 0:
        return {
            "resourceType": "Condition",
            "clinicalStatus": concept(f"{TERMINOLOGY}/condition-clinical", "active", "Active"),
            "category": [concept(f"{TERMINOLOGY}/condition-category", "encounter-diagnosis", "Chẩn đoán")],
            "code": concept("http://hl7.org/fhir/sid/icd-10", f"I{place:02d}", "Tăng huyết áp nguyên phát"),
            "subject": subject,
            "recordedDate": day,
        }
    if place % 4 == 1:
        return {
            "resourceType": "Immunization",
            "status": "completed",
            "vaccineCode": concept("http://hl7.org/fhir/sid/cvx", f"{place}", "Vắc xin"),
            "patient": subject,
            "occurrenceDateTime": day,
            "lotNumber": f"L{place}",
        }
    if place % 4 == 2:
        return {
            "resourceType": "AllergyIntolerance",
            "clinicalStatus": concept(f"{TERMINOLOGY}/allergyintolerance-clinical", "active", "Active"),
            "category": ["medication"],
            "code": {"text": f"Penicillin {place}"},
            "patient": subject,
            "recordedDate": day,
        }
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [concept(f"{TERMINOLOGY}/observation-category", "vital-signs", "Dấu hiệu sinh tồn")],
        "code": concept("http://loinc.org", "29463-7", "Cân nặng"),
        "subject": subject,
        "effectiveDateTime": f"{day}T08:30:00+07:00",
        "valueQuantity": {"value": 50 + place, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    }


def entries_of_50(number: int) -> list[Json]:
    """A person and 49 records, as entries that create them."""
    person = f"urn:uuid:{uuid4()}"
    resources = [patient(number), *(of_a_person(place, {"reference": person}) for place in range(49))]
    urls = [person, *(f"urn:uuid:{uuid4()}" for _ in resources[1:])]
    return [
        {"fullUrl": url, "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
        for url, resource in zip(urls, resources, strict=True)
    ]


def transaction_of(entries: Iterable[Json]) -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}).encode()


def transaction_of_50(number: int) -> bytes:
    return transaction_of(entries_of_50(number))


@dataclass(slots=True)
class Figure:
    """resources: of one request. times: seconds of each. wall: seconds; client, server, mongod: seconds of CPU."""

    resources: int
    times: list[float] = field(default_factory=list)
    wall: float = 0.0
    client: float = 0.0
    server: float = 0.0
    mongod: float = 0.0

    def within(self, share: float) -> float:
        """Milliseconds in which so many of the requests were answered."""
        return sorted(self.times)[min(int(len(self.times) * share), len(self.times) - 1)] * 1000

    @property
    def done(self) -> int:
        return len(self.times) * self.resources


class Bench:
    """A server and a driver on one mongod, and what each of their works has taken."""

    def __init__(self, server: RunningServer, mongod: int, driver: AsyncMongoClient[Json]) -> None:
        self._base = server.base
        self._server = processes_of(server.process.pid)
        self._mongod = mongod
        self._driver = driver
        self._numbers = iter(range(1, 1 << 60))
        self._documents: list[tuple[str, Json]] = []
        self.figures: dict[tuple[str, int], Figure] = {}

    async def prepare(self) -> None:
        """The resources that are read and updated, and the documents that a transaction leaves, for the driver."""
        async with callers(self._base, 1) as (one,):
            for place in range(max(CLIENTS)):
                await one.ask("PUT", f"Patient/of-client-{place}", patient(place) | {"id": f"of-client-{place}"})
            answer = await one.ask("POST", "", transaction_of_50(0))
        written = [entry["response"]["location"].split("/fhir/")[1].split("/")[:2] for entry in answer.json["entry"]]
        stored = self._driver["fhir"]
        self._documents = [(type, await stored[type].find_one({"_id": id}) or {}) for type, id in written]
        patient_id = written[0][1]
        self._documents.append(("compartments", await stored["compartments"].find_one({"_id": patient_id}) or {}))
        await Collections(self._driver["raw"]).ensure(
            sorted({type for type, _ in self._documents if type[0].isupper()})
        )
        await self._driver["raw"].create_collection("compartments")

    def copies(self) -> dict[str, list[Json]]:
        """The documents of a transaction for another person, by collection."""
        person, made = str(uuid4()), {}
        before = self._documents[0][1]["_id"]
        for type, document in self._documents:
            id = person if document["_id"] == before else str(uuid4())
            copy = {**document, "_id": id}
            if "k" in copy:
                copy |= {"p": person, "k": [key.replace(before, person) for key in copy["k"]]}
            made.setdefault(type, []).append(copy)
        return made

    async def transaction_by_driver(self, place: int, one: Caller) -> float:
        by_collection = self.copies()
        began = time.perf_counter()
        async with (
            self._driver.start_session() as session,
            await session.start_transaction(ReadConcern("snapshot"), MAJORITY),
        ):
            for name, documents in by_collection.items():
                await self._driver["raw"][name].insert_many(documents, session=session)
        return time.perf_counter() - began

    async def transaction(self, place: int, one: Caller) -> float:
        return await timed(one, "POST", "", transaction_of_50(next(self._numbers)))

    async def create(self, place: int, one: Caller) -> float:
        return await timed(one, "POST", "Patient", patient(next(self._numbers)))

    async def update(self, place: int, one: Caller) -> float:
        id = f"of-client-{place}"
        return await timed(one, "PUT", f"Patient/{id}", patient(next(self._numbers)) | {"id": id})

    async def read(self, place: int, one: Caller) -> float:
        return await timed(one, "GET", f"Patient/of-client-{place}")

    async def measure(self, title: str, work: Work, clients: list[Caller], seconds: float, resources: int) -> None:
        figure = self.figures.setdefault((title, len(clients)), Figure(resources))
        until = time.perf_counter() + seconds

        async def repeat(place: int, one: Caller) -> None:
            while time.perf_counter() < until:
                figure.times.append(await work(place, one))

        before = (time.perf_counter(), cpu_of([os.getpid()]), cpu_of(self._server), cpu_of([self._mongod]))
        await at_once(clients, repeat)
        after = (time.perf_counter(), cpu_of([os.getpid()]), cpu_of(self._server), cpu_of([self._mongod]))
        wall, client, server, mongod = (end - start for start, end in zip(before, after, strict=True))
        figure.wall, figure.client = figure.wall + wall, figure.client + client
        figure.server, figure.mongod = figure.server + server, figure.mongod + mongod

    async def run(self, seconds: float, repeat: int) -> None:
        works: list[tuple[str, Work, int]] = [
            (OURS, self.transaction, 50),
            (RAW, self.transaction_by_driver, 50),
            ("create", self.create, 1),
            ("update", self.update, 1),
            ("read", self.read, 1),
        ]
        for turn in range(repeat + 1):
            for count in CLIENTS:
                async with callers(self._base, count) as clients:
                    for title, work, resources in works:  # after each other, so that a busy minute meets them all
                        await self.measure(title, work, clients, seconds if turn else 0.3, resources)
            if turn == 0:
                self.figures.clear()  # it was to warm up

    async def large(self) -> str:
        """One transaction of as many entries as the settings allow."""
        body = transaction_of(entry for number in range(LARGE // 50) for entry in entries_of_50(next(self._numbers)))
        async with callers(self._base, 1) as (one,):
            took = await timed(one, "POST", "", body)
        peaks = [max(map(_peak_memory, pids)) >> 10 for pids in (self._server, [self._mongod])]
        return (
            f"transaction of {LARGE:,} entries, {len(body) >> 20} MiB: {took:.1f} s, {LARGE / took:,.0f} resources a "
            f"second; peak memory {peaks[0]} MiB of the server process, {peaks[1]} MiB of mongod"
        )


async def timed(one: Caller, method: str, path: str, body: Any = None) -> float:
    """Seconds until the answer."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    began = time.perf_counter()
    answer = await one.ask(method, path, content)
    took = time.perf_counter() - began
    assert answer.status in (200, 201), answer.body
    return took


def cpu_of(pids: Iterable[int]) -> float:
    """Seconds of CPU that processes have used."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def table(figures: dict[tuple[str, int], Figure]) -> str:
    lines = [
        "| work | clients | p50 ms | p99 ms | resources a second | CPU µs a resource: server | mongod |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (title, clients), figure in figures.items():
        own = figure.client if title == RAW else figure.server
        cells = [title, clients, f"{figure.within(0.5):.1f}", f"{figure.within(0.99):.1f}"]
        cells += [
            f"{figure.done / figure.wall:,.0f}",
            *(f"{cpu / figure.done * 1e6:,.0f}" for cpu in (own, figure.mongod)),
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def ratios(figures: dict[tuple[str, int], Figure]) -> str:
    told = []
    for clients in CLIENTS:
        ours, raw = figures[OURS, clients], figures[RAW, clients]
        told.append(
            f"{clients} clients: p50 {ours.within(0.5) / raw.within(0.5):.2f} ×, "
            f"rate 1/{raw.done / raw.wall / (ours.done / ours.wall):.2f}, "
            f"CPU of all {(ours.server + ours.mongod) / ours.done / ((raw.client + raw.mongod) / raw.done):.2f} ×"
        )
    return "the transaction over HTTP against the driver's: " + "; ".join(told)


async def run(server: RunningServer, uri: str, mongod: int, seconds: float, repeat: int) -> None:
    await until_all_answer(server.base, int(server.env["FHIR_WORKERS"]))
    async with AsyncMongoClient[Json](uri) as driver:
        bench = Bench(server, mongod, driver)
        await bench.prepare()
        await bench.run(seconds, repeat)
        large = await bench.large()
    print(f"{table(bench.figures)}\n\n{ratios(bench.figures)}\n{large}\nload {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.7, help="of each work in each round")
    parser.add_argument("--repeat", type=int, default=6, help="rounds")
    parser.add_argument("--workers", type=int, default=2, help="server processes")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fhir-bench-") as folder:
        env = environment(Path(folder), FHIR_WORKERS=str(asked.workers), FHIR_MONGODB_CACHE_MB="1024")
        with tempfile.TemporaryFile("w") as log, running_server(env, "--no-sample", log=log) as server:
            mongod = server.mongod()
            assert mongod is not None
            uvloop.run(run(server, running_uri(Path(folder)) or "", mongod, asked.seconds, asked.repeat))


def _peak_memory(pid: int) -> int:
    """KiB that a process has ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
