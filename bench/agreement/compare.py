"""A table of what each validator finds of a corpus: faults at their place, elsewhere or not at all; examples refused.

usage: python bench/agreement/compare.py CORPUS NAME=ANSWERS…   (as the scripts beside this one write them)
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.model.resources import decode
from fhir_server.validation.validate import Validator

FOUND = ("at its place", "elsewhere", "not found")


def answers(file: str) -> Iterator[dict[str, Any]]:
    with Path(file).open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def ours(file: str) -> Iterator[dict[str, Any]]:
    validator = Validator(Definitions.load(DATA_ROOT))
    for one in answers(file):
        issues = [issue for issue in validator.validate(decode(one["body"].encode())) if issue.is_error]
        first = issues[0].diagnostics if issues else ""
        yield {"name": one["name"], "told": [path for one in issues for path in one.expression], "first": first}


def plain(place: str) -> str:
    """A place as all of them write it: `[x]` and types of choices apart, `Patient.name[0]` for `Patient.name.0`."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", place).replace("[x]", "").replace("`", "")


def verdict(told: list[str], place: str) -> str:
    if not told:
        return "not found"
    wanted = plain(place)
    return "at its place" if any(is_same(plain(one), wanted) for one in told) else "elsewhere"


def is_same(found: str, wanted: str) -> bool:
    """The place itself, its parent or something below it, a choice also by its JSON name (`onsetAge` for `onset`)."""
    theirs, ours = without_numbers(found).split("."), without_numbers(wanted).split(".")
    return abs(len(theirs) - len(ours)) <= 1 and all(
        one == other or (one.startswith(other) and one[len(other)].isupper())
        for one, other in zip(theirs, ours, strict=False)
    )


def without_numbers(place: str) -> str:
    return re.sub(r"\[\d+\]", "", place)


def main() -> None:
    corpus = sys.argv[1]
    tables = {"ours": {one["name"]: one for one in ours(corpus)}}
    for argument in sys.argv[2:]:
        name, _, file = argument.partition("=")
        tables[name] = {one["name"]: one for one in answers(file)}
    counts: dict[str, dict[str, Counter[str]]] = {name: defaultdict(Counter) for name in tables}
    refused: dict[str, list[tuple[str, str]]] = {name: [] for name in tables}
    examples, kinds = 0, Counter[str]()
    for one in answers(corpus):
        examples += not one["kind"]
        kinds[one["kind"]] += bool(one["kind"])
        for name, table in tables.items():
            told = table[one["name"]]
            if one["kind"]:
                counts[name][one["kind"]][verdict(told["told"], one["place"])] += 1
            elif told["told"]:
                refused[name].append((one["name"], f"{told['told'][0]}: {told['first']}"))
    print(f"{kinds.total()} mutations of {len([kind for kind in kinds if kinds[kind]])} kinds, {examples} examples\n")
    print(f"| {'kind':28} | {'n':>5} | " + " | ".join(f"{name:>18}" for name in tables) + " |")
    for kind, number in sorted(kinds.items()):
        if kind:
            cells = ("/".join(str(counts[name][kind][found]) for found in FOUND) for name in tables)
            print(f"| {kind:28} | {number:>5} | " + " | ".join(f"{cell:>18}" for cell in cells) + " |")
    totals = ("/".join(str(sum(row[found] for row in counts[name].values())) for found in FOUND) for name in tables)
    print(f"| {'all':28} | {kinds.total():>5} | " + " | ".join(f"{cell:>18}" for cell in totals) + " |")
    print(f"({', '.join(FOUND)})\n")
    for name, found in refused.items():
        print(f"{name}: {len(found)} examples refused")
        texts = Counter(re.sub(r"[\[(]?\d+[\])]?|'[^']*'|\"[^\"]*\"", "…", text) for _, text in found)
        for text, number in texts.most_common(40):
            print(f"  {number} {text[:180]}")


if __name__ == "__main__":
    main()
