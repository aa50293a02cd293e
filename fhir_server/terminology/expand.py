"""ValueSet/$expand, and the codes that search modifiers stand for. R4 sections 4.9.16 and 3.1.1.5.5."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import CodeSystem, Concept
from fhir_server.terminology.folding import fold_words
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.membership import members

# Entries of one answer, when the caller asks for no fewer.
PAGE_LIMIT = 1_000
# Codes that one search modifier may stand for.
SEARCH_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Expansion:
    """What is asked of an expansion. filter: words that each must begin a word of a name, marks aside. on: as of a
    day. limit: most entries without a count."""

    filter: str | None = None
    offset: int = 0
    count: int | None = None
    active_only: bool = False
    include_designations: bool = False
    display_language: str | None = None
    on: date | None = None
    limit: int = PAGE_LIMIT


def expand(terminology: Terminology, value_set: Resource, asked: Expansion, timestamp: str) -> Resource:
    """The value set with its expansion: the page that is asked for, and the total.

    timestamp: an R4 dateTime. Memory: one page. Raises FhirError(TOO_COSTLY) when there are more than `limit` codes and
    no count was asked for, FhirError(UNPROCESSABLE) when the codes cannot be listed, FhirError(VALUE) for a negative
    offset or count.
    """
    if asked.offset < 0 or (asked.count is not None and asked.count < 0):
        raise FhirError(Kind.VALUE, "offset and count are not negative")
    total, contains = 0, []
    last = asked.offset + (asked.count if asked.count is not None else asked.limit)
    for system, concept in _chosen(terminology, value_set, asked):
        if asked.offset <= total < last:
            contains.append(_entry(terminology, system, concept, asked))
        total += 1
    if asked.count is None and total - asked.offset > asked.limit:
        why = f"{total} codes, and an answer holds {asked.limit}: ask for a count and an offset"
        raise FhirError(Kind.TOO_COSTLY, why)
    kept = {name: value for name, value in value_set.items() if name not in ("compose", "expansion", "text")}
    expansion: dict[str, Any] = {
        "identifier": f"{value_set.get('url', 'urn:vn-basic:ValueSet')}#expansion",
        "timestamp": timestamp,
        "total": total,
        "offset": asked.offset,
    }
    if asked.filter or asked.count is not None or asked.active_only or asked.display_language:
        expansion["parameter"] = _parameters(asked)
    if contains:
        expansion["contains"] = contains
    return {**kept, "expansion": expansion}


def _parameters(asked: Expansion) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    if asked.filter:
        told.append({"name": "filter", "valueString": asked.filter})
    if asked.count is not None:
        told.append({"name": "count", "valueInteger": asked.count})
    if asked.active_only:
        told.append({"name": "activeOnly", "valueBoolean": True})
    if asked.display_language:
        told.append({"name": "displayLanguage", "valueCode": asked.display_language})
    return told


def _chosen(terminology: Terminology, value_set: Resource, asked: Expansion) -> Iterator[tuple[str, Concept]]:
    words = fold_words(asked.filter) if asked.filter else ()
    found = members(terminology, value_set, asked.on)
    if asked.active_only:
        found = ((system, concept) for system, concept in found if concept.active(asked.on))
    return _named(terminology, found, words) if words else found


def _named(
    terminology: Terminology, found: Iterator[tuple[str, Concept]], words: tuple[str, ...]
) -> Iterator[tuple[str, Concept]]:
    """Those of which one name has, for each word, a word that begins with it, or whose code begins with the text."""
    by_system: dict[str, frozenset[str]] = {}
    for system, concept in found:
        if system not in by_system:
            loaded = terminology.code_system(system)
            by_system[system] = loaded.beginning(words) if loaded is not None else frozenset()
        if (
            concept.code in by_system[system]
            or _begins(concept.code, words)
            or _bears(terminology, system, concept, words)
        ):
            yield system, concept


def _begins(code: str, words: tuple[str, ...]) -> bool:
    return len(words) == 1 and code.casefold().startswith(words[0])


def _bears(terminology: Terminology, system: str, concept: Concept, words: tuple[str, ...]) -> bool:
    """The same for a concept whose names stand in the value set alone."""
    if concept.display is None or terminology.knows(system, concept.code):
        return False
    parts = fold_words(concept.display)
    return all(any(part.startswith(word) for part in parts) for word in words)


def _entry(terminology: Terminology, system: str, concept: Concept, asked: Expansion) -> dict[str, Any]:
    entry: dict[str, Any] = {"system": system} if system else {}
    if concept.abstract:
        entry["abstract"] = True
    if not concept.active(asked.on):
        entry["inactive"] = True
    entry["code"] = concept.code
    display = concept.display_in(asked.display_language) or _display(terminology, system, concept.code)
    if display:
        entry["display"] = display
    if asked.include_designations and concept.designations:
        entry["designation"] = [designation(one.value, one.language) for one in concept.designations]
    return entry


def designation(value: str, language: str | None) -> dict[str, str]:
    """A designation as FHIR JSON."""
    return {"language": language, "value": value} if language else {"value": value}


def _display(terminology: Terminology, system: str, code: str) -> str | None:
    found = terminology.code_system(system)
    concept = found.get(code) if found else None
    return concept.display if concept else None


def codes(terminology: Terminology, modifier: str, value: str) -> Iterable[tuple[str, str]]:
    """The (system, code) pairs that a search modifier stands for.

    modifier `in`: value is the canonical URL (or id) of a value set. `below` and `above`: value is `system|code`; the
    code itself belongs to both (R4 section 3.1.1.5.5). Raises FhirError(INVALID) for what is not loaded,
    FhirError(TOO_COSTLY) for more than SEARCH_LIMIT codes, FhirError(UNPROCESSABLE) for codes that cannot be listed.
    """
    found: list[tuple[str, str]] = []
    for pair in _in(terminology, value) if modifier == "in" else _hierarchy(terminology, modifier, value):
        found.append(pair)
        if len(found) > SEARCH_LIMIT:
            raise FhirError(Kind.TOO_COSTLY, f":{modifier} stands for more than {SEARCH_LIMIT} codes")
    return found


def _in(terminology: Terminology, value: str) -> Iterator[tuple[str, str]]:
    value_set = terminology.value_set(value) or terminology.value_set(value.removeprefix("ValueSet/"))
    if value_set is None:
        raise FhirError(Kind.INVALID, f"the value set {value[:200]!r} is not loaded")
    return ((system, concept.code) for system, concept in members(terminology, value_set))


def _hierarchy(terminology: Terminology, modifier: str, value: str) -> Iterator[tuple[str, str]]:
    url, bar, code = value.partition("|")
    system = terminology.code_system(url) if bar else None
    if system is None:
        raise FhirError(Kind.INVALID, f":{modifier} needs system|code of a code system that is loaded")
    if system.has(code) is False:
        raise FhirError(Kind.INVALID, f"{system.url} has no code {code[:100]!r}")
    yield url, code
    for one in sorted(_related(system, modifier, code)):
        yield url, one


def _related(system: CodeSystem, modifier: str, code: str) -> set[str]:
    if not system.subsuming:
        return set()
    if modifier == "above":
        return system.ancestors(code)
    if not system.complete and system.shape is not None:
        raise FhirError(Kind.UNPROCESSABLE, f"the codes of {system.url} cannot be listed: only their shape is known")
    return system.descendants(code)
