"""The evaluation of filters in memory means what MongoDB means by them."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient

from fhir_server.app import open_context
from fhir_server.config import Settings
from fhir_server.search.parse import parse, query_pairs
from fhir_server.search.rewrite import rewrite
from fhir_server.search.tree import has_joins
from fhir_server.store.evaluate import satisfies
from tests.api.search.conftest import Searcher
from tests.api.search.test_search_parameters import FOUND

SINGLE = [query for query in FOUND if "/" not in query.partition("?")[0]]


async def test_every_filter_of_the_world_holds_in_memory_for_what_the_database_finds(
    world: Searcher, own_settings: Settings, mongodb: MongoClient[dict[str, Any]]
) -> None:
    compared = 0
    async with open_context(own_settings) as context:
        for query in SINGLE:
            type, _, text = query.partition("?")
            ((_, tree),) = parse(context.search.parameters, [type], query_pairs(text), strict=True).trees
            if has_joins(tree):
                continue
            compiled = await context.search.filter(rewrite(tree), context.store, "http://test/fhir", context.clock())
            documents = mongodb[own_settings.mongodb_database][type].find()
            found = {document["_id"] for document in documents if satisfies(document, compiled)}
            assert found == {name.partition("/")[2] for name in await world.ids(query)}, query
            compared += 1
    assert compared > 40
