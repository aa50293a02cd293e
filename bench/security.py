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
from statistics import median
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
ROUNDS, READS, SEARCHES, WRITES = 15, 300, 60, 20  # as many reads as put several pages on record in each slice
CITIZENS = 50
Works = dict[str, Callable[[int], Awaitable[None]]]


class Client:
    """Asks one application, by turns with each of the tokens; without any in open mode."""

    def __init__(self, app: ASGIApp, *tokens: str) -> None:
        self.app = app
        self.tokens = [[(b"authorization", f"Bearer {token}".encode())] for token in tokens] or [[]]

    async def get(self, path: str, turn: int = 0) -> None:
        await self._ask("GET", path, b"", turn)

    async def post(self, path: str, body: Any, turn: int = 0) -> None:
        await self._ask("POST", path, orjson.dumps(body), turn)

    async def _ask(self, method: str, path: str, body: bytes, turn: int) -> None:
        place, _, query = path.partition("?")
        headers = [(b"content-type", b"application/fhir+json"), (b"content-length", str(len(body)).encode())]
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": place,
            "raw_path": place.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", b"b"), *self.tokens[turn % len(self.tokens)], *(headers if body else [])],
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
        with_issuers: dict[str, Any] = {"issuers": folder / "issuers.json"}
        modes: dict[str, dict[str, Any]] = {"open": {}, "provenance": {"provenance": "all"}, "on": with_issuers}
        for name, more in modes.items():
            app = build_app(Settings(mongodb_uri=uri, mongodb_database=f"bench_{name}", **more))
            await stack.enter_async_context(app.router.lifespan_context(app))
            apps[name] = app
        system = token(f"system/*.cruds {SENSITIVE}")
        for client in (Client(apps["open"]), Client(apps["provenance"]), Client(apps["on"], system)):
            for start in range(0, people, 8):
                await asyncio.gather(*(client.post("/fhir", load(n)) for n in range(start, min(start + 8, people))))
        callers = {
            "citizen": [token("patient/*.cruds", patient=f"p{n}") for n in range(CITIZENS)],
            "system": [system],
            "system without restricted": [token("system/*.cruds")],
            "province": [token("user/*.cruds", administrative_unit="province:38")],
            "ward": [token("user/*.cruds", administrative_unit=f"ward:{WARDS[0]}")],
        }
        print(f"{people} people. CPU ms a request: open, on, more by the smallest, more by the median")
        free = Client(apps["open"])
        for name, held in callers.items():
            await compare(name, works(free, name), works(Client(apps["on"], *held), name))
        create = "create with Provenance"
        told, signed = (
            works(Client(app, *held), "citizen")
            for app, held in ((apps["provenance"], []), (apps["on"], callers["citizen"]))
        )
        await compare("citizen", {create: told["create"]}, {create: signed["create"]})
        await told_of_ward("without {w, k, o}", Client(apps["on"], *callers["ward"]))
        by_ward = Settings(mongodb_uri=uri, mongodb_database="bench_on", ward_index=True, **with_issuers)
        app = build_app(by_ward)
        await stack.enter_async_context(app.router.lifespan_context(app))
        await told_of_ward("with {w, k, o}", Client(app, *callers["ward"]))
        with MongoClient[dict[str, Any]](uri) as mongo:
            stats = mongo["bench_on"]["Condition"].aggregate([{"$collStats": {"storageStats": {}}}]).next()
        sizes = {name: size // 1024 for name, size in stats["storageStats"]["indexSizes"].items()}
        print("index sizes of Condition, KiB:", sizes)


def works(client: Client, name: str) -> Works:
    """What is measured; each citizen asks of the own record."""
    is_citizen = name == "citizen"

    def person(n: int) -> int:
        return n % CITIZENS if is_citizen else (5 * n) % 500

    return {
        "read": lambda n: client.get(f"/fhir/Condition/c{2 * person(n)}", n),
        "search of a patient": lambda n: client.get(f"/fhir/Condition?patient=p{person(n)}", n),
        "search with include": lambda n: client.get(
            f"/fhir/Condition?patient=p{person(n)}&_include=Condition:patient", n
        ),
        "page of twenty": lambda n: client.get("/fhir/Condition" if is_citizen else "/fhir/Condition?code=E11", n),
        "create": lambda n: client.post("/fhir/Condition", condition(person(n)), n),
    }


async def compare(name: str, opened: Works, closed: Works) -> None:
    """In turns, and each of the two first as often as the other."""
    for work in opened:
        times = WRITES if work.startswith("create") else READS if work == "read" else SEARCHES
        took: tuple[list[float], list[float]] = [], []
        for turn in range(2 * ROUNDS):
            which = (turn + turn // 2) % 2
            took[which].append(await cpu((opened, closed)[which][work], times))
        least, middle = ([reduce(values) for values in took] for reduce in (min, median))
        more = [second / first - 1 for first, second in (least, middle)]
        print(f"{name:26} {work:22} {least[0]:7.3f} {least[1]:7.3f} {more[0]:+7.0%} {more[1]:+7.0%}", flush=True)


async def told_of_ward(label: str, ward: Client) -> None:
    search = min([await cpu(lambda n: ward.get("/fhir/Condition?code=E11"), SEARCHES) for _ in range(ROUNDS)])
    create = min([await cpu(lambda n: ward.post("/fhir/Condition", condition(5 * n)), WRITES) for _ in range(ROUNDS)])
    print(f"ward {label:21} search {search:7.3f} create {create:7.3f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
