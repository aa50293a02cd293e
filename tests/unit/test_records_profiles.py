"""Our own profiles: sound, true to the mappings, claimed by what the mappings make, and kept by all of it."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import pytest
from test_records_golden import EXPECTED, source_of

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import shipped_profiles
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.records.formats import GUIDES, Formats
from fhir_server.records.importing import map_records
from fhir_server.records.sample import write_sample
from fhir_server.terminology.load import Terminology
from fhir_server.validation.conformance import Conformance
from fhir_server.validation.profile import ProfileValidator
from fhir_server.validation.validate import Validator

DEFINITIONS = Definitions.load(DATA_ROOT)
SHIPPED = shipped_profiles(DATA_ROOT)
CONFORMANCE = Conformance(DEFINITIONS, Terminology.load(DATA_ROOT), SHIPPED)
VALIDATOR = Validator(DEFINITIONS, CONFORMANCE)
OURS = "urn:vn-basic:StructureDefinition:"
CLAIMS = decode((DATA_ROOT / "profiles" / "vn_basic" / "claims.json").read_bytes())["claims"]

# Beside a small sample: records written by hand, with what that seldom has (a child's check-up, supplies, a referral).
SHIPPED_EXAMPLES = sorted((DATA_ROOT / "mappings").glob("*/examples/*"))


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(int(os.environ.get("FHIR_TEST_EXAMPLES", "15")), 3, folder)
    for number, expected in enumerate(EXPECTED):
        content, name = source_of(expected)
        (folder / f"{number}-{name}").write_bytes(content)
    return folder


@lru_cache(maxsize=4)
def formats(guide: str) -> Formats:
    return Formats.load(DATA_ROOT, guide)


@lru_cache(maxsize=4)
def mapped(sample: Path, guide: str) -> list[Resource]:
    bundles = (bundle for _, bundle in map_records([sample, *SHIPPED_EXAMPLES], formats(guide)) if bundle is not None)
    return [entry["resource"] for bundle in bundles for entry in bundle["entry"]]


def test_the_definitions_of_our_operations_are_sound() -> None:
    files = (DATA_ROOT / "profiles" / "vn_basic" / "operation_definitions").glob("*.json")
    assert [issue for file in files for issue in VALIDATOR.validate(decode(file.read_bytes()))] == []


@pytest.mark.parametrize("profile", SHIPPED, ids=lambda one: str(one["id"]))
def test_a_profile_is_a_sound_definition(profile: Resource) -> None:
    assert VALIDATOR.validate(profile) == []
    assert ProfileValidator(DEFINITIONS, CONFORMANCE.profiles).problems(profile["url"]) == ()


@pytest.mark.parametrize("profile", SHIPPED, ids=lambda one: str(one["id"]))
def test_what_a_profile_asks_is_told_in_vietnamese_too(profile: Resource) -> None:
    read = CONFORMANCE.profiles.get(profile["url"])
    assert read is not None
    rules = [rule for _, element in read.root.walk("") for rule in element.constraints.values()]
    assert [rule.key for rule in rules if not rule.human_vi] == []


@pytest.mark.parametrize("profile", SHIPPED, ids=lambda one: str(one["id"]))
def test_the_source_fields_of_a_constraint_are_those_that_the_mappings_read(profile: Resource) -> None:
    for element in profile["differential"]["element"]:
        for row in element.get("mapping", ()):
            format = formats("moh").by_name[row["identity"]]
            known = {"/".join(path) for path in format.known}
            for field in row["map"].split(", "):
                assert any(path == field or path.endswith(f"/{field}") for path in known), (element["id"], field)


@pytest.mark.parametrize("name", sorted(formats("moh").by_name))
def test_every_type_that_a_format_is_mapped_to_has_a_profile(name: str) -> None:
    mapped_to = {one["type"] for one in formats("moh").by_name[name].data["resources"]}
    assert mapped_to <= {row["type"] for row in CLAIMS}


@pytest.mark.parametrize("guide", GUIDES)
def test_every_mapped_resource_claims_its_profile_and_keeps_its_rules(sample: Path, guide: str) -> None:
    resources = mapped(sample, guide)
    assert {row["type"] for row in CLAIMS} - {one["resourceType"] for one in resources} <= {"Provenance"}
    for resource in resources:
        claims = resource["meta"].get("profile", [])
        ours = [url for url in claims if url.startswith(OURS)]
        assert len(ours) == 1, resource
        assert ours == claims[: len(ours)]
        faults = [issue for issue in VALIDATOR.validate(resource) if issue.is_error]
        assert faults == [], resource


def test_the_setting_says_whose_profiles_are_claimed(sample: Path) -> None:
    moh, vn_core = "http://fhir.ehealth.gov.vn/core/", "http://fhir.hl7.org.vn/core/"
    expected = {"moh": {moh}, "vn-core": {vn_core}, "both": {moh, vn_core}, "vn-basic": set()}
    for guide, bases in expected.items():
        claims = {url for one in mapped(sample, guide) for url in one["meta"].get("profile", ())}
        assert {base for base in (moh, vn_core) if any(url.startswith(base) for url in claims)} == bases


def test_both_guides_are_written_side_by_side_and_once(sample: Path) -> None:
    finish = formats("both").tools.finish
    patients = [one for one in mapped(sample, "both") if one["resourceType"] == "Patient"]
    for patient in patients:
        systems = [one["system"] for one in patient.get("identifier", ()) if "system" in one]
        for first, second in (("ehealth.gov.vn/core/sid/national_id", "hl7.org.vn/core/sid/cccd"),):
            assert sum(first in uri for uri in systems) == sum(second in uri for uri in systems)
        urls = [one["url"] for one in patient.get("extension", ())]
        assert ("vn-ext-ethnicity" in str(urls)) == ("extension-race" in str(urls))
        before = encode(patient)
        finish.complete(patient)
        assert encode(patient) == before, "done again it adds nothing"
    assert any("vn-ext-ward" in str(patient.get("address")) for patient in patients)
