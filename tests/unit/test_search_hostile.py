"""Whatever a user writes is a value: it finds what it means or is refused, and never becomes a query of its own."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_index import Index

from fhir_server.errors import FhirError

PARAMETERS = [
    "Patient?name",
    "Patient?name:exact",
    "Patient?name:contains",
    "Patient?name:missing",
    "Patient?address-city",
    "Patient?identifier",
    "Patient?identifier:text",
    "Patient?identifier:of-type",
    "Patient?gender",
    "Patient?active",
    "Patient?telecom",
    "Patient?birthdate",
    "Patient?death-date",
    "Patient?general-practitioner",
    "Patient?organization:identifier",
    "Patient?_tag",
    "Patient?_source",
    "Patient?_profile",
    "Patient?_profile:below",
    "Patient?_profile:above",
    "Observation?value-quantity",
    "Observation?value-string",
    "Observation?code-value-quantity",
    "Observation?code-value-date",
    "Observation?code-value-string",
    "Observation?combo-code-value-concept",
    "RiskAssessment?probability",
    "Location?near",
    "ValueSet?url",
    "QuestionnaireResponse?questionnaire:below",
    "DocumentReference?relationship",
]
PIECES = [
    "$",
    "|",
    ",",
    "\\",
    "{",
    "}",
    "$where",
    ".*",
    "^",
    "(",
    "null",
    "eq",
    "ge",
    "1",
    "2020",
    "-",
    "http://",
    "urn:",
    "/",
    "#",
    "%",
    "Patient/1",
    "é",
    "a",
    "☃",
    "ﷺ",
]
PIECES += ["\x00", "\x1f", "\ud800", "\U0010ffff", "\u0301", " ", "\t"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=20)


def value_of(text: str) -> str:
    return text.replace("&", "").replace("%", "")


@given(st.sampled_from(PARAMETERS), TEXTS)
def test_any_text_is_searched_for_or_refused(index: Index, parameter: str, text: str) -> None:
    type, _, name = parameter.partition("?")
    with suppress(FhirError):
        query = index.filter(type, name, text)
        assert list(index.database[type].find(query).limit(1)) == []


# JSON with half a surrogate pair is refused before it is a resource.
STORED = TEXTS.map(lambda text: text.encode("utf-8", "replace").decode())


@given(STORED, STORED, STORED)
def test_any_text_that_is_stored_is_indexed(index: Index, one: str, two: str, three: str) -> None:
    resource = {
        "resourceType": "Observation",
        "id": "o",
        "identifier": [{"system": one, "value": two, "type": {"text": three}}],
        "code": {"coding": [{"system": two, "code": one, "display": three}], "text": one},
        "subject": {"reference": two, "identifier": {"value": three}},
        "valueQuantity": {"value": 1, "unit": one, "system": two, "code": three},
        "effectiveDateTime": one,
        "note": [{"text": two}],
        "text": {"status": "generated", "div": three},
    }
    patient = {"resourceType": "Patient", "id": "p", "name": [{"text": one, "given": [two]}], "birthDate": three}
    index.keep(resource, patient)
    index.database["Observation"].delete_many({})
    index.database["Patient"].delete_many({})


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_an_endless_value_is_answered(index: Index, parameter: str) -> None:
    type, _, name = parameter.partition("?")
    for text in ("a" * 100_000, "1" * 100_000, "a " * 2_000, "/" * 10_000, "http://a/" + "b/" * 5_000):
        with suppress(FhirError):
            list(index.database[type].find(index.filter(type, name, text)).limit(1))
