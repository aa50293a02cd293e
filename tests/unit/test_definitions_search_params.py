"""Search parameters and compartments as R4 has them."""

from __future__ import annotations

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return Definitions.load(DATA_ROOT)


def test_r4_has_145_resource_types_with_an_endpoint(definitions: Definitions) -> None:
    assert len(definitions.resource_types) == 145
    assert {"Patient", "Bundle", "Binary"} <= definitions.resource_types
    assert definitions.resource_types.isdisjoint({"Parameters", "Resource", "DomainResource"})
    assert definitions.concrete_types - definitions.resource_types == {"Parameters"}


def test_a_type_has_its_own_parameters_and_those_of_every_resource(definitions: Definitions) -> None:
    params = definitions.search_params("Patient")
    assert params["name"].type == "string"
    assert "Patient.name" in params["phonetic"].expression
    assert params["general-practitioner"].targets == ("Practitioner", "Organization", "PractitionerRole")
    every = {
        "_id",
        "_lastUpdated",
        "_profile",
        "_security",
        "_source",
        "_tag",
        "_content",
        "_filter",
        "_query",
        "_list",
    }
    assert every | {"_text"} <= params.keys()
    assert params["_id"].expression == "Resource.id"
    assert {code for code, param in params.items() if not param.expression and not param.lineage_of} == {
        "_content", "_filter", "_list", "_query", "_text"
    }  # fmt: skip


def test_bundle_and_binary_have_no_narrative_to_search(definitions: Definitions) -> None:
    assert "_text" not in definitions.search_params("Bundle")
    assert "_text" not in definitions.search_params("Binary")
    assert "_id" in definitions.search_params("Binary")


def test_examples_and_extension_parameters_of_the_package_are_left_out(definitions: Definitions) -> None:
    assert "mothersMaidenName" not in definitions.search_params("Patient")
    assert "part-agree" not in definitions.search_params("Patient")
    assert "ext-context" in definitions.search_params("StructureDefinition")
    assert definitions.search_params("Condition")["subject"].url.endswith("/Condition-subject")


def test_an_unknown_type_has_no_parameters(definitions: Definitions) -> None:
    assert definitions.search_params("Pateint") == {}
    assert definitions.search_params("DomainResource") == {}


def test_every_component_of_a_composite_is_a_known_parameter(definitions: Definitions) -> None:
    composites = [
        param
        for type in definitions.resource_types
        for param in definitions.search_params(type).values()
        if param.type == "composite"
    ]
    assert len(composites) > 20
    for param in composites:
        assert len(param.components) >= 2, param.url
        for component in param.components:
            assert definitions.search_param_by_url(component.definition), component.definition


def test_the_description_of_a_shared_parameter_is_the_one_of_its_type(definitions: Definitions) -> None:
    code = definitions.search_params("Condition")["code"]
    assert definitions.description("Condition", code) == "Code for the condition"
    assert definitions.description("Patient", definitions.search_params("Patient")["active"])


def test_compartments_name_parameters_that_exist(definitions: Definitions) -> None:
    assert definitions.compartment_codes == {"Patient", "Encounter", "RelatedPerson", "Practitioner", "Device"}
    assert definitions.compartment("Patient")["AllergyIntolerance"] == ("patient", "recorder", "asserter")
    assert "Organization" not in definitions.compartment("Patient")
    assert definitions.compartment("Ward") == {}
    for code in definitions.compartment_codes:
        for type, params in definitions.compartment(code).items():
            known = definitions.search_params(type).keys() | {"{def}"}
            assert set(params) <= known, (code, type)
