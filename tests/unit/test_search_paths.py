from typing import Any

import pytest
from search_index import definitions

from fhir_server.errors import FhirError
from fhir_server.search.paths import paths_of


def values(resource: dict[str, Any], expression: str) -> list[tuple[str, Any]]:
    """(FHIR type, value) of all that an expression finds."""
    paths = paths_of(definitions(), resource["resourceType"], expression)
    return [(path.type, value) for path in paths for value in path.walk()(resource)]


def test_every_search_expression_of_r4_compiles_for_every_type_it_applies_to() -> None:
    compiled = 0
    for type in sorted(definitions().resource_types):
        for param in definitions().search_params(type).values():
            if param.expression:
                paths = paths_of(definitions(), type, param.expression)
                assert paths, (type, param.code)
                compiled += 1
                for component in param.components:
                    for path in paths:
                        paths_of(definitions(), path.type, component.expression)
    assert compiled > 2_500


PATIENT = {
    "resourceType": "Patient",
    "name": [{"family": "Nguyễn", "given": ["Văn", None, "An"], "_given": [None, {"id": "x"}, None]}, {"text": "Ất"}],
    "telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "2"}],
    "deceasedDateTime": "2020",
    "extension": [{"url": "urn:a", "valueString": "one"}, {"url": "urn:b", "valueCode": "two"}],
    "link": [{"other": {"reference": "Patient/2"}}, {"other": {"reference": "RelatedPerson/3"}}],
}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("Patient.name.given | Patient.name.family", [("string", "Văn"), ("string", "An"), ("string", "Nguyễn")]),
        ("Patient.name.given | Practitioner.name.given", [("string", "Văn"), ("string", "An")]),
        ("Practitioner.name", []),
        ("Patient.name.first().family", [("string", "Nguyễn")]),
        ("Patient.name[1].text", [("string", "Ất")]),
        ("Patient.name[7].text", []),
        ("Patient.name.given[1]", [("string", "An")]),
        ("Patient.telecom.where(system='email').value", [("string", "2")]),
        ("Patient.telecom.where(system = 'phone' or value = '2').value", [("string", "1"), ("string", "2")]),
        ("Patient.telecom.where(system='fax' or system='pager' or system='email').value", [("string", "2")]),
        ("Patient.telecom.where(period='2020').value", []),
        ("Patient.where(name.given='An' or name.given='Bình').name.text", [("string", "Ất")]),
        ("Patient.telecom.where(system!='email' and value.exists()).value", [("string", "1")]),
        ("Patient.telecom.where(rank.empty()).system", [("code", "phone"), ("code", "email")]),
        ("Patient.telecom.where(system.exists().not()).value", []),
        ("Patient.deceased as dateTime", [("dateTime", "2020")]),
        ("(Patient.deceased as DateTime)", [("dateTime", "2020")]),
        ("Patient.deceased.as(boolean)", []),
        ("Patient.deceased.ofType(dateTime)", [("dateTime", "2020")]),
        ("Patient.deceased", [("dateTime", "2020")]),
        ("Patient.deceased.exists() and Patient.deceased != false", [("boolean", True)]),
        ("Patient.active.exists()", [("boolean", False)]),
        ("Patient.extension('urn:a')", [("string", "one")]),
        ("Patient.extension.where(url='urn:b').value", [("code", "two")]),
        ("Patient.extension('urn:a').value.as(string)", [("string", "one")]),
        ("Patient.link.other.where(resolve() is Patient)", [("Reference", {"reference": "Patient/2"})]),
        ("Patient.link.where(other.resolve() is RelatedPerson).other.reference", [("string", "RelatedPerson/3")]),
        ("Patient.where(hasExtension('urn:b')).name.family", [("string", "Nguyễn")]),
        ("Patient.where(hasExtension('urn:c')).name.family", []),
        ("Patient.`name`.`family`", [("string", "Nguyễn")]),
        ("DomainResource.extension('urn:a')", [("string", "one")]),
        ("name.family", [("string", "Nguyễn")]),
    ],
)
def test_an_expression_finds_typed_values(expression: str, found: list[tuple[str, Any]]) -> None:
    assert values(PATIENT, expression) == found


@pytest.mark.parametrize(
    ("reference", "is_patient"),
    [
        ({"reference": "Patient/1"}, True),
        ({"reference": "http://x.vn/fhir/Patient/1"}, True),
        ({"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "type": "Patient"}, True),
        ({"identifier": {"value": "1"}, "type": "Patient"}, True),
        ({"reference": "Group/1", "type": "Patient"}, False),
        ({"reference": "#p"}, False),
        ({"display": "An"}, False),
    ],
)
def test_what_a_reference_points_at_is_known_from_what_it_says_itself(
    reference: dict[str, Any], is_patient: bool
) -> None:
    condition = {"resourceType": "Condition", "subject": reference}
    assert bool(values(condition, "Condition.subject.where(resolve() is Patient)")) is is_patient


def test_the_systems_of_a_required_binding_are_known() -> None:
    (path,) = paths_of(definitions(), "Patient", "Patient.gender")
    assert path.systems == ("http://hl7.org/fhir/administrative-gender",)
    (path,) = paths_of(definitions(), "Patient", "Patient.language")
    assert path.systems == ()


def test_an_element_that_shares_the_content_of_another_is_followed() -> None:
    questionnaire = {"resourceType": "Questionnaire", "item": [{"item": [{"linkId": "1.1"}]}]}
    assert values(questionnaire, "Questionnaire.item.item.linkId") == [("string", "1.1")]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "Patient.",
        "Patient.nickname",
        "Patient.name.",
        "Patient.name)",
        "Patient.name.where(",
        "Patient.name.where(use='official'",
        "Patient.name.repeat(given)",
        "Patient.name.where($total > 1)",
        "Patient.managingOrganization.resolve().name",
        "Patient.name + 'x'",
        "'constant'",
        "Patient.name.where(given = family)",
        "Patient.name.where(given.matches('(a+)+b'))",
        "Patient.name.first().first().first().nothing",
        "Patient.name[" + "9" * 5000 + "]",
        "(" * 5000 + "Patient" + ")" * 5000,
        "Patient" + ".name" * 5000,
        "Patient.name.where(" * 300 + "true" + ")" * 300,
        "Đức",
    ],
)
def test_an_expression_that_cannot_be_searched_by_is_refused_with_the_reason(expression: str) -> None:
    with pytest.raises(FhirError) as refused:
        paths_of(definitions(), "Patient", expression)
    assert refused.value.kind.status == 422
    assert "cannot be searched by" in refused.value.diagnostics
