"""Concept maps as they are asked. R4 ConceptMap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from fhir_server.terminology.code_systems import period_of

# ConceptMap.equivalence that is no translation (R4 ConceptMap).
NO_MATCH = frozenset({"unmatched", "disjoint"})
# Best first: what a translation to one code prefers.
_ORDER = ("equal", "equivalent", "wider", "subsumes", "narrower", "specializes", "relatedto", "inexact")
_INVERSE = {"wider": "narrower", "narrower": "wider", "subsumes": "specializes", "specializes": "subsumes"}


@dataclass(frozen=True, slots=True)
class Dependency:
    """Another value that a mapping depends on, or gives besides (dependsOn, product). property: a URI."""

    property: str
    system: str | None
    value: str
    display: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """One translation. equivalence is told from source to target, as the map states it. needs: what must be known
    besides the code for this to be a translation. products: what it gives besides. version: of the target system."""

    system: str
    code: str
    display: str | None
    equivalence: str
    comment: str | None = None
    needs: tuple[Dependency, ...] = ()
    products: tuple[Dependency, ...] = ()
    version: str | None = None

    @property
    def rank(self) -> int:
        return _ORDER.index(self.equivalence) if self.equivalence in _ORDER else len(_ORDER)

    def inverse(self) -> str:
        """The equivalence from target to source: what is wider one way is narrower the other."""
        return _INVERSE.get(self.equivalence, self.equivalence)

    def holds(self, known: Iterable[Dependency]) -> bool:
        """True when everything that it depends on is among what is known."""
        given = {(one.property, one.value): one.system for one in known}
        for need in self.needs:
            if (need.property, need.value) not in given:
                return False
            system = given[need.property, need.value]
            if need.system and system and need.system != system:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Group:
    source: str
    target: str
    matches: Mapping[str, tuple[Match, ...]]
    unmapped: Mapping[str, Any]
    displays: Mapping[str, str]


class ConceptMap:
    """A ConceptMap resource made ready for questions. source and target: the value sets it leads from and to."""

    def __init__(self, resource: Mapping[str, Any]) -> None:
        self.url: str = resource.get("url", "")
        self.version: str | None = resource.get("version")
        self.title: str = resource.get("title") or resource.get("name") or self.url or "the concept map"
        self.period = period_of(resource)
        self.source: str | None = resource.get("sourceUri") or resource.get("sourceCanonical")
        self.target: str | None = resource.get("targetUri") or resource.get("targetCanonical")
        self.groups = tuple(_group(one) for one in resource.get("group", ()))

    @property
    def sources(self) -> tuple[str, ...]:
        """The source systems."""
        return tuple(dict.fromkeys(group.source for group in self.groups))

    def matches(self, code: str, system: str | None = None) -> list[Match]:
        """The targets of a code, best first; `unmapped` modes `provided` and `fixed` apply (R4 ConceptMap)."""
        found = [
            match
            for group in self.groups
            if system is None or group.source == system
            for match in _targets(group, code)
        ]
        return sorted(found, key=lambda match: match.rank)

    def elsewhere(self, code: str, system: str | None = None) -> list[str]:
        """The maps that are to be asked instead for a code that is not mapped here (`unmapped` mode `other-map`)."""
        groups = (group for group in self.groups if system is None or group.source == system)
        return [
            group.unmapped["url"]
            for group in groups
            if group.unmapped.get("mode") == "other-map" and code not in group.matches and "url" in group.unmapped
        ]

    def reverse(self, code: str, system: str | None = None) -> list[Match]:
        """The sources that lead to a target code; equivalence is told from there to here."""
        found = [match for target, match in self._reversed.get(code, ()) if system is None or target == system]
        return sorted(found, key=lambda match: match.rank)

    @cached_property
    def _reversed(self) -> Mapping[str, list[tuple[str, Match]]]:
        table: dict[str, list[tuple[str, Match]]] = {}
        for group in self.groups:
            for source, matches in group.matches.items():
                for match in matches:
                    if match.equivalence not in NO_MATCH:
                        back = replace(
                            match,
                            system=group.source,
                            code=source,
                            display=group.displays.get(source),
                            equivalence=match.inverse(),
                            products=(),
                            version=None,
                        )
                        table.setdefault(match.code, []).append((group.target, back))
        return table


def _targets(group: Group, code: str) -> Iterator[Match]:
    listed = group.matches.get(code)
    if listed is not None:
        yield from (match for match in listed if match.equivalence not in NO_MATCH)
        return
    mode = group.unmapped.get("mode")
    if mode == "provided":
        yield Match(group.target, code, None, "equal")
    elif mode == "fixed":
        yield Match(group.target, group.unmapped["code"], group.unmapped.get("display"), "inexact")


def _group(group: Mapping[str, Any]) -> Group:
    elements = [element for element in group.get("element", ()) if "code" in element]
    return Group(
        source=group.get("source", ""),
        target=group.get("target", ""),
        matches={one["code"]: tuple(_match(group, target) for target in one.get("target", ())) for one in elements},
        unmapped=group.get("unmapped") or {},
        displays={one["code"]: one["display"] for one in elements if "display" in one},
    )


def _match(group: Mapping[str, Any], one: Mapping[str, Any]) -> Match:
    return Match(
        system=group.get("target", ""),
        code=one.get("code", ""),
        display=one.get("display"),
        equivalence=one["equivalence"],
        comment=one.get("comment"),
        needs=tuple(_dependency(item) for item in one.get("dependsOn", ())),
        products=tuple(_dependency(item) for item in one.get("product", ())),
        version=group.get("targetVersion"),
    )


def _dependency(one: Mapping[str, Any]) -> Dependency:
    return Dependency(one["property"], one.get("system"), one["value"], one.get("display"))
