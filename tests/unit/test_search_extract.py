from typing import Any

import pytest
from search_index import BASE, LETTERS, Index, definitions, entry

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.errors import FhirError
from fhir_server.model.registry import Registry, UnknownSystems
from fhir_server.search.entry import Entry, Numbers
from fhir_server.search.extract import Extractor
from fhir_server.search.type_index import MOST_OF_ALL, Memory, Part
from fhir_server.store.values import Indexed

EXTRACTOR = Extractor(definitions(), "+07:00", base=BASE)


def registry_of(*types: str, start: int = 0) -> Registry:
    registry = Registry()
    for type in types:
        names = sorted(EXTRACTOR.declared(type))
        registry.letters.update(zip(names, LETTERS[start:], strict=False))
    return registry


def indexed(resource: dict[str, Any], registry: Registry | None = None) -> tuple[Indexed, Registry]:
    registry = registry or registry_of(resource["resourceType"])
    return entry(EXTRACTOR, registry, resource), registry


def keys_of(resource: dict[str, Any], code: str) -> set[str]:
    found, registry = indexed(resource)
    letters = registry.letters[resource["resourceType"], code]
    return {key[2:] for key in found.keys if key.startswith(letters)}


CONDITION = {
    "resourceType": "Condition",
    "id": "c1",
    "code": {"coding": [{"system": "urn:icd", "code": "J45"}, {"system": "urn:local", "code": "7"}]},
    "subject": {"reference": "Patient/1"},
    "asserter": {"reference": "Practitioner/2"},
    "encounter": {"reference": f"{BASE}/Encounter/3"},
}


def test_systems_without_a_number_are_all_told_at_once() -> None:
    with pytest.raises(UnknownSystems) as unknown:
        EXTRACTOR.index(CONDITION, registry_of("Condition"))
    assert unknown.value.uris == {"urn:icd", "urn:local"}


def test_the_keys_of_a_resource_are_the_same_in_every_process() -> None:
    one, registry = indexed(CONDITION)
    other = Extractor(definitions(), "+07:00", base=BASE).index(CONDITION, registry)
    assert set(one.keys) == set(other.keys)
    assert (one.sort, one.order) == (other.sort, other.order)


def test_a_resource_carries_the_key_of_its_patient() -> None:
    found, _ = indexed(CONDITION)
    assert {key for key in found.keys if key[0] == "@"} == {"@1"}


def test_a_patient_is_in_its_own_compartment() -> None:
    found, _ = indexed({"resourceType": "Patient", "id": "1", "link": [{"other": {"reference": "Patient/2"}}]})
    assert {key for key in found.keys if key[0] == "@"} == {"@1", "@2"}


def test_a_patient_of_another_server_makes_no_member() -> None:
    found, _ = indexed({**CONDITION, "subject": {"reference": "http://other.vn/fhir/Patient/1"}})
    assert "@1" not in found.keys


@pytest.mark.parametrize(
    ("dates", "order"),
    [
        ({"onsetDateTime": "1970-01-02T07:00:00+07:00"}, 86_400),
        ({"onsetDateTime": "1970-01-02"}, 86_400 - 7 * 3600),
        ({"onsetPeriod": {"start": "1970-01-01T00:00:01Z"}}, 1),
        ({"recordedDate": "1970-01-01T00:00:05Z"}, 5),
        ({"onsetDateTime": "1970-01-01T00:00:09Z", "recordedDate": "1970-01-01T00:00:05Z"}, 9),
        ({"onsetString": "in childhood"}, None),
        ({"onsetPeriod": {"end": "1980"}}, None),
        ({}, None),
    ],
)
def test_the_order_is_the_beginning_of_the_first_date_the_type_is_ordered_by(
    dates: dict[str, Any], order: int | None
) -> None:
    assert indexed({"resourceType": "Condition", "id": "c", **dates})[0].order == order


def test_a_newer_generation_of_letters_is_written_beside_the_older() -> None:
    registry = registry_of("Condition")
    registry.pending["Condition", "code"] = "Zz"
    found, _ = indexed(CONDITION, registry)
    old = registry.letters["Condition", "code"]
    assert {key[2:] for key in found.keys if key[:2] == "Zz"} == {key[2:] for key in found.keys if key[:2] == old}
    assert found.sort["Zz"] == found.sort[old]


def test_a_parameter_without_letters_has_no_keys() -> None:
    registry = registry_of("Condition")
    gone = registry.letters.pop(("Condition", "code"))
    assert not [key for key in indexed(CONDITION, registry)[0].keys if key[:2] == gone]


def test_letters_of_the_declared_parameters_cover_all_that_is_searched() -> None:
    declared = EXTRACTOR.declared("Patient")
    assert {"name", "phonetic", "birthdate", "_tag", "_profile"} <= {code for _, code in declared}
    assert not {"_id", "_lastUpdated", "_filter", "_list", "_query", "_text", "_content"} & {
        code for _, code in declared
    }


def test_a_changed_definition_has_another_hash() -> None:
    def hash_of(expression: str) -> str:
        param = SearchParameter("urn:p", "p", "token", expression, ("Patient",))
        return Extractor(definitions(), "+07:00", parameters=lambda type: {"p": param}).declared("Patient")[
            "Patient", "p"
        ]

    assert hash_of("Patient.gender") == hash_of("Patient.gender")
    assert hash_of("Patient.gender") != hash_of("Patient.language")


def test_an_operators_own_parameter_is_indexed_at_run_time() -> None:
    param = SearchParameter(
        "http://x.vn/SearchParameter/religion",
        "religion",
        "token",
        "Patient.extension.where(url='urn:religion').value.ofType(CodeableConcept)",
        ("Patient",),
    )
    extractor = Extractor(definitions(), "+07:00", parameters=lambda type: {"religion": param})
    registry = Registry({("Patient", "religion"): "aa"})
    patient = {
        "resourceType": "Patient",
        "extension": [{"url": "urn:religion", "valueCodeableConcept": {"coding": [{"code": "01"}]}}],
    }
    assert set(extractor.index(patient, registry).keys) == {"aa01", "aa01\x1f"}


def test_parameters_that_change_are_compiled_anew() -> None:
    params: dict[str, SearchParameter] = {}
    extractor = Extractor(definitions(), "+07:00", parameters=lambda type: params)
    registry = Registry({("Patient", "sex"): "aa"})
    patient = {"resourceType": "Patient", "gender": "male"}
    assert extractor.index(patient, registry).keys == ()
    params["sex"] = SearchParameter("urn:sex", "sex", "token", "Patient.gender", ("Patient",))
    extractor.forget("Patient")
    assert extractor.index(patient, registry).keys == ("aamale",)


def test_two_registries_are_never_mixed_up() -> None:
    extractor = Extractor(definitions(), "+07:00")
    patient = {"resourceType": "Patient", "gender": "male", "maritalStatus": {"coding": [{"system": "urn:m"}]}}
    one = Registry({("Patient", "gender"): "aa"}, {"urn:m": 1})
    other = Registry({("Patient", "gender"): "bb"}, {"urn:m": 2})
    assert [extractor.index(patient, registry).keys for registry in (one, other, one)] == [
        ("aamale",),
        ("bbmale",),
        ("aamale",),
    ]


def test_what_a_resource_is_found_by_does_not_depend_on_those_before_it() -> None:
    params = {
        "people": SearchParameter(
            "urn:p", "people", "string", "Patient.name.text|Patient.contact.name.text", ("Patient",)
        ),
        "told": SearchParameter("urn:t", "told", "token", "Patient.gender|Patient.language", ("Patient",)),
    }
    registry = Registry({("Patient", "people"): "aa", ("Patient", "told"): "bb"})
    made = Extractor(definitions(), "Z", parameters=lambda type: params)
    patients = [
        {"gender": "male", "language": "vi", "contact": [{"name": {"text": "An"}}, {"name": {"text": "Bình"}}]},
        {"gender": "male", "language": "en", "name": [{"text": "Chi"}], "contact": [{"name": {"text": "An"}}]},
        {"gender": "male", "language": "vi", "name": [{"text": "An"}], "contact": [{"name": {"text": "An"}}]},
        {"gender": "male"},
    ]
    for one in [{"resourceType": "Patient", **patient} for patient in (*patients, *patients)]:
        anew = Extractor(definitions(), "Z", parameters=lambda type: params).index(one, registry)
        found = made.index(one, registry)
        assert (set(found.keys), found.sort) == (set(anew.keys), anew.sort)
    assert made.index({"resourceType": "Patient", **patients[1]}, registry).sort == {
        "aa": {"f": ["chi", "an"], "e": ["Chi", "An"]},
        "bb": ["male", "en"],
    }


def test_a_resource_is_found_by_the_same_after_more_others_than_are_remembered() -> None:
    registry = registry_of("Observation")
    measured = {
        "resourceType": "Observation",
        "code": {"coding": [{"code": "0"}]},
        "component": [{"code": {"coding": [{"code": code}]}, "valueString": "x"} for code in "cba"],
        "valueString": "y",
    }
    extractor = Extractor(definitions(), "Z")
    first = extractor.index(measured, registry)
    for number in range(600):
        other = extractor.index({**measured, "code": {"coding": [{"code": f"{number}"}]}}, registry)
        assert f"{registry.letters['Observation', 'code']}{number}" in other.keys
    again = extractor.index(measured, registry)
    assert (set(again.keys), again.sort) == (set(first.keys), first.sort)
    assert first.sort[registry.letters["Observation", "component-code"]] == ["a", "c"]
    assert first.sort[registry.letters["Observation", "combo-code"]] == ["0", "c"]


def test_what_all_elements_of_all_types_remember_is_bounded_together() -> None:
    memory, parts, entry = Memory(), [Part() for _ in range(100)], Entry(Numbers({}, str), set())
    for number in range(3 * MOST_OF_ALL):
        part = parts[number % 100]
        memory.remember(part, f"{number}", entry)
        assert f"{number}" in part.remembered
        if number % 100 == 99:
            assert sum(len(one.remembered) for one in parts) <= MOST_OF_ALL
    memory.remember(parts[0], "x" * 2_000, entry)
    assert "x" * 2_000 not in parts[0].remembered


def test_an_operators_parameter_that_cannot_be_compiled_is_refused() -> None:
    param = SearchParameter("http://x.vn/p", "p", "token", "Patient.name.repeat(given)", ("Patient",))
    with pytest.raises(FhirError, match="cannot be searched by"):
        Extractor(definitions(), "Z", parameters=lambda type: {"p": param}).declared("Patient")


def test_a_name_has_a_key_for_its_rest_from_each_word_on_and_for_each_choice_of_words() -> None:
    name = {"text": "Nguyễn Văn An", "family": "Nguyễn", "given": ["Văn", "An"]}
    found = keys_of({"resourceType": "Patient", "name": [name, name]}, "name")
    choices = {"an nguyen", "an van", "nguyen van", "an nguyen van"}
    assert found == {"nguyen van an", "van an", "an", *(f"\x1b{choice}" for choice in choices)}


def test_the_keys_of_a_name_of_many_words_are_as_many_as_its_words() -> None:
    found = keys_of({"resourceType": "Patient", "name": [{"text": " ".join(f"w{n}" for n in range(40))}]}, "name")
    assert len(found) == 80


def test_a_coding_has_a_key_for_each_form_it_is_asked_in() -> None:
    assert keys_of({**CONDITION, "code": {"coding": [{"code": "J45"}]}}, "code") == {"J45", "J45\x1f"}
    found, registry = indexed(CONDITION)
    icd, letters = registry.systems["urn:icd"], registry.letters["Condition", "code"]
    assert {f"{letters}J45", f"{letters}J45\x1f{icd}", f"{letters}\x1f{icd}"} <= set(found.keys)


@pytest.mark.parametrize("value", ["a\x1fb", "\x00", "x" * 5_000_000, "\ud800"])
def test_odd_and_endless_codes_make_bounded_keys_that_cannot_pass_for_others(index: Index, value: str) -> None:
    keys = keys_of({"resourceType": "Patient", "identifier": [{"value": value}]}, "identifier")
    assert len(keys) == 2
    for key in keys:
        assert len(key) < 300
        assert "\x1f" not in key.removesuffix("\x1f")
        key.encode()


def test_a_resource_of_every_type_is_indexed_without_a_value() -> None:
    for type in sorted(definitions().resource_types):
        found, _ = indexed({"resourceType": type, "id": "x"})
        assert all(key[0] == "@" or type == "Patient" for key in found.keys), type
