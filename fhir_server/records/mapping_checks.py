"""What is wrong with a mapping that compiles: it names a list, map, number or group that does not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fhir_server.records.formats import Format
from fhir_server.records.mapping_files import all_groups

Data = Mapping[str, Any]
_ABSENT, _WRONG = ("leave", "tell", "refuse"), ("tell", "refuse")


def mapping_faults(format: Format) -> Iterator[str]:
    """A sentence for each fault, with its place."""
    groups = list(all_groups(format.data["resources"]))
    known = {group["name"] for group in groups}
    for group in groups:
        for row in group["rows"]:
            for fault in (*_words(row), *_options(row, format), *_others(row, known)):
                yield f"{group['name']}, the row of {row['target']!r}: {fault}"


def _words(row: Data) -> Iterator[str]:
    yield from (f"no {language!r} says what it means" for language in ("vi", "en") if not row.get(language))
    if sum(kind in row for kind in ("source", "link", "value", "line")) != 1:
        yield "a row has one of source, link, value and line"
    if row.get("absent", "leave") not in _ABSENT:
        yield f"absent is one of {', '.join(_ABSENT)}, not {row['absent']!r}"
    if row.get("wrong", "refuse") not in _WRONG:
        yield f"wrong is one of {', '.join(_WRONG)}, not {row['wrong']!r}"


def _others(row: Data, known: set[str]) -> Iterator[str]:
    for word in ("on", "link"):
        if row.get(word, "#") not in {*known, "#"}:
            yield f"there is no group {row[word]!r}"


def _options(row: Data, format: Format) -> Iterator[str]:
    options, codes = row.get("with", {}), format.tools.codes
    for name in filter(None, [options.get("list")]):
        yield from _missing("list", name, lambda name: codes.uri(name, None))
    for name in [*options.get("maps", ()), *filter(None, [options.get("map")])]:
        yield from _missing("concept map", name, codes.sources_of)
    for name in [*options.get("kinds", ()), *(options[key] for key in ("kind", "otherwise") if key in options)]:
        if name not in format.tools.naming.by_kind:
            yield f"there is no kind of number {name!r}"


def _missing(what: str, name: str, find: Callable[[str], object]) -> Iterator[str]:
    try:
        find(name)
    except KeyError:
        yield f"there is no {what} {name!r}"
