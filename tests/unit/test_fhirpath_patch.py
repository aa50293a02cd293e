"""FHIRPath Patch: what each operation does, and what is refused. R4 FHIRPath Patch."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.fhirpath_patch import FhirpathPatch

PATCH = FhirpathPatch(Definitions.load(DATA_ROOT))


def patched(resource: dict[str, Any], **parts: Any) -> dict[str, Any]:
    rows = []
    for name, value in parts.items():
        kind = "valueInteger" if isinstance(value, int) else "valueString"
        rows.append({"name": name, **value} if isinstance(value, dict) else {"name": name, kind: value})
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": rows}]}
    return PATCH.change(parameters)({"resourceType": "Patient", "id": "a", **resource})


def refusal(resource: dict[str, Any], **parts: Any) -> Kind:
    with pytest.raises(FhirError) as refused:
        patched(resource, **parts)
    assert refused.value.expression[0].startswith("Parameters.parameter")
    return refused.value.kind


NAMES: dict[str, Any] = {"name": [{"family": "N", "given": ["A", "B"]}, {"use": "old", "family": "X"}]}


def test_replace_changes_the_element_that_a_condition_names() -> None:
    made = patched(NAMES, type="replace", path="Patient.name.where(use = 'old').family", value={"valueString": "Y"})
    assert [name["family"] for name in made["name"]] == ["N", "Y"]


def test_replace_of_a_choice_changes_its_type() -> None:
    made = patched({"deceasedBoolean": True}, type="replace", path="Patient.deceased", value={"valueDateTime": "2020"})
    assert made == {"resourceType": "Patient", "id": "a", "deceasedDateTime": "2020"}


def test_add_appends_to_a_list_and_sets_a_single_element() -> None:
    made = patched({}, type="add", path="Patient", name="birthDate", value={"valueDate": "1985"})
    assert made["birthDate"] == "1985"
    contact = {"part": [{"name": "gender", "valueCode": "female"}, {"name": "name", "valueHumanName": {"text": "T"}}]}
    made = patched({"contact": [{"gender": "male"}]}, type="add", path="Patient", name="contact", value=contact)
    assert made["contact"][1] == {"gender": "female", "name": {"text": "T"}}


def test_insert_and_move_put_an_item_at_its_index() -> None:
    made = patched(NAMES, type="insert", path="Patient.name[0].given", index=1, value={"valueString": "C"})
    assert made["name"][0]["given"] == ["A", "C", "B"]
    made = patched(NAMES, type="move", path="Patient.name", source=1, destination=0)
    assert made["name"][0]["family"] == "X"


def test_delete_takes_the_extensions_of_a_primitive_along_and_leaves_nothing_empty() -> None:
    made = patched({"birthDate": "1985", "_birthDate": {"id": "b"}}, type="delete", path="Patient.birthDate")
    assert made == {"resourceType": "Patient", "id": "a"}
    made = patched({"contact": [{"gender": "male"}]}, type="delete", path="Patient.contact[0].gender")
    assert "contact" not in made


def test_deleting_what_is_absent_changes_nothing() -> None:
    assert patched({}, type="delete", path="Patient.birthDate") == {"resourceType": "Patient", "id": "a"}


def test_the_resource_given_stays_as_it_was() -> None:
    resource = {"name": [{"family": "N"}]}
    patched(resource, type="replace", path="Patient.name.family", value={"valueString": "Y"})
    assert resource == {"name": [{"family": "N"}]}


def test_what_cannot_be_done_is_unprocessable() -> None:
    value = {"valueString": "Y"}
    assert refusal(NAMES, type="replace", path="Patient.name", value=value) is Kind.UNPROCESSABLE
    assert refusal({}, type="replace", path="Patient.birthDate", value=value) is Kind.UNPROCESSABLE
    assert refusal({}, type="add", path="Patient", name="nonsense", value=value) is Kind.UNPROCESSABLE
    assert (
        refusal({"birthDate": "1985"}, type="add", path="Patient", name="birthDate", value=value) is Kind.UNPROCESSABLE
    )
    assert refusal(NAMES, type="insert", path="Patient.name", index=9, value=value) is Kind.UNPROCESSABLE
    assert refusal(NAMES, type="delete", path="Patient.name") is Kind.UNPROCESSABLE
    assert refusal({}, type="delete", path="Patient.id") is Kind.UNPROCESSABLE


@pytest.mark.parametrize(
    "path", ["", "Patient.", "Patient.name[x]", "Patient.name.repeat(a)", "1", "Patient.name.where(", "a" * 3000, "%"]
)
def test_a_path_that_is_no_simple_fhirpath_is_invalid(path: str) -> None:
    assert refusal({}, type="delete", path=path) in (Kind.INVALID, Kind.REQUIRED)


def test_a_patch_without_type_or_parts_is_invalid() -> None:
    assert refusal({}, type="explode", path="Patient") is Kind.INVALID
    assert refusal({}, type="add", path="Patient") is Kind.REQUIRED
