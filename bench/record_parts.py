"""CPU of each part of an import, without a database: `python -m bench.record_parts FOLDER` prints µs a resource.

Every part is run over all records of the folder's files, several times; the cheapest time counts. What the importer
needs beside them (planning a group, the driver) and mongod's own work stand in the figures of `bench.records`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from operator import itemgetter
from pathlib import Path
from string import ascii_letters

import bson

from fhir_server.config import DATA_ROOT, Settings
from fhir_server.definitions.capabilities import Capability
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import shipped_profiles
from fhir_server.interactions.narrowing import NarrowingRules
from fhir_server.model.rare_collections import rare_collections
from fhir_server.model.registry import Registry, UnknownSystems
from fhir_server.model.resources import Resource, content_of
from fhir_server.records.bundle import prepare, settle, stamp, unique
from fhir_server.records.files import read_files
from fhir_server.records.formats import Formats
from fhir_server.records.identity import new_id
from fhir_server.records.importing import formats_of
from fhir_server.records.record import Record, identify, map_record
from fhir_server.records.source import SourceRecord
from fhir_server.search.extract import Extractor
from fhir_server.search.model import SearchModel
from fhir_server.store.documents import live_document
from fhir_server.store.values import Draft, Indexed
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.naming import NamingSystems
from fhir_server.validation.conformance import Conformance
from fhir_server.validation.validate import Validator

REPEATS = 5


@dataclass(frozen=True, slots=True)
class Server:
    """What an import needs beside the store."""

    formats: Formats
    search: SearchModel
    registry: Registry
    validator: Validator
    rules: NarrowingRules

    @classmethod
    def load(cls) -> Server:
        settings = Settings()
        definitions, shipped = Definitions.load(DATA_ROOT), Terminology.load(DATA_ROOT)
        extractor = Extractor(definitions, settings.zone, NamingSystems.load(DATA_ROOT).canonical)
        search = SearchModel(definitions, extractor, settings, Capability.load(DATA_ROOT / "capability_statement.json"))
        registry = Registry()
        for _, params in groupby(sorted(search.declared()), key=itemgetter(0)):
            registry.letters.update(zip(params, map("".join, product(ascii_letters, repeat=2)), strict=False))
        conformance = Conformance(definitions, shipped, shipped_profiles(DATA_ROOT))
        rules = NarrowingRules.load(DATA_ROOT / "profiles" / "vn_basic" / "narrowing.json", shipped)
        return cls(formats_of(settings), search, registry, Validator(definitions, conformance), rules)

    def index(self, resource: Resource) -> Indexed:
        while True:
            try:
                return self.search.index(resource, self.registry)
            except UnknownSystems as unknown:
                known = self.registry.systems
                known.update({uri: len(known) + place for place, uri in enumerate(sorted(unknown.uris), 1)})


def main() -> None:
    with rare_collections():
        for name, micros in account(Path(sys.argv[1])):
            print(f"{name:28} {micros:6.1f}")


def account(folder: Path) -> Iterator[tuple[str, float]]:
    """(part, µs of CPU a resource) in the order of an import."""
    server = Server.load()
    formats, naming = server.formats, server.formats.tools.naming
    paths = sorted(folder.rglob("*.xml"))
    sources = [source for source in read_files(paths, formats) if source.content is not None]
    records = [record for source in sources if not (record := mapped(source, formats)).refused]
    for record in records:
        settle(record, new_id(record, False, naming))
        stamp(record)
    made = [one.resource for record in records for one in unique(record)]
    indexed = [server.index(one) for one in made]
    drafts = [drafted(server, one, keys) for one, keys in zip(made, indexed, strict=True)]
    documents = [live_document(one, None, 1, "PUT", 1) for one in drafts]
    validate = server.validator.validate
    parts: Sequence[tuple[str, Callable[[], object]]] = (
        ("reading", lambda: list(read_files(paths, formats))),
        (
            "identity",
            lambda: [identify(formats.by_name[one.format], one.content or {}) for one in sources],
        ),
        ("mapping", lambda: [map_record(formats.by_name[one.format], one) for one in sources]),
        ("checks", lambda: [checked(one) for one in records]),
        ("ids and references", lambda: [settle(one, "p") for one in records]),
        ("profiles that are claimed", lambda: [stamp(one) for one in records]),
        ("base validation", lambda: [validate(one, one["resourceType"], claims=False) for one in made]),
        ("profile validation besides", lambda: [validate(one, one["resourceType"]) for one in made]),
        ("search keys", lambda: [server.index(one) for one in made]),
        ("narrowing and JSON", lambda: [drafted(server, *one) for one in zip(made, indexed, strict=True)]),
        ("document", lambda: [live_document(one, None, 1, "PUT", 1) for one in drafts]),
        ("BSON", lambda: [bson.encode(one) for one in documents]),
    )
    spent: dict[str, float] = {}
    for name, work in parts:
        spent[name] = cheapest(work) / len(made) * 1e6
    spent["mapping"] -= spent["identity"]
    spent["profile validation besides"] -= spent["base validation"]
    yield from spent.items()
    keys = sum(len(one.keys) for one in indexed) / len(made)
    size = sum(len(one["raw"]) for one in documents) / len(made)
    print(f"{len(made)} resources of {len(records)} records, {keys:.1f} keys and {size:.0f} bytes of JSON each")


def mapped(source: SourceRecord, formats: Formats) -> Record:
    record = map_record(formats.by_name[source.format], source)
    prepare(record, formats.tools.naming)
    return record


def checked(record: Record) -> None:
    if record.format.checks is not None and record.source.content is not None:
        for _ in record.format.checks.run(record.source.content, record.moment, record.moment[:10], "warning"):
            pass


def drafted(server: Server, resource: Resource, indexed: Indexed) -> Draft:
    patients = [key[1:] for key in indexed.keys if key.startswith("@") and ":" not in key]
    content = content_of(resource)
    narrowing = server.rules.narrow(resource, resource["id"], patients, content)
    return Draft(resource["resourceType"], resource["id"], resource, content, indexed, narrowing)


def cheapest(work: Callable[[], object]) -> float:
    """Seconds of CPU."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


if __name__ == "__main__":
    main()
