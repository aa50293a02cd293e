"""Codes of one system in another, and the units that went before and after an administrative unit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import Coding
from fhir_server.terminology.concept_maps import ConceptMap, Match
from fhir_server.terminology.load import Terminology


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of $translate. system: of the code; None for any source. target: the system wanted. reverse: from
    target to source."""

    code: str
    system: str | None = None
    target: str | None = None
    reverse: bool = False
    on: date | None = None


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
    system = terminology.code_system(source)
    if system is None:
        return text
    if not system.period.holds(on):
        return ""
    if concept_map.matches(text, source):
        return text
    concept = terminology.find(source, text, on)
    return concept.code if concept else text


def translation(terminology: Terminology, map_key: str, asked: Asked) -> Resource:
    """ConceptMap/$translate (R4 section 4.10.8) as Parameters: result, message, match.

    Raises FhirError(NOT_FOUND) for a map that is not loaded.
    """
    concept_map = terminology.concept_map(map_key)
    if concept_map is None:
        raise FhirError(Kind.NOT_FOUND, f"the concept map {map_key[:200]!r} is not loaded")
    if asked.reverse:
        found = concept_map.reverse(asked.code, asked.system)
    elif concept_map.period.holds(asked.on):
        found = concept_map.matches(asked.code, asked.system)
    else:
        found = []
    if asked.target is not None:
        found = [match for match in found if match.system == asked.target]
    parts: list[Resource] = [{"name": "result", "valueBoolean": bool(found)}]
    if not found:
        parts.append({"name": "message", "valueString": f"{asked.code!r} has no match in {concept_map.title}"})
    parts += [{"name": "match", "part": _match(terminology, match, concept_map.url)} for match in found]
    return {"resourceType": "Parameters", "parameter": parts}


def _match(terminology: Terminology, match: Match, source: str) -> list[Resource]:
    display = match.display or _display(terminology, match.system, match.code)
    return [
        {"name": "equivalence", "valueCode": match.equivalence},
        {"name": "concept", "valueCoding": Coding(match.system, match.code, display).resource()},
        {"name": "source", "valueUri": source},
    ]


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
