"""What capability_statement.json declares is what is routed and indexed: walked from the statement to the server and
back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fhir_server.app import open_context
from fhir_server.config import DATA_ROOT, Settings
from fhir_server.definitions.capabilities import Capability
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest
from fhir_server.routes import ROUTES, dispatch
from fhir_server.search.extract import Extractor
from fhir_server.search.model import SearchModel

STATEMENT: dict[str, Any] = json.loads((DATA_ROOT / "capability_statement.json").read_text(encoding="utf-8"))
REST = STATEMENT["rest"][0]
# A request for each interaction; none of them finds anything, and each must be understood.
REQUESTS = {
    "read": ("GET", "nobody"),
    "vread": ("GET", "nobody", "_history", "1"),
    "update": ("PUT", "nobody"),
    "patch": ("PATCH", "nobody"),
    "delete": ("DELETE", "nobody"),
    "history-instance": ("GET", "nobody", "_history"),
    "history-type": ("GET", "_history"),
    "create": ("POST",),
    "search-type": ("GET",),
}
NOT_ROUTED = {Kind.METHOD_NOT_ALLOWED, Kind.UNKNOWN_TYPE}


@pytest.fixture
async def context(mongodb_uri: str, database_name: str) -> AsyncIterator[Context]:
    async with open_context(Settings(mongodb_uri=mongodb_uri, mongodb_database=database_name)) as opened:
        yield opened


async def outcome(context: Context, interaction: str, type: str) -> Kind | int:
    method, *below = REQUESTS[interaction]
    try:
        return (await dispatch(context, FhirRequest(method, (type, *below)))).status
    except FhirError as fault:
        return fault.kind


def trimmed(change: Any) -> Capability:
    statement = json.loads(json.dumps(STATEMENT))
    change(statement["rest"][0])
    return Capability(statement)


async def test_every_declared_interaction_of_every_type_is_routed(context: Context) -> None:
    for declared in REST["resource"]:
        for interaction in declared["interaction"]:
            answer = await outcome(context, interaction["code"], declared["type"])
            assert answer not in NOT_ROUTED, (declared["type"], interaction["code"], answer)


def test_every_routed_interaction_is_declared() -> None:
    declared = {interaction["code"] for entry in REST["resource"] for interaction in entry["interaction"]}
    declared |= {interaction["code"] for interaction in REST["interaction"]}
    served = {route.shape: set(route.methods) for route in ROUTES}
    assert declared >= REQUESTS.keys() | {"transaction", "batch", "history-system", "search-system"}
    assert {"GET", "POST"} <= served[()]
    assert served[("Type", "id")] >= {"GET", "PUT", "PATCH", "DELETE"}


async def test_every_declared_search_parameter_is_understood_and_every_one_with_keys_is_indexed(
    context: Context,
) -> None:
    indexed = context.search.declared().keys()
    for declared in REST["resource"]:
        known = context.search.parameters.of(declared["type"])
        for param in declared["searchParam"]:
            assert param["name"] in known, (declared["type"], param["name"])
            assert known[param["name"]].type == param["type"]
    letters = context.store.registry.letters.keys()
    assert indexed <= letters


def test_every_search_parameter_of_the_definitions_is_declared(context: Context) -> None:
    for declared in REST["resource"]:
        names = {param["name"] for param in declared["searchParam"]}
        assert context.definitions.search_params(declared["type"]).keys() - names == {"_query"}, declared["type"]


@pytest.mark.parametrize("interaction", sorted(REQUESTS))
async def test_an_interaction_that_is_taken_out_is_not_served(context: Context, interaction: str) -> None:
    def take_out(rest: dict[str, Any]) -> None:
        for entry in rest["resource"]:
            entry["interaction"] = [one for one in entry["interaction"] if one["code"] != interaction]

    less = context.with_(capability=trimmed(take_out))
    assert await outcome(less, interaction, "Patient") is Kind.METHOD_NOT_ALLOWED


async def test_a_type_that_is_taken_out_is_not_known(context: Context) -> None:
    def take_out(rest: dict[str, Any]) -> None:
        rest["resource"] = [entry for entry in rest["resource"] if entry["type"] != "Patient"]

    less = context.with_(capability=trimmed(take_out))
    assert await outcome(less, "read", "Patient") is Kind.UNKNOWN_TYPE


def test_a_search_parameter_that_is_taken_out_is_neither_known_nor_indexed(context: Context) -> None:
    def take_out(rest: dict[str, Any]) -> None:
        for entry in rest["resource"]:
            entry["searchParam"] = [one for one in entry["searchParam"] if one["name"] != "birthdate"]

    extractor = Extractor(context.definitions, context.settings.zone)
    less = SearchModel(context.definitions, extractor, context.settings, trimmed(take_out))
    assert "birthdate" not in less.parameters.of("Patient")
    assert ("Patient", "birthdate") not in less.declared()
