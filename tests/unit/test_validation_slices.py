"""Slices: told by each kind of discriminator, closed, ordered, in slices and nested."""

from __future__ import annotations

import pytest
from profile_builders import BASE, BHYT, CCCD, CORE, a_patient, a_profile, a_validator, error, faults

from fhir_server.model.resources import Resource


def sliced(rules: str = "open", ordered: bool = False) -> Resource:
    slicing = {"discriminator": [{"type": "value", "path": "system"}], "rules": rules, "ordered": ordered}
    return a_profile(
        "p",
        "Patient",
        {"id": "Patient.identifier", "slicing": slicing},
        {"id": "Patient.identifier:cccd", "min": 1, "max": "1"},
        {"id": "Patient.identifier:cccd.system", "fixedUri": CCCD},
        {"id": "Patient.identifier:cccd.value", "min": 1},
        {"id": "Patient.identifier:bhyt", "max": "2"},
        {"id": "Patient.identifier:bhyt.system", "patternUri": BHYT},
    )


def with_identifiers(*systems: str) -> Resource:
    return a_patient(identifier=[{"system": system, "value": "1"} for system in systems])


def test_a_slice_by_value_has_its_own_cardinality_and_rules() -> None:
    validator = a_validator(sliced())
    assert faults(validator, with_identifiers("x", CCCD, BHYT, BHYT)) == []
    assert faults(validator, with_identifiers("x")) == error("required", "Patient.identifier")
    assert faults(validator, with_identifiers(CCCD, CCCD)) == error("structure", "Patient.identifier")
    assert faults(validator, with_identifiers(CCCD, BHYT, BHYT, BHYT)) == error("structure", "Patient.identifier")
    without_value = a_patient(identifier=[{"system": BHYT}, {"system": CCCD}])
    assert faults(validator, without_value) == error("required", "Patient.identifier[1].value")


def test_closed_slicing_allows_no_other_item() -> None:
    validator = a_validator(sliced("closed"))
    assert faults(validator, with_identifiers(BHYT, CCCD)) == []
    assert faults(validator, with_identifiers(CCCD, "x")) == error("structure", "Patient.identifier[1]")


def test_other_items_come_last_when_slicing_is_open_at_end() -> None:
    validator = a_validator(sliced("openAtEnd"))
    assert faults(validator, with_identifiers(CCCD, BHYT, "x", "y")) == []
    assert faults(validator, with_identifiers(CCCD, "x", BHYT)) == error("structure", "Patient.identifier[1]")


def test_ordered_slices_come_in_their_order() -> None:
    validator = a_validator(sliced(ordered=True))
    assert faults(validator, with_identifiers(CCCD, "x", BHYT)) == []
    assert faults(validator, with_identifiers(BHYT, CCCD)) == error("structure", "Patient.identifier[1]")


def test_a_slice_of_a_slice_is_told_by_its_own_discriminator() -> None:
    by_use = {"discriminator": [{"type": "value", "path": "use"}], "rules": "open"}
    profile = sliced()
    profile["differential"]["element"] += a_profile(
        "x",
        "Patient",
        {"id": "Patient.identifier:bhyt", "slicing": by_use},
        {"id": "Patient.identifier:bhyt/old", "max": "1"},
        {"id": "Patient.identifier:bhyt/old.use", "fixedCode": "old"},
        {"id": "Patient.identifier:bhyt/old.period", "min": 1},
    )["differential"]["element"]
    validator = a_validator(profile)
    good = {"system": BHYT, "use": "old", "period": {"start": "2020"}}
    assert faults(validator, a_patient(identifier=[{"system": CCCD, "value": "1", "use": "old"}, good])) == []
    bad = a_patient(identifier=[{"system": CCCD, "value": "1"}, {"system": BHYT, "use": "old"}])
    assert faults(validator, bad) == error("required", "Patient.identifier[1].period")


def test_slices_may_nest() -> None:
    code = {"discriminator": [{"type": "value", "path": "code.coding.code"}], "rules": "open"}
    by_code = {"discriminator": [{"type": "value", "path": "code"}], "rules": "open"}
    validator = a_validator(
        a_profile(
            "p",
            "Observation",
            {"id": "Observation.component", "slicing": code},
            {"id": "Observation.component:systolic", "min": 1},
            {"id": "Observation.component:systolic.code.coding", "slicing": by_code},
            {"id": "Observation.component:systolic.code.coding:loinc", "min": 1},
            {"id": "Observation.component:systolic.code.coding:loinc.code", "fixedCode": "8480-6"},
            {"id": "Observation.component:systolic.value[x]", "min": 1, "type": [{"code": "Quantity"}]},
            {"id": "Observation.component:systolic.value[x].unit", "min": 1},
        )
    )  # fmt: skip
    systolic: Resource = {"code": {"coding": [{"code": "x"}, {"code": "8480-6"}]}, "valueQuantity": {"unit": "mmHg"}}
    resource: Resource = {"resourceType": "Observation", "component": [{"code": {"text": "x"}}, systolic]}
    assert faults(validator, resource) == []
    systolic["valueQuantity"] = {"value": 1}
    assert faults(validator, resource) == error("required", "Observation.component[1].value.unit")


def test_a_type_of_a_choice_is_a_slice_by_its_short_name() -> None:
    validator = a_validator(
        a_profile("p", "Observation", {"id": "Observation.value[x]:valueQuantity.code", "min": 1}),
        a_profile("q", "Observation", {"id": "Observation.valueQuantity", "max": "0"}),
    )
    with_text = {"resourceType": "Observation", "valueString": "x"}
    with_quantity = {"resourceType": "Observation", "valueQuantity": {"value": 1}}
    assert faults(validator, with_text) == faults(validator, with_text, "q") == []
    assert faults(validator, with_quantity) == error("required", "Observation.value.code")
    assert faults(validator, with_quantity, "q") == error("structure", "Observation.value")


DISCRIMINATORS: list[tuple[Resource, list[Resource], Resource, Resource]] = [
    (
        {"type": "exists", "path": "period"},
        [{"id": "Patient.identifier:s.period", "min": 1}, {"id": "Patient.identifier:s.value", "min": 1}],
        {"system": "x"},
        {"period": {}},
    ),
    (
        {"type": "pattern", "path": "type"},
        [
            {"id": "Patient.identifier:s.type", "patternCodeableConcept": {"coding": [{"code": "NI"}]}},
            {"id": "Patient.identifier:s.value", "min": 1},
        ],
        {"type": {"coding": [{"code": "HC"}]}},
        {"type": {"coding": [{"system": "x", "code": "NI"}]}},
    ),
    (
        {"type": "value", "path": "use"},
        [
            {"id": "Patient.identifier:s.use", "binding": {"strength": "required", "valueSet": "http://v"}},
            {"id": "Patient.identifier:s.value", "min": 1},
        ],
        {"use": "temp"},
        {"use": "official"},
    ),
    (
        {"type": "value", "path": "type.coding.code"},
        [
            {"id": "Patient.identifier:s.type", "patternCodeableConcept": {"coding": [{"code": "NI"}]}},
            {"id": "Patient.identifier:s.value", "min": 1},
        ],
        {"type": {"coding": [{"code": "HC"}]}},
        {"type": {"coding": [{"code": "NI", "display": "x"}]}},
    ),
    (
        {"type": "value", "path": "extension('http://e').value"},
        [
            {"id": "Patient.identifier:s.extension:e.url", "fixedUri": "http://e"},
            {"id": "Patient.identifier:s.extension:e.value[x]", "fixedString": "yes"},
            {"id": "Patient.identifier:s.value", "min": 1},
        ],
        {"extension": [{"url": "http://e", "valueString": "no"}]},
        {"extension": [{"url": "http://e", "valueString": "yes"}]},
    ),
]


@pytest.mark.parametrize(("discriminator", "elements", "outside", "inside"), DISCRIMINATORS)
def test_a_discriminator_tells_which_items_are_in_a_slice(
    discriminator: Resource, elements: list[Resource], outside: Resource, inside: Resource
) -> None:
    first = {"id": "Patient.identifier", "slicing": {"discriminator": [discriminator], "rules": "open"}}
    validator = a_validator(
        a_profile("p", "Patient", first, {"id": "Patient.identifier:s"}, *elements), members={("http://v", "official")}
    )
    assert faults(validator, a_patient(identifier=[outside, {**inside, "value": "1"}])) == []
    assert faults(validator, a_patient(identifier=[outside, inside])) == error(
        "required", "Patient.identifier[1].value"
    )


def test_references_are_sliced_by_the_type_they_are_to() -> None:
    by_target = {"discriminator": [{"type": "type", "path": "resolve()"}], "rules": "open"}
    target = [{"code": "Reference", "targetProfile": [CORE + "Practitioner"]}]
    validator = a_validator(
        a_profile(
            "p",
            "Patient",
            {"id": "Patient.generalPractitioner", "slicing": by_target},
            {"id": "Patient.generalPractitioner:doctor", "max": "1", "type": target},
        )
    )
    one, other = {"reference": "Practitioner/1"}, {"reference": "Organization/1"}
    assert faults(validator, a_patient(generalPractitioner=[other, one, other])) == []
    assert faults(validator, a_patient(generalPractitioner=[one, one])) == error(
        "structure", "Patient.generalPractitioner"
    )


FINAL = a_profile("final", "Observation", {"id": "Observation.status", "fixedCode": "final"})


@pytest.mark.parametrize(
    ("type", "path", "element", "outside"),
    [
        ("type", "resource", {"type": [{"code": "Observation"}]}, {"resourceType": "Patient"}),
        (
            "profile",
            "resource",
            {"type": [{"code": "Observation", "profile": [BASE + "final"]}]},
            {"resourceType": "Observation", "status": "amended"},
        ),
        (
            "value",
            "resource.status",
            {"type": [{"code": "Observation", "profile": [BASE + "final"]}]},
            {"resourceType": "Observation", "status": "amended"},
        ),
    ],
)
def test_the_entries_of_a_bundle_are_sliced_by_their_resources(
    type: str, path: str, element: Resource, outside: Resource
) -> None:
    slicing = {"discriminator": [{"type": type, "path": path}], "rules": "closed"}
    rows = [
        {"id": "Bundle.entry", "slicing": slicing},
        {"id": "Bundle.entry:o", "min": 1},
        {"id": "Bundle.entry:o.resource", **element},
    ]
    validator = a_validator(a_profile("p", "Bundle", *rows), FINAL)
    inside = {"resource": {"resourceType": "Observation", "status": "final"}}
    assert faults(validator, {"resourceType": "Bundle", "entry": [inside]}) == []
    bundle = {"resourceType": "Bundle", "entry": [inside, {"resource": outside}]}
    assert faults(validator, bundle) == error("structure", "Bundle.entry[1]")


@pytest.mark.parametrize(
    ("type", "path", "refused"),
    [
        ("type", "member.resolve()", ["#other", "Patient/1"]),
        ("profile", "member.resolve()", ["#other", "#idle", "Patient/1"]),
        ("value", "member.resolve().active", ["#other", "#idle"]),
    ],
)
def test_what_a_reference_leads_to_tells_a_slice_and_nothing_is_told_where_it_cannot_be_followed(
    type: str, path: str, refused: list[str]
) -> None:
    slicing = {"discriminator": [{"type": type, "path": path}], "rules": "closed"}
    target = {"code": "Reference", "targetProfile": [BASE + "active"]}
    rows = [
        {"id": "CareTeam.participant", "slicing": slicing},
        {"id": "CareTeam.participant:o", "min": 1},
        {"id": "CareTeam.participant:o.member", "type": [target]},
    ]
    active = a_profile("active", "Practitioner", {"id": "Practitioner.active", "fixedBoolean": True})
    validator = a_validator(a_profile("p", "CareTeam", *rows), active)
    contained = [
        {"resourceType": "Practitioner", "id": "active", "active": True},
        {"resourceType": "Practitioner", "id": "idle", "active": False},
        {"resourceType": "Organization", "id": "other"},
    ]
    for reference in ("#active", "#idle", "#other", "Patient/1", "Practitioner/1", "urn:uuid:0"):
        team = {
            "resourceType": "CareTeam",
            "contained": contained,
            "participant": [{"member": {"reference": reference}}],
        }
        found = [place for _, _, place in faults(validator, team)]
        for place in ("CareTeam.participant", "CareTeam.participant[0]"):
            assert (place in found) is (reference in refused), reference


@pytest.mark.parametrize("type", ["type", "profile"])
def test_a_reference_to_another_entry_of_the_bundle_tells_a_slice(type: str) -> None:
    slicing = {"discriminator": [{"type": type, "path": "item.resolve()"}], "rules": "closed"}
    target = {"code": "Reference", "targetProfile": [BASE + "final"]}
    rows = [
        {"id": "List.entry", "slicing": slicing},
        {"id": "List.entry:o", "min": 1},
        {"id": "List.entry:o.item", "type": [target]},
    ]
    whole = [
        {"id": "Bundle.entry", "slicing": {"discriminator": [{"type": "type", "path": "resource"}], "rules": "open"}},
        {"id": "Bundle.entry:l"},
        {"id": "Bundle.entry:l.resource", "type": [{"code": "List", "profile": [BASE + "l"]}]},
    ]
    validator = a_validator(a_profile("p", "Bundle", *whole), a_profile("l", "List", *rows), FINAL)

    def told(reference: str, **named: Resource) -> bool:
        entries = [{"fullUrl": f"urn:uuid:{id}", "resource": one} for id, one in named.items()]
        listing = {"resourceType": "List", "entry": [{"item": {"reference": reference}}]}
        return bool(faults(validator, {"resourceType": "Bundle", "entry": [{"resource": listing}, *entries]}))

    final, patient = {"resourceType": "Observation", "status": "final"}, a_patient()
    assert told("urn:uuid:a", a=final, b=patient) is False
    assert told("urn:uuid:b", a=final, b=patient) is True
    assert told("urn:uuid:c", a=final, b=patient) is False, "what is not in the bundle tells nothing"
    assert told("urn:uuid:a", a=final | {"status": "amended"}) is True


def test_a_discriminator_of_which_a_slice_says_nothing_is_a_problem_of_the_profile() -> None:
    profile = sliced()
    slicing = profile["differential"]["element"][0]["slicing"]
    slicing["discriminator"].append({"type": "value", "path": "value"})
    validator = a_validator(profile)
    assert faults(validator, with_identifiers(CCCD)) == []
    assert faults(validator, with_identifiers(BHYT)) == error("required", "Patient.identifier")
    assert "the slice identifier:cccd is not told by each of its discriminators" in validator.problems(BASE + "p")


def test_elements_without_ids_are_placed_by_path_and_slice_name() -> None:
    rows = sliced()["differential"]["element"]
    for row in rows:
        del row["id"]
    profile = a_profile("p", "Patient")
    profile["differential"]["element"] = rows
    validator = a_validator(profile)
    assert faults(validator, with_identifiers(CCCD, BHYT)) == []
    assert faults(validator, with_identifiers(CCCD, CCCD)) == error("structure", "Patient.identifier")
