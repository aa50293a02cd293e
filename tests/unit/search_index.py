"""A real MongoDB collection of index entries, and searches over it that go past parsing and paging."""

from __future__ import annotations

from functools import cache
from itertools import product
from string import ascii_letters
from typing import Any
from urllib.parse import unquote

from pymongo.database import Database

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.search_params import SearchParameter
from fhir_server.model.registry import Registry, UnknownSystems
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.search.compile import conjunction, negation
from fhir_server.search.escapes import split
from fhir_server.search.extract import Extractor
from fhir_server.search.lookup import Expand, Lookup, no_codes
from fhir_server.search.tree import Leaf
from fhir_server.search.types.table import TYPES
from fhir_server.store.documents import dated_order, undated_order
from fhir_server.store.values import Filter, Indexed

NOW = 1_767_225_600_000  # 2026-01-01T00:00Z
BASE = "http://test.vn/fhir"
LETTERS = ["".join(pair) for pair in product(ascii_letters, repeat=2)]


@cache
def definitions() -> Definitions:
    return Definitions.load(DATA_ROOT)


def entry(extractor: Extractor, registry: Registry, resource: Resource) -> Indexed:
    """The index entry, with every system numbered on the way as the store does it."""
    while True:
        try:
            return extractor.index(resource, registry)
        except UnknownSystems as unknown:
            for uri in sorted(unknown.uris):
                registry.systems[uri] = len(registry.systems) + 1


class Index:
    """Resources are kept as their entries only: {_id, k, x, o}."""

    def __init__(
        self,
        database: Database[dict[str, Any]],
        zone: str = "+07:00",
        parameters: dict[str, SearchParameter] | None = None,
    ) -> None:
        def of(type: str) -> dict[str, SearchParameter]:
            return {**definitions().search_params(type), **(parameters or {})}

        self.database = database
        self.extractor = Extractor(definitions(), zone, lambda uri: uri.replace("urn:old:", "urn:new:"), BASE, of)
        self.registry = Registry()
        self.zone = zone
        self.expand: Expand = no_codes

    def put(self, *resources: Resource) -> None:
        """Resources as sent by a client: decimals keep their digits."""
        self.keep(*(decode(encode(resource)) for resource in resources))

    def keep(self, *resources: Resource) -> None:
        for place, sent in enumerate(resources):
            id = sent.get("id", str(place + 1))
            self._know(sent["resourceType"])
            found = entry(self.extractor, self.registry, sent)
            order = undated_order(NOW, id) if found.order is None else dated_order(found.order, id)
            document = {"_id": id, "k": list(found.keys), "x": dict(found.sort), "o": order}
            self.database[sent["resourceType"]].replace_one({"_id": id}, document, upsert=True)

    def only(self, *resources: Resource) -> None:
        """The same in an emptied collection."""
        for type in {resource["resourceType"] for resource in resources}:
            self.database[type].delete_many({})
        self.put(*resources)

    def _know(self, type: str) -> None:
        known = [name for name in self.registry.letters if name[0] == type]
        if not known:
            names = sorted(self.extractor.declared(type))
            self.registry.letters.update(zip(names, LETTERS, strict=False))

    def filter(self, type: str, name: str, *values: str) -> Filter:
        """`filter("Patient", "name:exact", "An")`; a `:not` is the complement, as the search tree has it."""
        self._know(type)
        code, _, modifier = name.partition(":")
        positive = {"": None, "not": None, "not-in": "in"}.get(modifier, modifier)
        leaf = Leaf(type, self.extractor.params(type)[code], positive, values)
        absent: frozenset[str] = frozenset()
        while True:
            lookup = Lookup(
                registry=self.registry,
                zone=self.zone,
                base=BASE,
                now=NOW,
                paths=self.extractor.paths,
                component=self.extractor.component,
                expand=self.expand,
                canonical_system=self.extractor.setting.canonical_system,
                absent=absent,
                homes=self.extractor.homes,
            )
            try:
                found = TYPES[leaf.param.type].filter(leaf, lookup.letters(type, code), lookup)
                return negation(found) if modifier in ("not", "not-in") else found
            except UnknownSystems as unknown:
                absent |= unknown.uris

    def find(self, query: str) -> set[str]:
        """The ids that `Patient?name=an,binh&gender:not=male` finds."""
        type, _, pairs = query.partition("?")
        filters = []
        for pair in pairs.split("&"):
            name, _, value = pair.partition("=")
            filters.append(self.filter(type, name, *split(unquote(value), ",")))
        return {document["_id"] for document in self.database[type].find(conjunction(filters), {"_id": 1})}
