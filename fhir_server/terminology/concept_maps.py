"""Concept maps as they are asked. R4 section 4.10 (ConceptMap)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fhir_server.terminology.code_systems import period_of

# ConceptMap.equivalence that is no translation (R4 section 4.10.2).
NO_MATCH = frozenset({"unmatched", "disjoint"})
# Best first: what a translation to one code prefers.
_ORDER = ("equal", "equivalent", "wider", "subsumes", "narrower", "specializes", "relatedto", "inexact")


@dataclass(frozen=True, slots=True)
class Match:
    """One translation. equivalence is told from source to target, as the map states it."""

    system: str
    code: str
    display: str | None
    equivalence: str
    comment: str | None = None

    @property
    def rank(self) -> int:
        return _ORDER.index(self.equivalence) if self.equivalence in _ORDER else len(_ORDER)


@dataclass(frozen=True, slots=True)
class _Group:
    source: str
    target: str
    matches: Mapping[str, tuple[Match, ...]]
    unmapped: Mapping[str, Any]


class ConceptMap:
    """A ConceptMap resource made ready for questions."""

    def __init__(self, resource: Mapping[str, Any]) -> None:
        self.url: str = resource["url"]
        self.title: str = resource.get("title") or resource.get("name") or self.url
        self.period = period_of(resource)
        self.groups = tuple(_group(one) for one in resource.get("group", ()))

    @property
    def sources(self) -> tuple[str, ...]:
        """The source systems."""
        return tuple(dict.fromkeys(group.source for group in self.groups))

    def matches(self, code: str, system: str | None = None) -> list[Match]:
        """The targets of a code, best first; `unmapped` modes `provided` and `fixed` apply (R4 section 4.10.3)."""
        found = [
            match
            for group in self.groups
            if system is None or group.source == system
            for match in _targets(group, code)
        ]
        return sorted(found, key=lambda match: match.rank)

    def reverse(self, code: str, system: str | None = None) -> list[Match]:
        """The sources that lead to a target code; equivalence stays as the map states it."""
        return [match for target, match in self._reversed.get(code, ()) if system is None or target == system]

    @cached_property
    def _reversed(self) -> Mapping[str, list[tuple[str, Match]]]:
        table: dict[str, list[tuple[str, Match]]] = {}
        for group in self.groups:
            for source, matches in group.matches.items():
                for match in matches:
                    back = Match(group.source, source, None, match.equivalence, match.comment)
                    table.setdefault(match.code, []).append((group.target, back))
        return table


def _targets(group: _Group, code: str) -> Iterator[Match]:
    listed = group.matches.get(code)
    if listed is not None:
        yield from (match for match in listed if match.equivalence not in NO_MATCH)
        return
    mode = group.unmapped.get("mode")
    if mode == "provided":
        yield Match(group.target, code, None, "equal")
    elif mode == "fixed":
        yield Match(group.target, group.unmapped["code"], group.unmapped.get("display"), "inexact")


def _group(group: Mapping[str, Any]) -> _Group:
    target = group.get("target", "")
    matches = {
        element["code"]: tuple(
            Match(target, one.get("code", ""), one.get("display"), one["equivalence"], one.get("comment"))
            for one in element.get("target", ())
        )
        for element in group.get("element", ())
        if "code" in element
    }
    return _Group(group.get("source", ""), target, matches, group.get("unmapped") or {})
