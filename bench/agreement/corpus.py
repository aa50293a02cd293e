"""Writes resources for validators, one JSON line each: {name, kind, place, body}; kind "" is an example as it is.

usage: python bench/agreement/corpus.py OUT [FOLDER of further examples]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from fhir_server.model.resources import decode, encode
from tests.unit.resource_mutations import mutations

EXAMPLES = Path(__file__).resolve().parents[2] / "tests" / "unit" / "validation_examples"


def lines() -> Iterator[dict[str, str]]:
    for path in sorted(EXAMPLES.glob("*.json")):
        resource = decode(path.read_bytes())
        yield line(path.stem, "", "", encode(resource))
        for number, mutation in enumerate(mutations(resource)):
            body = encode(mutation.apply(resource))
            yield line(f"{path.stem}-{number}", mutation.kind, mutation.place, body)
    for folder in sys.argv[2:]:
        for path in sorted(Path(folder).rglob("*.json")):
            yield line(path.stem, "", "", path.read_bytes())


def line(name: str, kind: str, place: str, body: bytes) -> dict[str, str]:
    return {"name": name, "kind": kind, "place": place, "body": body.decode()}


def main() -> None:
    with Path(sys.argv[1]).open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in lines())


if __name__ == "__main__":
    main()
