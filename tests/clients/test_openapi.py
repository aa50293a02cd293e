"""The OpenAPI document against the running server: whatever it allows is answered as it says, and never with a fault of
the server (schemathesis). FHIR_TEST_EXAMPLES: requests for each operation, two by default; `make fuzz` makes more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from running_server import PATIENCE, RunningServer
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = int(os.environ.get("FHIR_TEST_EXAMPLES", "2"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


@pytest.fixture(scope="module")
def document(server: RunningServer) -> Any:
    return schemathesis.openapi.from_url(f"{server.base.removesuffix('/fhir')}/openapi.json")


def answered_as_told(operation: Any, session: requests.Session) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=EXAMPLES == 2,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        case.validate_response(case.call(session=session, timeout=PATIENCE), checks=CHECKS)

    ask()


def test_every_operation_answers_as_the_document_says(document: Any, session: requests.Session) -> None:
    asked = [one.ok() for one in document.get_all_operations()]
    assert len(asked) > 50
    for operation in asked:
        answered_as_told(operation, session)
