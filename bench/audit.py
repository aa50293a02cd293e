"""What the record of accesses costs: CPU of the server and of mongod for one request, with it and without.

    python -m bench.audit [--requests 2000] [--repeat 3] [--people 500]

One mongod, and a server for each setting of FHIR_AUDIT, asked in turns, so that a busy machine slows all alike.
CPU is that of the processes themselves, read from /proc; what is written later counts, for a turn ends when it is done.
Of several turns the cheapest is told: what others do on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.interactions.exchange import FhirRequest
from fhir_server.store.embedded import Embedded

MODES = ("off", "normal", "strict")
CLIENTS = 8
TICK = os.sysconf("SC_CLK_TCK")
SETTLE_SECONDS = 1.6  # in which the last accesses of a turn are written


@dataclass(frozen=True, slots=True)
class Server:
    mode: str
    port: int
    pid: int


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@contextmanager
def serving(uri: str, mode: str) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "FHIR_MONGODB_URI": uri, "FHIR_AUDIT": mode, "FHIR_PORT": str(port), "FHIR_LOG_LEVEL": "error"}
    process = subprocess.Popen([sys.executable, "-m", "fhir_server", "serve", "--no-sample"], env=env, stdout=-3)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0 and _answers(port):
                    break
            time.sleep(0.1)
        yield Server(mode, port, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    return asyncio.run(ask(port, [b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"])) == 1


async def ask(port: int, requests: list[bytes]) -> int:
    """Sends requests over a few connections that stay open; gives how many were answered with 2xx."""
    todo = iter(requests)
    done = 0

    async def client() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in todo:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
            done += head[9:10] == b"2"
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done


def get(path: str) -> bytes:
    return f"GET /fhir/{path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def post(type: str, resource: dict[str, object]) -> bytes:
    body = orjson.dumps(resource)
    head = f"POST /fhir/{type} HTTP/1.1\r\nhost: x\r\ncontent-type: application/fhir+json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def work(count: int, persons: int, kind: str, chance: random.Random) -> list[bytes]:
    def one() -> bytes:
        id = f"p{chance.randrange(persons):08}"
        if kind == "read":
            return get(f"Condition/{id}-c{chance.randrange(4)}")
        if kind == "search of one":
            return get(f"Condition?patient={id}")
        if kind == "search of 20":
            return get(f"Patient?gender=male&address-state={chance.randrange(34)}")
        return post("Condition", a_condition(id, chance))

    return [one() for _ in range(count)]


def a_condition(patient: str, chance: random.Random) -> dict[str, object]:
    coding = {"system": "http://hl7.org/fhir/sid/icd-10", "code": f"A{chance.randrange(99):02}"}
    return {
        "resourceType": "Condition",
        "subject": {"reference": f"Patient/{patient}"},
        "code": {"coding": [coding], "text": "chẩn đoán"},
        "onsetDateTime": f"{chance.randint(2005, 2025)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
    }


def a_patient(id: str, chance: random.Random) -> dict[str, object]:
    return {
        "resourceType": "Patient",
        "id": id,
        "identifier": [{"system": "http://fhir.hl7.org.vn/core/sid/cccd", "value": f"{chance.randrange(10**12):012}"}],
        "name": [{"family": "Nguyễn", "given": ["Văn", chance.choice("ABCDEFGH")]}],
        "gender": chance.choice(("male", "female")),
        "birthDate": f"{chance.randint(1940, 2024)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
        "address": [{"state": str(chance.randrange(34))}],
    }


def people(count: int) -> Iterator[dict[str, object]]:
    chance = random.Random(7)
    for number in range(count):
        id = f"p{number:08}"
        yield a_patient(id, chance)
        yield from ({**a_condition(id, chance), "id": f"{id}-c{place}"} for place in range(4))


async def load(settings: Settings, persons: int) -> None:
    async with open_context(settings) as context:
        found = list(people(persons))
        for start in range(0, len(found), 500):
            entries = [
                {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
                for one in found[start : start + 500]
            ]
            bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
            await context.dispatch(context, FhirRequest("POST", (), (), {}, resource=bundle))


def measure(server: Server, mongod: int, requests: list[bytes]) -> tuple[float, float]:
    """Microseconds of CPU a request: of the server, of mongod."""
    before = cpu(server.pid), cpu(mongod)
    assert asyncio.run(ask(server.port, requests)) == len(requests)
    time.sleep(SETTLE_SECONDS)
    after = cpu(server.pid), cpu(mongod)
    return tuple((late - early) / len(requests) * 1e6 for early, late in zip(before, after, strict=True))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=800)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--people", type=int, default=500)
    asked = parser.parse_args()
    chance = random.Random(1)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-audit-"))
        embedded = Embedded(Path(folder), 512)
        uri = embedded.start()
        stack.callback(embedded.stop)
        asyncio.run(load(Settings(mongodb_uri=uri, audit="off"), asked.people))
        mongod = embedded.pid or 0
        servers = [stack.enter_context(serving(uri, mode)) for mode in MODES]
        print(f"{'':16}{'':8}{'server':>9}{'mongod':>9}{'both':>9}  more CPU than off")
        for kind in ("read", "search of one", "search of 20", "create"):
            figures: dict[str, list[tuple[float, float]]] = {mode: [] for mode in MODES}
            for server in servers:
                measure(server, mongod, work(200, asked.people, kind, chance))
            for _ in range(asked.repeat):
                for server in servers:
                    requests = work(asked.requests, asked.people, kind, chance)
                    figures[server.mode].append(measure(server, mongod, requests))
            base = 0.0
            for mode, rows in figures.items():
                own, other = (min(column) for column in zip(*rows, strict=True))
                base = base or own + other
                more = f"{(own + other) / base - 1:+.0%}"
                print(f"{kind:16}{mode:8}{own:9.0f}{other:9.0f}{own + other:9.0f}  {more}")


if __name__ == "__main__":
    main()
