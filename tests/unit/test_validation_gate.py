"""The gate, the closures and the rules agree, and none of them can be worn out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from resource_mutations import mutations
from test_validation_mutations import EXAMPLES

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.model.resources import Resource, decode
from fhir_server.validation.gate import Gate
from fhir_server.validation.messages import MOST_ISSUES, Report
from fhir_server.validation.rules import RuleChecks
from fhir_server.validation.structure import MOST_LEVELS, StructureChecks
from fhir_server.validation.validate import Validator

DEFINITIONS = Definitions.load(DATA_ROOT)
GATE = Gate(DEFINITIONS)
ALL_RULES = RuleChecks(DEFINITIONS)
RULES_LEFT = RuleChecks(DEFINITIONS, ALL_RULES)
AN_OBSERVATION: Resource = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
CLOSURES = StructureChecks(DEFINITIONS)
VALIDATOR = Validator(DEFINITIONS)


def is_sound(resource: Any) -> bool:
    report = Report()
    CLOSURES.check(resource, "x", report)
    return not report.issues


def told(rules: RuleChecks, resource: Resource) -> list[str]:
    report = Report()
    rules.check(resource, resource["resourceType"], report)
    return [issue.diagnostics for issue in report.issues]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_the_gate_accepts_has_no_fault_for_the_closures_and_breaks_no_rules_but_those_left(path: Path) -> None:
    accepted = [mutation for mutation in mutations(decode(path.read_bytes())) if GATE.accepts(mutation.apply_to(path))]
    for mutation in accepted:
        mutated = mutation.apply_to(path)
        assert is_sound(mutated), (mutation.kind, mutation.place)
        assert told(RULES_LEFT, mutated) == told(ALL_RULES, mutated), (mutation.kind, mutation.place)


GOOD_REFERENCES: list[Resource] = [
    {"reference": "Patient/1"},
    {"reference": "Group/1/_history/2"},
    {"reference": "Patient?identifier=a|b"},
    {"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"},
    {"reference": "https://a.b/fhir/Device/1"},
    {"reference": "Patient/1", "type": "Patient"},
    {"reference": "Patient/1", "type": "http://hl7.org/fhir/StructureDefinition/Patient"},
    {"type": "Organization", "identifier": {"value": "1"}},
    {"display": "x"},
]
BAD_REFERENCES: list[Resource] = [
    {"reference": "Encounter/1"},
    {"reference": "Pateint/1"},
    {"reference": "Patient/a_b"},
    {"reference": "Encounter?identifier=a"},
    {"reference": "Patient"},
    {"reference": "#p"},
    {"reference": "http://a b"},
    {"reference": "Patient/1", "type": "Group"},
    {"identifier": {"period": {"start": "2026-02", "end": "2026-01"}}},
]


@pytest.mark.parametrize("reference", GOOD_REFERENCES, ids=str)
def test_the_gate_accepts_a_reference_that_no_rule_is_against(reference: Resource) -> None:
    resource = {**AN_OBSERVATION, "subject": reference}
    assert GATE.accepts(resource) == (told(ALL_RULES, resource) == []) == (VALIDATOR.validate(resource) == []) is True


@pytest.mark.parametrize("reference", BAD_REFERENCES, ids=str)
def test_the_gate_accepts_no_reference_that_a_rule_is_against(reference: Resource) -> None:
    resource = {**AN_OBSERVATION, "subject": reference}
    assert not GATE.accepts(resource)
    assert [issue.is_error for issue in VALIDATOR.validate(resource)] == [True]


def test_the_gate_accepts_no_extension_with_a_rule_that_could_be_broken() -> None:
    period = {"start": "2026-02", "end": "2026-01"}
    for value in ({"valuePeriod": period}, {"valueAddress": {"text": "x", "period": period}}):
        for extension in ({"url": "http://a.b", **value}, {"url": "http://a.b", "extension": [{"url": "c", **value}]}):
            resource = {**AN_OBSERVATION, "extension": [extension]}
            assert not GATE.accepts(resource)
            assert len(VALIDATOR.validate(resource)) == 1


def test_a_reference_to_what_is_contained_is_looked_for_there() -> None:
    contained = [{"resourceType": "Patient", "id": "p"}, {"resourceType": "Location", "id": "l"}]
    resource = {**AN_OBSERVATION, "contained": contained, "subject": {"reference": "#p"}, "device": {"reference": "#l"}}
    assert GATE.accepts(resource)
    (issue,) = VALIDATOR.validate(resource)
    assert issue.expression == ("Observation.device.reference",)


def test_the_gate_accepts_every_common_form() -> None:
    refused = {path.stem for path in EXAMPLES if not GATE.accepts(decode(path.read_bytes()))}
    assert refused == {"patient"}, "only the one with an array of primitive extensions is left to the closures"


def test_both_know_all_146_types() -> None:
    for type in DEFINITIONS.concrete_types:
        structure = DEFINITIONS.structure(type)
        bare = {"resourceType": type}
        needs_nothing = not any(element.min for element in structure.children())
        assert GATE.accepts(bare) == is_sound(bare) == needs_nothing, type


def nested(levels: int) -> Resource:
    extension: Resource = {"url": "http://a.b", "valueString": "x"}
    for _ in range(levels):
        extension = {"url": "http://a.b", "extension": [extension]}
    return {"resourceType": "Patient", "extension": [extension]}


@pytest.mark.parametrize("levels", [MOST_LEVELS, MOST_LEVELS + 30, 1_000, 10_000])
def test_values_that_nest_too_deep_are_one_fault(levels: int) -> None:
    (issue,) = VALIDATOR.validate(nested(levels))
    assert issue.diagnostics == f"values nest deeper than {MOST_LEVELS} levels"


def test_values_may_nest_deep() -> None:
    assert VALIDATOR.validate(nested(MOST_LEVELS - 1)) == []


def test_lists_in_lists_are_one_fault() -> None:
    value: Any = "x"
    for _ in range(sys.getrecursionlimit() * 3):
        value = [value]
    (issue,) = VALIDATOR.validate({"resourceType": "Patient", "name": value})
    assert issue.expression == ("Patient.name[0]",)


def test_a_hundred_thousand_unknown_names_are_told_in_part_and_counted() -> None:
    issues = VALIDATOR.validate({"resourceType": "Patient", **{f"k{number}": 1 for number in range(100_000)}})
    assert len(issues) == MOST_ISSUES + 1
    assert issues[-1].severity == "information"
    assert issues[-1].diagnostics == f"{100_000 - MOST_ISSUES} more faults are not told"
    assert issues[-1].vi == f"còn {100_000 - MOST_ISSUES} lỗi khác không liệt kê"


@pytest.mark.parametrize("value", [None, 1, "x", [], True, 1.5])
def test_what_is_no_object_is_no_resource(value: Any) -> None:
    (issue,) = VALIDATOR.validate(value)
    assert (issue.code, issue.expression) == ("structure", ("Resource",))


@pytest.mark.parametrize("type", ["Pateint", "DomainResource", "HumanName", "string", "", 1, None, ["Patient"], {}])
def test_a_resource_type_that_r4_does_not_have_is_a_fault(type: Any) -> None:
    (issue,) = VALIDATOR.validate({"resourceType": type, "name": 1})
    assert issue.expression == ("Resource.resourceType",)
    nested = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"resourceType": type}}]}
    (issue,) = VALIDATOR.validate(nested)
    assert issue.expression == ("Bundle.entry[0].resource.resourceType",)


def test_a_name_that_is_no_name_is_quoted_and_cut() -> None:
    (issue,) = VALIDATOR.validate({"resourceType": "Patient", "a`b " * 1000: 1})
    assert issue.expression[0].startswith("Patient.`a\\`b ")
    assert len(issue.expression[0]) < 120
    assert len(issue.diagnostics) < 120


def test_long_values_are_cut_in_messages() -> None:
    for element in ({"gender": "x" * 100_000}, {"multipleBirthInteger": 10**4000}, {"birthDate": "x" * 100_000}):
        (issue,) = VALIDATOR.validate({"resourceType": "Patient", **element})
        assert len(issue.diagnostics) < 250


def test_the_sign_for_a_resource_inside_is_not_accepted_from_outside() -> None:
    assert not GATE.accepts({"resourceType": "Patient", "contained": [True]})
    assert not GATE.accepts({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": True}]})
    assert not GATE.accepts({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": []}]})
    entry = {"response": {"status": "200", "outcome": {"resourceType": "OperationOutcome"}}}
    assert not GATE.accepts({"resourceType": "Bundle", "type": "batch-response", "entry": [entry]})


def test_no_rule_takes_more_than_one_pass_over_many_contained_resources() -> None:
    organizations = [{"resourceType": "Organization", "id": f"o{number}", "name": "x"} for number in range(3000)]
    links = [{"reference": f"#o{number}"} for number in range(3000)]
    resource = {"resourceType": "Patient", "contained": organizations, "generalPractitioner": links}
    assert VALIDATOR.validate(resource) == []
    del links[17]
    (issue,) = VALIDATOR.validate(resource)
    assert issue.expression == ("Patient.contained[17]",)
