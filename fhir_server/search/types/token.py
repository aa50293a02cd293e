"""Token parameters: codes, codings, identifiers, flags (R4 Search, token).

A coding writes three keys, so that each form of query is one equality: `code`, `code` with its system's number, and the
number alone. Where no value has a system of its own (code, boolean, string, ContactPoint, …) there is one key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fhir_server.model.remember import remembered
from fhir_server.search.clauses import Few, beginning, each, key
from fhir_server.search.compile import disjunction
from fhir_server.search.entry import OF_TYPE, PART, TEXT, Entry, Write, plain
from fhir_server.search.escapes import split, unescape
from fhir_server.search.fold import words
from fhir_server.search.lookup import Lookup, Setting, unknown_modifier, unusable
from fhir_server.search.parts import Part, Parts, Sought
from fhir_server.search.path import Path
from fhir_server.search.tree import Leaf
from fhir_server.store.values import NOTHING, Filter

# Types whose values carry a system of their own.
CODED = frozenset({"Coding", "CodeableConcept", "Identifier"})
# FHIR: 3.1.1.4.10 forbids the pipe for these.
_WITHOUT_PIPE = frozenset({"ContactPoint", "boolean", "uri", "url"})
_MIME_TYPES = frozenset({"contenttype", "content-type"})
_MOST_WORDS = 16
_LONGEST_WORD = 64

MODIFIERS = frozenset({"text", "in", "below", "above", "of-type", "not", "not-in"})


def writers(letters: str, paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Write]]:
    """For each path of a parameter the function that writes the keys of one of its values."""
    coded = any(path.type in CODED for path in paths)
    for path in paths:
        write = _writer(letters, path, coded)
        if write is not None:
            yield path, write


def _writer(letters: str, path: Path, coded: bool) -> Write | None:
    match path.type:
        case "Coding":
            return lambda value, entry: write_coding(letters, value, entry)
        case "CodeableConcept":
            return lambda value, entry: _write_concept(letters, value, entry)
        case "Identifier":
            return lambda value, entry: write_identifier(letters, value, entry)
        case "ContactPoint":
            return lambda value, entry: _write_bare(letters, value.get("value"), entry)
        case "boolean":
            return lambda value, entry: _write_bare(letters, "true" if value else "false", entry)
        case "code" if coded and len(path.systems) == 1:
            system = path.systems[0]
            return lambda value, entry: write_coding(letters, {"code": value, "system": system}, entry)
        case "string" | "markdown":
            return lambda value, entry: _write_bare(letters, value.casefold(), entry)
        case name if name[:1].islower():
            return lambda value, entry: _write_bare(letters, str(value), entry)
    return None


def write_coding(letters: str, value: Any, entry: Entry, code_name: str = "code") -> None:
    code, system = value.get(code_name), value.get("system")
    number = entry.number(system) if system else None
    if code:
        code = plain(code)
        entry.extend_sort(letters, code)
    entry.keys.update(_coding_keys(value.get("display") or "", code or "", number, letters))


@remembered(16_384)
def _coding_keys(display: str, code: str, number: str | None, letters: str) -> tuple[str, ...]:
    """Few codings make up most of what is stored. number: of the system, None where there is none."""
    keys = [] if number is None else [f"{letters}{PART}{number}"]
    if code:
        keys += [letters + code, f"{letters}{code}{PART}{number or ''}"]
    return (*keys, *_text_keys(display, letters)) if display else tuple(keys)


def _write_concept(letters: str, value: Any, entry: Entry) -> None:
    for coding in value.get("coding") or ():
        write_coding(letters, coding, entry)
    text = value.get("text")
    if text:
        _write_text(letters, text, entry)


def write_identifier(letters: str, value: Any, entry: Entry) -> None:
    write_coding(letters, value, entry, "value")
    type, code = value.get("type"), value.get("value")
    if not type:
        return
    if type.get("text"):
        _write_text(letters, type["text"], entry)
    for coding in type.get("coding") or ():
        if code and coding.get("code"):
            number = entry.number(coding["system"]) if coding.get("system") else ""
            entry.keys.add(f"{letters}{OF_TYPE}{plain(coding['code'])}{PART}{number}{PART}{plain(code)}")


def _write_bare(letters: str, value: str | None, entry: Entry) -> None:
    if value:
        value = plain(value)
        entry.keys.add(letters + value)
        entry.extend_sort(letters, value)


def _write_text(letters: str, text: str, entry: Entry) -> None:
    entry.keys.update(_text_keys(text, letters))


@remembered(16_384)
def _text_keys(text: str, letters: str) -> tuple[str, ...]:
    """The whole text, and each of its words after the first, so that a search may start at any word."""
    found = words(text)
    whole = f"{letters}{TEXT}{' '.join(found)[:_LONGEST_WORD]}"
    return (whole, *(f"{letters}{TEXT}{word[:_LONGEST_WORD]}" for word in found[1:_MOST_WORDS]))


def readers(paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Parts]]:
    """The parts of tokens within a composite: code `c` and, for types that have one, the number `s` of the system."""
    coded = any(path.type in CODED for path in paths)
    for path in paths:
        parts = _parts_reader(path, coded)
        if parts is not None:
            yield path, parts


def _parts_reader(path: Path, coded: bool) -> Parts | None:
    match path.type:
        case "Coding":
            return lambda value, entry: _coding_parts((value,), entry, "code")
        case "Identifier":
            return lambda value, entry: _coding_parts((value,), entry, "value")
        case "CodeableConcept":
            return lambda value, entry: _coding_parts(value.get("coding") or (), entry, "code")
        case "code" if coded and len(path.systems) == 1:
            system = path.systems[0]
            return lambda value, entry: _coding_parts(({"code": value, "system": system},), entry, "code")
        case "ContactPoint":
            return lambda value, entry: _bare_parts(value.get("value"))
        case "boolean":
            return lambda value, entry: _bare_parts("true" if value else "false")
        case "string" | "markdown":
            return lambda value, entry: _bare_parts(value.casefold())
        case name if name[:1].islower():
            return lambda value, entry: _bare_parts(str(value))
    return None


def _coding_parts(codings: Iterable[Any], entry: Entry, code_name: str) -> list[Part]:
    found = []
    for coding in codings:
        code, system = coding.get(code_name), coding.get("system")
        number = entry.number(system) if system else ""
        if code:
            found.append(Part((plain(code),), {"c": plain(code), "s": number}))
        elif number:
            found.append(Part(("",), {"s": number}))
    return found


def _bare_parts(value: str | None) -> tuple[Part, ...]:
    return (Part((plain(value),), {"c": plain(value)}),) if value else ()


# --- queries ---------------------------------------------------------------------------------------------------------


def filter(leaf: Leaf, letters: str, lookup: Lookup) -> Filter:
    """Raises FhirError for a modifier or value that tokens do not have, and UnknownSystems."""
    paths = lookup.paths(leaf.type, leaf.param)
    types = _types(paths)
    match leaf.modifier:
        case None:
            return disjunction(_one(leaf, value, letters, paths, lookup) for value in leaf.values)
        case "text":
            return disjunction(_text(leaf, value, letters) for value in leaf.values)
        case "of-type" if "Identifier" in types:
            return disjunction(_of_type(leaf, value, letters, lookup) for value in leaf.values)
        case "below" if leaf.param.code in _MIME_TYPES:
            return disjunction(_mime_type(value, letters) for value in leaf.values)
        case "in" | "below" | "above":
            return disjunction(
                _coding_key(system, code, letters, types, lookup)
                for value in leaf.values
                for system, code in lookup.expand(leaf.modifier, unescape(value))
            )
    raise unknown_modifier(leaf)


def _types(paths: tuple[Path, ...]) -> frozenset[str]:
    return frozenset(path.type for path in paths)


def _one(leaf: Leaf, value: str, letters: str, paths: tuple[Path, ...], lookup: Lookup) -> Filter:
    asked = _read(leaf, value, paths, lookup)
    if asked is None:
        return NOTHING
    forms, number = asked
    if not forms:
        return beginning(letters) if number is None else key(f"{letters}{PART}{number}")
    ends = forms if number is None else [f"{form}{PART}{number}" for form in forms]
    found = disjunction(key(letters + end) for end in ends)
    # Nobody shares a number with many others.
    return Few(found) if _types(paths) == {"Identifier"} else found


def seek(leaf: Leaf, value: str, paths: tuple[Path, ...], lookup: Lookup) -> Sought | None:
    """What `code`, `system|code`, `|code` or `system|` asks of one token; None when no token can satisfy it."""
    asked = _read(leaf, value, paths, lookup)
    if asked is None:
        return None
    forms, number = asked
    condition: dict[str, Any] = {"c": forms[0] if len(forms) == 1 else {"$in": list(forms)}} if forms else {}
    if number is not None:
        condition["s"] = number
    return Sought(condition, exact=forms[0] if len(forms) == 1 else None)


def _read(leaf: Leaf, value: str, paths: tuple[Path, ...], lookup: Lookup) -> tuple[tuple[str, ...], str | None] | None:
    """`code`, `system|code`, `|code` or `system|` as the forms a code may be stored in (none: any code) and the number
    of its system ("" for no system, None for any); None when nothing can match."""
    types = _types(paths)
    parts = split(value, "|", 1)
    code = unescape(parts[-1])
    forms = _forms(code, types) if code else ()
    if len(parts) == 1:
        if not code:
            raise unusable(leaf.param.code, value, "is empty")
        return forms, None
    system = unescape(parts[0])
    if types <= _WITHOUT_PIPE:
        raise unusable(leaf.param.code, value, "has a system, which values of this parameter do not have")
    if not code and not system:
        raise unusable(leaf.param.code, value, "has neither system nor code")
    if not types & CODED:
        # The system that a required binding implies is the only one that elements without a system of their own have.
        implied = {uri for path in paths for uri in path.systems}
        return None if system and implied and system not in implied else (forms, None)
    number = lookup.number(system) if system else ""
    return None if number is None else (forms, number)


def _forms(code: str, types: frozenset[str]) -> tuple[str, ...]:
    if types & {"string", "markdown"}:
        # FHIR: 3.1.1.4.10: on elements of type string a token is not case sensitive.
        return tuple(dict.fromkeys((plain(code.casefold()), plain(code))))
    return (plain(code),)


def _coding_key(system: str, code: str, letters: str, types: frozenset[str], lookup: Lookup) -> Filter:
    if not types & CODED or not system:
        return key(letters + plain(code))
    number = lookup.number(system)
    return NOTHING if number is None else key(f"{letters}{plain(code)}{PART}{number}")


def _text(leaf: Leaf, value: str, letters: str) -> Filter:
    if not value.strip():
        raise unusable(leaf.param.code, value, "is empty")
    return each(beginning(f"{letters}{TEXT}{word[:_LONGEST_WORD]}") for word in dict.fromkeys(words(unescape(value))))


def _of_type(leaf: Leaf, value: str, letters: str, lookup: Lookup) -> Filter:
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise unusable(leaf.param.code, value, "is not system|code|value")
    number = lookup.number(parts[0]) if parts[0] else ""
    if number is None:
        return NOTHING
    return Few(key(f"{letters}{OF_TYPE}{plain(parts[1])}{PART}{number}{PART}{plain(parts[2])}"))


def _mime_type(value: str, letters: str) -> Filter:
    """R4 Search, token (MIME types): `text/xml` and below it `text/xml; charset=UTF-8`."""
    base = plain(unescape(value))
    return disjunction([key(letters + base), beginning(f"{letters}{base};"), beginning(f"{letters}{base} ")])
