"""Profiles: each kind of rule they may hold, told at its place; parents; what is not loaded."""

from __future__ import annotations

import pytest
from profile_builders import BASE, BHYT, CCCD, CORE, DEFINITIONS, a_patient, a_profile, a_validator, error, faults

from fhir_server.definitions.profiles import Profiles
from fhir_server.model.resources import Digits, Resource
from fhir_server.validation.profile import ProfileValidator

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


def test_what_must_be_supported_and_is_absent_is_listed() -> None:
    rows = [{"id": f"Patient.{name}", "mustSupport": True} for name in ("gender", "name", "name.text", "contact.name")]
    validator = a_validator(a_profile("p", "Patient", *rows))
    resource = a_patient(name=[{"family": "x"}])
    assert validator.absent_must_support(resource, BASE + "p") == ["Patient.gender", "Patient.name.text"]


def test_slices_that_must_be_supported_are_listed_by_their_names() -> None:
    validator = a_validator(
        a_profile(
            "p",
            "Patient",
            {"id": "Patient.identifier", "slicing": {"discriminator": [{"type": "value", "path": "system"}]}},
            {"id": "Patient.identifier:cccd", "mustSupport": True},
            {"id": "Patient.identifier:cccd.system", "fixedUri": CCCD},
            {"id": "Patient.identifier:cccd.period", "mustSupport": True},
            {"id": "Patient.identifier:bhyt", "mustSupport": True},
            {"id": "Patient.identifier:bhyt.system", "fixedUri": BHYT},
            {"id": "Patient.deceased[x]:deceasedBoolean", "mustSupport": True},
        )
    )
    resource = a_patient(identifier=[{"system": CCCD, "value": "1"}], deceasedDateTime="2026")
    assert validator.absent_must_support(resource, BASE + "p") == [
        "Patient.identifier:cccd.period",
        "Patient.identifier:bhyt",
        "Patient.deceased:deceasedBoolean",
    ]


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


def test_content_that_is_shared_is_held_to_the_same_rules_at_every_depth() -> None:
    validator = a_validator(a_profile("p", "Questionnaire", {"id": "Questionnaire.item.text", "min": 1}))
    resource: Resource = {
        "resourceType": "Questionnaire",
        "item": [{"text": "a", "item": [{"text": "b", "item": [{"linkId": "c"}]}]}],
    }
    assert faults(validator, resource) == error("required", "Questionnaire.item[0].item[0].item[0].text")


def test_a_profile_that_its_own_elements_have_is_held_to_at_every_depth() -> None:
    within = [{"code": "Extension", "profile": [BASE + "p"]}]
    rows = ({"id": "Extension.extension", "type": within}, {"id": "Extension.value[x]", "type": [{"code": "string"}]})
    validator = a_validator(
        a_profile("p", "Extension", *rows), a_profile("top", "Patient", {"id": "Patient.extension", "type": within})
    )
    good = {"url": "a", "extension": [{"url": "b", "extension": [{"url": "c", "valueString": "x"}]}]}
    bad = {"url": "a", "extension": [{"url": "b", "extension": [{"url": "c", "valueInteger": 1}]}]}
    assert faults(validator, a_patient(extension=[good]), "top") == []
    assert faults(validator, a_patient(extension=[good, bad]), "top") == error(
        "structure", "Patient.extension[1].extension[0].extension[0].value"
    )


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
