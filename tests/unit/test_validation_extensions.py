"""Extensions are held against the definitions of their URLs, wherever they stand."""

from __future__ import annotations

from copy import copy
from typing import Any

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import shipped_profiles
from fhir_server.model.resources import Resource, decode
from fhir_server.terminology.load import Terminology
from fhir_server.validation.conformance import Conformance, Severities
from fhir_server.validation.validate import Validator

DEFINITIONS = Definitions.load(DATA_ROOT)
SHIPPED = shipped_profiles(DATA_ROOT)
OURS = "urn:vn-basic:StructureDefinition:"
WRITTEN = decode((DATA_ROOT / "profiles" / "vn_basic" / "extensions.json").read_bytes())["extensions"]
HAMLET = {"url": OURS + "hamlet", "valueBoolean": True}
KEPT = {"url": OURS + "kept", "valueString": "x"}
ETHNICITY = {"url": OURS + "ethnicity", "valueBoolean": True}


TERMINOLOGY = Terminology.load()
BASE = Validator(DEFINITIONS)


def a_validator(severities: str = "error", *more: Resource) -> Validator:
    """With what base R4 needs compiled once for all."""
    made = copy(BASE)
    made.conformance = Conformance(DEFINITIONS, TERMINOLOGY, [*SHIPPED, *more], Severities.of(severities))
    return made


def an_extension(url: str, *context: tuple[str, str], **more: Any) -> Resource:
    """A definition of an extension with a dateTime. context: (type, expression) each."""
    value = {"id": "Extension.value[x]", "path": "Extension.value[x]", "type": [{"code": "dateTime"}]}
    return {
        "resourceType": "StructureDefinition",
        "url": url,
        "type": "Extension",
        "context": [{"type": type, "expression": expression} for type, expression in context],
        "differential": {"element": [value]},
        **more,
    }


VALIDATOR = a_validator("error", an_extension("urn:test:day", ("element", "Element")))


def faults(resource: Resource, validator: Validator = VALIDATOR) -> list[tuple[str, str]]:
    return [(one.severity, one.expression[0]) for one in validator.validate(resource)]


def test_every_extension_of_our_own_that_records_write_is_defined() -> None:
    urls = {chain[0] for guides in WRITTEN.values() for chain in guides.values()}
    ours = {url for url in urls if url.startswith(OURS)}
    assert ours == {one["url"] for one in SHIPPED if one["type"] == "Extension"}


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        ({"resourceType": "Patient", "address": [{"extension": [HAMLET]}]}, "Patient.address[0].extension[0].value"),
        (
            {"resourceType": "Patient", "_birthDate": {"extension": [{**KEPT, "url": "urn:test:day"}]}},
            "Patient.birthDate.extension[0].value",
        ),
        (
            {
                "resourceType": "Patient",
                "contact": [{"name": {"text": "a"}}],
                "contained": [{"resourceType": "Location", "id": "l", "address": {"extension": [HAMLET]}}],
                "extension": [{"url": "urn:other", "valueReference": {"reference": "#l"}}],
            },
            "Patient.contained[0].address.extension[0].value",
        ),
        (
            {
                "resourceType": "Bundle",
                "type": "collection",
                "entry": [{"fullUrl": "urn:uuid:0", "resource": {"resourceType": "Patient", "extension": [ETHNICITY]}}],
            },
            "Bundle.entry[0].resource.extension[0].value",
        ),
    ],
    ids=["datatype", "primitive", "contained", "bundle"],
)
def test_an_extension_with_another_type_than_its_definition_has_is_told_at_its_place(
    resource: Resource, place: str
) -> None:
    assert faults(resource) == [("error", place)]


@pytest.mark.parametrize(
    ("extension", "place"),
    [
        ({"url": OURS + "kept", "valueString": "x"}, ["extension", "value"]),
        ({"url": OURS + "claim-line", "extension": [{"url": "T_BHTT", "valueMoney": {"value": 1}}]}, ["extension"]),
        ({"url": OURS + "of-encounter", "extension": [{"url": "a", "valueString": "x"}]}, ["extension", "value"]),
    ],
    ids=["a value for fields", "a line without its item", "fields for a value"],
)
def test_what_an_extension_holds_is_what_its_definition_says(extension: dict[str, Any], place: list[str]) -> None:
    found = faults({"resourceType": "Basic", "code": {"text": "x"}, "extension": [extension]})
    assert sorted(path.partition("Basic.extension[0].")[2].partition("[")[0] for _, path in found) == place


def test_a_code_outside_of_an_extensible_list_is_a_warning() -> None:
    coding = {"system": "urn:vn-basic:CodeSystem:ethnic-group", "code": "99x"}
    extension = {"url": OURS + "ethnicity", "valueCodeableConcept": {"coding": [coding]}}
    assert faults({"resourceType": "Patient", "extension": [extension]}) == [("warning", "Patient.extension[0].value")]


def test_what_is_not_defined_here_may_hold_anything() -> None:
    assert faults({"resourceType": "Patient", "extension": [{"url": OURS + "other", "valueInteger": 1}]}) == []


@pytest.mark.parametrize(("severities", "expected"), [(f"error, {OURS}*=warning", ["warning"]), ("off", [])])
def test_a_setting_says_what_a_fault_of_an_extension_counts_for(severities: str, expected: list[str]) -> None:
    patient = {"resourceType": "Patient", "address": [{"extension": [HAMLET]}]}
    assert [severity for severity, _ in faults(patient, a_validator(severities))] == expected


def test_a_fault_that_a_profile_tells_too_is_told_once() -> None:
    profile = {
        "resourceType": "StructureDefinition",
        "url": "urn:test:home",
        "type": "Patient",
        "differential": {
            "element": [
                {
                    "id": "Patient.address.extension:hamlet",
                    "path": "Patient.address.extension",
                    "sliceName": "hamlet",
                    "type": [{"code": "Extension", "profile": [OURS + "hamlet"]}],
                }
            ]
        },
    }
    validator = a_validator("error", profile)
    patient = {"resourceType": "Patient", "meta": {"profile": ["urn:test:home"]}, "address": [{"extension": [HAMLET]}]}
    told = [("error", "Patient.address[0].extension[0].value")]
    assert validator.conformance is not None
    assert [(one.severity, one.expression[0]) for one in validator.conformance.claim_faults(patient)] == told
    assert faults(patient, validator) == told


# --- where an extension may stand

DAY = {"url": "urn:test:x", "valueDateTime": "2026"}
PARENT: Resource = {"url": "urn:test:parent", "extension": [DAY]}
OF_PATIENT: Resource = {"resourceType": "Patient", "extension": [DAY]}
OF_CONTACT: Resource = {"resourceType": "Patient", "contact": [{"name": {"text": "a"}, "extension": [DAY]}]}
OF_BIRTH_DATE: Resource = {"resourceType": "Patient", "_birthDate": {"extension": [DAY]}}
OF_AGE: Resource = {
    "resourceType": "Condition", "subject": {"display": "a"},
    "onsetAge": {"value": 1, "system": "http://unitsofmeasure.org", "code": "a", "extension": [DAY]},
}  # fmt: skip
OF_ITEM: Resource = {
    "resourceType": "Questionnaire", "status": "draft",
    "item": [{"linkId": "1", "type": "group", "item": [{"linkId": "2", "type": "string", "extension": [DAY]}]}],
}  # fmt: skip
IN_EXTENSION: Resource = {"resourceType": "Patient", "extension": [PARENT]}
IN_BUNDLE: Resource = {
    "resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:uuid:0", "resource": OF_CONTACT}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("context", "resource", "is_allowed"),
    [
        (("element", "Element"), OF_PATIENT, True),
        (("element", "Patient"), OF_PATIENT, True),
        (("element", "Patient"), OF_CONTACT, False),
        (("element", "DomainResource"), OF_PATIENT, True),
        (("element", "Practitioner"), OF_PATIENT, False),
        (("element", "Patient.contact"), OF_CONTACT, True),
        (("element", "Patient.contact"), IN_BUNDLE, True),
        (("element", "Patient"), IN_BUNDLE, False),
        (("element", "BackboneElement"), OF_CONTACT, True),
        (("element", "http://a.b/StructureDefinition/p#Patient.contact:mother"), OF_CONTACT, True),
        (("element", "Patient.birthDate"), OF_BIRTH_DATE, True),
        (("element", "date"), OF_BIRTH_DATE, True),
        (("element", "dateTime"), OF_BIRTH_DATE, False),
        (("element", "Condition.onset[x]"), OF_AGE, True),
        (("element", "Condition.onsetAge"), OF_AGE, True),
        (("element", "Condition.onsetPeriod"), OF_AGE, False),
        (("element", "Quantity"), OF_AGE, True),
        (("element", "Period"), OF_AGE, False),
        (("element", "Questionnaire.item"), OF_ITEM, True),
        (("element", "Questionnaire.item.item"), OF_ITEM, True),
        (("extension", "urn:test:parent"), IN_EXTENSION, True),
        (("extension", "urn:test:other"), IN_EXTENSION, False),
        (("extension", "urn:test:parent"), OF_PATIENT, False),
        (("element", "Extension"), IN_EXTENSION, True),
        (("fhirpath", "Patient.contact.where(name.text = 'a')"), OF_CONTACT, True),
        (("fhirpath", "contact.where(name.text = 'b')"), OF_CONTACT, False),
        (("fhirpath", "Observation.component"), OF_CONTACT, False),
        (("fhirpath", "Patient.contact.where(name.text = 'a')"), IN_BUNDLE, True),
    ],
)
def test_an_extension_stands_only_where_its_definition_lets_it(
    context: tuple[str, str], resource: Resource, is_allowed: bool
) -> None:
    found = a_validator("error", an_extension("urn:test:x", context)).validate(resource)
    assert [(one.code, one.expression[0].rpartition(".")[2]) for one in found] == (
        [] if is_allowed else [("extension", "extension[0]")]
    )


def a_profile_with_slices(url: str) -> Resource:
    """Of Patient: contacts by their gender, mothers again by having a name; an id is asked for."""
    slicing = {"discriminator": [{"type": "value", "path": "gender"}], "rules": "open"}
    again = {"discriminator": [{"type": "exists", "path": "name"}], "rules": "open"}
    rows = [
        ("Patient.id", {"min": 1}),
        ("Patient.contact", {"slicing": slicing}),
        ("Patient.contact:mother", {"sliceName": "mother", "slicing": again}),
        ("Patient.contact:mother.gender", {"fixedCode": "female"}),
        ("Patient.contact:mother/named", {"sliceName": "mother/named"}),
        ("Patient.contact:mother/named.name", {"min": 1}),
        ("Patient.contact:father", {"sliceName": "father"}),
        ("Patient.contact:father.gender", {"fixedCode": "male"}),
    ]
    elements = [
        {"id": id, "path": ".".join(part.partition(":")[0] for part in id.split(".")), **row} for id, row in rows
    ]
    return {"resourceType": "StructureDefinition", "url": url, "type": "Patient", "differential": {"element": elements}}


@pytest.mark.parametrize(
    ("id", "is_allowed"),
    [
        ("Patient.contact", True),
        ("Patient.contact:mother", True),
        ("Patient.contact:mother/named", True),
        ("Patient.contact:father", False),
        ("Patient", False),
        ("Patient.name", False),
    ],
)
@pytest.mark.parametrize("has_id", [True, False])
@pytest.mark.parametrize("is_bundled", [True, False])
def test_a_context_of_a_profile_asks_that_it_is_kept_and_for_its_slices(
    id: str, is_allowed: bool, has_id: bool, is_bundled: bool
) -> None:
    contact = {"gender": "female", "name": {"text": "a"}, "extension": [DAY]}
    patient: Resource = {"resourceType": "Patient", "contact": [{"gender": "male", "name": {"text": "b"}}, contact]}
    patient |= {"id": "1"} if has_id else {}
    entry = {"fullUrl": "http://a.b/Patient/1" if has_id else "urn:uuid:0", "resource": patient}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
    definition = an_extension("urn:test:x", ("element", f"urn:test:sliced#{id}"))
    validator = a_validator("error", definition, a_profile_with_slices("urn:test:sliced"))
    found = validator.validate(bundle if is_bundled else patient)
    assert [one.code for one in found] == ([] if is_allowed and has_id else ["extension"])


@pytest.mark.parametrize("is_modifier", [True, False])
@pytest.mark.parametrize("name", ["extension", "modifierExtension"])
def test_an_extension_that_modifies_stands_in_modifier_extension_and_no_other_does(
    is_modifier: bool, name: str
) -> None:
    definition = an_extension("urn:test:x", ("element", "Patient"))
    root = {"path": "Extension", "isModifier": is_modifier, "isModifierReason": "x"}
    definition["differential"]["element"].insert(0, root)
    found = a_validator("error", definition).validate({"resourceType": "Patient", name: [DAY]})
    is_right = is_modifier is (name == "modifierExtension")
    assert [(one.code, one.expression[0]) for one in found] == (
        [] if is_right else [("extension", f"Patient.{name}[0]")]
    )


@pytest.mark.parametrize("name", ["extension", "modifierExtension"])
def test_a_modifier_without_a_reason_may_stand_in_both_since_its_definition_breaks_eld_18(name: str) -> None:
    definition = an_extension("urn:test:x", ("element", "Patient"))
    definition["differential"]["element"].insert(0, {"path": "Extension", "isModifier": True})
    assert faults({"resourceType": "Patient", name: [DAY]}, a_validator("error", definition)) == []


def test_the_invariants_of_a_context_are_about_what_the_extension_stands_on() -> None:
    rules = ["name.exists() or gender.exists()", "%extension.value.exists()"]
    validator = a_validator("error", an_extension("urn:test:x", ("element", "Patient"), contextInvariant=rules))
    assert faults(OF_PATIENT, validator) == [("error", "Patient.extension[0]")]
    assert faults({**OF_PATIENT, "gender": "male"}, validator) == []


def test_a_context_invariant_that_cannot_be_evaluated_is_a_problem_of_the_definition() -> None:
    definition = an_extension("urn:test:x", ("element", "Patient"), contextInvariant=["nothing.exists()"])
    conformance = a_validator("error", definition).conformance
    assert conformance is not None
    assert conformance.problems("urn:test:x") == (
        "the context invariant nothing.exists() cannot be evaluated on Patient",
    )
