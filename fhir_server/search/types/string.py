"""String parameters: names, addresses and other texts (R4 section 3.1.1.4.8).

A text writes its folded beginning as a key; names and whole addresses write every word, so that any word may be
searched for in any order. `x` keeps the folded texts (`f`, for sorting and `:contains`) and the texts as they stand
(`e`, for `:exact`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fhir_server.model.remember import remembered
from fhir_server.search.clauses import beginning, each, ends, holds, key
from fhir_server.search.compile import disjunction
from fhir_server.search.entry import Entry, Write
from fhir_server.search.escapes import unescape
from fhir_server.search.fold import fold, words
from fhir_server.search.lookup import Lookup, Setting, unknown_modifier, unusable
from fhir_server.search.parts import Part, Parts, Sought
from fhir_server.search.paths import Child, Path
from fhir_server.search.tree import Leaf
from fhir_server.store.contract import Filter

_NAME_PARTS = ("text", "family", "given", "prefix", "suffix")
_ADDRESS_PARTS = ("text", "line", "city", "district", "state", "postalCode", "country")
_TEXTS = frozenset({"string", "markdown", "code", "id", "uri", "url", "canonical"})
_LONGEST_KEY = 96
_LONGEST_HEAD = 32
_LONGEST_WORD = 48
_MOST_WORDS = 64
# Folded texts are searched by :contains and told apart beyond the key up to this length, exact ones by a hash.
_LONGEST_TEXT = 4_096
_LONGEST_EXACT = 512
_LAST = "\U0010ffff"

MODIFIERS = frozenset({"exact", "contains"})

Words = Callable[[str], list[str]]


def writers(letters: str, paths: tuple[Path, ...], setting: Setting) -> Iterator[tuple[Path, Write]]:
    """For each path of a parameter the function that writes the keys of one of its values."""
    parted = words_of(paths)
    for path in paths:
        if path.type == "HumanName":
            yield path, lambda value, entry: _write_parts(letters, *_name(value), name_words, entry)
        elif path.type == "Address":
            yield path, lambda value, entry: _write_parts(letters, *_parts(value, _ADDRESS_PARTS), words, entry)
        elif path.type in _TEXTS:
            yield path, _text_writer(letters, parted)


def words_of(paths: tuple[Path, ...]) -> Words | None:
    """How a parameter's texts are parted into words that are found by their beginning; None when only the beginning of
    the whole text is found. Names, parts of names and whole addresses are parted."""
    if any(path.type == "HumanName" or _is_name_part(path) for path in paths):
        return name_words
    return words if any(path.type == "Address" for path in paths) else None


def _is_name_part(path: Path) -> bool:
    last = path.steps[-1] if path.steps else None
    return isinstance(last, Child) and last.name in ("family", "given") and path.type == "string"


def name_words(text: str) -> list[str]:
    """The words of a name. A comma within it parts none, so that `Richard,Muller` is one word."""
    joined = text.replace(",", "")
    return words(joined if joined.strip() else text)


def _text_writer(letters: str, parted: Words | None) -> Write:
    if parted is not None:
        return lambda value, entry: _write_parts(letters, [value], value, parted, entry)
    return lambda value, entry: _write_text(letters, value, entry)


def _parts(value: Any, names: Iterable[str]) -> tuple[list[str], str]:
    """The parts of a name or address, and the whole by which it is sorted."""
    found: list[str] = []
    for name in names:
        part = value.get(name)
        if part:
            if isinstance(part, list):
                found.extend(one for one in part if one)
            else:
                found.append(part)
    return found, value.get("text") or " ".join(found)


def _name(value: Any) -> tuple[list[str], str]:
    parts, whole = _parts(value, _NAME_PARTS)
    if value.get("text"):
        return parts, whole
    given = " ".join(one for one in value.get("given") or () if one)
    return parts, f"{value.get('family') or ''} {given}".strip() or whole


def _write_parts(letters: str, parts: list[str], whole: str, parted: Words, entry: Entry) -> None:
    if not parts:
        return
    texts = _texts(letters, entry)
    _remember(texts, *_kept(whole))
    found: set[str] = set()
    for part in parts:
        heads, folded, exact = _heads(part, parted)
        found.update(heads)
        _remember(texts, folded, exact)
    if len(found) > _MOST_WORDS:
        found = set(sorted(found)[:_MOST_WORDS])
    entry.keys.update([letters + word for word in found])


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
def _heads(text: str, parted: Words) -> tuple[tuple[str, ...], str, str]:
    """The words of a text as they stand in keys, the folded and the exact text."""
    return tuple(word[:_LONGEST_WORD] for word in parted(text)), *_kept(text)


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
    parted = words_of(lookup.paths(leaf.type, leaf.param))
    return disjunction(_one(leaf, unescape(value), letters, parted) for value in leaf.values)


def _one(leaf: Leaf, text: str, letters: str, parted: Words | None) -> Filter:
    if not text.strip():
        raise unusable(leaf.param.code, text, "is empty")
    match leaf.modifier:
        case None:
            return _words(parted(text), letters) if parted else _start(text, letters)
        case "exact":
            return each([_head(text, letters, parted), {f"x.{letters}.e": exactly(text)}])
        case "contains":
            return each([beginning(letters), holds(f"{letters}.f", fold(text))])
        case "equals":  # `eq` of _filter
            return each([_head(text, letters, parted), {f"x.{letters}.f": fold(text)[:_LONGEST_TEXT]}])
        case "ends":  # `ew` of _filter
            return each([beginning(letters), ends(f"{letters}.f", fold(text))])
    raise unknown_modifier(leaf)


def _head(text: str, letters: str, parted: Words | None) -> Filter:
    """The key that a resource with exactly this text has, and few others: its longest word, or its beginning."""
    return key(letters + (max(parted(text), key=len)[:_LONGEST_WORD] if parted else fold(text)[:_LONGEST_KEY]))


def _words(found: list[str], letters: str) -> Filter:
    return each(beginning(f"{letters}{word[:_LONGEST_WORD]}") for word in dict.fromkeys(found))


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
