"""CPU of terminology questions on the shipped lists, and memory of paging through a table.

usage: python bench/terminology.py [ROUNDS]             µs a request, through dispatch, of each operation
       python bench/terminology.py --pages [CODES]      loads a synthetic table and walks it by pages, with peak memory
"""

from __future__ import annotations

import asyncio
import csv
import resource
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qsl

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context, FhirRequest
from fhir_server.model.resources import decode
from fhir_server.operations.load_table import load_table
from fhir_server.routes import dispatch
from fhir_server.store.embedded import Embedded
from fhir_server.terminology.table_files import TableFile

OWN = "urn:vn-basic:CodeSystem:"
SETS = "urn:vn-basic:ValueSet:"
MAPS = "urn:vn-basic:ConceptMap:"
TO_WARD = f"targetsystem={OWN}ward"
LEGACY = f"url={SETS}ward-legacy"
QUESTIONS = (
    ("$lookup a ward", "CodeSystem/$lookup", f"system={OWN}ward&code=14758"),
    ("$lookup ActCode AMB", "CodeSystem/$lookup", "system=http://terminology.hl7.org/CodeSystem/v3-ActCode&code=AMB"),
    ("$validate-code a ward", "ValueSet/$validate-code", f"url={SETS}ward&system={OWN}ward&code=14758"),
    ("$subsumes ICD-10", "CodeSystem/$subsumes", "system=http://hl7.org/fhir/sid/icd-10&codeA=J02&codeB=J02.9"),
    ("$expand ethnic groups (54)", "ValueSet/$expand", f"url={SETS}ethnic-group"),
    ("$expand wards, filter=than, count=20", "ValueSet/$expand", f"url={SETS}ward&filter=than&count=20"),
    ("$expand wards, page of 20 of 3,321", "ValueSet/$expand", f"url={SETS}ward&offset=1000&count=20"),
    ("$expand wards before 2025, page of 20 of 10,035", "ValueSet/$expand", f"{LEGACY}&count=20"),
    (
        "$translate vaccine to CVX",
        "ConceptMap/$translate",
        f"url=urn:vn-basic:ConceptMap:vaccine-cvx&system={OWN}vaccine&code=bcg",
    ),
    (
        "$translate ward to its successors",
        "ConceptMap/$translate",
        f"system={OWN}ward-legacy&code=14758&targetsystem={OWN}ward",
    ),
    ("$preferred-id", "NamingSystem/$preferred-id", "id=http://fhir.hl7.org.vn/core/sid/cccd&type=uri"),
)


async def ask(context: Context, path: str, query: str) -> bytes:
    answer = await dispatch(context, FhirRequest("GET", tuple(path.split("/")), tuple(parse_qsl(query))))
    return answer.body


async def questions(context: Context, rounds: int) -> None:
    print(f"{'question':52} {'ms CPU':>8} {'bytes':>8}")
    for name, path, query in QUESTIONS:
        body = await ask(context, path, query)  # reads the list
        started = time.process_time()
        for _ in range(rounds):
            await ask(context, path, query)
        spent = (time.process_time() - started) / rounds * 1000
        print(f"{name:52} {spent:8.3f} {len(body):8,}")


async def pages(context: Context, codes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "list.csv")
        with path.open("w", encoding="utf-8", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["code", "display", "parent"])
            rows.writerow(["root", "Gốc", ""])
            rows.writerows([f"c{number:06}", f"Khái niệm số {number}", "root"] for number in range(codes - 1))
        started = time.perf_counter()
        file = TableFile(path, "list", "1", "urn:bench:list", "bench")
        loaded = await load_table(context, file, lambda what, done, total: None)
    print(f"{loaded.codes:,} codes loaded in {time.perf_counter() - started:.1f} s, peak {peak():.0f} MiB")
    request = {"resourceType": "ValueSet", "status": "active"}
    request["compose"] = {"include": [{"system": "urn:bench:list"}]}  # type: ignore[assignment]
    before, met = peak(), 0
    spent, turns = time.process_time(), 0
    for offset in range(0, codes, 1000):
        query = (("offset", str(offset)), ("count", "1000"))
        answer = await dispatch(context, FhirRequest("POST", ("ValueSet", "$expand"), query, resource=request))
        met += len(decode(answer.body)["expansion"].get("contains", ()))
        turns += 1
    spent = (time.process_time() - spent) / turns * 1000
    print(f"{met:,} codes in pages of 1,000: {spent:.1f} ms CPU a page, peak memory grew by {peak() - before:.1f} MiB")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def main() -> None:
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="fhir-bench-") as folder:
        server = Embedded(Path(folder), 256)
        settings = Settings(mongodb_uri=server.start())
        try:
            async with open_context(settings) as context:
                if arguments[:1] == ["--pages"]:
                    await pages(context, int(arguments[1]) if len(arguments) > 1 else 15_000)
                else:
                    await questions(context, int(arguments[0]) if arguments else 200)
        finally:
            server.stop()


if __name__ == "__main__":
    asyncio.run(main())
