"""FHIRPath as R4's invariants use it: parsing, precedence, types, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.fhirpath import FhirPathError, parse
from fhir_server.definitions.load import Definitions
from fhir_server.model.resources import Digits, Resource
from fhir_server.validation.fhirpath import compile_condition
from fhir_server.validation.items import Environment

DEFINITIONS = Definitions.load(DATA_ROOT)

PATIENT: Resource = {
    "resourceType": "Patient",
    "active": True,
    "name": [{"use": "official", "family": "Nguyễn", "given": ["Văn", "An"]}, {"use": "nickname", "given": ["Tí"]}],
    "_birthDate": {"extension": [{"url": "http://a.b", "valueString": "x"}]},
    "multipleBirthInteger": 2,
    "contained": [{"resourceType": "Practitioner", "id": "p"}],
    "generalPractitioner": [{"reference": "#p"}, {"reference": "Organization/1"}, {"display": "x"}],
    "extension": [{"url": "http://a.b", "valueQuantity": {"value": Digits("1.50"), "unit": "kg"}}],
}


def holds(expression: str, value: Resource = PATIENT, type: str = "Patient", path: str = "") -> bool | None:
    return compile_condition(DEFINITIONS, expression, type, path)([value], Environment(value, value))


@pytest.mark.parametrize(
    "expression",
    [
        "name.exists()",
        "Patient.name.given.count() = 3",
        "name[1].given = 'Tí'",
        "name.where(use = 'official').given.first() = 'Văn'",
        "name.given.last() = 'Tí' and name.given.tail().count() = 2",
        "name.all(given.exists())",
        "name.exists(use = 'old').not()",
        "name.select(use & '-' & given.first()) = 'official-Văn' | 'nickname-Tí'",
        "name.use in ('a' | 'b') implies false",
        "('official' | 'x') contains name[0].use",
        "birthDate.exists() and birthDate.hasValue().not()",
        "multipleBirth is integer",
        "multipleBirth is Boolean or (multipleBirth as integer) > 1",
        "multipleBirth.ofType(boolean).empty()",
        "extension('http://a.b').exists()",
        "extension.value is Quantity and extension.value.as(Quantity).value >= 1.5",
        "extension.value.ofType(Quantity).value.toString() = '1.50'",
        "generalPractitioner.resolve().count() = 2",
        "generalPractitioner.where(resolve() is Practitioner).count() = 1",
        "contained.is(Practitioner)",
        "contained.id in %resource.contained.id",
        "active = true xor name.empty()",
        "true or false and false",
        "name.given.isDistinct()",
        "name.use.combine(name.use).isDistinct().not()",
        "(name.use | name.use).count() = 2",
        "name.given.intersect('An' | 'Tí').count() = 2",
        "iif(active, name.count(), 0) = 2",
        "name[0].family.startsWith('Ngu') and name[0].family.endsWith('n') and name[0].family.length() = 6",
        "name[0].family.matches('[A-Z].*') and name[0].family.matches('N').not()",
        "name[0].family.substring(1).upper() = 'GUYỄN'",
        "name[0].family.substring(1, 3) = 'guy' and name[0].family.indexOf('y') = 3",
        "name.skip(1).given = 'Tí' and name.take(1).use = 'official'",
        "name.given.exclude('Tí').count() = 2",
        "name.use.take(1).subsetOf(name.use) and name.use.supersetOf('official')",
        "name.select(given.exists()).allTrue() and name.select(given.exists()).anyTrue()",
        "name.select(given.empty()).allFalse() and name.select(use = 'official').anyFalse()",
        "'a.b'.replaceMatches('\\\\..*', '') = 'a'",
        "'12'.toInteger() + 1 = 13",
        "name.given.trace('x').count() = 3",
        "deceased.empty() and deceased.exists().not()",
        "`active` = true",
        "descendants().given.count() = 3",
        "%ucum = 'http://unitsofmeasure.org'",
        "{}.empty()",
    ],
)
def test_an_expression_holds(expression: str) -> None:
    assert holds(expression) is True


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("deceased.ofType(dateTime) > '2000'", None),
        ("birthDate > '2000'", True),  # an extension says why there is no date: that breaks no rule
        ("gender = 'male'", None),
        ("gender = 'male' or name.empty()", False),
        ("gender = 'male' implies name.empty()", True),
        ("gender != 'male'", None),
        ("name.given = 'Văn'", False),
        ("active = 'true'", False),
        ("(1 = true)", False),
        ("multipleBirth is boolean", False),
        ("gender is code", False),
    ],
)
def test_an_empty_side_is_no_truth(expression: str, result: bool | None) -> None:
    assert holds(expression) is result


def test_values_of_the_wrong_shape_never_raise() -> None:
    shapes: list[Any] = ["x", 1, True, [], {}, [[]], [None], [1, "x"], {"given": 1}, [{"given": {"x": 1}}]]
    for shape in shapes:
        value = {"resourceType": "Patient", "name": shape, "multipleBirthInteger": shape, "contained": shape}
        for expression in (
            "name.given.first().startsWith('x') or name.where(use = 'x').given.toInteger() > 1",
            "multipleBirth > 1 and multipleBirth <= 'x'",
            "contained.contained.empty() and contained.descendants().id.isDistinct()",
            "name.given.matches('x') or (name | contained).count() > 1 or name.extension('x').exists()",
        ):
            assert holds(expression, value) in (True, False, None)


@pytest.mark.parametrize(
    "expression",
    [
        "name.", "name.given(", "(name", "name)", "name given", "'x", "name..given", "1 +", "name[", "@20", "",
        "(" * 60 + "1" + ")" * 60, "-" * 500 + "1", "x" * 30_000,
        "1" + " + 1" * 200, "a" + ".a" * 200, "a" + " or a" * 200,
    ],
)  # fmt: skip
def test_what_is_no_fhirpath_is_refused(expression: str) -> None:
    with pytest.raises(FhirPathError):
        parse(expression)


@pytest.mark.parametrize(
    "expression",
    ["colour.exists()", "name.colour", "memberOf()", "%terminologies", "name[active]", "1 ~ 2", "name.is(a, b)"],
)
def test_what_cannot_be_evaluated_is_refused_when_it_is_compiled(expression: str) -> None:
    with pytest.raises(FhirPathError):
        compile_condition(DEFINITIONS, expression, "Patient")


def test_every_expression_of_r4_is_parsed() -> None:
    count = 0
    for type in DEFINITIONS.resource_types:
        for param in DEFINITIONS.search_params(type).values():
            if param.expression:
                parse(param.expression)
                count += 1
    assert count > 2000


def test_of_a_resource_elsewhere_a_reference_tells_the_type_and_the_id() -> None:
    texts = ("Practitioner/1", "Practitioner/1", "Organization/2")
    patient = {"resourceType": "Patient", "generalPractitioner": [{"reference": text} for text in texts]}
    for expression in (
        "generalPractitioner.resolve().all(id.exists())",
        "generalPractitioner.resolve().distinct().count() = 2",
        "generalPractitioner.first().resolve().hasValue().not()",
        "generalPractitioner.resolve().where($this is Organization).id = '2'",
    ):
        test = compile_condition(DEFINITIONS, expression, "Patient")
        assert test([patient], Environment(patient, patient)) is True, expression


@pytest.mark.parametrize(
    "link", [".exists()", ".not()", ".extension.ofType(Extension)", ".select($this)", " + 'b'", " or true"]
)
def test_a_long_chain_is_compiled_in_time_by_its_length(link: str) -> None:
    assert holds("extension" + link * 70) in (True, False, None)
