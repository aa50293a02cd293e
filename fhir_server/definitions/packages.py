"""FHIR packages as they come: a .tgz or a folder with package.json, read within bounds and held to be R4.

https://confluence.hl7.org/display/FHIR/NPM+Package+Specification; the files of a folder may be JSON or XML.
"""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.xml_format import XmlFormat
from fhir_server.errors import FhirError
from fhir_server.model.resources import Resource, decode

# What the core package of R4 holds is here already.
BUILT_IN = "hl7.fhir.r4.core"
# The types that take effect; examples and everything else in a package are passed over.
KEPT = frozenset({"StructureDefinition", "ValueSet", "CodeSystem", "ConceptMap", "NamingSystem", "ImplementationGuide"})
_MOST_BYTES = 256 << 20  # of all files together, unpacked; hl7.fhir.r4.core has 50 MiB
_MOST_FILES = 20_000
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,120}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,60}")
_R4 = ("4.0", "4.0.0", "4.0.1", "R4")


class NotAPackage(Exception):
    """The message is one sentence for the person who named the file."""


@dataclass(frozen=True, slots=True)
class Package:
    """name, version: as in package.json. canonical: the base of its URLs, which tells packages of one name and version
    apart. dependencies: name → version. guide: canonical of its ImplementationGuide. resources: those of KEPT types.
    passed_over: resource type → how many there were of others. problems: what could not be read."""

    name: str
    version: str
    canonical: str
    title: str = ""
    dependencies: Mapping[str, str] = field(default_factory=dict)
    guide: str = ""
    resources: tuple[Resource, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.name}#{self.version}"


def read_package(path: Path, definitions: Definitions) -> Package:
    """Raises NotAPackage for what is none, is of another FHIR version, or is too large; OSError when it cannot be
    read. A file that is no resource is a problem of the package."""
    try:
        files = dict(_folder(path) if path.is_dir() else _archive(path))
    except (tarfile.TarError, EOFError) as fault:
        raise NotAPackage(f"{path.name} is no package: {fault}.") from None
    manifest = _manifest(files.pop("package.json", None), path)
    found = _Contents(XmlFormat(definitions))
    for name in sorted(files):
        found.add(name, files[name])
    guide = next((one for one in found.kept if one["resourceType"] == "ImplementationGuide"), None)
    name = manifest["name"]
    canonical = manifest.get("canonical") or _base((guide or {}).get("url", "")) or _commonest_base(found.kept)
    return Package(
        name,
        manifest["version"],
        str(canonical),
        str(manifest.get("title") or manifest.get("description") or "")[:200],
        {str(name): str(version) for name, version in dict(manifest.get("dependencies") or {}).items()},
        f"{(guide or {}).get('url') or f'{canonical}/ImplementationGuide/{name}'}|{manifest['version']}",
        tuple(found.kept),
        dict(found.passed_over),
        tuple(found.problems),
    )


# --- files


def _archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files at the top of `package/`. Nothing is written to disk."""
    total = 0
    with tarfile.open(path, "r:*") as tar:
        for number, member in enumerate(tar):
            total += member.size
            if total > _MOST_BYTES or number > _MOST_FILES:
                raise NotAPackage(f"{path.name} is larger than a package may be ({_MOST_BYTES >> 20} MiB unpacked).")
            name = PurePosixPath(member.name)
            stream = tar.extractfile(member) if member.isfile() and _is_wanted(name) else None
            if stream is not None:
                yield name.name, stream.read(member.size)


def _is_wanted(name: PurePosixPath) -> bool:
    parts = [part for part in name.parts if part != "."]
    return len(parts) == 2 and parts[0] == "package" and name.suffix in (".json", ".xml") and name.name[0] != "."


def _folder(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files of a folder, or of `package/` in it."""
    folder = path / "package" if (path / "package" / "package.json").is_file() else path
    total = 0
    for number, file in enumerate(sorted(folder.iterdir())):
        if file.suffix in (".json", ".xml") and file.name[0] != "." and file.is_file():
            total += file.stat().st_size
            if total > _MOST_BYTES or number > _MOST_FILES:
                raise NotAPackage(f"{path.name} is larger than a package may be ({_MOST_BYTES >> 20} MiB).")
            yield file.name, file.read_bytes()


def _manifest(body: bytes | None, path: Path) -> dict[str, Any]:
    if body is None:
        raise NotAPackage(f"{path.name} has no package.json; it holds at least a name and a version.")
    try:
        found = decode(body.removeprefix(b"\xef\xbb\xbf"))
    except FhirError as fault:
        raise NotAPackage(f"package.json of {path.name}: {fault.diagnostics}.") from None
    if not isinstance(found, dict):
        raise NotAPackage(f"package.json of {path.name} is no JSON object.")
    for name, pattern in (("name", _NAME), ("version", _VERSION)):
        if not isinstance(found.get(name), str) or not pattern.fullmatch(found[name]):
            raise NotAPackage(f"package.json of {path.name} has no {name} of letters, digits, dots and dashes.")
    versions = found.get("fhirVersions") or found.get("fhir-version-list") or [_R4[0]]
    if not any(str(one) in _R4 for one in versions):
        told = ", ".join(map(str, versions))
        raise NotAPackage(f"{found['name']} {found['version']} is for FHIR {told}, not for R4.")
    if not isinstance(found.get("dependencies") or {}, dict):
        raise NotAPackage(f"the dependencies in package.json of {path.name} are no JSON object.")
    return found


@dataclass
class _Contents:
    """The resources of the files met so far."""

    xml: XmlFormat
    kept: list[Resource] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, body: bytes) -> None:
        try:
            resource = self.xml.from_xml(body) if name.endswith(".xml") else decode(body.removeprefix(b"\xef\xbb\xbf"))
        except FhirError as fault:
            first = fault.all_issues()[0]
            self.problems.append(f"{name} cannot be read: {first.diagnostics}")
            return
        type = resource.get("resourceType") if isinstance(resource, dict) else None
        if type not in KEPT:
            self.passed_over[str(type or "no resource")] += 1
        elif type != "NamingSystem" and not isinstance(resource.get("url"), str):
            self.problems.append(f"{name} is a {type} without url")
        else:
            self.kept.append(resource)


def _base(url: str) -> str:
    """`http://a.b/core/StructureDefinition/x` → `http://a.b/core`."""
    return re.split(r"/[A-Z][A-Za-z]+/", url, maxsplit=1)[0] if url else ""


def _commonest_base(resources: list[Resource]) -> str:
    bases = Counter(_base(one["url"]) for one in resources if "url" in one)
    return bases.most_common(1)[0][0] if bases else ""


# --- versions and dependencies


def version_key(version: str | None) -> tuple[tuple[int, int, str], ...]:
    """For comparing versions: `1.10.0` is later than `1.9`, a pre-release earlier than its release."""
    release, dash, label = (version or "").partition("-")
    parts = [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in release.split(".")]
    return (*parts, (0, 0, label) if dash else (0, 1, ""))


def is_met(wanted: str, version: str) -> bool:
    """Whether a version is one that a dependency names: exactly, with `x` for any part, or any for `latest`."""
    if wanted in ("latest", "current", "dev", "*"):
        return True
    parts, have = wanted.split("."), version.split(".")
    return len(parts) == len(have) and all(one in ("x", "*", other) for one, other in zip(parts, have, strict=True))


def missing(package: Package, installed: Mapping[str, set[str]]) -> list[str]:
    """What a package depends on and is not there. installed: name → versions."""
    return [
        f"{name} {wanted}"
        for name, wanted in package.dependencies.items()
        if name != BUILT_IN and not any(is_met(wanted, version) for version in installed.get(name, ()))
    ]
