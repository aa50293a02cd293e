"""Invariants, references, narrative and contained resources, each with the place and the words it is told in."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.errors import Issue
from fhir_server.model.resources import Resource, decode
from fhir_server.validation.validate import Validator

VALIDATOR = Validator(Definitions.load(DATA_ROOT))
XHTML = "http://www.w3.org/1999/xhtml"


def faults(resource: Any) -> list[tuple[str, str]]:
    return [(issue.code, issue.expression[0]) for issue in VALIDATOR.validate(resource) if issue.is_error]


def texts(resource: Any) -> list[str]:
    return [issue.diagnostics for issue in VALIDATOR.validate(resource)]


def a_patient(**elements: Any) -> Resource:
    return {"resourceType": "Patient", **elements}


def an_observation(**elements: Any) -> Resource:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **elements}


def a_bundle(*entries: Resource) -> Resource:
    return {"resourceType": "Bundle", "type": "collection", "entry": list(entries)}


BROKEN: list[tuple[str, Resource, str]] = [
    ("pat-1", a_patient(contact=[{"gender": "male"}]), "Patient.contact[0]"),
    ("per-1", a_patient(name=[{"period": {"start": "2026-02", "end": "2026-01"}}]), "Patient.name[0].period"),
    ("obs-6", an_observation(dataAbsentReason={"text": "x"}, valueString="y"), "Observation"),
    ("obs-3", an_observation(referenceRange=[{"type": {"text": "x"}}]), "Observation.referenceRange[0]"),
    (
        "obs-7",
        an_observation(
            code={"coding": [{"system": "http://loinc.org", "code": "1"}]},
            valueString="y",
            component=[{"code": {"coding": [{"system": "http://loinc.org", "code": "1"}]}}],
        ),
        "Observation",
    ),
    (
        "con-4",
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "abatementString": "x",
            "clinicalStatus": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
            },
        },
        "Condition",
    ),
    (
        "age-1",
        {"resourceType": "Condition", "subject": {"reference": "Patient/1"}, "onsetAge": {"value": 3}},
        "Condition.onset",
    ),
    ("rng-2", an_observation(valueRange={"low": {"value": 9}, "high": {"value": 8.5}}), "Observation.value"),
    ("rat-1", an_observation(valueRatio={"numerator": {"value": 9}}), "Observation.value"),
    ("org-1", {"resourceType": "Organization", "active": True}, "Organization"),
    (
        "org-3",
        {"resourceType": "Organization", "name": "x", "telecom": [{"system": "phone", "value": "1", "use": "home"}]},
        "Organization.telecom[0]",
    ),
    ("bdl-1", {"resourceType": "Bundle", "type": "batch", "total": 1}, "Bundle"),
    ("bdl-3", a_bundle({"request": {"method": "GET", "url": "Patient"}}), "Bundle"),
    ("bdl-5", a_bundle({"fullUrl": "http://a.b/Patient/1"}), "Bundle.entry[0]"),
    (
        "bdl-7",
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"fullUrl": "http://a.b/Patient/1", "resource": {"resourceType": "Patient"}}] * 2,
        },
        "Bundle",
    ),
    (
        "bdl-11",
        {
            "resourceType": "Bundle",
            "type": "document",
            "identifier": {"system": "http://a.b", "value": "1"},
            "timestamp": "2026-01-01T00:00:00Z",
            "entry": [{"resource": {"resourceType": "Patient"}}],
        },
        "Bundle",
    ),
    ("inv-1", {"resourceType": "Parameters", "parameter": [{"name": "x"}]}, "Parameters.parameter[0]"),
    (
        "que-2",
        {
            "resourceType": "Questionnaire",
            "status": "draft",
            "item": [{"linkId": "1", "type": "group", "item": [{"linkId": "1", "type": "string"}]}],
        },
        "Questionnaire",
    ),
    (
        "que-7",
        {
            "resourceType": "Questionnaire",
            "status": "draft",
            "item": [
                {"linkId": "1", "type": "string"},
                {
                    "linkId": "2",
                    "type": "string",
                    "enableWhen": [{"question": "1", "operator": "exists", "answerString": "x"}],
                },
            ],
        },
        "Questionnaire.item[1].enableWhen[0]",
    ),
    (
        "ctm-1",
        {
            "resourceType": "CareTeam",
            "participant": [{"member": {"reference": "Patient/1"}, "onBehalfOf": {"reference": "Organization/1"}}],
        },
        "CareTeam.participant[0]",
    ),
    (
        "tim-9",
        {
            "resourceType": "MedicationRequest", "status": "active", "intent": "order",
            "subject": {"reference": "Patient/1"}, "medicationReference": {"reference": "Medication/1"},
            "dosageInstruction": [{"timing": {"repeat": {"offset": 5, "when": ["ACM", "CD"]}}}],
        },
        "MedicationRequest.dosageInstruction[0].timing.repeat",
    ),
    (
        "dom-4",
        a_patient(
            contained=[{"resourceType": "Organization", "id": "o", "name": "x", "meta": {"versionId": "1"}}],
            managingOrganization={"reference": "#o"},
        ),
        "Patient",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("key", "resource", "place"), BROKEN, ids=[row[0] for row in BROKEN])
def test_a_broken_invariant_is_told_by_its_key_at_its_place(key: str, resource: Resource, place: str) -> None:
    (issue,) = [issue for issue in VALIDATOR.validate(resource) if issue.is_error]
    assert (issue.code, issue.expression) == ("invariant", (place,))
    assert issue.diagnostics.startswith(f"{key}: ")
    assert issue.vi is not None
    assert issue.vi.startswith(f"vi phạm quy tắc {key}: ")


def test_periods_are_compared_by_what_their_precision_covers() -> None:
    def period(start: str, end: str) -> list[tuple[str, str]]:
        return faults(a_patient(name=[{"text": "x", "period": {"start": start, "end": end}}]))

    assert period("2026-05-04", "2026-05") == []
    assert period("2026", "2026-05-04T08:00:00+07:00") == []
    assert period("2026-05-04T23:00:00+07:00", "2026-05-04T17:00:00Z") == []
    assert period("2026-05-04T23:00:00+07:00", "2026-05-04T15:59:59Z") == [("invariant", "Patient.name[0].period")]
    assert period("2026-05-05", "2026-05-04T23:59:59Z") == [("invariant", "Patient.name[0].period")]


def test_quantities_of_different_units_are_not_compared() -> None:
    low, high = {"value": 900, "unit": "g"}, {"value": 1, "unit": "kg"}
    assert faults(an_observation(valueRange={"low": low, "high": high})) == []


def test_a_warning_of_r4_is_a_warning() -> None:
    resource = {"resourceType": "ValueSet", "status": "draft", "name": "tên có dấu"}
    (issue,) = VALIDATOR.validate(resource)
    assert (issue.severity, issue.code) == ("warning", "invariant")
    assert VALIDATOR.validate({"resourceType": "ValueSet", "status": "draft"}) == []


def test_a_condition_of_the_problem_list_without_a_status_is_warned_about() -> None:
    category = {"system": "http://terminology.hl7.org/CodeSystem/condition-category", "code": "problem-list-item"}
    listed = {"resourceType": "Condition", "subject": {"reference": "Patient/1"}, "category": [{"coding": [category]}]}
    assert [issue.severity for issue in VALIDATOR.validate(listed)] == ["warning"]
    assert VALIDATOR.validate({**listed, "category": [{"text": "khác"}]}) == []


def test_the_only_invariant_not_evaluated_is_about_an_element_that_r4_does_not_have() -> None:
    assert [(place, key) for place, key, _ in VALIDATOR.not_evaluated] == [("ChargeItemDefinition", "cid-0")]


# --- references


@pytest.mark.parametrize(
    "text",
    [
        "Organization/1",
        "Organization/1/_history/2",
        "http://a.b/fhir/Patient/1",
        "https://a.b/anything",
        "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
        "urn:oid:1.2.3",
        "Organization?identifier=x|1",
    ],
)
def test_a_reference_may_be_relative_absolute_a_urn_or_conditional(text: str) -> None:
    assert faults(a_patient(managingOrganization={"reference": text})) == []


@pytest.mark.parametrize(
    "text", ["1", "Nothing/1", "organization/1", "Organization/", "Organization/a_b", "Nothing?x=1", "a:"]
)
def test_any_other_text_is_no_reference(text: str) -> None:
    place = "Patient.managingOrganization.reference"
    assert faults(a_patient(managingOrganization={"reference": text})) == [("value", place)]


def test_a_relative_reference_must_be_to_a_type_its_place_allows() -> None:
    resource = a_patient(generalPractitioner=[{"reference": "Organization/1"}, {"reference": "Patient/1"}])
    assert faults(resource) == [("structure", "Patient.generalPractitioner[1].reference")]
    assert texts(resource) == [
        "a reference to Patient is not allowed here, only to Organization, Practitioner, PractitionerRole"
    ]


def test_the_type_of_a_reference_must_be_the_type_it_is_to() -> None:
    resource = a_patient(managingOrganization={"reference": "Organization/1", "type": "Practitioner"})
    assert faults(resource) == [("structure", "Patient.managingOrganization.type")]
    whole = "http://hl7.org/fhir/StructureDefinition/Organization"
    assert faults(a_patient(managingOrganization={"reference": "Organization/1", "type": whole})) == []


def test_a_reference_to_a_contained_resource_must_find_one_of_an_allowed_type() -> None:
    practitioner = {"resourceType": "Practitioner", "id": "p"}
    resource = a_patient(contained=[practitioner], managingOrganization={"reference": "#p"})
    assert faults(resource) == [("structure", "Patient.managingOrganization.reference")]
    assert faults(a_patient(managingOrganization={"reference": "#p"})) == [
        ("invariant", "Patient.managingOrganization.reference")
    ]


def test_a_contained_resource_must_be_referred_to_or_refer_to_its_container() -> None:
    unused = {"resourceType": "Organization", "id": "o", "name": "x"}
    assert faults(a_patient(contained=[unused])) == [("invariant", "Patient.contained[0]")]
    nameless = {"resourceType": "Organization", "name": "x"}
    assert faults(a_patient(contained=[nameless])) == [("invariant", "Patient.contained[0]")]
    aware = {
        "resourceType": "Observation",
        "id": "b",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "#"},
    }
    assert faults(a_patient(contained=[aware])) == []


def test_a_contained_resource_may_be_referred_to_by_another_one() -> None:
    chain = [
        {"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "#p"}},
        {"resourceType": "Practitioner", "id": "p"},
    ]
    assert faults(a_patient(contained=chain, generalPractitioner=[{"reference": "#r"}])) == []


def test_contained_resources_do_not_contain_resources() -> None:
    inner = {"resourceType": "Organization", "id": "i", "name": "x"}
    outer = {
        "resourceType": "Organization",
        "id": "o",
        "name": "x",
        "contained": [inner],
        "partOf": {"reference": "#i"},
    }
    assert ("invariant", "Patient") in faults(a_patient(contained=[outer], managingOrganization={"reference": "#o"}))


# --- narrative


def narrative(div: str) -> list[str]:
    return texts(a_patient(text={"status": "generated", "div": div}))


def test_a_narrative_has_the_basic_html_of_r4() -> None:
    inner = '<h1 id="a">Đ</h1><table class="t"><tr><td colspan="2">x</td></tr></table>'
    div = f'<div xmlns="{XHTML}" xml:lang="vi">{inner}</div>'
    assert narrative(div) == []
    assert narrative(f'<div xmlns="{XHTML}"><img src="#a" alt="x"/></div>') == []


@pytest.mark.parametrize(
    ("inner", "found"),
    [
        ("<script>x</script>", "the element <script>"),
        ("<p onclick='x'>x</p>", "the attribute onclick"),
        ("<a href=' javascript:x'>x</a>", "a script in href"),
        ("<form>x</form>", "the element <form>"),
        ("<svg xmlns='http://www.w3.org/2000/svg'>x</svg>", "the element <svg>"),
    ],
)
def test_active_content_is_not_allowed_in_a_narrative(inner: str, found: str) -> None:
    assert narrative(f'<div xmlns="{XHTML}">{inner}</div>') == [f"txt-1: {found} is not allowed in a narrative"]


def test_a_narrative_is_well_formed_without_entities_and_not_blank() -> None:
    assert narrative(f'<div xmlns="{XHTML}">a&nbsp;b</div>')[0].startswith("txt-1: the narrative is not well-formed")
    assert narrative(f'<div xmlns="{XHTML}"><p>x</div>')[0].startswith("txt-1: the narrative is not well-formed")
    declared = f'<!DOCTYPE d [<!ENTITY a "x">]><div xmlns="{XHTML}">&a;</div>'
    assert narrative(declared) == ["txt-1: a document type declaration is not allowed in a narrative"]
    assert narrative(f'<div xmlns="{XHTML}"> <p/> </div>') == ["txt-2: the narrative has no text"]
    assert narrative("<div>x</div>")[0].startswith("txt-1: the root of a narrative is <div xmlns=''>")


@pytest.mark.parametrize(
    ("resource", "told"),
    [
        (a_patient(birthDate="2026-02-30"), "'2026-02-30' không đúng dạng date (ví dụ 2026, 2026-06, 2026-06-30)"),
        (a_patient(name=[{"text": " "}]), "' ' không đúng dạng chuỗi (ví dụ văn bản không để trống)"),
        (
            a_patient(text={"status": "generated", "div": f'<div xmlns="{XHTML}"><p onclick="x">a</p></div>'}),
            "txt-1: không được dùng thuộc tính onclick trong phần văn bản",
        ),
        (
            a_patient(text={"status": "generated", "div": f'<div xmlns="{XHTML}"><p>a</div>'}),
            "txt-1: phần văn bản không phải là XHTML hợp lệ: dòng 1, cột 48",
        ),
    ],
)
def test_a_fault_is_told_in_vietnamese_alone(resource: Resource, told: str) -> None:
    assert [issue.vi for issue in VALIDATOR.validate(resource)] == [told]


# --- structure told with its place


def test_all_faults_are_told_at_once() -> None:
    resource = decode(
        b'{"resourceType":"Patient","id":"a b","name":[{"family":1,"given":[]}],"gender":"nam",'
        b'"birthDate":"1985-02-30","telecom":[{"value":"1"}],"colour":"red","deceasedBoolean":true,"deceasedDateTime":"2026"}'
    )
    assert faults(resource) == [
        ("value", "Patient.id"),
        ("value", "Patient.name[0].family"),
        ("structure", "Patient.name[0].given"),
        ("code-invalid", "Patient.gender"),
        ("value", "Patient.birthDate"),
        ("structure", "Patient.colour"),
        ("structure", "Patient.deceased"),
        ("invariant", "Patient.telecom[0]"),
    ]


def test_faults_of_a_bundle_stand_below_their_entry() -> None:
    entries = [
        {"resource": {"resourceType": "Patient"}},
        {"resource": {"resourceType": "Observation", "code": {"text": "x"}, "valueQuantity": {"value": "1"}}},
        {"resource": {"resourceType": "Patient", "contact": [{"gender": "male"}]}},
    ]
    assert faults({"resourceType": "Bundle", "type": "collection", "entry": entries}) == [
        ("value", "Bundle.entry[1].resource.value.value"),
        ("required", "Bundle.entry[1].resource.status"),
        ("invariant", "Bundle.entry[2].resource.contact[0]"),
    ]


def test_a_path_given_stands_in_front() -> None:
    (issue,) = VALIDATOR.validate({"resourceType": "Patient", "active": 1}, "Patient", "Bundle.entry[3].resource")
    assert issue.expression == ("Bundle.entry[3].resource.active",)


def test_another_type_than_expected_is_a_fault() -> None:
    (issue,) = VALIDATOR.validate({"resourceType": "Patient"}, "Person")
    assert issue == Issue(
        "error",
        "structure",
        "Person is expected, 'Patient' was sent",
        ("Patient.resourceType",),
        "cần Person, nhận được 'Patient'",
    )


PAIRS: list[tuple[Resource, list[tuple[str, str]]]] = [
    ({"birthDate": "1985", "_birthDate": {"id": "a"}}, []),
    ({"_birthDate": {"extension": [{"url": "http://a.b", "valueString": "x"}]}}, []),
    ({"_birthDate": {"id": "a"}}, [("structure", "Patient.birthDate")]),
    ({"_birthDate": {"extension": [{"url": "http://a.b"}]}}, [("invariant", "Patient.birthDate.extension[0]")]),
    ({"_birthDate": {"colour": "x"}}, [("structure", "Patient.birthDate.colour")]),
    ({"_brithDate": {"id": "a"}}, [("structure", "Patient._brithDate")]),
    ({"birthDate": None, "_birthDate": {"id": "a"}}, [("structure", "Patient.birthDate")]),
    ({"name": [{"given": ["A", None], "_given": [None, {"extension": [{"url": "x:y", "valueCode": "c"}]}]}]}, []),
    ({"name": [{"given": ["A", None]}]}, [("structure", "Patient.name[0].given[1]")]),
    ({"name": [{"given": ["A", None], "_given": [{"id": "a"}, None]}]}, [("structure", "Patient.name[0].given[1]")]),
    ({"name": [{"given": ["A"], "_given": {"id": "a"}}]}, [("structure", "Patient.name[0].given")]),
    ({"name": [{"_given": []}]}, [("structure", "Patient.name[0].given")]),
    ({"name": [{"id": "a", "_id": {"id": "b"}}]}, [("structure", "Patient.name[0]._id")]),
]  # fmt: skip


@pytest.mark.parametrize(("elements", "expected"), PAIRS)
def test_a_primitive_and_its_extensions_are_one_element(elements: Resource, expected: list[tuple[str, str]]) -> None:
    assert faults(a_patient(**elements))[:1] == expected


def test_a_required_primitive_may_be_only_an_extension() -> None:
    absent = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    resource = {"resourceType": "Observation", "_status": {"extension": [absent]}, "code": {"text": "x"}}
    assert faults(resource) == []


def test_a_message_names_what_was_found_and_what_is_allowed_in_both_languages() -> None:
    (issue,) = VALIDATOR.validate(a_patient(gender="nam"))
    assert issue.diagnostics == (
        "'nam' is not in the value set http://hl7.org/fhir/ValueSet/administrative-gender (required binding): "
        "female, male, other, unknown"
    )
    assert issue.vi == (
        "'nam' không thuộc tập giá trị http://hl7.org/fhir/ValueSet/administrative-gender (ràng buộc bắt buộc): "
        "female, male, other, unknown"
    )
    (issue,) = VALIDATOR.validate(a_patient(name={"text": "x"}))
    assert issue.vi == "phần tử được lặp lại nên phải là mảng JSON; nhận được một đối tượng"


@pytest.mark.parametrize(
    ("url", "is_sound"),
    [
        ("http://a.b/fhir/Patient/1", True),
        ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", True),
        ("http://a.b/other", True),
        ("http://a.b/fhir/Patient/2", False),
        ("http://a.b/fhir/Person/1", False),
    ],
)
def test_the_full_url_of_an_entry_agrees_with_its_resource(url: str, is_sound: bool) -> None:
    entry = {"fullUrl": url, "resource": {"resourceType": "Patient", "id": "1"}}
    issues = VALIDATOR.validate({"resourceType": "Bundle", "type": "collection", "entry": [entry]})
    assert [issue.expression for issue in issues] == ([] if is_sound else [("Bundle.entry[0].fullUrl",)])


@pytest.mark.parametrize(
    ("resource", "told"),
    [
        (
            {"resourceType": "Patient", "contact": [{"gender": "male"}]},
            "vi phạm quy tắc pat-1: Người liên hệ phải có thông tin liên hệ hoặc tổ chức",
        ),
        (
            {"resourceType": "Parameters", "parameter": [{"name": "a"}]},
            "vi phạm quy tắc inv-1: Tham số phải có đúng một trong value, resource, part",
        ),
        (
            {
                "resourceType": "Task",
                "status": "draft",
                "intent": "order",
                "authoredOn": "2026-02-01",
                "lastModified": "2026-01-01",
            },
            "vi phạm quy tắc inv-1: lastModified không được trước authoredOn",
        ),
    ],
)
def test_an_invariant_is_told_in_vietnamese(resource: Resource, told: str) -> None:
    (issue,) = VALIDATOR.validate(resource)
    assert issue.vi == told


def test_every_invariant_of_r4_and_no_other_is_written_in_vietnamese() -> None:
    definitions = Definitions.load(DATA_ROOT)
    structures = [definitions.structure(type) for type in definitions.structure_names]
    owners = [*structures, *(element for one in structures for element in one.elements.values())]
    written = decode((DATA_ROOT / "profiles" / "invariants_vi.json").read_bytes())["invariants"]
    assert set(written) == {rule.human for owner in owners for rule in owner.constraints}
