"""Search on stores of several sizes: latency, documents examined, and CPU of the server's own code a request.

    python -m bench.search load 100000 --dir /tmp/bench      makes a store of that many resources
    python -m bench.search run --dir /tmp/bench              asks it, and prints a table

Each size gets a folder and a mongod of its own. Documents examined come from MongoDB's profiler and are exact; times
are those of one client and depend on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import orjson
from pymongo import MongoClient
from pymongo.errors import BulkWriteError

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context, FhirRequest
from fhir_server.interactions.planning import index
from fhir_server.interactions.search import search
from fhir_server.search.parse import query_pairs
from fhir_server.store.contract import Draft
from fhir_server.store.documents import live_document
from fhir_server.store.embedded import running_uri
from fhir_server.store.indexes import LIVE_INDEXES

FAMILIES = [
    "Nguyễn",
    "Trần",
    "Lê",
    "Phạm",
    "Hoàng",
    "Phan",
    "Vũ",
    "Võ",
    "Đặng",
    "Bùi",
    "Đỗ",
    "Hồ",
    "Ngô",
    "Dương",
    "Lý",
]
SHARES = [38, 12, 10, 7, 5, 5, 4, 3, 3, 2, 2, 2, 2, 2, 1]
MIDDLES = ["Văn", "Thị", "Hữu", "Đức", "Minh", "Quốc", "Thanh", "Ngọc", "Xuân", "Thu", "Hồng", "Kim"]
GIVEN = [
    "An",
    "Bình",
    "Cường",
    "Dung",
    "Giang",
    "Hà",
    "Hải",
    "Hạnh",
    "Hiếu",
    "Hoa",
    "Hùng",
    "Hương",
    "Khánh",
    "Lan",
    "Linh",
    "Long",
    "Mai",
    "Minh",
    "Nam",
    "Nga",
    "Phương",
    "Quang",
]
CODES = [f"{letter}{number:02}" for letter in "ABCDEFGHIJKLMN" for number in range(30)]
CCCD, ICD, CVX = "http://fhir.hl7.org.vn/core/sid/cccd", "http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/cvx"
PER_PERSON = 10  # a Patient, 4 Conditions, 4 Immunizations, an Observation

Resource = dict[str, Any]


def people(count: int, seed: int = 7) -> Iterator[Resource]:
    """Synthetic resources of `count` persons; diseases by a long-tailed frequency."""
    chance = Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(CODES))]
    for number in range(count):
        yield from person(chance, f"p{number:08}", number, weights)


def a_date(chance: Random, first: int, last: int) -> str:
    return f"{chance.randint(first, last)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"


def person(chance: Random, id: str, number: int, weights: list[float]) -> Iterator[Resource]:
    family = chance.choices(FAMILIES, SHARES)[0]
    given = [chance.choice(MIDDLES), chance.choice(GIVEN)]
    subject = {"reference": f"Patient/{id}"}
    yield {
        "resourceType": "Patient",
        "id": id,
        "identifier": [{"system": CCCD, "value": f"{number:012}"}],
        "name": [{"use": "official", "text": " ".join([family, *given]), "family": family, "given": given}],
        "gender": chance.choice(["male", "female"]),
        "birthDate": a_date(chance, 1940, 2024),
        "address": [{"state": str(chance.randint(1, 34)), "city": f"Xã {chance.randint(1, 3000)}"}],
        "managingOrganization": {"reference": f"Organization/tram-{chance.randint(1, 3000)}"},
    }
    for place in range(4):
        yield {
            "resourceType": "Condition",
            "id": f"{id}-c{place}",
            "clinicalStatus": {"coding": [{"system": "urn:clinical", "code": chance.choice(["active", "resolved"])}]},
            "code": {"coding": [{"system": ICD, "code": chance.choices(CODES, weights)[0]}]},
            "subject": subject,
            "onsetDateTime": a_date(chance, 2005, 2025),
        }
        yield {
            "resourceType": "Immunization",
            "id": f"{id}-i{place}",
            "status": "completed",
            "vaccineCode": {"coding": [{"system": CVX, "code": str(chance.randint(1, 60))}]},
            "patient": subject,
            "occurrenceDateTime": a_date(chance, 2005, 2025),
        }
    yield {
        "resourceType": "Observation",
        "id": f"{id}-o",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": subject,
        "effectiveDateTime": a_date(chance, 2015, 2025),
        "valueQuantity": {"value": chance.randint(300, 900) / 10, "system": "http://unitsofmeasure.org", "code": "kg"},
    }


QUERIES = {
    "identifier": "Patient?identifier=http://fhir.hl7.org.vn/core/sid/cccd|000000000042",
    "family name": "Patient?name=nguyen",
    "full name": "Patient?name=nguyen van an",
    "beginning of a name": "Patient?name=ngu",
    "patient, newest first": "Condition?patient=p00000042&_sort=-onset-date",
    "code from a day on": "Condition?code=A01&onset-date=ge2024",
    "code within a year": "Condition?code=A01&onset-date=ge2020&onset-date=lt2021",
    "code, oldest first": "Condition?code=A01&_sort=onset-date",
    "birth date, sex, province": "Patient?birthdate=ge1980&birthdate=lt1985&gender=female&address-state=7",
    "weight over 89 kg": "Observation?value-quantity=gt89|http://unitsofmeasure.org|kg",
    "include": "Condition?code=A01&_include=Condition:patient",
    "revinclude": "Patient?identifier=000000000042&_revinclude=Condition:patient&_revinclude=Immunization:patient",
    "chain by identifier": "Condition?patient.identifier=http://fhir.hl7.org.vn/core/sid/cccd|000000000042",
    "chain by a common name": "Condition?patient.name=nguyen",
    "chain by a rare name": "Condition?patient.name=ly thanh lan",
    "has, common": "Patient?_has:Condition:patient:code=A00",
    "has, rare": "Patient?_has:Condition:patient:code=N29",
    "has with date": "Patient?_has:Condition:patient:code=A00&birthdate=1985-03",
    "not": "Condition?code:not=A00",
    "by last update": "Condition?_sort=-_lastUpdated",
    "everything of a person": "Patient/p00000042/*",
}


def settings_of(folder: Path) -> Settings:
    return Settings(data_dir=folder, mongodb_cache_mb=2048)


async def load(folder: Path, count: int) -> None:
    started, done = time.perf_counter(), 0
    async with open_context(settings_of(folder)) as context:
        client = MongoClient[Resource](_uri(context))
        database = client[context.settings.mongodb_database]
        batch: dict[str, list[Resource]] = {}
        for resource in people(count // PER_PERSON):
            indexed = await index(context, resource)
            draft = Draft(resource["resourceType"], resource["id"], resource, indexed)
            document = live_document(draft, None, 1_760_000_000_000 + done, "PUT", 1)
            batch.setdefault(draft.type, []).append(document)
            done += 1
            if done % 10_000 == 0:
                _write(database, batch)
                batch.clear()
        _write(database, batch)
        for type in ("Patient", "Condition", "Immunization", "Observation"):
            database[type].create_indexes(list(LIVE_INDEXES))
    print(f"{done} resources in {time.perf_counter() - started:.0f} s")


def _write(database: Any, batch: dict[str, list[Resource]]) -> None:
    for type, documents in batch.items():
        try:
            database[type].insert_many(documents, ordered=False)
        except BulkWriteError as fault:
            raise SystemExit(str(fault.details)[:500]) from None


def _uri(context: Context) -> str:
    uri = running_uri(context.settings.data_dir)
    assert uri is not None
    return uri


@asynccontextmanager
async def profiled(context: Context) -> AsyncIterator[Any]:
    client = MongoClient[Resource](_uri(context))
    database = client[context.settings.mongodb_database]
    database.command("profile", 0)
    database.drop_collection("system.profile")
    database.create_collection("system.profile", capped=True, size=64 << 20)
    yield database
    database.command("profile", 0)


async def run(folder: Path, repeat: int) -> None:
    print(
        f"{'query':28} {'p50 ms':>8} {'p99 ms':>8} {'cpu ms':>7} {'hits':>5} {'queries':>7} {'examined':>8} "
        f"{'page 10':>8}"
    )
    async with open_context(settings_of(folder)) as context, profiled(context) as database:
        for name, query in QUERIES.items():
            path, _, text = query.partition("?")
            request = FhirRequest("GET", tuple(path.split("/")), query_pairs(text))
            times, cpu = [], time.process_time()
            try:
                for _ in range(repeat):
                    started = time.perf_counter()
                    answer = await search(context, request)
                    times.append((time.perf_counter() - started) * 1000)
            except Exception as fault:  # the table goes on: a search that is too costly is a finding
                print(f"{name:28} {fault}")
                continue
            cpu = (time.process_time() - cpu) * 1000 / repeat
            queries, examined = await _examined(context, database, request)
            later = await _tenth_page(context, answer.body)
            hits = answer.body.count(b'"mode":"match"')
            times.sort()
            print(
                f"{name:28} {statistics.median(times):8.2f} {times[int(len(times) * 0.99)]:8.2f} {cpu:7.2f} {hits:5}"
                f" {queries:7} {examined:8} {later:8.2f}"
            )


async def _examined(context: Context, database: Any, request: FhirRequest) -> tuple[int, int]:
    database.command("profile", 2)
    await search(context, request)
    database.command("profile", 0)
    rows = [row for row in database["system.profile"].find() if row["op"] in ("query", "command", "getmore")]
    rows = [row for row in rows if "system.profile" not in row["ns"] and "profile" not in row.get("command", {})]
    database.drop_collection("system.profile")
    database.create_collection("system.profile", capped=True, size=64 << 20)
    return len(rows), sum(row.get("docsExamined", 0) for row in rows)


async def _tenth_page(context: Context, body: bytes) -> float:
    """ms of the tenth page, 0 when there is none."""
    for _ in range(9):
        links = {link["relation"]: link["url"] for link in orjson.loads(body).get("link", [])}
        if "next" not in links:
            return 0.0
        url = links["next"]
        path, _, text = url.removeprefix(context.base + "/").partition("?")
        request = FhirRequest("GET", tuple(path.split("/")), query_pairs(text))
        started = time.perf_counter()
        body = (await search(context, request)).body
    return (time.perf_counter() - started) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    loading = commands.add_parser("load")
    loading.add_argument("count", type=int)
    running = commands.add_parser("run")
    running.add_argument("--repeat", type=int, default=30)
    for command in (loading, running):
        command.add_argument("--dir", type=Path, required=True)
    asked = parser.parse_args()
    asyncio.run(load(asked.dir, asked.count) if asked.command == "load" else run(asked.dir, asked.repeat))


if __name__ == "__main__":
    main()
