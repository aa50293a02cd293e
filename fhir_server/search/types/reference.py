"""Reference parameters: relative, absolute, versioned, canonical and by identifier (R4 Search, reference)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhir_server.model.references import is_id, literal
from fhir_server.search.clauses import Few, beginning, between, key
from fhir_server.search.compile import disjunction, one_of
from fhir_server.search.entry import IDENTIFIER, PART, Entry, Write, plain
from fhir_server.search.escapes import split, unescape
from fhir_server.search.lookup import Lookup, Setting, unknown_modifier, unusable
from fhir_server.search.parts import Part, Parts, Sought
from fhir_server.search.path import Path
from fhir_server.search.tree import Leaf
from fhir_server.store.values import NOTHING, Filter

_CANONICAL = frozenset({"canonical", "uri", "url", "oid", "uuid"})

# What points at one of these is about one person.
_OF_ONE_PERSON = frozenset({"Patient", "RelatedPerson", "Person", "Encounter", "EpisodeOfCare"})

MODIFIERS = frozenset({"identifier", "below"})


def writers(
    letters: str, paths: tuple[Path, ...], setting: Setting, elsewhere: frozenset[str] = frozenset()
) -> Iterator[tuple[Path, Write]]:
    """For each path of a parameter the function that writes the keys of one of its values. elsewhere: the resource
    types that other parameters keep the references to."""
    for path in paths:
        if path.type == "Reference":
            yield path, _reference_writer(letters, setting.base, elsewhere)
        elif path.type in _CANONICAL:
            yield path, lambda value, entry: _write_canonical(letters, value, entry)
        elif path.type == "Resource":
            yield path, lambda value, entry: _write_nested(letters, value, entry)


def _reference_writer(letters: str, base: str, elsewhere: frozenset[str]) -> Write:
    def write(value: Any, entry: Entry) -> None:
        text = value.get("reference")
        # A contained resource cannot be pointed at from outside.
        if text and text[0] != "#":
            target, version, type = local(text, base)
            entry.extend_sort(letters, target)
            if type not in elsewhere:
                entry.keys.add(letters + target)
                if version:
                    entry.keys.add(f"{letters}{target}{PART}{version}")
        identifier = value.get("identifier")
        if identifier:
            _write_identifier(letters + IDENTIFIER, identifier, entry)

    return write


def _write_identifier(letters: str, value: Any, entry: Entry) -> None:
    code, system = value.get("value"), value.get("system")
    number = entry.number(system) if system else ""
    if number:
        entry.keys.add(f"{letters}{PART}{number}")
    if code:
        entry.keys.update((letters + plain(code), f"{letters}{plain(code)}{PART}{number}"))


def _write_canonical(letters: str, value: str, entry: Entry) -> None:
    if value[0] == "#":
        return
    entry.keys.add(letters + plain(value))
    entry.extend_sort(letters, plain(value))
    address, bar, _ = value.partition("|")
    if bar:
        entry.keys.add(letters + plain(address))


def _write_nested(letters: str, value: Any, entry: Entry) -> None:
    if value.get("id"):
        target = f"{value['resourceType']}/{value['id']}"
        entry.keys.add(letters + target)
        entry.extend_sort(letters, target)


def readers(paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Parts]]:
    """The parts of references within a composite: the target `r`."""
    for path in paths:
        if path.type == "Reference":
            yield path, lambda value, entry: _target_parts(value.get("reference"), setting.base)
        elif path.type in _CANONICAL:
            yield path, lambda value, entry: _target_parts(value, setting.base)


def _target_parts(text: str | None, base: str) -> tuple[Part, ...]:
    if not text or text[0] == "#":
        return ()
    target, _, _ = local(text, base)
    return (Part((target,), {"r": target}),)


def local(text: str, base: str) -> tuple[str, str | None, str | None]:
    """A reference as it stands in keys, its version and the type it points at: relative when it is below our own base
    URL; without version and type when it is no RESTful reference."""
    found = literal(text)
    if found is None:
        return plain(text), None, None
    if found.base is None or found.base == f"{base}/":
        return f"{found.type}/{found.id}", found.version, found.type
    return plain(f"{found.base}{found.type}/{found.id}"), found.version, found.type


# --- queries ---------------------------------------------------------------------------------------------------------


def filter(leaf: Leaf, letters: str, lookup: Lookup) -> Filter:
    """Raises FhirError for a modifier or value that references do not have, and UnknownSystems."""
    types = {path.type for path in lookup.paths(leaf.type, leaf.param)}
    match leaf.modifier:
        case None:
            return _pointing(leaf, letters, lookup)
        case "identifier" if "Reference" in types:
            return disjunction(_identifier(leaf, value, letters + IDENTIFIER, lookup) for value in leaf.values)
        case "below" if types & _CANONICAL:
            return disjunction(_version_below(unescape(value), letters) for value in leaf.values)
    raise unknown_modifier(leaf)


def _pointing(leaf: Leaf, letters: str, lookup: Lookup) -> Filter:
    code = leaf.param.code
    values = [_targets(leaf, value, lookup) for value in leaf.values]
    targets = [target for ways in values for target in ways]
    if len(lookup.homes(leaf.type, code)) == 1:
        found = one_of("k", [letters + target for target, _ in targets])
    else:
        found = one_of("k", [lookup.letters(leaf.type, code, type) + target for target, type in targets])
    return Few(found) if all(any(type in _OF_ONE_PERSON for _, type in ways) for ways in values) else found


def seek(leaf: Leaf, value: str, paths: tuple[Path, ...], lookup: Lookup) -> Sought:
    """What a value asks of one reference within a composite."""
    targets = [target for target, _ in _targets(leaf, value, lookup)]
    return Sought({"r": {"$in": targets}}, exact=targets[0] if len(targets) == 1 else None)


def _targets(leaf: Leaf, value: str, lookup: Lookup) -> tuple[tuple[str, str | None], ...]:
    """`id`, `Type/id`, a URL, or a canonical URL with or without `|version`: as it may stand in keys, and the type it
    points at."""
    text = unescape(value)
    if not text:
        raise unusable(leaf.param.code, value, "is empty")
    if is_id(text):
        return (*((f"{type}/{text}", type) for type in leaf.param.targets), (text, None))
    target, version, type = local(text, lookup.base)
    return ((f"{target}{PART}{version}" if version else target, type),)


def _version_below(text: str, letters: str) -> Filter:
    """R4 Search, References and Versions: every version of a canonical URL, or those that begin with `|1`."""
    address, bar, version = text.partition("|")
    if bar:
        return disjunction(
            [
                key(f"{letters}{address}|{version}"),
                between(f"{letters}{address}|{version}.", f"{letters}{address}|{version}/"),
            ]
        )
    return disjunction([key(letters + address), beginning(f"{letters}{address}|")])


def _identifier(leaf: Leaf, value: str, letters: str, lookup: Lookup) -> Filter:
    parts = split(value, "|", 1)
    code = plain(unescape(parts[-1]))
    if len(parts) == 1:
        return key(letters + code)
    system = unescape(parts[0])
    if not system and not code:
        raise unusable(leaf.param.code, value, "has neither system nor value")
    number = lookup.number(system) if system else ""
    if number is None:
        return NOTHING
    return key(f"{letters}{code}{PART}{number}" if code else f"{letters}{PART}{number}")
