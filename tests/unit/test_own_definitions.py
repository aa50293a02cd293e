"""Our own operations and search parameters are defined where the capability statement says, as they are served."""

from __future__ import annotations

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.search_params import as_resource
from fhir_server.model.resources import Resource, decode
from fhir_server.operations.table import OPERATIONS, OWN
from fhir_server.validation.validate import Validator

FILES = (DATA_ROOT / "profiles" / "vn_basic" / "operation_definitions").glob("*.json")
DEFINED: dict[str, Resource] = {one["url"]: one for one in (decode(file.read_bytes()) for file in FILES)}
SERVED = {one.definition: one for one in OPERATIONS if one.definition.startswith(OWN)}


def test_every_operation_of_our_own_has_a_definition_and_no_other_has() -> None:
    assert DEFINED.keys() == SERVED.keys()


@pytest.mark.parametrize("url", sorted(SERVED))
def test_an_operation_is_served_at_the_levels_of_its_definition(url: str) -> None:
    definition, served = DEFINED[url], SERVED[url]
    assert (definition["code"], tuple(definition.get("resource", ()))) == (served.name, served.types)
    levels = definition["system"], definition["type"], definition["instance"]
    assert levels == (served.system, served.type, served.instance)


def test_our_search_parameters_are_sound_resources() -> None:
    definitions = Definitions.load(DATA_ROOT)
    validator = Validator(definitions)
    made = [as_resource(one) for one in definitions.own_search_params]
    assert [issue for one in made for issue in validator.validate(one)] == []
    assert {one["url"] for one in made if "derivedFrom" in one} == {"urn:vn-basic:SearchParameter:residence-lineage"}
