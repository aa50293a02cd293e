"""Naming systems: every URI of a number is one number, and numbers that differ stay apart."""

from __future__ import annotations

import pytest

from fhir_server.errors import FhirError
from fhir_server.terminology.naming import NamingSystems

MOH = "http://fhir.ehealth.gov.vn/core/sid/"
VN_CORE = "http://fhir.hl7.org.vn/core/sid/"


@pytest.fixture(scope="module")
def naming() -> NamingSystems:
    return NamingSystems.load()


def test_every_known_uri_of_a_number_has_one_canonical_uri(naming: NamingSystems) -> None:
    for uri in (
        MOH + "national_id",
        VN_CORE + "cccd",
        "http://moh.gov.vn/fhir/core/sid/national_id",
        "https://basespecs.vn/NamingSystem/NationalID",
        "urn:vn-basic:sid:cccd",
    ):
        assert naming.canonical(uri) == MOH + "national_id"
        assert naming.kind(uri) == "cccd"


def test_the_misspelt_uri_of_the_hiv_guide_means_the_old_identity_card(naming: NamingSystems) -> None:
    assert naming.kind("hhttps://basespecs.vn/NamingSystem/NationalID9") == "cmnd"


def test_an_unknown_uri_is_its_own_canonical_uri(naming: NamingSystems) -> None:
    assert naming.canonical("http://hospital.example/mrn") == "http://hospital.example/mrn"
    assert naming.kind("http://hospital.example/mrn") is None
    assert naming.same("http://hospital.example/mrn") == ("http://hospital.example/mrn",)


def test_canonical_is_idempotent_and_agrees_with_kind_for_every_uri(naming: NamingSystems) -> None:
    for uri, system in naming.by_uri.items():
        canonical = naming.canonical(uri)
        assert naming.canonical(canonical) == canonical
        assert naming.kind(canonical) == naming.kind(uri) == system.kind
        assert uri in naming.same(uri)


def test_numbers_that_look_alike_stay_apart(naming: NamingSystems) -> None:
    for system in naming.by_kind.values():
        for other in system.apart:
            assert naming.by_kind[other].canonical != system.canonical
            assert not set(naming.by_kind[other].uris) & set(system.uris)
    assert naming.by_kind["cccd"].apart >= {"cmnd"}
    assert naming.by_kind["cmnd"].apart >= {"cccd"}


def test_a_patient_number_is_told_apart_by_its_facility(naming: NamingSystems) -> None:
    here, there = naming.uri("mrn", "moh", "38280"), naming.uri("mrn", "moh", "01001")
    assert here == MOH + "patient-internal-id/38280"
    assert naming.canonical(here) == "urn:vn-basic:sid:mrn/38280"
    assert naming.canonical(here) != naming.canonical(there)
    assert naming.kind(here) == "mrn"
    assert naming.canonical(MOH + "patient-internal-id") == "urn:vn-basic:sid:mrn"


def test_a_number_that_is_unique_everywhere_takes_no_facility(naming: NamingSystems) -> None:
    assert naming.uri("cccd", "moh", "38280") == MOH + "national_id"
    assert naming.kind(MOH + "national_id/38280") is None
    assert naming.canonical(MOH + "national_id/38280") == MOH + "national_id/38280"


@pytest.mark.parametrize(
    ("kind", "guide", "uri"),
    [
        ("cccd", "moh", MOH + "national_id"),
        ("cccd", "vn-core", VN_CORE + "cccd"),
        ("cmnd", "moh", MOH + "citizen_id"),
        ("bhyt", "vn-core", VN_CORE + "bhyt"),
        ("bhxh", "vn-core", "urn:vn-basic:sid:bhxh"),
        ("bhxh", "moh", "urn:vn-basic:sid:bhxh"),
        ("cskcb", "vn-core", VN_CORE + "ma-cskcb"),
        ("gphn", "moh", MOH + "provider-medical-license-number"),
        ("health-credential", "moh", VN_CORE + "health-credential"),
    ],
)
def test_each_guide_writes_its_own_uri_or_ours_never_a_guessed_one(
    naming: NamingSystems, kind: str, guide: str, uri: str
) -> None:
    assert naming.uri(kind, guide) == uri


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("038185012345", "cccd"),
        ("171234567", "cmnd"),
        ("B1234567", "passport"),
        ("b1234567", None),
        ("0381850123456", None),
        ("０３８１８５０１２３４５", None),
        ("VNEID-77", None),
        ("", None),
    ],
)
def test_the_kind_of_a_number_is_read_from_its_shape_and_never_guessed(
    naming: NamingSystems, value: str, kind: str | None
) -> None:
    assert naming.kind_by_shape(value, ("cccd", "cmnd", "passport")) == kind


def test_two_kinds_may_not_claim_one_uri() -> None:
    unique = [{"type": "uri", "value": "urn:x:1"}]
    with pytest.raises(FhirError, match="urn:x:1"):
        NamingSystems.of([{"id": "a", "name": "A", "uniqueId": unique}, {"id": "b", "name": "B", "uniqueId": unique}])
