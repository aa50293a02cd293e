"""FHIR packages are read from archives and folders, within bounds; what is no package is told in one sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.definitions import packages
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.packages import NotAPackage, is_met, missing, read_package, version_key
from tests.package_files import BASE, a_guide, archive, folder, manifest

DEFINITIONS = Definitions.load(DATA_ROOT)


def test_an_archive_and_a_folder_hold_the_same_package(tmp_path: Path) -> None:
    read = [
        read_package(archive(tmp_path / "guide.tgz", a_guide()), DEFINITIONS),
        read_package(folder(tmp_path / "guide", a_guide()), DEFINITIONS),
        read_package(folder(tmp_path / "outer" / "package", a_guide()).parent, DEFINITIONS),
    ]
    for package in read:
        assert (package.id, package.canonical, package.problems) == ("example.vn.core#1.0.0", BASE, ())
        assert [one["resourceType"] for one in package.resources] == [
            "CodeSystem",
            "NamingSystem",
            "StructureDefinition",
            "ValueSet",
        ]
        assert package.passed_over == {"Patient": 1}
        assert package.guide == f"{BASE}/ImplementationGuide/example.vn.core|1.0.0"


def test_a_file_that_cannot_be_read_is_a_problem_and_not_fatal(tmp_path: Path) -> None:
    files = a_guide() | {"a.json": "{", "b.xml": "<Patient/>", "c.json": {"resourceType": "ValueSet", "status": "x"}}
    package = read_package(folder(tmp_path / "guide", files), DEFINITIONS)
    assert [problem.partition(" ")[0] for problem in package.problems] == ["a.json", "b.xml", "c.json"]
    assert len(package.resources) == 4


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "has no package.json"),
        ({"package.json": "{"}, "package.json"),
        ({"package.json": []}, "no JSON object"),
        ({"package.json": manifest(name="../x")}, "has no name"),
        ({"package.json": {"name": "x"}}, "has no version"),
        ({"package.json": manifest(fhirVersions=["5.0.0"])}, "for FHIR 5.0.0, not for R4"),
        ({"package.json": manifest(dependencies=[1])}, "dependencies"),
    ],
)
def test_what_is_no_package_is_told_in_one_sentence(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(NotAPackage, match=re.escape(told)):
        read_package(folder(tmp_path / "x", content), DEFINITIONS)


def test_a_file_that_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.tgz").write_bytes(b"no archive")
    with pytest.raises(NotAPackage, match="is no package"):
        read_package(tmp_path / "x.tgz", DEFINITIONS)


def test_only_the_files_of_the_package_folder_are_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tgz", a_guide(), inside="package/other/")
    with pytest.raises(NotAPackage, match=re.escape("has no package.json")):
        read_package(path, DEFINITIONS)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_MOST_BYTES", 1000)
    for path in (archive(tmp_path / "x.tgz", a_guide()), folder(tmp_path / "x", a_guide())):
        with pytest.raises(NotAPackage, match="larger than a package may be"):
            read_package(path, DEFINITIONS)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [("1.9.0", "1.10.0"), ("1.0.0-ballot", "1.0.0"), ("0.9", "1"), ("1.0.0", "1.0.1"), (None, "0.1.0")],
)
def test_versions_are_ordered_by_their_numbers(earlier: str | None, later: str) -> None:
    assert version_key(earlier) < version_key(later)


def test_a_dependency_is_met_by_its_version_or_a_wildcard(tmp_path: Path) -> None:
    assert is_met("1.0.x", "1.0.7")
    assert is_met("latest", "3")
    assert not is_met("1.0.0", "1.0.1")
    package = read_package(folder(tmp_path / "guide", a_guide()), DEFINITIONS)
    assert missing(package, {}) == ["hl7.fhir.uv.ips 1.0.0"]
    assert missing(package, {"hl7.fhir.uv.ips": {"1.0.0", "1.1.0"}}) == []
