"""Whether a code is in a value set. R4 ValueSet, compose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from msgspec.structs import replace

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import CodeSystem, Concept, concept_of
from fhir_server.terminology.filters import Test, Verdict, as_meant, compile_filters
from fhir_server.terminology.load import Terminology

# How deep value sets may include each other.
DEPTH = 12


def is_member(
    terminology: Terminology, value_set: Resource, system: str | None, code: str, on: date | None = None
) -> Verdict:
    """True or False when it can be told; None when a system it depends on is not loaded, or only in part.

    system None asks for the code in whatever system (a `code` element has none). Raises FhirError(VALUE) for value sets
    that include each other without end, FhirError(NOT_IMPLEMENTED) for an unknown filter.
    """
    return _within(terminology, value_set, system, code, on, DEPTH)


def _within(
    terminology: Terminology, value_set: Resource, system: str | None, code: str, on: date | None, depth: int
) -> Verdict:
    if depth == 0:
        raise FhirError(Kind.VALUE, f"value sets include each other more than {DEPTH} deep")
    compose = value_set.get("compose")
    if compose is None:
        return _expanded(value_set, system, code)
    excluded = _any(_part(terminology, one, system, code, on, depth) for one in compose.get("exclude", ()))
    if excluded is True:
        return False
    included = _any(_part(terminology, one, system, code, on, depth) for one in compose.get("include", ()))
    if included is True and compose.get("inactive") is False and not _is_active(terminology, system, code, on):
        return False
    return None if included is True and excluded is None else included


def _is_active(terminology: Terminology, system: str | None, code: str, on: date | None) -> bool:
    found = terminology.code_system(system, on) if system else None
    concept = found.get(code) if found is not None else None
    return concept is None or concept.active(on)


def _any(verdicts: Iterator[Verdict]) -> Verdict:
    """True if one is, else None if one cannot be told, else False."""
    known: Verdict = False
    for verdict in verdicts:
        if verdict is True:
            return True
        if verdict is None:
            known = None
    return known


def _part(
    terminology: Terminology,
    part: Mapping[str, Any],
    system: str | None,
    code: str,
    on: date | None,
    depth: int,
) -> Verdict:
    """One include or exclude: its system, concepts and filters, and every value set it names, all of them."""
    verdict: Verdict = True
    if "system" in part:
        verdict = _in_system(terminology, part, system, code, on)
    for canonical in part.get("valueSet", ()):
        if verdict is False:
            return False
        named = terminology.value_set(canonical, on)
        inner = _within(terminology, named, system, code, on, depth - 1) if named is not None else None
        verdict = False if inner is False else verdict and inner
    return verdict


def _in_system(
    terminology: Terminology, part: Mapping[str, Any], system: str | None, code: str, on: date | None
) -> Verdict:
    if system is not None and system != part["system"]:
        return False
    if "concept" in part:
        return any(one["code"] == code for one in part["concept"])
    found = system_of(terminology, part, on)
    if found is not None and not found.period.holds(on):
        return False
    verdict = filters_of(part, found)(code)
    return False if verdict is False else verdict and _exists(found, code, on)


def system_of(terminology: Terminology, part: Mapping[str, Any], on: date | None) -> CodeSystem | None:
    """The code system of an include, in the version that it names, else in the one of the day."""
    version = part.get("version")
    return terminology.code_system(f"{part['system']}|{version}" if version else part["system"], on)


def _exists(system: CodeSystem | None, code: str, on: date | None) -> Verdict:
    if system is None:
        return None
    concept = system.get(code)
    if concept is None:
        return system.has(code)
    return concept.active(on) or on is None


def filters_of(part: Mapping[str, Any], system: CodeSystem | None) -> Test:
    """The filters of an include as one test of a code."""
    return compile_filters([as_meant(one, part.get("system")) for one in part.get("filter", ())], system)


def _expanded(value_set: Resource, system: str | None, code: str) -> Verdict:
    """A value set that is only given as its expansion."""
    expansion = value_set.get("expansion")
    if expansion is None:
        return None
    return any(
        one.get("code") == code and (system is None or one.get("system") == system)
        for one in flat(expansion.get("contains", ()))
    )


def flat(contains: Any) -> Iterator[Mapping[str, Any]]:
    """The entries of an expansion, those within others too."""
    """The entries of an expansion, those within others too."""
    for one in contains:
        yield one
        yield from flat(one.get("contains", ()))


def members(terminology: Terminology, value_set: Resource, on: date | None = None) -> Iterator[tuple[str, Concept]]:
    """(system, concept) of every member, in the order of the definition, without repetitions; one at a time.

    Raises FhirError(UNPROCESSABLE) when a member cannot be listed, because a system it needs is not loaded or only in
    part, FhirError(VALUE) for value sets that include each other without end.
    """
    return _members(terminology, value_set, on, DEPTH)


def _members(
    terminology: Terminology, value_set: Resource, on: date | None, depth: int
) -> Iterator[tuple[str, Concept]]:
    if depth == 0:
        raise FhirError(Kind.VALUE, f"value sets include each other more than {DEPTH} deep")
    if "compose" not in value_set and "expansion" in value_set:
        for one in flat(value_set["expansion"].get("contains", ())):
            if "code" in one:
                yield one.get("system", ""), Concept(one["code"], one.get("display"))
        return
    compose = value_set.get("compose", {})
    include, exclude = compose.get("include", ()), compose.get("exclude", ())
    if compose.get("inactive") is False:  # R4 ValueSet, compose: inactive codes are no members
        rest = {**value_set, "compose": {**compose, "inactive": True}}
        yield from (one for one in _members(terminology, rest, on, depth) if one[1].active(on))
        return
    if len(include) == 1 and not exclude:  # nearly every value set; nothing can come twice
        yield from _listed(terminology, include[0], on, depth)
        return
    seen: set[tuple[str, str]] = set()
    for part in include:
        for system, concept in _listed(terminology, part, on, depth):
            key = (system, concept.code)
            if key in seen:
                continue
            seen.add(key)
            verdicts = (_part(terminology, one, system, concept.code, on, depth) for one in exclude)
            if not exclude or _any(verdicts) is False:
                yield system, concept


def _listed(
    terminology: Terminology, part: Mapping[str, Any], on: date | None, depth: int
) -> Iterator[tuple[str, Concept]]:
    named = [needed(terminology, canonical, on) for canonical in part.get("valueSet", ())]
    if "system" in part:
        source = _of_system(terminology, part, on)
    elif named:
        source, named = _members(terminology, named[0], on, depth - 1), named[1:]
    else:
        return
    if not named:
        yield from source
        return
    for system, concept in source:
        verdicts = [_within(terminology, one, system, concept.code, on, depth - 1) for one in named]
        if None in verdicts:
            raise _unlisted(system, "it is only known in part")
        if all(verdicts):
            yield system, concept


def _of_system(terminology: Terminology, part: Mapping[str, Any], on: date | None) -> Iterator[tuple[str, Concept]]:
    url = part["system"]
    system = system_of(terminology, part, on)
    if "concept" in part:
        for code, one in {one["code"]: one for one in part["concept"]}.items():
            yield url, named_by(one, system.get(code) if system is not None else None)
        return
    if system is None:
        raise _unlisted(url, "it is not loaded")
    if not system.period.holds(on):
        return
    if system.shape is not None and not system.complete:
        raise _unlisted(url, "only the shape of its codes is known")
    if system.content == "not-present":
        raise _unlisted(url, "its resource has no concepts")
    chosen: Iterable[Concept] = system.concepts.values()
    if "filter" in part:
        test = filters_of(part, system)
        chosen = (concept for concept in chosen if test(concept.code))
    for concept in chosen:
        if on is None or concept.active(on):
            yield url, concept


def needed(terminology: Terminology, canonical: str, on: date | None) -> Resource:
    """A value set that another includes. Raises FhirError(UNPROCESSABLE) when it is not loaded."""
    found = terminology.value_set(canonical, on)
    if found is None:
        raise FhirError(Kind.UNPROCESSABLE, f"the value set {canonical} is not loaded")
    return found


def named_by(listed: Mapping[str, Any], known: Concept | None) -> Concept:
    """A concept as a value set lists it: its display and its designations go before those of the code system."""
    own = concept_of(listed)
    if known is None:
        return own
    names = {(one.language, one.value): one for one in (*own.designations, *known.designations)}
    return replace(known, display=own.display or known.display, designations=tuple(names.values()))


def _unlisted(system: str, why: str) -> FhirError:
    return FhirError(Kind.UNPROCESSABLE, f"the codes of {system} cannot be listed: {why}")
