from typing import Any

import pytest
from search_index import Index, definitions

from fhir_server.search.lookup import Home


@pytest.mark.parametrize(
    ("type", "code", "homes"),
    [
        ("Patient", "name", (Home("name"),)),
        ("Patient", "phonetic", (Home("name"),)),
        ("Condition", "patient", (Home("patient"),)),
        ("Condition", "subject", (Home("subject"), Home("patient", "Patient"))),
        ("Observation", "combo-code", (Home("code"), Home("component-code"))),
        (
            "Observation",
            "combo-code-value-quantity",
            (Home("code-value-quantity"), Home("component-code-value-quantity")),
        ),
        ("Observation", "date", (Home("date"),)),
        ("Encounter", "practitioner", (Home("practitioner"),)),
        ("Encounter", "participant", (Home("participant"), Home("practitioner", "Practitioner"))),
    ],
)
def test_what_others_find_already_is_kept_with_them(
    index: Index, type: str, code: str, homes: tuple[Home, ...]
) -> None:
    assert index.extractor.homes(type, code) == homes


def test_a_home_keeps_its_own_keys(index: Index) -> None:
    for type in sorted(definitions().resource_types):
        for code in index.extractor.params(type):
            for home in index.extractor.homes(type, code):
                assert index.extractor.homes(type, home.code)[0] == Home(home.code), (type, code)


def observation(id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id, **more}


def test_a_union_is_searched_in_all_its_homes(index: Index) -> None:
    code = {"coding": [{"system": "urn:x", "code": "a"}]}
    index.only(
        observation("whole", code=code, valueQuantity={"value": 5}),
        observation("part", component=[{"code": code, "valueQuantity": {"value": 5}}]),
        observation("apart", code=code, component=[{"valueQuantity": {"value": 5}}]),
        observation("none"),
    )
    assert index.find("Observation?combo-code=urn:x|a") == {"whole", "part", "apart"}
    assert index.find("Observation?combo-code:not=a") == {"none"}
    assert index.find("Observation?combo-code:missing=true") == {"none"}
    assert index.find("Observation?combo-code:missing=false") == {"whole", "part", "apart"}
    assert index.find("Observation?combo-code-value-quantity=a$5") == {"whole", "part"}
    assert index.find("Observation?combo-value-quantity=5") == {"whole", "part", "apart"}


def test_a_reference_is_searched_where_its_target_is_kept(index: Index) -> None:
    index.only(
        observation("patient", subject={"reference": "Patient/1"}),
        observation("group", subject={"reference": "Group/1"}),
        observation("urn", subject={"reference": "urn:uuid:1b671a64-40d5-491e-99b0-da01ff1f3341"}),
        observation("none"),
    )
    assert index.find("Observation?subject=Patient/1") == {"patient"}
    assert index.find("Observation?subject=Group/1") == {"group"}
    assert index.find("Observation?subject=1") == {"patient", "group"}
    assert index.find("Observation?subject=Patient/1,Group/1") == {"patient", "group"}
    assert index.find("Observation?subject:not=Patient/1") == {"group", "urn", "none"}
    assert index.find("Observation?subject=urn:uuid:1b671a64-40d5-491e-99b0-da01ff1f3341") == {"urn"}
    assert index.find("Observation?subject:missing=true") == {"none"}
    assert index.find("Observation?patient:missing=true") == {"group", "urn", "none"}


def test_a_parameter_kept_elsewhere_has_sort_values_of_its_own(index: Index) -> None:
    index.only(observation("o", component=[{"code": {"coding": [{"code": "b"}, {"code": "a"}]}}]))
    letters = index.registry.letters["Observation", "combo-code"]
    assert index.database["Observation"].find_one({"_id": "o"})["x"][letters] == ["b", "a"]  # type: ignore[index]
