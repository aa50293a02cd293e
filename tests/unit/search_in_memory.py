"""A server's search without its database: queries are parsed and compiled, and held against index entries in memory.

That filters mean the same there as in MongoDB is proved by `tests/api/search/test_search_evaluate.py`.
"""

from __future__ import annotations

import asyncio
from functools import cache

from search_index import BASE, LETTERS, NOW
from search_index import entry as indexed_entry

from fhir_server.config import DATA_ROOT, Settings
from fhir_server.definitions.capabilities import Capability
from fhir_server.definitions.load import Definitions
from fhir_server.model.registry import Registry
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.search.extract import Extractor
from fhir_server.search.lookup import Codes
from fhir_server.search.model import SearchModel
from fhir_server.search.parse import parse_parameter
from fhir_server.store.documents import dated_order, undated_order
from fhir_server.store.evaluate import satisfies

Document = dict[str, object]


async def _codes(modifier: str, value: str) -> Codes:
    """`:in`, `:above` and `:below` of `system|code` stand for this very code."""
    system, _, code = value.partition("|")
    return [(system, code)]


class _Store:
    """What the compiler asks of a store. Letters are given when a type is first met, numbers to every system stored."""

    def __init__(self) -> None:
        self.registry = Registry()

    def meet(self, type: str) -> None:
        if all(known != type for known, _ in self.registry.letters):
            names = sorted(extractor().declared(type))
            self.registry.letters.update(zip(names, LETTERS, strict=False))

    async def known_system(self, uri: str) -> int | None:
        return self.registry.systems.get(uri)


STORE = _Store()


@cache
def extractor() -> Extractor:
    return Extractor(_definitions(), "+07:00", base=BASE)


@cache
def _definitions() -> Definitions:
    return Definitions.load(DATA_ROOT)


@cache
def model() -> SearchModel:
    capability = Capability.load(DATA_ROOT / "capability_statement.json")
    return SearchModel(_definitions(), extractor(), Settings(), capability, _codes)


def entry(resource: Resource) -> Document:
    """What is stored of a resource to find it by; its decimals keep their digits."""
    STORE.meet(resource["resourceType"])
    indexed = indexed_entry(extractor(), STORE.registry, decode(encode(resource)))
    id = resource["id"]
    order = undated_order(NOW, id) if indexed.order is None else dated_order(indexed.order, id)
    return {"_id": id, "k": list(indexed.keys), "x": dict(indexed.sort), "o": order, "u": NOW}


def finds(document: Document, type: str, name: str, value: str) -> bool:
    """Whether `Type?name=value` finds the entry. Raises FhirError for what cannot be asked."""
    tree = parse_parameter(model().parameters, type, name, value)
    return satisfies(document, _runner().run(model().filter(tree, STORE, BASE, NOW)))  # type: ignore[arg-type]


@cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner()
