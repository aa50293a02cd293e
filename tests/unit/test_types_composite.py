from decimal import Decimal
from typing import Any

import pytest
from search_index import Index, definitions

from fhir_server.errors import FhirError

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"


def quantity(value: str, code: str) -> dict[str, Any]:
    return {"value": Decimal(value), "unit": code, "system": UCUM, "code": code}


def concept(*codings: tuple[str | None, str]) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code} if system else {"code": code} for system, code in codings]}


@pytest.fixture(scope="module", autouse=True)
def _stored(index: Index) -> None:
    def observation(id: str, *codings: tuple[str | None, str], **more: Any) -> dict[str, Any]:
        return {"resourceType": "Observation", "id": id, "code": concept(*codings), **more}

    index.put(
        observation("weight", (LOINC, "29463-7"), ("urn:x", "w"), valueQuantity=quantity("70", "kg")),
        observation(
            "pressure",
            (LOINC, "85354-9"),
            component=[
                {"code": concept((LOINC, "8480-6")), "valueQuantity": quantity("107", "mm[Hg]")},
                {"code": concept((LOINC, "8462-4")), "valueQuantity": quantity("60", "mm[Hg]")},
            ],
        ),
        observation("colour", (LOINC, "eyes"), valueString="Nâu đậm"),
        observation("group", (LOINC, "883-9"), valueCodeableConcept=concept((LOINC, "A"), (None, "a"))),
        observation("dated", (LOINC, "due"), valueDateTime="2026-03"),
        observation("stay", (LOINC, "due"), valuePeriod={"start": "2025-01-01"}),
        {
            "resourceType": "DocumentReference",
            "id": "appends",
            "relatesTo": [{"code": "appends", "target": {"reference": "DocumentReference/1"}}],
        },
        {
            "resourceType": "Group",
            "id": "g",
            "characteristic": [
                {"code": concept((None, "gender")), "valueCodeableConcept": concept((None, "mixed"))},
                {"code": concept((None, "smoker")), "valueBoolean": True},
            ],
        },
        {
            "resourceType": "MolecularSequence",
            "id": "m",
            "referenceSeq": {"chromosome": concept((None, "1")), "windowStart": 100, "windowEnd": 200},
            "variant": [{"start": 128273725, "end": 128273726}, {"start": 5, "end": 9}],
        },
        {
            "resourceType": "Questionnaire",
            "id": "q",
            "useContext": [
                {"code": {"code": "focus"}, "valueCodeableConcept": concept(("http://snomed.info/sct", "408934002"))},
                {"code": {"code": "age"}, "valueRange": {"low": quantity("5", "a"), "high": quantity("10", "a")}},
            ],
        },
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"code-value-quantity={LOINC}|29463-7$70|{UCUM}|kg", {"weight"}),
        (f"code-value-quantity={LOINC}|29463-7$70000|{UCUM}|g", {"weight"}),
        ("code-value-quantity=29463-7$gt69.9", {"weight"}),
        ("code-value-quantity=w$70", {"weight"}),
        ("code-value-quantity=urn:x|29463-7$70", set()),
        ("code-value-quantity=urn:unheard-of|29463-7$70", set()),
        (f"code-value-quantity={LOINC}|$lt100", {"weight"}),
        ("code-value-quantity=|29463-7$70", set()),
        ("code-value-quantity=29463-7$lt70,29463-7$70.0", {"weight"}),
        ("component-code-value-quantity=8480-6$107", {"pressure"}),
        ("component-code-value-quantity=8480-6$60", set()),
        (f"component-code-value-quantity={LOINC}|8480-6$lt60", set()),
        (f"combo-code-value-quantity=8462-4$60|{UCUM}|mm[Hg]", {"pressure"}),
        ("combo-code-value-quantity=29463-7$70", {"weight"}),
        ("combo-code-value-quantity=85354-9$107", set()),
        ("code-value-string=eyes$nau", {"colour"}),
        ("code-value-string=eyes$dam", set()),
        ("code-value-concept=883-9$A", {"group"}),
        (f"code-value-concept={LOINC}|883-9$|a", {"group"}),
        (f"code-value-concept={LOINC}|883-9${LOINC}|a", set()),
        ("code-value-date=due$2026", {"dated"}),
        ("code-value-date=due$2026-03-01", set()),
        ("code-value-date=due$ge2026-03-15", {"dated", "stay"}),
        ("code-value-date=due$lt2026-01-01", {"stay"}),
    ],
)
def test_both_values_of_a_pair_are_within_one_element(index: Index, query: str, found: set[str]) -> None:
    assert index.find(f"Observation?{query}") == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("DocumentReference?relationship=DocumentReference/1$appends", {"appends"}),
        ("DocumentReference?relationship=1$appends", {"appends"}),
        ("DocumentReference?relationship=DocumentReference/1$http://hl7.org/fhir/document-relationship-type|appends",
         {"appends"}),
        ("DocumentReference?relationship=DocumentReference/1$replaces", set()),
        ("Group?characteristic-value=gender$mixed", {"g"}),
        ("Group?characteristic-value=gender$mixed,owner$Eve", {"g"}),
        ("Group?characteristic-value=smoker$true", {"g"}),
        ("Group?characteristic-value=smoker$mixed", set()),
        ("MolecularSequence?chromosome-variant-coordinate=1$lt128273726$gt128273725", {"m"}),
        ("MolecularSequence?chromosome-variant-coordinate=1$lt10$gt100", set()),
        ("MolecularSequence?chromosome-variant-coordinate=2$lt10$gt1", set()),
        ("MolecularSequence?chromosome-window-coordinate=1$le100$ge200", {"m"}),
        ("Questionnaire?context-type-value=focus$http://snomed.info/sct|408934002", {"q"}),
        (f"Questionnaire?context-type-quantity=age$gt7|{UCUM}|a", {"q"}),
        (f"Questionnaire?context-type-quantity=focus$gt7|{UCUM}|a", set()),
    ],
)  # fmt: skip
def test_every_combination_of_types_in_r4_is_searched(index: Index, query: str, found: set[str]) -> None:
    assert index.find(query) == found


def test_every_composite_of_r4_has_components_that_can_be_read(index: Index) -> None:
    extractor = index.extractor
    for type in sorted(definitions().resource_types):
        for param in definitions().search_params(type).values():
            for place in range(len(param.components)):
                component = extractor.component(type, param, place)
                assert extractor.paths(type, component), (type, param.code, place)


@pytest.mark.parametrize(
    "query", ["code-value-quantity=1", "code-value-quantity=a$b$c", "code-value-quantity=a$five",
              "code-value-quantity:missing=x", "code-value-quantity:exact=a$1", "code-value-quantity=$5"],
)  # fmt: skip
def test_what_a_composite_cannot_have_is_refused_by_name(index: Index, query: str) -> None:
    with pytest.raises(FhirError, match="code-value-quantity"):
        index.find(f"Observation?{query}")
