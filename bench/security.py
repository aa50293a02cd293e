"""What access control costs: open mode against everything on, in one run, in CPU time of the server process.

python bench/security.py [people]        people: 1,000 unless told, 500 at least

Both servers run in this process on one MongoDB, one after the other in turns, so that what the machine does beside it
falls on both. They are called by ASGI itself, without a client that would cost more than they do. Told is CPU of this
process; MongoDB's own is not in it. For ward officers the index {w, k, o} is made, its size and the cost of writes with
it are told.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
from joserfc import jwt
from joserfc.jwk import ECKey
from pymongo import MongoClient
from starlette.types import ASGIApp, Message

from fhir_server.app import build_app
from fhir_server.cli.logs import configure_logs
from fhir_server.config import Settings
from fhir_server.store.embedded import Embedded

ISSUER, AUDIENCE = "https://login.example.vn", "https://fhir.example.vn/fhir"
SENSITIVE = "conf/R sens/HIV sens/PSY"
WARDS = ["14797", "14800", "14803", "14806", "14812"]
ROUNDS, READS, WRITES = 7, 150, 40


class Client:
    """Asks one application; token None for open mode."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app = app
        self.headers = [(b"host", b"b"), *([(b"authorization", f"Bearer {token}".encode())] if token else [])]

    async def get(self, path: str) -> None:
        await self._ask("GET", path, b"")

    async def post(self, path: str, body: Any) -> None:
        await self._ask("POST", path, orjson.dumps(body))

    async def _ask(self, method: str, path: str, body: bytes) -> None:
        place, _, query = path.partition("?")
        headers = [(b"content-type", b"application/fhir+json"), (b"content-length", str(len(body)).encode())]
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": place,
            "raw_path": place.encode(),
            "query_string": query.encode(),
            "headers": self.headers + (headers if body else []),
            "client": ("127.0.0.1", 50000),
        }
        told: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            told.append(message)

        await self.app(scope, receive, send)
        assert told[0]["status"] in (200, 201), (path, told)


def patient(n: int) -> dict[str, Any]:
    coding = {"system": "urn:vn-basic:CodeSystem:ward", "code": WARDS[n % len(WARDS)]}
    extension = {"url": "urn:vn-basic:StructureDefinition:ward", "valueCodeableConcept": {"coding": [coding]}}
    return {
        "resourceType": "Patient",
        "id": f"p{n}",
        "name": [{"text": f"Nguyễn Văn {n}"}],
        "gender": "male",
        "birthDate": f"{1950 + n % 50}-03-02",
        "address": [{"use": "home", "extension": [extension]}],
    }


def condition(person: int, n: int | None = None) -> dict[str, Any]:
    status = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    made = {
        "resourceType": "Condition",
        "clinicalStatus": {"coding": [{"system": status, "code": "active"}]},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": ["I10", "E11", "J45"][person % 3]}]},
        "subject": {"reference": f"Patient/p{person}"},
        "recordedDate": "2024-05-06",
    }
    return made if n is None else {**made, "id": f"c{n}"}


def load(n: int) -> dict[str, Any]:
    resources = [patient(n), condition(n, 2 * n), condition(n, 2 * n + 1)]
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


async def cpu(work: Callable[[int], Awaitable[None]], times: int) -> float:
    """CPU ms of this process for one call, several at a time as under load."""
    started = time.process_time()
    for start in range(0, times, 10):
        await asyncio.gather(*(work(n) for n in range(start, min(start + 10, times))))
    return (time.process_time() - started) * 1000 / times


async def main(people: int) -> None:
    configure_logs("warning")
    with tempfile.TemporaryDirectory(prefix="fhir-bench-") as folder:
        server = Embedded(Path(folder), 512)
        uri = server.start()
        try:
            await measure(uri, Path(folder), people)
        finally:
            server.stop()


async def measure(uri: str, folder: Path, people: int) -> None:
    key = ECKey.generate_key("P-256", {"kid": "k"})
    (folder / "keys.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    issuer = {"issuer": ISSUER, "audience": [AUDIENCE], "jwks": "keys.json", "unbound": "everything"}
    (folder / "issuers.json").write_text(json.dumps({"issuers": [issuer]}))

    def token(scope: str, **claims: Any) -> str:
        now = int(time.time())
        told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "iat": now, "exp": now + 3600, "scope": scope, **claims}
        return jwt.encode({"alg": "ES256", "kid": "k"}, told, key)

    async with AsyncExitStack() as stack:
        apps: dict[str, ASGIApp] = {}
        for name, more in (("open", {}), ("on", {"issuers": folder / "issuers.json"})):
            app = build_app(Settings(mongodb_uri=uri, mongodb_database=f"bench_{name}", **more))
            await stack.enter_async_context(app.router.lifespan_context(app))
            apps[name] = app
        system = token(f"system/*.cruds {SENSITIVE}")
        for client in (Client(apps["open"], None), Client(apps["on"], system)):
            for start in range(0, people, 8):
                await asyncio.gather(*(client.post("/fhir", load(n)) for n in range(start, min(start + 8, people))))
        free = Client(apps["open"], None)
        callers = {
            "citizen": token("patient/*.cruds", patient="p7"),
            "system": system,
            "system without restricted": token("system/*.cruds"),
            "province": token("user/*.cruds", administrative_unit="province:38"),
            "ward": token("user/*.cruds", administrative_unit=f"ward:{WARDS[0]}"),
        }
        print(f"{people} people. CPU ms a request: open, on, more")
        for name, held in callers.items():
            await compare(name, free, Client(apps["on"], held))
        await told_of_ward("without {w, k, o}", Client(apps["on"], callers["ward"]))
        by_ward = Settings(mongodb_uri=uri, mongodb_database="bench_on", ward_index=True, **more)
        app = build_app(by_ward)
        await stack.enter_async_context(app.router.lifespan_context(app))
        await told_of_ward("with {w, k, o}", Client(app, callers["ward"]))
        with MongoClient[dict[str, Any]](uri) as mongo:
            stats = mongo["bench_on"]["Condition"].aggregate([{"$collStats": {"storageStats": {}}}]).next()
        sizes = {name: size // 1024 for name, size in stats["storageStats"]["indexSizes"].items()}
        print("index sizes of Condition, KiB:", sizes)


def works(client: Client, name: str) -> dict[str, Callable[[int], Awaitable[None]]]:
    """What is measured; a citizen asks of the own record."""
    step = 0 if name == "citizen" else 5
    own = lambda n: 7 if name == "citizen" else (n * step) % 500  # noqa: E731
    return {
        "read": lambda n: client.get(f"/fhir/Condition/c{2 * own(n)}"),
        "search of a patient": lambda n: client.get(f"/fhir/Condition?patient=p{own(n)}"),
        "search with include": lambda n: client.get(f"/fhir/Condition?patient=p{own(n)}&_include=Condition:patient"),
        "page of twenty": lambda n: client.get("/fhir/Condition?code=E11" if name != "citizen" else "/fhir/Condition"),
        "create": lambda n: client.post("/fhir/Condition", condition(own(n))),
    }


async def compare(name: str, free: Client, held: Client) -> None:
    opened, closed = works(free, name), works(held, name)
    for work in opened:
        times = WRITES if work == "create" else READS
        pairs = [(await cpu(opened[work], times), await cpu(closed[work], times)) for _ in range(ROUNDS)]
        first, second = (min(values) for values in zip(*pairs, strict=True))
        print(f"{name:26} {work:22} {first:7.3f} {second:7.3f} {second / first - 1:+7.0%}")


async def told_of_ward(label: str, ward: Client) -> None:
    search = min([await cpu(lambda n: ward.get("/fhir/Condition?code=E11"), READS) for _ in range(ROUNDS)])
    create = min([await cpu(lambda n: ward.post("/fhir/Condition", condition(5 * n)), WRITES) for _ in range(ROUNDS)])
    print(f"ward {label:21} search {search:7.3f} create {create:7.3f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
