"""No search reads a whole collection: every declared parameter walks an index with every modifier and prefix, and the
few searches that none answers are those that `unled` names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace
from pymongo import MongoClient

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.definitions.search_params import SearchParameter
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.interactions.unled import unled
from fhir_server.search.compile import flat
from fhir_server.search.parse import parse
from fhir_server.search.plan import Part, Walk
from fhir_server.search.rewrite import rewrite
from fhir_server.search.tree import Content, has_joins
from fhir_server.search.types.table import TYPES
from fhir_server.store.values import NOTHING
from tests.api.search.conftest import Searcher, serving

PREFIXES = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
VALUES = {
    "string": ["a b"],
    "token": ["male"],
    "date": [f"{prefix}2024" for prefix in PREFIXES],
    "number": [f"{prefix}5" for prefix in PREFIXES],
    "quantity": [f"{prefix}5|http://unitsofmeasure.org|kg" for prefix in PREFIXES] + ["5"],
    "reference": ["Patient/1"],
    "uri": ["http://example.org/a"],
    "special": ["21|105|10|km"],
}
CODES = "http://terminology.hl7.org/CodeSystem/v3-RoleCode|FTH"
MODIFIED = {
    "of-type": "urn:test|a|b",
    "in": "http://hl7.org/fhir/ValueSet/administrative-gender",
    "not-in": "http://hl7.org/fhir/ValueSet/administrative-gender",
    "above": CODES,
    "below": CODES,
}
WARD = "http://fhir.ehealth.gov.vn/core/CodeSystem/ward|14797"
# What is no condition on a type's own values: it asks other parameters, or is not served.
UNASKED = {"_query", "_filter"}
# Parameters of every type (`_tag`, `_profile`, …) are one definition: they are asked of these types for all.
FOR_ALL = ("Condition", "Patient", "ValueSet")
# What cannot be asked so of a parameter: the element has no such thing, or the value is no value of it.
NOT_ITS_OWN = (Kind.INVALID, Kind.VALUE, Kind.UNSUPPORTED_PARAMETER)


def pairs(context: Context, param: SearchParameter) -> Iterator[tuple[str, str]]:
    """Queries of a parameter: a value with each prefix, and each modifier."""
    if param.lineage_of:
        yield param.code, WARD
        return
    if not param.expression:
        if param.code in ("_text", "_content", "_list"):
            yield param.code, "a"
        return
    if param.type == "composite":
        parts = [context.definitions.search_param_by_url(part.definition) for part in param.components]
        yield param.code, "$".join(VALUES[part.type][0] for part in parts if part is not None)
        return
    for value in VALUES[param.type]:
        yield param.code, value
    for truth in ("true", "false"):
        yield f"{param.code}:missing", truth
    for modifier in sorted(TYPES[param.type].modifiers | ({"above"} if param.type == "reference" else set())):
        yield f"{param.code}:{modifier}", MODIFIED.get(modifier if param.type == "token" else "", VALUES[param.type][0])
    for target in param.targets[:1]:
        yield f"{param.code}:{target}", "1"


@dataclass
class Asked:
    """The shapes of queries, each asked of the database once: those of one shape differ in texts and numbers only."""

    context: Context
    shapes: set[str] = field(default_factory=set)
    searches: int = 0
    taken: set[tuple[str, str]] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    unled: list[tuple[str, str, str]] = field(default_factory=list)

    async def ask(self, type: str, param: SearchParameter, pair: tuple[str, str]) -> None:
        finder = Finder(self.context)
        try:
            ((_, tree),) = parse(self.context.search.parameters, [type], (pair,), strict=True).trees
            plan = await finder.plan(type, tree)
        except FhirError as fault:
            if fault.kind not in NOT_ITS_OWN:
                raise
            return
        self.searches += 1
        self.taken.add((param.type, pair[0].partition(":")[2]))
        found = self.context.search.parts(plan, (), self.context.store.registry, False)
        part = await unled(rewrite(tree), finder.compile)
        if part is None and not has_joins(tree):
            lost = [walk for one in found for walk in one.walks if not leads_somewhere(one, walk, pair)]
            self.unled += [(type, *pair)] if lost else []
        if part is not None:
            self.named.add("_text, _content" if isinstance(part, Content) else pair[0].partition(":")[2] or "ne")
        for one in found:
            for walk in one.walks:
                await self._once(finder, one, walk)

    async def _once(self, finder: Finder, part: Part, walk: Walk) -> None:
        if part.plan.filter == NOTHING:
            return
        shape = json.dumps([walk.hint, shape_of(walk.filter(part.plan))])
        if shape not in self.shapes:
            self.shapes.add(shape)
            await finder.page(replace(part.plan, type="Condition"), 5, walk)


def shape_of(filter: Any) -> Any:
    """A filter without the texts and numbers in it."""
    match filter:
        case dict():
            return {name[:2] if name.startswith("x.") else name: shape_of(value) for name, value in filter.items()}
        case list() | tuple():
            shapes = [shape_of(value) for value in filter]
            return [shape for place, shape in enumerate(shapes) if shape not in shapes[:place]]
    return "_"


def leads_somewhere(part: Part, walk: Walk, pair: tuple[str, str]) -> bool:
    """True when the index is walked over less than all keys of a parameter, or over a range of its own order."""
    if part.plan.filter in ({}, NOTHING) or walk.hint in ("order", "_id_"):
        return True
    if walk.driver is None:
        return any(set(way) <= {"o", "u"} for one in flat(part.plan.filter) for way in one.get("$or", [one]))
    # All keys of a parameter are walked for `:missing=false` alone: whatever is met is told.
    whole = walk.order.span is not None and len(walk.order.span.low) == 2
    return not whole or pair[0].endswith(":missing")


async def test_every_parameter_with_every_modifier_and_prefix_walks_an_index(
    world: Searcher, own_settings: Settings, mongodb: MongoClient[dict[str, Any]]
) -> None:
    database = mongodb[own_settings.mongodb_database]
    database.create_collection("system.profile", capped=True, size=64 << 20)
    async with open_context(own_settings) as context:
        asked, unasked = Asked(context), set()
        database.command("profile", 2)
        for type in context.search.parameters.types:
            for param in context.search.parameters.of(type).values():
                if param.code.startswith("_") and type not in FOR_ALL:
                    continue
                before = asked.searches
                for pair in pairs(context, param):
                    await asked.ask(type, param, pair)
                if asked.searches == before:
                    unasked.add(param.code)
        database.command("profile", 0)
    rows = list(database["system.profile"].find({"ns": f"{database.name}.Condition", "planSummary": {"$exists": True}}))
    assert [row["command"] for row in rows if "COLLSCAN" in row["planSummary"]] == []
    assert asked.unled == []
    assert asked.named == {"missing", "not", "not-in", "contains", "ne", "_text, _content"}
    assert unasked == UNASKED
    assert asked.taken >= {(kind, modifier) for kind, one in TYPES.items() for modifier in ("", *one.modifiers)}
    assert asked.taken >= {(kind, "missing") for kind in TYPES if kind != "composite"}
    assert asked.searches > 10_000
    assert len(rows) >= len(asked.shapes) > 50


# A search, and the part of it that no index answers; none where another part leads to few.
UNINDEXED = {
    "Patient?gender:not=male": "gender:not",
    "Patient?gender:not=male&name:contains=a": "gender:not and name:contains",
    "Patient?gender:not=male&name:missing=false": "gender:not and name:missing=false",
    "Patient?active=true&_filter=gender ne male or name co guye": None,
    "Patient?name:contains=guye": "name:contains",
    "Patient?name:missing=true": "name:missing=true",
    "Patient?birthdate=ne1990": "birthdate",
    "Observation?value-quantity=ne5": "value-quantity",
    "Condition?onset-date:missing=true": "onset-date:missing=true",
    "Patient?_content=a": "_content",
    "Patient?_filter=name co guye": "name:contains",
    "Patient?_filter=gender eq male or not (active eq true)": "active:not",
    "Observation?patient.gender:not=male": "patient:Patient.gender:not",
    "Patient?_has:Condition:patient:code:not=I10": "_has:Condition:patient:code:not",
    "Patient?gender:not=male&birthdate=1990": None,
    "Patient?_content=a&name=an": None,
    "Patient/an/Condition?code:not=I10": None,
    "Patient?birthdate:missing=true": None,
    "Patient?name:missing=false": None,
    "Patient?": None,
}


@pytest.fixture(scope="module")
async def refusing(world: Searcher, own_settings: Settings) -> Any:
    settings = own_settings.model_copy(update={"unindexed_search": "refuse"})
    async with serving(settings) as searcher:
        yield searcher


@pytest.mark.parametrize(("query", "part"), UNINDEXED.items())
async def test_a_search_that_no_index_answers_can_be_refused_by_setting(
    world: Searcher, refusing: Searcher, query: str, part: str | None
) -> None:
    await world.bundle(query)
    if part is None:
        await refusing.bundle(query)
    else:
        assert f"no index answers {part}, " in await refusing.refusal(query, 403)
