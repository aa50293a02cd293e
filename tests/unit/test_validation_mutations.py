"""Every fault is found at its place: each example is broken in one way at a time, at every element it has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fhir_server.model.resources import decode
from fhir_server.validation.validate import Validator
from tests.unit.resource_mutations import DEFINITIONS, mutations

EXAMPLES = sorted((Path(__file__).parent / "validation_examples").glob("*.json"))
VALIDATOR = Validator(DEFINITIONS)


def are_related(one: str, other: str) -> bool:
    """True when one place is the other, or below it."""
    shorter, longer = sorted((one, other), key=len)
    return longer.startswith(shorter)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_no_fault(path: Path) -> None:
    assert VALIDATOR.validate(decode(path.read_bytes())) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_single_fault_is_told_at_its_place_and_no_other(path: Path) -> None:
    resource = decode(path.read_bytes())
    for mutation in mutations(resource):
        issues = [issue for issue in VALIDATOR.validate(mutation.apply(resource)) if issue.is_error]
        told = [(issue.code, *issue.expression) for issue in issues]
        assert (mutation.code, mutation.place) in told, (mutation.kind, mutation.place, told)
        for issue in issues:
            is_consequence = issue.diagnostics.startswith(("ref-1", "dom-3"))  # one end of a contained link was broken
            assert is_consequence or are_related(issue.expression[0], mutation.place), (mutation.kind, told)


def test_there_are_many_mutations_of_many_kinds() -> None:
    kinds = Counter(mutation.kind for path in EXAMPLES for mutation in mutations(decode(path.read_bytes())))
    assert kinds.total() >= 500
    assert len(kinds) >= 30
