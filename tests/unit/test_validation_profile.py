"""Profiles: each kind of rule they may hold, told at its place; slices; parents; what is not loaded."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import Profiles
from fhir_server.model.resources import Digits, Resource
from fhir_server.validation.profile import ProfileValidator
from fhir_server.validation.profile_walk import Known

DEFINITIONS = Definitions.load(DATA_ROOT)
BASE = "http://example.org/StructureDefinition/"
CORE = "http://hl7.org/fhir/StructureDefinition/"
CCCD, BHYT = "http://example.org/cccd", "http://example.org/bhyt"


def a_profile(name: str, type: str, *elements: Resource, parent: str = "", **more: Any) -> Resource:
    """A StructureDefinition; each element has its id, from which the path is made."""
    rows = []
    for element in elements:
        path = ".".join(part.partition(":")[0] for part in element["id"].split("."))
        slice_name = element["id"].rpartition(".")[2].partition(":")[2]
        rows.append({"path": path, **({"sliceName": slice_name} if slice_name else {}), **element})
    return {
        "resourceType": "StructureDefinition", "url": BASE + name, "type": type, "derivation": "constraint",
        "baseDefinition": parent or CORE + type, "differential": {"element": rows}, **more,
    }  # fmt: skip


def a_validator(*profiles: Resource, members: set[tuple[str, str]] | None = None) -> ProfileValidator:
    def membership(value_set: str, system: str | None, code: str) -> bool | None:
        return None if members is None else (value_set, code) in members

    return ProfileValidator(DEFINITIONS, Profiles(DEFINITIONS, profiles), Known(membership))


def faults(validator: ProfileValidator, resource: Resource, name: str = "p") -> list[tuple[str, str, str]]:
    issues = validator.validate(resource, BASE + name)
    return [(issue.severity, issue.code, issue.expression[0]) for issue in issues]


def a_patient(**elements: Any) -> Resource:
    return {"resourceType": "Patient", **elements}


def error(code: str, place: str) -> list[tuple[str, str, str]]:
    return [("error", code, place)]


RULES: list[tuple[Resource, Resource, Resource, list[tuple[str, str, str]]]] = [
    ({"id": "Patient.name", "min": 1}, a_patient(name=[{}]), a_patient(), error("required", "Patient.name")),
    (
        {"id": "Patient.name", "max": "1"},
        a_patient(name=[{}]),
        a_patient(name=[{}, {}]),
        error("structure", "Patient.name"),
    ),
    (
        {"id": "Patient.name.family", "min": 1},
        a_patient(),
        a_patient(name=[{"family": "x"}, {"text": "y"}]),
        error("required", "Patient.name[1].family"),
    ),
    (
        {"id": "Patient.gender", "fixedCode": "male"},
        a_patient(gender="male"),
        a_patient(gender="female"),
        error("value", "Patient.gender"),
    ),
    (
        {"id": "Patient.maritalStatus", "patternCodeableConcept": {"coding": [{"code": "M"}]}},
        a_patient(maritalStatus={"coding": [{"code": "X"}, {"system": "s", "code": "M"}], "text": "x"}),
        a_patient(maritalStatus={"coding": [{"code": "X"}]}),
        error("value", "Patient.maritalStatus"),
    ),
    (
        {"id": "Patient.maritalStatus", "fixedCodeableConcept": {"coding": [{"code": "M"}]}},
        a_patient(maritalStatus={"coding": [{"code": "M"}]}),
        a_patient(maritalStatus={"coding": [{"code": "M"}], "text": "x"}),
        error("value", "Patient.maritalStatus"),
    ),
    (
        {"id": "Patient.name.text", "maxLength": 3},
        a_patient(name=[{"text": "Đỗ"}]),
        a_patient(name=[{"text": "Nguyễn"}]),
        error("value", "Patient.name[0].text"),
    ),
    (
        {"id": "Patient.birthDate", "minValueDate": "1900-01-01", "maxValueDate": "2026-12-31"},
        a_patient(birthDate="1900"),
        a_patient(birthDate="1899-12-31"),
        error("value", "Patient.birthDate"),
    ),
    (
        {"id": "Patient.multipleBirth[x]", "type": [{"code": "integer"}]},
        a_patient(multipleBirthInteger=1),
        a_patient(multipleBirthBoolean=True),
        error("structure", "Patient.multipleBirth"),
    ),
    (
        {
            "id": "Patient.generalPractitioner",
            "type": [{"code": "Reference", "targetProfile": [CORE + "Practitioner"]}],
        },
        a_patient(generalPractitioner=[{"reference": "Practitioner/1"}, {"display": "x"}]),
        a_patient(generalPractitioner=[{"reference": "Organization/1"}]),
        error("structure", "Patient.generalPractitioner[0].reference"),
    ),
    (
        {
            "id": "Patient.contact",
            "constraint": [{"key": "c-1", "severity": "error", "human": "x", "expression": "name.exists()"}],
        },
        a_patient(contact=[{"name": {"text": "x"}}]),
        a_patient(contact=[{"gender": "male"}]),
        error("invariant", "Patient.contact[0]"),
    ),
    (
        {
            "id": "Patient",
            "constraint": [{"key": "c-2", "severity": "warning", "human": "x", "expression": "active = true"}],
        },
        a_patient(active=True),
        a_patient(active=False),
        [("warning", "invariant", "Patient")],
    ),
    (
        {"id": "Patient.birthDate.extension", "min": 1},
        a_patient(birthDate="1985", _birthDate={"extension": [{"url": "x:y", "valueString": "x"}]}),
        a_patient(birthDate="1985"),
        error("required", "Patient.birthDate.extension"),
    ),
]


@pytest.mark.parametrize(("element", "good", "bad", "expected"), RULES)
def test_a_rule_lets_the_good_pass_and_tells_the_bad(
    element: Resource, good: Resource, bad: Resource, expected: list[tuple[str, str, str]]
) -> None:
    validator = a_validator(a_profile("p", "Patient", element))
    assert faults(validator, good) == []
    assert faults(validator, bad) == expected


def sliced(rules: str = "open", ordered: bool = False) -> Resource:
    slicing = {"discriminator": [{"type": "value", "path": "system"}], "rules": rules, "ordered": ordered}
    return a_profile(
        "p",
        "Patient",
        {"id": "Patient.identifier", "slicing": slicing},
        {"id": "Patient.identifier:cccd", "min": 1, "max": "1"},
        {"id": "Patient.identifier:cccd.system", "fixedUri": CCCD},
        {"id": "Patient.identifier:cccd.value", "min": 1},
        {"id": "Patient.identifier:bhyt", "max": "2"},
        {"id": "Patient.identifier:bhyt.system", "patternUri": BHYT},
    )


def with_identifiers(*systems: str) -> Resource:
    return a_patient(identifier=[{"system": system, "value": "1"} for system in systems])


def test_a_slice_by_value_has_its_own_cardinality_and_rules() -> None:
    validator = a_validator(sliced())
    assert faults(validator, with_identifiers("x", CCCD, BHYT, BHYT)) == []
    assert faults(validator, with_identifiers("x")) == error("required", "Patient.identifier")
    assert faults(validator, with_identifiers(CCCD, CCCD)) == error("structure", "Patient.identifier")
    assert faults(validator, with_identifiers(CCCD, BHYT, BHYT, BHYT)) == error("structure", "Patient.identifier")
    without_value = a_patient(identifier=[{"system": BHYT}, {"system": CCCD}])
    assert faults(validator, without_value) == error("required", "Patient.identifier[1].value")


def test_closed_slicing_allows_no_other_item() -> None:
    validator = a_validator(sliced("closed"))
    assert faults(validator, with_identifiers(BHYT, CCCD)) == []
    assert faults(validator, with_identifiers(CCCD, "x")) == error("structure", "Patient.identifier[1]")


def test_other_items_come_last_when_slicing_is_open_at_end() -> None:
    validator = a_validator(sliced("openAtEnd"))
    assert faults(validator, with_identifiers(CCCD, BHYT, "x", "y")) == []
    assert faults(validator, with_identifiers(CCCD, "x", BHYT)) == error("structure", "Patient.identifier[1]")


def test_ordered_slices_come_in_their_order() -> None:
    validator = a_validator(sliced(ordered=True))
    assert faults(validator, with_identifiers(CCCD, "x", BHYT)) == []
    assert faults(validator, with_identifiers(BHYT, CCCD)) == error("structure", "Patient.identifier[1]")


def test_a_slice_of_a_slice_is_told_by_its_own_discriminator() -> None:
    by_use = {"discriminator": [{"type": "value", "path": "use"}], "rules": "open"}
    profile = sliced()
    profile["differential"]["element"] += a_profile(
        "x",
        "Patient",
        {"id": "Patient.identifier:bhyt", "slicing": by_use},
        {"id": "Patient.identifier:bhyt/old", "max": "1"},
        {"id": "Patient.identifier:bhyt/old.use", "fixedCode": "old"},
        {"id": "Patient.identifier:bhyt/old.period", "min": 1},
    )["differential"]["element"]
    validator = a_validator(profile)
    good = {"system": BHYT, "use": "old", "period": {"start": "2020"}}
    assert faults(validator, a_patient(identifier=[{"system": CCCD, "value": "1", "use": "old"}, good])) == []
    bad = a_patient(identifier=[{"system": CCCD, "value": "1"}, {"system": BHYT, "use": "old"}])
    assert faults(validator, bad) == error("required", "Patient.identifier[1].period")


def test_slices_may_nest() -> None:
    code = {"discriminator": [{"type": "value", "path": "code.coding.code"}], "rules": "open"}
    by_code = {"discriminator": [{"type": "value", "path": "code"}], "rules": "open"}
    validator = a_validator(
        a_profile(
            "p",
            "Observation",
            {"id": "Observation.component", "slicing": code},
            {"id": "Observation.component:systolic", "min": 1},
            {"id": "Observation.component:systolic.code.coding", "slicing": by_code},
            {"id": "Observation.component:systolic.code.coding:loinc", "min": 1},
            {"id": "Observation.component:systolic.code.coding:loinc.code", "fixedCode": "8480-6"},
            {"id": "Observation.component:systolic.value[x]", "min": 1, "type": [{"code": "Quantity"}]},
            {"id": "Observation.component:systolic.value[x].unit", "min": 1},
        )
    )  # fmt: skip
    systolic: Resource = {"code": {"coding": [{"code": "x"}, {"code": "8480-6"}]}, "valueQuantity": {"unit": "mmHg"}}
    resource: Resource = {"resourceType": "Observation", "component": [{"code": {"text": "x"}}, systolic]}
    assert faults(validator, resource) == []
    systolic["valueQuantity"] = {"value": 1}
    assert faults(validator, resource) == error("required", "Observation.component[1].value.unit")


def test_a_type_of_a_choice_is_a_slice_by_its_short_name() -> None:
    validator = a_validator(
        a_profile("p", "Observation", {"id": "Observation.value[x]:valueQuantity.code", "min": 1}),
        a_profile("q", "Observation", {"id": "Observation.valueQuantity", "max": "0"}),
    )
    with_text = {"resourceType": "Observation", "valueString": "x"}
    with_quantity = {"resourceType": "Observation", "valueQuantity": {"value": 1}}
    assert faults(validator, with_text) == faults(validator, with_text, "q") == []
    assert faults(validator, with_quantity) == error("required", "Observation.value.code")
    assert faults(validator, with_quantity, "q") == error("structure", "Observation.value")


DISCRIMINATORS: list[tuple[Resource, list[Resource], Resource, Resource]] = [
    (
        {"type": "exists", "path": "period"},
        [{"id": "Patient.identifier:s.period", "min": 1}, {"id": "Patient.identifier:s.value", "min": 1}],
        {"system": "x"},
        {"period": {}},
    ),
    (
        {"type": "pattern", "path": "type"},
        [
            {"id": "Patient.identifier:s.type", "patternCodeableConcept": {"coding": [{"code": "NI"}]}},
            {"id": "Patient.identifier:s.value", "min": 1},
        ],
        {"type": {"coding": [{"code": "HC"}]}},
        {"type": {"coding": [{"system": "x", "code": "NI"}]}},
    ),
    (
        {"type": "value", "path": "use"},
        [
            {"id": "Patient.identifier:s.use", "binding": {"strength": "required", "valueSet": "http://v"}},
            {"id": "Patient.identifier:s.value", "min": 1},
        ],
        {"use": "temp"},
        {"use": "official"},
    ),
    (
        {"type": "value", "path": "type.coding.code"},
        [
            {"id": "Patient.identifier:s.type", "patternCodeableConcept": {"coding": [{"code": "NI"}]}},
            {"id": "Patient.identifier:s.value", "min": 1},
        ],
        {"type": {"coding": [{"code": "HC"}]}},
        {"type": {"coding": [{"code": "NI", "display": "x"}]}},
    ),
    (
        {"type": "value", "path": "extension('http://e').value"},
        [
            {"id": "Patient.identifier:s.extension:e.url", "fixedUri": "http://e"},
            {"id": "Patient.identifier:s.extension:e.value[x]", "fixedString": "yes"},
            {"id": "Patient.identifier:s.value", "min": 1},
        ],
        {"extension": [{"url": "http://e", "valueString": "no"}]},
        {"extension": [{"url": "http://e", "valueString": "yes"}]},
    ),
]


@pytest.mark.parametrize(("discriminator", "elements", "outside", "inside"), DISCRIMINATORS)
def test_a_discriminator_tells_which_items_are_in_a_slice(
    discriminator: Resource, elements: list[Resource], outside: Resource, inside: Resource
) -> None:
    first = {"id": "Patient.identifier", "slicing": {"discriminator": [discriminator], "rules": "open"}}
    validator = a_validator(
        a_profile("p", "Patient", first, {"id": "Patient.identifier:s"}, *elements), members={("http://v", "official")}
    )
    assert faults(validator, a_patient(identifier=[outside, {**inside, "value": "1"}])) == []
    assert faults(validator, a_patient(identifier=[outside, inside])) == error(
        "required", "Patient.identifier[1].value"
    )


def test_references_are_sliced_by_the_type_they_are_to() -> None:
    by_target = {"discriminator": [{"type": "type", "path": "resolve()"}], "rules": "open"}
    target = [{"code": "Reference", "targetProfile": [CORE + "Practitioner"]}]
    validator = a_validator(
        a_profile(
            "p",
            "Patient",
            {"id": "Patient.generalPractitioner", "slicing": by_target},
            {"id": "Patient.generalPractitioner:doctor", "max": "1", "type": target},
        )
    )
    one, other = {"reference": "Practitioner/1"}, {"reference": "Organization/1"}
    assert faults(validator, a_patient(generalPractitioner=[other, one, other])) == []
    assert faults(validator, a_patient(generalPractitioner=[one, one])) == error(
        "structure", "Patient.generalPractitioner"
    )


EXTENSION = a_profile(
    "ethnicity",
    "Extension",
    {"id": "Extension.url", "fixedUri": BASE + "ethnicity"},
    {"id": "Extension.value[x]", "min": 1, "type": [{"code": "CodeableConcept"}]},
    {"id": "Extension.value[x].text", "min": 1},
)


def test_an_extension_is_held_to_its_profile() -> None:
    by_url = {"discriminator": [{"type": "value", "path": "url"}], "rules": "open"}
    profile = a_profile(
        "p",
        "Patient",
        {"id": "Patient.extension", "slicing": by_url},
        {
            "id": "Patient.extension:ethnicity",
            "min": 1,
            "type": [{"code": "Extension", "profile": [BASE + "ethnicity"]}],
        },
    )
    validator = a_validator(profile, EXTENSION)
    good = {"url": BASE + "ethnicity", "valueCodeableConcept": {"text": "Kinh"}}
    other = {"url": "http://other", "valueString": "x"}
    assert faults(validator, a_patient(extension=[other, good])) == []
    assert faults(validator, a_patient(extension=[other])) == error("required", "Patient.extension")
    bad = {"url": BASE + "ethnicity", "valueString": "Kinh"}
    assert faults(validator, a_patient(extension=[other, bad])) == error("structure", "Patient.extension[1].value")
    coded = {"url": BASE + "ethnicity", "valueCodeableConcept": {"coding": [{"code": "1"}]}}
    assert faults(validator, a_patient(extension=[coded])) == error("required", "Patient.extension[0].value.text")
    alone = a_validator(profile)
    assert faults(alone, a_patient(extension=[bad])) == [], "what is not loaded cannot be told to be broken"


def test_a_type_may_have_a_profile_of_its_own() -> None:
    phone = a_profile("phone", "ContactPoint", {"id": "ContactPoint.value", "min": 1})
    element = {"id": "Patient.telecom", "type": [{"code": "ContactPoint", "profile": [BASE + "phone"]}]}
    validator = a_validator(phone, a_profile("p", "Patient", element))
    assert faults(validator, a_patient(telecom=[{"value": "1"}])) == []
    assert faults(validator, a_patient(telecom=[{"use": "home"}])) == error("required", "Patient.telecom[0].value")


def test_a_contained_resource_must_satisfy_the_profile_of_the_target() -> None:
    named = a_profile("named", "Practitioner", {"id": "Practitioner.name", "min": 1})
    element = {"id": "Patient.generalPractitioner", "type": [{"code": "Reference", "targetProfile": [BASE + "named"]}]}
    validator = a_validator(named, a_profile("p", "Patient", element))
    contained = {"resourceType": "Practitioner", "id": "d"}
    resource = a_patient(contained=[contained], generalPractitioner=[{"reference": "#d"}])
    assert faults(validator, resource) == error("structure", "Patient.generalPractitioner[0].reference")
    contained["name"] = [{"text": "x"}]  # type: ignore[assignment]
    assert faults(validator, resource) == []


@pytest.mark.parametrize(
    ("strength", "severity"), [("required", "error"), ("extensible", "warning"), ("preferred", "information")]
)
def test_a_binding_is_as_strong_as_it_says(strength: str, severity: str) -> None:
    element = {"id": "Patient.maritalStatus", "binding": {"strength": strength, "valueSet": "http://v|1"}}
    validator = a_validator(a_profile("p", "Patient", element), members={("http://v", "M")})
    assert faults(validator, a_patient(maritalStatus={"coding": [{"code": "X"}, {"code": "M"}]})) == []
    bad = a_patient(maritalStatus={"coding": [{"code": "X"}]})
    assert faults(validator, bad) == [(severity, "code-invalid", "Patient.maritalStatus")]
    text = faults(validator, a_patient(maritalStatus={"text": "x"}))
    assert text == ([(severity, "code-invalid", "Patient.maritalStatus")] if strength == "required" else [])


def test_an_example_binding_and_an_unknown_value_set_tell_nothing() -> None:
    element = {"id": "Patient.maritalStatus", "binding": {"strength": "example", "valueSet": "http://v"}}
    resource = a_patient(maritalStatus={"coding": [{"code": "X"}]})
    assert faults(a_validator(a_profile("p", "Patient", element), members=set()), resource) == []
    element["binding"] = {"strength": "required", "valueSet": "http://v"}
    assert faults(a_validator(a_profile("p", "Patient", element)), resource) == []


def test_a_binding_may_name_the_most_that_it_allows() -> None:
    limit = [{"url": CORE + "elementdefinition-maxValueSet", "valueCanonical": "http://most"}]
    binding = {"strength": "preferred", "valueSet": "http://v", "extension": limit}
    element = {"id": "Patient.maritalStatus", "binding": binding}
    validator = a_validator(a_profile("p", "Patient", element), members={("http://v", "M"), ("http://most", "M")})
    assert faults(validator, a_patient(maritalStatus={"coding": [{"code": "M"}]})) == []
    assert ("error", "code-invalid", "Patient.maritalStatus") in faults(
        validator, a_patient(maritalStatus={"coding": [{"code": "X"}]})
    )


def test_a_discriminator_of_which_a_slice_says_nothing_is_a_problem_of_the_profile() -> None:
    profile = sliced()
    slicing = profile["differential"]["element"][0]["slicing"]
    slicing["discriminator"].append({"type": "value", "path": "value"})
    validator = a_validator(profile)
    assert faults(validator, with_identifiers(CCCD)) == []
    assert faults(validator, with_identifiers(BHYT)) == error("required", "Patient.identifier")
    assert "the slice identifier:cccd is not told by each of its discriminators" in validator.problems(BASE + "p")


def test_what_must_be_supported_and_is_absent_is_listed() -> None:
    rows = [{"id": f"Patient.{name}", "mustSupport": True} for name in ("gender", "name", "name.text", "contact.name")]
    validator = a_validator(a_profile("p", "Patient", *rows))
    resource = a_patient(name=[{"family": "x"}])
    assert validator.absent_must_support(resource, BASE + "p") == ["Patient.gender", "Patient.name.text"]


def test_a_profile_has_the_rules_of_its_parents() -> None:
    parent = a_profile(
        "parent", "Patient", {"id": "Patient.name", "min": 1}, {"id": "Patient.gender", "mustSupport": True}
    )
    child = a_profile("p", "Patient", {"id": "Patient.birthDate", "min": 1}, parent=BASE + "parent")
    validator = a_validator(child, parent)
    assert [place for _, _, place in faults(validator, a_patient())] == ["Patient.name", "Patient.birthDate"]
    profile = Profiles(DEFINITIONS, [child, parent]).get(BASE + "p")
    assert profile is not None
    assert profile.must_support == ("Patient.gender",)


def test_a_parent_that_is_not_loaded_is_a_problem_of_the_profile_not_of_the_resource() -> None:
    profiles = Profiles(DEFINITIONS, [a_profile("p", "Patient", {"id": "Patient.nam", "min": 1}, parent=BASE + "gone")])
    profile = profiles.get(BASE + "p")
    assert profile is not None
    assert profile.problems == (
        f"its parent {BASE}gone is not loaded",
        "there is no element Patient.nam in Patient",
    )
    assert ProfileValidator(DEFINITIONS, profiles).validate(a_patient(), BASE + "p") == []


def test_parents_that_go_round_end() -> None:
    one = a_profile("p", "Patient", {"id": "Patient.name", "min": 1}, parent=BASE + "q")
    other = a_profile("q", "Patient", {"id": "Patient.gender", "min": 1}, parent=BASE + "p")
    assert len(faults(a_validator(one, other), a_patient())) == 2


def test_a_definition_without_a_differential_is_read_from_its_snapshot() -> None:
    profile = a_profile("p", "Patient", {"id": "Patient"}, {"id": "Patient.name", "min": 1, "max": "*"})
    profile["snapshot"] = profile.pop("differential")
    assert faults(a_validator(profile), a_patient()) == error("required", "Patient.name")


def test_elements_without_ids_are_placed_by_path_and_slice_name() -> None:
    rows = sliced()["differential"]["element"]
    for row in rows:
        del row["id"]
    profile = a_profile("p", "Patient")
    profile["differential"]["element"] = rows
    validator = a_validator(profile)
    assert faults(validator, with_identifiers(CCCD, BHYT)) == []
    assert faults(validator, with_identifiers(CCCD, CCCD)) == error("structure", "Patient.identifier")


def test_content_that_is_shared_is_held_to_the_same_rules_at_every_depth() -> None:
    validator = a_validator(a_profile("p", "Questionnaire", {"id": "Questionnaire.item.text", "min": 1}))
    resource: Resource = {
        "resourceType": "Questionnaire",
        "item": [{"text": "a", "item": [{"text": "b", "item": [{"linkId": "c"}]}]}],
    }
    assert faults(validator, resource) == error("required", "Questionnaire.item[0].item[0].item[0].text")


def test_a_profile_of_another_type_is_a_fault() -> None:
    validator = a_validator(a_profile("p", "Person"))
    assert faults(validator, a_patient()) == error("structure", "Patient")


def test_a_profile_that_is_not_loaded_cannot_be_asked_for() -> None:
    with pytest.raises(KeyError):
        a_validator().validate(a_patient(), BASE + "p")


def test_an_invariant_that_cannot_be_evaluated_is_listed() -> None:
    validator = a_validator(a_profile("p", "Patient", a_rule("%terminologies.exists()")))
    assert faults(validator, a_patient()) == []
    assert validator.not_evaluated == {("Patient", "c-1"): "%terminologies is not evaluated"}


def a_rule(expression: str, id: str = "Patient") -> Resource:
    return {"id": id, "constraint": [{"key": "c-1", "severity": "error", "human": "x", "expression": expression}]}


@pytest.mark.parametrize(
    ("members", "is_fault"),
    [({("http://v", "a")}, False), ({("http://v", "b")}, True), (None, False)],
    ids=["in it", "not in it", "a list that is not known"],
)
@pytest.mark.parametrize(
    "resource",
    [a_patient(gender="a"), a_patient(maritalStatus={"coding": [{"code": "x"}, {"system": "s", "code": "a"}]})],
    ids=["code", "CodeableConcept"],
)
def test_an_invariant_may_ask_whether_a_code_is_in_a_value_set(
    resource: Resource, members: set[tuple[str, str]] | None, is_fault: bool
) -> None:
    rule = a_rule("(gender | maritalStatus).all($this.memberOf('http://v'))")
    assert bool(faults(a_validator(a_profile("p", "Patient", rule), members=members), resource)) is is_fault


@pytest.mark.parametrize(
    ("expression", "resource", "is_fault"),
    [
        (f"name.all(conformsTo('{BASE}named'))", a_patient(name=[{"text": "x"}]), False),
        (f"name.all(conformsTo('{BASE}named'))", a_patient(name=[{"text": "x"}, {}]), True),
        (f"name.all(conformsTo('{BASE}none'))", a_patient(name=[{}]), False),
        (f"conformsTo('{BASE}p')", a_patient(), False),
        (f"conformsTo('{BASE}dated')", a_patient(), True),
        (f"contact.all(conformsTo('{BASE}named'))", a_patient(contact=[{}]), True),
        (
            f"managingOrganization.resolve().conformsTo('{BASE}owner')",
            a_patient(
                contained=[{"resourceType": "Organization", "id": "o"}], managingOrganization={"reference": "#o"}
            ),
            True,
        ),
        (
            f"managingOrganization.resolve().conformsTo('{BASE}owner')",
            a_patient(managingOrganization={"reference": "Organization/o"}),
            False,
        ),
    ],
    ids=[
        "it does", "it does not", "a profile that is not loaded", "itself", "the resource", "a profile of another type",
        "contained", "a resource elsewhere",
    ],
)  # fmt: skip
def test_an_invariant_may_ask_whether_a_value_conforms_to_a_profile(
    expression: str, resource: Resource, is_fault: bool
) -> None:
    validator = a_validator(
        a_profile("p", "Patient", a_rule(expression)),
        a_profile("named", "HumanName", {"id": "HumanName.text", "min": 1}),
        a_profile("dated", "Patient", {"id": "Patient.birthDate", "min": 1}),
        a_profile("owner", "Organization", {"id": "Organization.name", "min": 1}),
    )
    assert bool(faults(validator, resource)) is is_fault


def test_numbers_are_equal_by_value() -> None:
    validator = a_validator(
        a_profile("p", "Observation", {"id": "Observation.valueQuantity", "patternQuantity": {"value": 1}})
    )
    resource = {"resourceType": "Observation", "valueQuantity": {"value": Digits("1.0")}}
    assert faults(validator, resource) == []
