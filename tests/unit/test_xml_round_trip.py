"""JSON to XML to JSON gives the same resource, for every type, element, datatype and primitive extension of R4."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fhir_server.definitions.xml_format import XmlFormat
from fhir_server.model.resources import decode, encode
from tests.unit.resource_strategies import DEFINITIONS, resources

XML = XmlFormat(DEFINITIONS)
EXAMPLES = sorted((Path(__file__).parent / "validation_examples").rglob("*.json"))
BOUND = int(os.environ.get("FHIR_TEST_EXAMPLES", "150"))


def canonical(value: Any) -> bytes:
    """The bytes without the order of names, which means nothing; digits of decimals do."""
    return encode(in_order(value))


def in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: in_order(value[name]) for name in sorted(value)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


@given(resources())
@settings(max_examples=BOUND, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_resource_comes_back_from_xml_as_it_was(resource: dict[str, Any]) -> None:
    assert canonical(XML.from_xml(XML.to_xml(resource))) == canonical(resource)
    assert canonical(XML.from_xml(XML.to_xml(resource, pretty=True))) == canonical(resource)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_come_back_from_xml_as_they_were(path: Path) -> None:
    resource = decode(path.read_bytes())
    assert canonical(XML.from_xml(XML.to_xml(resource))) == canonical(resource)
