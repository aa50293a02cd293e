"""fhir.resources (R4B) is offered as a typed API: where it differs from R4, the difference is known and documented."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhir.resources.R4B import get_fhir_model_class

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Structure

DEFINITIONS = Definitions.load(DATA_ROOT)

# docs/validation.md has the same two lists.
ONLY_IN_R4 = {
    "EffectEvidenceSynthesis", "MedicinalProduct", "MedicinalProductAuthorization", "MedicinalProductContraindication",
    "MedicinalProductIndication", "MedicinalProductIngredient", "MedicinalProductInteraction",
    "MedicinalProductManufactured", "MedicinalProductPackaged", "MedicinalProductPharmaceutical",
    "MedicinalProductUndesirableEffect", "RiskEvidenceSynthesis", "SubstanceAmount", "SubstanceNucleicAcid",
    "SubstancePolymer", "SubstanceProtein", "SubstanceReferenceInformation", "SubstanceSourceMaterial",
    "SubstanceSpecification",
}  # fmt: skip
DIFFERENT = {
    "ActivityDefinition", "ElementDefinition", "Evidence", "EvidenceVariable", "Extension", "MarketingStatus",
    "PlanDefinition",
}  # fmt: skip


def model_of(name: str) -> Any:
    """The class of a type or element with children; None when R4B has none."""
    try:
        return get_fhir_model_class(name)
    except ValueError:
        return None


def elements(structure: Structure, path: str) -> dict[str, tuple[bool, bool]]:
    """JSON name -> (repeats, required alone)."""
    found = {}
    for element in structure.children(path):
        names = [name for name, _ in element.json_names()] or [element.name]
        found.update({name: (element.is_list, element.min > 0 and len(names) == 1) for name in names})
    return found


def fields(model: Any) -> dict[str, tuple[bool, bool]]:
    found = {}
    for name in model.elements_sequence():
        field = next(one for key, one in model.model_fields.items() if name in (key, one.alias))
        extra = field.json_schema_extra or {}
        found[name] = ("List[" in str(field.annotation), field.is_required() or bool(extra.get("element_required")))
    return found


def differences(type: str) -> Iterator[str]:
    structure = DEFINITIONS.structure(type)
    for path in ["", *(path for path in structure.elements if structure.children(path))]:
        name = type + "".join(part[0].upper() + part[1:] for part in path.split(".") if part)
        model = model_of(name)
        ours, theirs = elements(structure, path), fields(model) if model else {}
        yield from (f"{name}.{key}" for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))


def test_the_types_that_r4b_lacks_are_the_documented_ones() -> None:
    types = DEFINITIONS.concrete_types | DEFINITIONS.complex_types
    assert {type for type in types if model_of(type) is None} == ONLY_IN_R4


def test_all_other_types_have_the_same_elements_but_for_the_documented_ones() -> None:
    types = (DEFINITIONS.concrete_types | DEFINITIONS.complex_types) - ONLY_IN_R4
    assert {type: sorted(differences(type)) for type in types - DIFFERENT if any(differences(type))} == {}
    assert {type for type in DIFFERENT if any(differences(type))} == DIFFERENT
