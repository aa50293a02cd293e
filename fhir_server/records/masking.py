"""What a report shows of a value: personal numbers masked, by what the mapping says of the field that they stand in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fhir_server.records.mapping_files import all_groups
from fhir_server.records.scopes import split_path, walk_all
from fhir_server.records.source import Problem, Tree
from fhir_server.terminology.naming import NamingSystems

_LONGEST = 200  # characters that are shown of a value
_NUMBER = re.compile(r"[A-Z]{0,2}\d{6,}", re.ASCII)
# A day or minute is no personal number: these begin with a province code below 100, or have another length.
_DATE = re.compile(r"(?:19|20)\d\d(?:0\d|1[0-2])(?:[0-2]\d|3[01])(?:(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?)?", re.ASCII)
# What is a personal, identity, social insurance or telephone number, or an insurance card, wherever it stands.
_SURELY_PERSONAL = re.compile(r"(?<!\d)0\d{8,11}(?!\d)|[A-Z]{2}\d{13}(?!\d)", re.ASCII)
_IDENTIFIERS = frozenset({"identifier", "identifier_by_shape"})
# Transforms of values that are amounts, days and codes.
_PLAIN = frozenset({
    "integer", "decimal_text", "quantity", "money", "flag", "zero_pad", "last_two", "semicolon_list", "first_of_list",
    "part", "date_from_ymd", "datetime_from_ymdhm", "date_from_dmy", "datetime_from_dmy", "date_from_iso",
    "datetime_from_iso", "date_from_any", "datetime_from_any", "birth_date", "birth_time", "code", "coding", "concept",
    "list_coding", "icd10", "blood_group",
})  # fmt: skip


def mask(text: str) -> str:
    """`038085000123` as `038*******23`: enough for the sender to find it, not enough for anybody else."""
    return _NUMBER.sub(_masked, text[:_LONGEST])


def _masked(found: re.Match[str]) -> str:
    number = found[0]
    return number if _DATE.fullmatch(number) else number[:3] + "*" * (len(number) - 5) + number[-2:]


@dataclass(frozen=True, slots=True)
class Masks:
    """Of one format. plain: names of fields that hold amounts, days, codes, or numbers of things: of them only what is
    surely personal is masked. persons: paths of the numbers of whom a record is about."""

    plain: frozenset[str] = frozenset()
    persons: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any], naming: NamingSystems) -> Masks:
        """As the rows of a mapping say."""
        plain: dict[str, bool] = {}
        for group in all_groups(data["resources"]):
            for row in group["rows"]:
                if row["target"].startswith("extension[kept:"):  # the text of a field that has another row
                    continue
                is_plain = _is_plain(row, group, naming)
                for path in _sources(row):
                    name = _name(path)
                    plain[name] = plain.get(name, True) and is_plain
        return cls(frozenset(name for name, holds in plain.items() if holds), tuple(_of_persons(data, naming)))

    def key(self, key: str, content: Tree) -> str:
        """The key of a record, by which its sender finds it; a number of the person within it is masked."""
        for path in self.persons:
            for number in walk_all(content, path):
                if isinstance(number, str) and number in key:
                    key = key.replace(number, mask(number))
        return _SURELY_PERSONAL.sub(_masked, key)

    def problem(self, problem: Problem) -> Problem:
        """A problem as it may be shown."""
        is_plain = _name(problem.field) in self.plain

        def shown(text: str) -> str:
            return _SURELY_PERSONAL.sub(_masked, text[:_LONGEST]) if is_plain else mask(text)

        (en, vi), (allowed_en, allowed_vi) = problem.text, problem.allowed
        text, allowed = (mask(en), mask(vi)), (shown(allowed_en), shown(allowed_vi))
        return replace(problem, text=text, found=shown(problem.found), allowed=allowed)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _sources(row: Mapping[str, Any]) -> list[str]:
    sources = row.get("source", [])
    return sources if isinstance(sources, list) else [sources]


def _transforms(row: Mapping[str, Any]) -> frozenset[str]:
    names = row.get("as", "text")
    return frozenset(names if isinstance(names, list) else [names])


def _is_plain(row: Mapping[str, Any], group: Mapping[str, Any], naming: NamingSystems) -> bool:
    transforms = _transforms(row)
    if transforms & _IDENTIFIERS:
        return group["type"] == "Organization" or _is_of_a_facility(row, naming)
    return transforms <= _PLAIN


def _is_of_a_facility(row: Mapping[str, Any], naming: NamingSystems) -> bool:
    """True for a number that says nothing outside the facility that gave it: of a visit, a file, a patient there."""
    kind = row.get("with", {}).get("kind")
    return kind in naming.by_kind and naming.by_kind[kind].scoped


def _of_persons(data: Mapping[str, Any], naming: NamingSystems) -> Iterator[tuple[str, ...]]:
    for group in data["resources"]:
        for row in group["rows"] if group["type"] == "Patient" else ():
            if _transforms(row) & _IDENTIFIERS and not _is_of_a_facility(row, naming):
                for path in _sources(row):
                    yield split_path(path if path.startswith("/") else f"{group.get('each', '')}/{path}")
