"""String parameters: names, addresses and other texts (R4 Search, string).

A text writes its folded beginning as a key; names and whole addresses write their words (`search/word_keys.py`). `x`
keeps the folded texts (`f`, for sorting and `:contains`) and the texts as they stand (`e`, for `:exact`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from fhir_server.model.remember import remembered
from fhir_server.search.clauses import beginning, each, ends, holds, whole
from fhir_server.search.compile import disjunction
from fhir_server.search.entry import Entry, Write
from fhir_server.search.escapes import unescape
from fhir_server.search.fold import fold
from fhir_server.search.lookup import Lookup, Setting, unknown_modifier, unusable
from fhir_server.search.parts import Part, Parts, Sought
from fhir_server.search.path import Child, Path
from fhir_server.search.tree import Leaf
from fhir_server.search.word_keys import address_filter, address_keys, address_words, name_filter, name_keys, name_words
from fhir_server.store.values import Filter

_NAME_PARTS = ("text", "family", "given", "prefix", "suffix")
_ADDRESS_PARTS = ("text", "line", "city", "district", "state", "postalCode", "country")
_TEXTS = frozenset({"string", "markdown", "code", "id", "uri", "url", "canonical"})
_LONGEST_KEY = 96
_LONGEST_HEAD = 32
# Folded texts are searched by :contains and told apart beyond the key up to this length, exact ones by a hash.
_LONGEST_TEXT = 4_096
_LONGEST_EXACT = 512
_LAST = "\U0010ffff"

MODIFIERS = frozenset({"exact", "contains"})


@dataclass(frozen=True, slots=True)
class Parting:
    """How texts are parted into words, what keys the words of a whole and its parts have, and the filter of a query."""

    words: Callable[[str], list[str]]
    keys: Callable[[Sequence[Sequence[str]]], Iterable[str]]
    filter: Callable[[Sequence[str], str], Filter]


NAME = Parting(name_words, name_keys, name_filter)
ADDRESS = Parting(address_words, address_keys, address_filter)


def writers(letters: str, paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Write]]:
    """For each path of a parameter the function that writes the keys of one of its values."""
    for path in paths:
        if path.type == "HumanName":
            yield path, _whole_writer(letters, _name, NAME)
        elif path.type == "Address":
            yield path, _whole_writer(letters, _address, ADDRESS)
        elif path.type in _TEXTS and (part := _name_part(path)):
            # The given names of one person are searched for together.
            yield replace(path, type="HumanName", steps=path.steps[:-1]), _name_part_writer(letters, part)
        elif path.type in _TEXTS:
            yield path, lambda value, entry: _write_text(letters, value, entry)


def parting_of(paths: tuple[Path, ...]) -> Parting | None:
    """How a parameter's texts are parted into words; None when they are found by the beginning of the whole text.

    Names, parts of names and whole addresses are parted."""
    if any(path.type == "HumanName" or _name_part(path) for path in paths):
        return NAME
    return ADDRESS if any(path.type == "Address" for path in paths) else None


def _name_part(path: Path) -> str | None:
    """`family` or `given` for a path that ends there."""
    last = path.steps[-1] if path.steps else None
    return last.name if isinstance(last, Child) and last.name in ("family", "given") and path.type == "string" else None


def _whole_writer(letters: str, texts: Callable[[Any], list[str]], parting: Parting) -> Write:
    def write(value: Any, entry: Entry) -> None:
        found = texts(value)
        if found:
            _write_words(letters, found, parting, entry)

    return write


def _name_part_writer(letters: str, name: str) -> Write:
    def write(value: Any, entry: Entry) -> None:
        found = _parts(value, (name,))
        if found:
            _write_words(letters, found, NAME, entry)

    return write


def _parts(value: Any, names: Iterable[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        part = value.get(name)
        if part:
            if isinstance(part, list):
                found.extend(one for one in part if one)
            else:
                found.append(part)
    return found


def _address(value: Any) -> list[str]:
    """The whole address, by which it is sorted, and its parts."""
    parts = _parts(value, _ADDRESS_PARTS)
    return parts if value.get("text") or len(parts) < 2 else [" ".join(parts), *parts]


def _name(value: Any) -> list[str]:
    """The whole name, by which it is sorted, and its parts."""
    parts = _parts(value, _NAME_PARTS)
    if value.get("text") or len(parts) < 2:
        return parts
    given = " ".join(one for one in value.get("given") or () if one)
    whole = f"{value.get('family') or ''} {given}".strip()
    return [whole, *parts] if whole else parts


def _write_words(letters: str, texts: list[str], parting: Parting, entry: Entry) -> None:
    """texts: the whole and its parts."""
    kept = _texts(letters, entry)
    for text in texts:
        _remember(kept, *_kept(text))
    entry.keys.update([letters + key for key in _keys("\n".join(texts), parting)])


@remembered(32_768)
def _keys(lines: str, parting: Parting) -> tuple[str, ...]:
    return tuple(parting.keys([parting.words(text) for text in lines.split("\n") if text]))


def _write_text(letters: str, value: str, entry: Entry) -> None:
    folded, exact = _kept(value)
    entry.keys.add(letters + folded[:_LONGEST_KEY])
    _remember(_texts(letters, entry), folded, exact)


def _texts(letters: str, entry: Entry) -> tuple[list[str], list[str]]:
    """The folded and the exact texts that are kept for a parameter."""
    found = entry.sort.get(letters)
    if found is None:
        found = entry.sort[letters] = {"f": [], "e": []}
    return found["f"], found["e"]


def _remember(texts: tuple[list[str], list[str]], folded: str, exact: str) -> None:
    if folded not in texts[0]:
        texts[0].append(folded)
    if exact not in texts[1]:
        texts[1].append(exact)


@remembered(32_768)
def _kept(text: str) -> tuple[str, str]:
    return fold(text)[:_LONGEST_TEXT], exactly(text)


def exactly(text: str) -> str:
    """A text as `:exact` compares it: itself, or its beginning and a hash when it is long."""
    if len(text) <= _LONGEST_EXACT:
        return text
    return text[:_LONGEST_EXACT] + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def readers(paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Parts]]:
    """The parts of texts within a composite: the folded text `f`."""
    for path in paths:
        if path.type in _TEXTS:
            yield path, lambda value, entry: (Part((fold(value)[:_LONGEST_HEAD],), {"f": fold(value)[:_LONGEST_TEXT]}),)


# --- queries ---------------------------------------------------------------------------------------------------------


def filter(leaf: Leaf, letters: str, lookup: Lookup) -> Filter:
    """Raises FhirError for a modifier that strings do not have and for an empty value."""
    parting = parting_of(lookup.paths(leaf.type, leaf.param))
    return disjunction(_one(leaf, unescape(value), letters, parting) for value in leaf.values)


def _one(leaf: Leaf, text: str, letters: str, parting: Parting | None) -> Filter:
    if not text.strip():
        raise unusable(leaf.param.code, text, "is empty")
    match leaf.modifier:
        case None:
            return parting.filter(parting.words(text), letters) if parting else _start(text, letters)
        case "exact":
            return each([_head(text, letters, parting), {f"x.{letters}.e": exactly(text)}])
        case "contains":
            return each([whole(letters), holds(f"{letters}.f", fold(text))])
        case "equals":  # `eq` of _filter
            return each([_head(text, letters, parting), {f"x.{letters}.f": fold(text)[:_LONGEST_TEXT]}])
        case "ends":  # `ew` of _filter
            return each([whole(letters), ends(f"{letters}.f", fold(text))])
    raise unknown_modifier(leaf)


def _head(text: str, letters: str, parting: Parting | None) -> Filter:
    """Keys that a resource with exactly this text has, and few others."""
    return parting.filter(parting.words(text), letters) if parting else beginning(letters + fold(text)[:_LONGEST_KEY])


def _start(text: str, letters: str) -> Filter:
    folded = fold(text)
    start = beginning(letters + folded[:_LONGEST_KEY])
    if len(folded) <= _LONGEST_KEY:
        return start
    rest = folded[:_LONGEST_TEXT]
    return each([start, {f"x.{letters}.f": {"$elemMatch": {"$gte": rest, "$lt": rest + _LAST}}}])


def seek(leaf: Leaf, value: str, paths: tuple[Path, ...], lookup: Lookup) -> Sought:
    """What a value asks of one text within a composite: to begin with it."""
    text = unescape(value)
    if not text.strip():
        raise unusable(leaf.param.code, value, "is empty")
    start = fold(text)[:_LONGEST_TEXT]
    head = start[:_LONGEST_HEAD]
    return Sought({"f": {"$gte": start, "$lt": start + _LAST}}, low=head, high=head + _LAST)
