"""ValueSet/$expand, and the codes that search modifiers stand for. R4 Search, Modifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import CodeSystem, Concept, Designation
from fhir_server.terminology.folding import fold_words
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.loaded import MOST_CODES, LoadedSystem, concept_of_row
from fhir_server.terminology.membership import is_member, members
from fhir_server.terminology.selection import chosen, selection, systems

# Entries of one answer, when the caller asks for no count, and the most that one may ask for.
PAGE_LIMIT = 1_000
MOST_ENTRIES = 10_000

Member = tuple[str, Concept]


@dataclass(frozen=True, slots=True)
class Expansion:
    """What is asked of an expansion.

    filter: words that each must begin a word of a name, marks aside. on: as of a day. limit: most entries without a
    count. designations: `system|code` of a use or a language (`urn:ietf:bcp:47|vi`) that is wanted, none for all.
    selectable: without abstract codes. without: systems left out. checked: {system: version} that must be the ones
    used. told: (name, value[x], value) of what was asked, for `expansion.parameter`.
    """

    filter: str | None = None
    offset: int = 0
    count: int | None = None
    active_only: bool = False
    include_designations: bool = False
    include_definition: bool = False
    designations: tuple[str, ...] = ()
    display_language: str | None = None
    selectable: bool = False
    without: frozenset[str] = frozenset()
    checked: Mapping[str, str] = field(default_factory=dict)
    on: date | None = None
    limit: int = PAGE_LIMIT
    told: tuple[tuple[str, str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class _Source:
    """A part of an expansion: how many members, and those from one place on."""

    total: int
    page: Callable[[int, int], Iterable[Member]]


def expand(
    terminology: Terminology, value_set: Resource, asked: Expansion, timestamp: str, identifier: str | None = None
) -> Resource:
    """The value set with its expansion: the page that is asked for, and the total.

    timestamp: an R4 dateTime. identifier: a URI of this very expansion. Memory: one page, and for lists in memory a
    reference a code. Raises FhirError(TOO_LARGE) when there are more than `limit` codes and no count was asked for,
    FhirError(UNPROCESSABLE) when the codes cannot be listed or another version is used than the one that must be,
    FhirError(VALUE) for a negative offset or count; and Unread.
    """
    if asked.offset < 0 or (asked.count is not None and asked.count < 0):
        raise FhirError(Kind.VALUE, "offset and count are not negative")
    used = systems(terminology, value_set, asked.on)
    _check_versions(used, asked.checked)
    sources = list(_sources(terminology, value_set, asked, used))
    total = sum(source.total for source in sources)
    if asked.count is None and total - asked.offset > asked.limit:
        why = f"{total} codes, and an answer holds {asked.limit}: ask for a count and an offset"
        raise FhirError(Kind.TOO_LARGE, why)
    most = min(asked.count if asked.count is not None else asked.limit, MOST_ENTRIES)
    contains = [_entry(terminology, used, *member, asked) for member in _window(sources, asked.offset, most)]
    expansion: dict[str, Any] = {
        "identifier": identifier or f"{value_set.get('url', 'urn:vn-basic:ValueSet')}#expansion",
        "timestamp": timestamp,
        "total": total,
        "offset": asked.offset,
    }
    told = [*_told(asked), *_versions(used)]
    if told:
        expansion["parameter"] = told
    if contains:
        expansion["contains"] = contains
    dropped = {"expansion", "text"} | (set() if asked.include_definition else {"compose"})
    return {**{name: value for name, value in value_set.items() if name not in dropped}, "expansion": expansion}


def _check_versions(used: Mapping[str, CodeSystem | None], wanted: Mapping[str, str]) -> None:
    for url, version in wanted.items():
        found = used.get(url)
        if found is not None and found.version != version:
            text = f"the expansion would use {url} in version {found.version}, not {version}"
            raise FhirError(Kind.UNPROCESSABLE, text)


def _told(asked: Expansion) -> list[dict[str, Any]]:
    told = [{"name": name, key: value} for name, key, value in asked.told]
    if asked.count is not None and asked.count > MOST_ENTRIES:
        told = [one for one in told if one["name"] != "count"]
        told.append({"name": "count", "valueInteger": MOST_ENTRIES})
    return told


def _versions(used: Mapping[str, CodeSystem | None]) -> Iterator[dict[str, Any]]:
    """R4 ValueSet, expansion: the versions of the code systems that the expansion was made from."""
    for url, system in used.items():
        if system is not None and system.version:
            yield {"name": "version", "valueUri": f"{url}|{system.version}"}


def _window(sources: Iterable[_Source], offset: int, most: int) -> Iterator[Member]:
    for source in sources:
        if most <= 0:
            return
        if offset >= source.total:
            offset -= source.total
            continue
        taken = min(most, source.total - offset)
        yield from source.page(offset, taken)
        offset, most = 0, most - taken


def _sources(
    terminology: Terminology, value_set: Resource, asked: Expansion, used: Mapping[str, CodeSystem | None]
) -> Iterator[_Source]:
    """One for all when every list is in memory, else one a system."""
    words = fold_words(asked.filter) if asked.filter else ()
    whole = _whole(value_set, used)
    if whole is not None:
        yield _of_whole(terminology, whole, asked, words)
        return
    if not any(isinstance(system, LoadedSystem) for system in used.values()):
        yield _listed(_chosen(terminology, members(terminology, value_set, asked.on), used, asked, words))
        return
    for url, system in used.items():
        if isinstance(system, LoadedSystem):
            if url not in asked.without and system.period.holds(asked.on):
                yield _of_table(terminology, value_set, system, asked, words)
        else:
            found = _of_list(terminology, value_set, url, system, asked.on)
            yield _listed(_chosen(terminology, found, used, asked, words))


def _whole(value_set: Resource, used: Mapping[str, CodeSystem | None]) -> CodeSystem | None:
    """The one list in memory of which a value set has every code, as most value sets do."""
    compose = value_set.get("compose", {})
    include = compose.get("include", ())
    if len(include) != 1 or "exclude" in compose or compose.get("inactive") is False:
        return None
    if not include[0].keys() <= {"system", "version"} or "system" not in include[0]:
        return None
    system = used.get(include[0]["system"])
    if system is None or isinstance(system, LoadedSystem) or system.content == "not-present":
        return None
    return system if system.complete or system.shape is None else None


def _of_whole(terminology: Terminology, system: CodeSystem, asked: Expansion, words: tuple[str, ...]) -> _Source:
    if not system.period.holds(asked.on) or system.url in asked.without:
        return _Source(0, lambda offset, most: ())
    found: Sequence[Concept] = system.listed
    if words:
        found = system.bearing(words, terminology.named_by_supplements(system.url, words))
    if asked.on is not None or asked.active_only:
        found = [one for one in found if one.active(asked.on)]
    if asked.selectable:
        found = [one for one in found if not one.abstract]
    return _Source(len(found), lambda offset, most: ((system.url, one) for one in found[offset : offset + most]))


def _listed(found: Iterable[Member]) -> _Source:
    listed = list(found)
    return _Source(len(listed), lambda offset, most: listed[offset : offset + most])


def _of_list(
    terminology: Terminology, value_set: Resource, url: str, system: CodeSystem | None, on: date | None
) -> Iterator[Member]:
    """The members that one system in memory has, or that the value set lists of a system that is not loaded."""
    named = dict(_named_in(terminology, value_set, url, on))
    listed = {**(system.concepts if system is not None else {}), **named}
    for code, concept in listed.items():
        if is_member(terminology, value_set, url, code, on) is True:
            yield url, concept


def _named_in(
    terminology: Terminology, value_set: Resource, url: str, on: date | None
) -> Iterator[tuple[str, Concept]]:
    """What the includes of a value set, and of those that it includes, list one by one."""
    for part in value_set.get("compose", {}).get("include", ()):
        if part.get("system") == url and "concept" in part:
            for _, concept in members(terminology, {"compose": {"include": [part]}}, on):
                yield concept.code, concept
        for canonical in part.get("valueSet", ()):
            inner = terminology.value_set(canonical, on)
            if inner is not None:
                yield from _named_in(terminology, inner, url, on)


def _of_table(
    terminology: Terminology, value_set: Resource, system: LoadedSystem, asked: Expansion, words: tuple[str, ...]
) -> _Source:
    within = selection(terminology, value_set, system, asked.on)
    more = terminology.named_by_supplements(system.url, words) if words else frozenset()
    filter = chosen(system, within, words, asked.active_only, asked.selectable, more)

    def page(offset: int, most: int) -> Iterator[Member]:
        for row in system.page(filter, offset, most):
            yield system.url, concept_of_row(row, system.language)

    return _Source(system.total(filter), page)


def _chosen(
    terminology: Terminology,
    found: Iterable[Member],
    used: Mapping[str, CodeSystem | None],
    asked: Expansion,
    words: tuple[str, ...],
) -> Iterator[Member]:
    """Those that the caller wants."""
    if asked.active_only:
        found = ((system, concept) for system, concept in found if concept.active(asked.on))
    if asked.selectable:
        found = ((system, concept) for system, concept in found if not concept.abstract)
    if asked.without:
        found = ((system, concept) for system, concept in found if system not in asked.without)
    return _named(terminology, iter(found), used, words) if words else iter(found)


def _named(
    terminology: Terminology,
    found: Iterator[Member],
    used: Mapping[str, CodeSystem | None],
    words: tuple[str, ...],
) -> Iterator[Member]:
    """Those of which one name has, for each word, a word that begins with it, or whose code begins with the text."""
    by_system: dict[str, frozenset[str]] = {}
    for system, concept in found:
        if system not in by_system:
            loaded = used.get(system)
            named = loaded.beginning(words) if loaded is not None else frozenset()
            by_system[system] = named | terminology.named_by_supplements(system, words)
        if concept.code in by_system[system] or _begins(concept.code, words) or _bears(concept, words):
            yield system, concept


def _begins(code: str, words: tuple[str, ...]) -> bool:
    return len(words) == 1 and code.casefold().startswith(words[0])


def _bears(concept: Concept, words: tuple[str, ...]) -> bool:
    """The same for names that stand in the value set alone."""
    for name in concept.names():
        parts = fold_words(name)
        if all(any(part.startswith(word) for part in parts) for word in words):
            return True
    return False


def _entry(
    terminology: Terminology,
    used: Mapping[str, CodeSystem | None],
    system: str,
    concept: Concept,
    asked: Expansion,
) -> dict[str, Any]:
    concept = terminology.supplemented(system, concept)
    entry: dict[str, Any] = {"system": system} if system else {}
    if concept.abstract:
        entry["abstract"] = True
    if not concept.active(asked.on):
        entry["inactive"] = True
    entry["code"] = concept.code
    display = concept.display_in(asked.display_language) or _display(used.get(system), concept.code)
    if display:
        entry["display"] = display
    if asked.include_designations or asked.designations:
        wanted = [one for one in concept.designations if _is_wanted(one, asked.designations)]
        if wanted:
            entry["designation"] = [designation(one) for one in wanted]
    return entry


def _is_wanted(one: Designation, tokens: tuple[str, ...]) -> bool:
    if not tokens:
        return True
    use = f"{one.use.get('system', '')}|{one.use.get('code', '')}" if one.use else None
    return use in tokens or (one.language is not None and f"urn:ietf:bcp:47|{one.language}" in tokens)


def designation(one: Designation) -> dict[str, Any]:
    """A designation as FHIR JSON."""
    whole = {"language": one.language, "use": one.use, "value": one.value}
    return {name: value for name, value in whole.items() if value}


def _display(system: CodeSystem | None, code: str) -> str | None:
    concept = system.get(code) if system is not None else None
    return concept.display if concept else None


# --- search ----------------------------------------------------------------------------------------------------------


def codes(terminology: Terminology, modifier: str, value: str) -> list[tuple[str, str]]:
    """The (system, code) pairs that a search modifier stands for.

    modifier `in`: value is the canonical URL (or id) of a value set. `below` and `above`: value is `system|code`; the
    code itself belongs to both (R4 Search, Modifiers). Raises FhirError(INVALID) for what is not loaded,
    FhirError(TOO_COSTLY) for more than MOST_CODES codes, FhirError(UNPROCESSABLE) for codes that cannot be listed; and
    Unread.
    """
    found: list[tuple[str, str]] = []
    for pair in _in(terminology, value) if modifier == "in" else _hierarchy(terminology, modifier, value):
        found.append(pair)
        if len(found) > MOST_CODES:
            raise FhirError(Kind.TOO_COSTLY, f":{modifier} stands for more than {MOST_CODES} codes")
    return found


def _in(terminology: Terminology, value: str) -> Iterator[tuple[str, str]]:
    value_set = terminology.value_set(value) or terminology.value_set(value.removeprefix("ValueSet/"))
    if value_set is None:
        raise FhirError(Kind.INVALID, f"the value set {value[:200]!r} is not loaded")
    used = systems(terminology, value_set, None)
    if not any(isinstance(system, LoadedSystem) for system in used.values()):
        return ((system, concept.code) for system, concept in members(terminology, value_set))
    return _in_tables(terminology, value_set, used)


def _in_tables(
    terminology: Terminology, value_set: Resource, used: Mapping[str, CodeSystem | None]
) -> Iterator[tuple[str, str]]:
    for url, system in used.items():
        if isinstance(system, LoadedSystem):
            filter = selection(terminology, value_set, system, None)
            yield from ((url, code) for code, _ in system.codes(filter, MOST_CODES + 1))
        else:
            found = _of_list(terminology, value_set, url, system, None)
            yield from ((url, concept.code) for _, concept in found)


def _hierarchy(terminology: Terminology, modifier: str, value: str) -> Iterator[tuple[str, str]]:
    url, bar, code = value.rpartition("|")
    system = terminology.code_system(url) if bar else None
    if system is None:
        raise FhirError(Kind.INVALID, f":{modifier} needs system|code of a code system that is loaded")
    if system.has(code) is False:
        raise FhirError(Kind.INVALID, f"{system.url} has no code {code[:100]!r}")
    yield system.url, code
    for one in sorted(_related(system, modifier, code)):
        yield system.url, one


def _related(system: CodeSystem, modifier: str, code: str) -> set[str]:
    if not system.subsuming:
        return set()
    if modifier == "above":
        return system.ancestors(code)
    if not system.complete and system.shape is not None:
        raise FhirError(Kind.UNPROCESSABLE, f"the codes of {system.url} cannot be listed: only their shape is known")
    return system.descendants(code)
