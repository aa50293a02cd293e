"""Codes of one system in another, and the units that went before and after an administrative unit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import Coding
from fhir_server.terminology.concept_maps import ConceptMap, Dependency, Match
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.membership import is_member


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of $translate.

    codings: the codes, any of which may be translated; one with the system "" is of any source. target: the system
    wanted. target_set: the value set wanted, source_set: the one the code was taken from. reverse: from target to
    source. known: other values that a mapping may depend on.
    """

    codings: tuple[Coding, ...]
    target: str | None = None
    target_set: str | None = None
    source_set: str | None = None
    reverse: bool = False
    known: tuple[Dependency, ...] = ()
    on: date | None = None


# How far one map may send on to another.
_DEPTH = 4
# Maps with an id of this ending tell which unit took the place of which.
_SUCCESSION = "-succession"


def translate(terminology: Terminology, map_key: str, code: str, on: date | None = None) -> Coding | None:
    """The best target of a source code, or of a source name after folding (`Sởi - Rubella`, `MRVAC`).

    map_key: id, URL or `url|version` of a ConceptMap. on: the day of the record; a source list that was not in force
    then translates nothing. None when there is no target: never the nearest one. Raises FhirError(INVALID) for a map
    that does not exist, which is a fault of the mapping and not of the record.
    """
    found = matches(terminology, map_key, code, on)
    return Coding(found[0].system, found[0].code, found[0].display) if found else None


def matches(terminology: Terminology, map_key: str, code: str, on: date | None = None) -> list[Match]:
    """Every target of `translate`, best first."""
    concept_map = terminology.concept_map(map_key)
    if concept_map is None:
        raise FhirError(Kind.INVALID, f"there is no concept map {map_key}")
    if not concept_map.period.holds(on):
        return []
    found: list[Match] = []
    for source in concept_map.sources:
        found += concept_map.matches(_source_code(terminology, concept_map, source, code, on), source)
    return found


def _source_code(terminology: Terminology, concept_map: ConceptMap, source: str, text: str, on: date | None) -> str:
    """The code that a text means in a source system; the text itself where the system is not loaded or silent."""
    system = terminology.code_system(source, on)
    if system is None:
        return text
    if not system.period.holds(on):
        return ""
    if concept_map.matches(text, source):
        return text
    concept = terminology.find(source, text, on)
    return concept.code if concept else text


def translation(terminology: Terminology, maps: Iterable[ConceptMap], asked: Asked) -> Resource:
    """R4 ConceptMap/$translate as Parameters: result, message, match. maps: those to translate by."""
    found = [
        (match, one) for one in maps for coding in asked.codings for match in _found(terminology, one, coding, asked)
    ]
    parts: list[Resource] = [{"name": "result", "valueBoolean": bool(found)}]
    if not found:
        codes = ", ".join(repr(coding.code) for coding in asked.codings)
        parts.append({"name": "message", "valueString": f"{codes} has no match"})
    parts += [{"name": "match", "part": _match(terminology, match, one)} for match, one in found]
    return {"resourceType": "Parameters", "parameter": parts}


def fitting(terminology: Terminology, asked: Asked) -> list[ConceptMap]:
    """The maps that can translate what is asked, when the caller names none: by their source and target systems and by
    the value sets that they are for."""
    systems = {coding.system for coding in asked.codings if coding.system}
    found = []
    for entry in terminology.entries("ConceptMap"):
        sides = [(group.source, group.target) for group in entry.head.group]
        if asked.reverse:
            sides = [(target, source) for source, target in sides]
        if any(
            (not systems or source in systems) and asked.target in (None, target) for source, target in sides
        ) and entry.period.holds(asked.on):
            found.append(terminology.concept_map(entry.head.canonical))
    return [one for one in found if one is not None and _is_for(one, asked)]


def _is_for(one: ConceptMap, asked: Asked) -> bool:
    """False for a map from or to another value set than the one that is asked for."""
    source, target = (one.target, one.source) if asked.reverse else (one.source, one.target)
    return all(
        wanted is None or has is None or wanted == has
        for wanted, has in ((asked.source_set, source), (asked.target_set, target))
    )


def _found(terminology: Terminology, one: ConceptMap, coding: Coding, asked: Asked, depth: int = _DEPTH) -> list[Match]:
    if not one.period.holds(asked.on):
        return []
    system = coding.system or None
    found = one.reverse(coding.code, system) if asked.reverse else one.matches(coding.code, system)
    found = [match for match in found if match.holds(asked.known) and _is_in(terminology, match, asked)]
    if not asked.reverse and depth:
        for url in one.elsewhere(coding.code, system):
            other = terminology.concept_map(url, asked.on)
            if other is not None:
                found += _found(terminology, other, coding, asked, depth - 1)
    return found


def _is_in(terminology: Terminology, match: Match, asked: Asked) -> bool:
    """Whether a match is of the system and of the value set that are wanted."""
    if asked.target is not None and match.system != asked.target:
        return False
    wanted = terminology.value_set(asked.target_set, asked.on) if asked.target_set else None
    return wanted is None or is_member(terminology, wanted, match.system, match.code, asked.on) is not False


def _match(terminology: Terminology, match: Match, source: ConceptMap) -> list[Resource]:
    parts: list[Resource] = [{"name": "equivalence", "valueCode": match.equivalence}]
    if match.code:
        display = match.display or _display(terminology, match.system, match.code)
        concept = Coding(match.system, match.code, display, match.version).resource()
        parts.append({"name": "concept", "valueCoding": {name: value for name, value in concept.items() if value}})
    parts += [{"name": "product", "part": _product(one)} for one in match.products]
    if source.url:
        parts.append({"name": "source", "valueUri": source.url})
    return parts


def _product(one: Dependency) -> list[Resource]:
    coding = {"system": one.system, "code": one.value, "display": one.display}
    concept = {name: value for name, value in coding.items() if value}
    return [{"name": "element", "valueUri": one.property}, {"name": "concept", "valueCoding": concept}]


def successors(terminology: Terminology, system: str, code: str) -> list[Coding]:
    """The units of today that hold all or a part of a unit before 2025-07-01."""
    return [
        Coding(match.system, match.code, match.display or _display(terminology, match.system, match.code))
        for concept_map in _succession_maps(terminology)
        for match in concept_map.matches(code, system)
    ]


def predecessors(terminology: Terminology, system: str, code: str) -> list[Coding]:
    """The units before 2025-07-01 of which a unit of today holds all or a part."""
    return [
        Coding(match.system, match.code, _display(terminology, match.system, match.code))
        for concept_map in _succession_maps(terminology)
        for match in concept_map.reverse(code, system)
    ]


def lineage(terminology: Terminology, system: str, code: str) -> list[Coding]:
    """The unit itself, then its predecessors and successors: where the same people may be recorded."""
    own = Coding(system, code, _display(terminology, system, code))
    return [own, *predecessors(terminology, system, code), *successors(terminology, system, code)]


def units(terminology: Terminology, system: str, code: str) -> list[tuple[str, str]]:
    """The lineage as (system, code) pairs, as a search widens a unit by it."""
    return [(unit.system, unit.code) for unit in lineage(terminology, system, code)]


def _succession_maps(terminology: Terminology) -> list[ConceptMap]:
    keys = (key for key in terminology.ids("ConceptMap") if key.endswith(_SUCCESSION))
    return [found for key in keys if (found := terminology.concept_map(key)) is not None]


def _display(terminology: Terminology, system: str, code: str) -> str | None:
    found = terminology.code_system(system)
    concept = found.get(code) if found else None
    return concept.display if concept else None
