"""No search reads a whole collection: every declared parameter and modifier walks an index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pymongo import MongoClient

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.definitions.search_params import SearchParameter
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.search.parse import parse
from fhir_server.search.types.table import TYPES
from tests.api.search.conftest import Searcher

VALUES = {
    "string": ["a b"],
    "token": ["male"],
    "date": ["2024", "ge2024"],
    "number": ["gt5"],
    "quantity": ["lt5|http://unitsofmeasure.org|kg"],
    "reference": ["Patient/1"],
    "uri": ["http://example.org/a"],
}
MODIFIED = {"missing": "true", "of-type": "urn:test|a|b", "identifier": "a", "not": "male"}
# Their values are looked up elsewhere: in lists, hierarchies, or other resources.
ELSEWHERE = frozenset({"in", "not-in", "above", "below"})


def pairs(context: Context, type: str, param: SearchParameter) -> Iterator[tuple[str, str]]:
    """Queries of a parameter: a value of each kind, and each modifier."""
    if param.lineage_of or not param.expression:
        return
    if param.type == "composite":
        parts = [context.definitions.search_param_by_url(part.definition) for part in param.components]
        yield param.code, "$".join(VALUES[part.type][0] for part in parts if part is not None)
        return
    if param.type == "special":
        yield param.code, "21|105|10|km"
        return
    for value in VALUES[param.type]:
        yield param.code, value
    for modifier in ("missing", *(TYPES[param.type].modifiers - ELSEWHERE)):
        yield f"{param.code}:{modifier}", MODIFIED.get(modifier, "a")


async def test_every_parameter_and_modifier_walks_an_index(
    world: Searcher, shared_settings: Settings, mongodb: MongoClient[dict[str, Any]]
) -> None:
    database = mongodb[shared_settings.mongodb_database]
    database.create_collection("system.profile", capped=True, size=256 << 20)
    asked = 0
    async with open_context(shared_settings) as context:
        database.command("profile", 2)
        for type in context.search.parameters.types:
            for param in context.search.parameters.of(type).values():
                for pair in pairs(context, type, param):
                    asked += await walked(context, type, pair)
        database.command("profile", 0)
    asked_for = {"op": {"$in": ["query", "command"]}, "planSummary": {"$exists": True}}
    rows = list(database["system.profile"].find({**asked_for, "ns": f"{database.name}.Condition"}))
    assert [row["command"] for row in rows if "COLLSCAN" in row["planSummary"]] == []
    assert len(rows) > asked / 2 > 4_000


async def walked(context: Context, type: str, pair: tuple[str, str]) -> int:
    """Asks every part of a search of the type, of a collection that has documents."""
    finder = Finder(context)
    try:
        ((_, tree),) = parse(context.search.parameters, [type], (pair,), strict=True).trees
        plan = await finder.plan(type, tree)
    except FhirError as fault:
        if fault.kind in (Kind.INVALID, Kind.UNSUPPORTED_PARAMETER):
            return 0  # a value or modifier that this one parameter does not take
        raise
    found = context.search.parts(plan, (), context.store.registry, False)
    for part in found:
        walk = await finder.walk_of(part, None)
        await finder.page(replace(part.plan, type="Condition"), 5, walk)
    return len(found)
