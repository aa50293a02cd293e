"""Stores of any size to measure searches on: `python -m bench.stores RESOURCES FOLDER`.

The first hundred thousand resources are those of `fhir-server sample`, mapped as an import maps them, each household in
one of the 34 provinces. A larger store holds them again and again, each time under other ids and numbers. They are
written as documents, without matching and transactions, and the indexes are built last.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import struct
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.database import Database

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.planning import draft
from fhir_server.records.bundle import prepare, transaction
from fhir_server.records.formats import Formats
from fhir_server.records.importing import formats_for, rare_collections
from fhir_server.records.json_files import read_lines
from fhir_server.records.population import Place
from fhir_server.records.record import map_record
from fhir_server.records.sample import Sampled, generate
from fhir_server.records.sample_basic import basic
from fhir_server.store.documents import live_document
from fhir_server.store.embedded import running_uri
from fhir_server.store.indexes import LIVE_INDEXES
from fhir_server.store.values import ORDER_SHIFT
from fhir_server.terminology.load import Terminology

SEED = 7
ORIGINALS = 100_000  # resources
MOST_PEOPLE = 1_000_000
AT_ONCE = 1_000
CREATED = 1_760_000_000_000
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

Resource = dict[str, Any]


# --- originals -------------------------------------------------------------------------------------------------------


def homes(terminology: Terminology) -> list[Place]:
    """Every ward of the country, so that neighbours in this list are of different provinces."""
    wards, provinces = terminology.code_system("ward"), terminology.code_system("province")
    assert wards is not None
    assert provinces is not None
    found = []
    for ward in wards.concepts.values():
        (province,) = ward.values("province")
        found.append(Place(ward.code, ward.display or "", province, provinces.concepts[province].display or ""))
    return sorted(found, key=lambda place: (place.ward[::-1], place.province))


def resources(formats: Formats) -> Iterator[Resource]:
    """The resources of one person after another; shared ones, facilities say, once."""
    terminology = Terminology.load()
    places = homes(terminology)
    told: set[tuple[str, str]] = set()
    for one in generate(MOST_PEOPLE, SEED, terminology):
        home = places[one.household.number % len(places)]
        moved = replace(one, person=replace(one.person, place=replace(home, hamlet=one.person.place.hamlet)))
        for resource in mapped(moved, formats):
            identity = (resource["resourceType"], resource["id"])
            if identity not in told:
                told.add(identity)
                yield resource


def mapped(one: Sampled, formats: Formats) -> Iterable[Resource]:
    line = json.dumps(basic(one.person, one.health, one.household), ensure_ascii=False).encode()
    for source in read_lines(io.BytesIO(line), "sample.ndjson", "basic"):
        record = map_record(formats.by_name["basic"], source)
        prepare(record, formats.tools.naming)
        if not record.refused:
            yield from (entry["resource"] for entry in transaction(record, formats.tools.naming)["entry"])


# --- copies ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Original:
    """A document as BSON. replaced: the ids and numbers in it that are others in a copy."""

    type: str
    document: bytes
    id: bytes
    order: bytes
    replaced: tuple[bytes, ...]

    @classmethod
    def of(cls, type: str, document: Resource, resource: Resource, shared: set[bytes]) -> Original:
        encoded = bson.encode(document)
        ids = set(_UUID.findall(encoded)) - shared
        numbers = {found["value"].encode() for found in resource.get("identifier", ()) if len(found["value"]) >= 6}
        return cls(type, encoded, document["_id"].encode(), _order_field(document["o"]), (*ids, *numbers))

    def copy(self, number: int) -> bytes:
        """The copy of this number, from 1: everything keeps its length, so the document stays what it is."""
        start = b"g%02x" % number
        document = self.document
        for text in self.replaced:
            document = document.replace(text, start + text[3:])
        return document.replace(self.order, _order_field(self._order_of(start + self.id[3:])), 1)

    def _order_of(self, id: bytes) -> int:
        (order,) = struct.unpack("<q", self.order[3:])
        return int(order) >> ORDER_SHIFT << ORDER_SHIFT | zlib.crc32(id) & ((1 << ORDER_SHIFT) - 1)


def _order_field(order: int) -> bytes:
    return b"\x12o\x00" + struct.pack("<q", order)


# --- a store ---------------------------------------------------------------------------------------------------------


def settings_of(folder: Path) -> Settings:
    return Settings(data_dir=folder, mongodb_cache_mb=2048)


def database_of(context: Context) -> Database[Resource]:
    uri = running_uri(context.settings.data_dir)
    assert uri is not None
    return MongoClient[Resource](uri)[context.settings.mongodb_database]


async def load(folder: Path, count: int) -> None:
    started, settings = time.perf_counter(), settings_of(folder)
    async with open_context(settings) as context:
        database = database_of(context)
        with rare_collections():
            originals = await make(context, min(count, ORIGINALS))
            write(database, ((one.type, one.document) for one in originals))
            write(database, islice(copies(originals), count - len(originals)))
        for type in sorted(name for name in database.list_collection_names() if name[0].isupper()):
            database[type].create_indexes(list(LIVE_INDEXES))
    print(f"{count} resources in {time.perf_counter() - started:.0f} s")


async def make(context: Context, count: int) -> list[Original]:
    formats = formats_for(context.settings.guide, context.settings.zone)
    shared: set[bytes] = set()
    found = []
    for number, resource in enumerate(islice(resources(formats), count)):
        if resource["resourceType"] == "Organization":
            shared.add(resource["id"].encode())
        made = await draft(context, resource, resource["id"])
        document = live_document(made, None, CREATED + number, "PUT", 1)
        found.append(Original.of(made.type, document, resource, shared))
    return found


def copies(originals: list[Original]) -> Iterator[tuple[str, bytes]]:
    for number in range(1, 1 << 12):
        yield from ((one.type, one.copy(number)) for one in originals if one.type != "Organization")


def write(database: Database[Resource], documents: Iterable[tuple[str, bytes]]) -> None:
    waiting: dict[str, list[RawBSONDocument]] = defaultdict(list)
    for type, document in documents:
        waiting[type].append(RawBSONDocument(document))
        if len(waiting[type]) == AT_ONCE:
            database[type].insert_many(waiting.pop(type), ordered=False)
    for type, group in waiting.items():
        database[type].insert_many(group, ordered=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    asyncio.run(load(asked.folder, asked.count))


if __name__ == "__main__":
    main()
