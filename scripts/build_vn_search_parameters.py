"""Writes profiles/vn_basic/search_parameters.json: the search parameters of Việt Nam, over every known URI and guide.

usage: python scripts/build_vn_search_parameters.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fhir_server.config import DATA_ROOT
from fhir_server.terminology.naming import NamingSystems

TARGET = DATA_ROOT / "profiles" / "vn_basic" / "search_parameters.json"
BASE = "urn:vn-basic:SearchParameter:"
# Parameter, its resource type, the kind of number it finds.
NUMBERS = (
    ("vn-cccd", "Patient", "cccd", "the personal identification number (số định danh cá nhân, CCCD), 12 digits"),
    ("vn-bhyt", "Patient", "bhyt", "the number of a health insurance card (thẻ BHYT)"),
    ("vn-bhyt-card", "Coverage", "bhyt", "the number of the health insurance card of a coverage"),
)
UNITS = ("province", "district", "ward")
RESIDENCE = "the code of a province, district or ward in an address; the era is part of the code system"
LINEAGE = (
    "the same, and the units before and after it in the reorganisation of 2025-07-01: system|code of either era finds "
    "people recorded under its predecessors and successors"
)


def numbers(naming: NamingSystems) -> Iterable[dict[str, Any]]:
    for code, type, kind, text in NUMBERS:
        systems = " or ".join(f"system='{uri}'" for uri in sorted(naming.by_kind[kind].uris))
        expression = f"{type}.identifier.where({systems})"
        yield row(code, type, expression, text)


def residence() -> Iterable[dict[str, Any]]:
    extensions = json.loads((TARGET.parent / "extensions.json").read_text(encoding="utf-8"))["extensions"]
    chains = {tuple(chain) for unit in UNITS for chain in extensions[unit].values()}
    expression = " | ".join(below(chain) for chain in sorted(chains))
    yield row("residence", "Patient", expression, RESIDENCE)
    yield {**row("residence-lineage", "Patient", "", LINEAGE), "lineageOf": "residence"}


def below(chain: Iterable[str]) -> str:
    steps = "".join(f".extension.where(url='{url}')" for url in chain)
    return f"Patient.address{steps}.value.ofType(CodeableConcept)"


def row(code: str, type: str, expression: str, text: str) -> dict[str, Any]:
    made = {"url": BASE + code, "code": code, "base": [type], "type": "token", "description": text}
    return {**made, "expression": expression} if expression else made


def made() -> str:
    rows = [*numbers(NamingSystems.load(DATA_ROOT)), *residence()]
    return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    Path(TARGET).write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    main()
