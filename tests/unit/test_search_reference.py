"""The page of all search parameters is what the definitions and the capability statement say."""

from __future__ import annotations

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.capabilities import Capability
from fhir_server.definitions.load import Definitions
from fhir_server.search.parameters import Parameters
from scripts.build_search_reference import PAGE, page


def test_the_page_of_search_parameters_is_up_to_date() -> None:
    definitions = Definitions.load(DATA_ROOT)
    parameters = Parameters(definitions, Capability.load(DATA_ROOT / "capability_statement.json"))
    assert PAGE.read_text(encoding="utf-8") == page(definitions, parameters)
