"""String parameters: names, addresses and other texts (R4 section 3.1.1.4.8).

A text writes its folded beginning as a key; names and whole addresses write what begins at each of their words, so that
words may be searched for in any order, and several in their own order by one range. `x` keeps the folded texts (`f`,
for sorting and `:contains`) and the texts as they stand (`e`, for `:exact`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from fhir_server.model.remember import remembered
from fhir_server.search.clauses import Sooner, beginning, each, ends, holds
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
_MOST_TAILS = 64
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
    found = dict.fromkeys(_tails(whole, parted))
    joined = f" {next(iter(found), '')} "
    for part in parts:
        tails = _tails(part, parted)
        if tails and f" {tails[0]} " not in joined:  # else the tails of the whole begin with it
            found.update(dict.fromkeys(tails))
        _remember(texts, *_kept(part))
    entry.keys.update([letters + tail for tail in islice(found, _MOST_TAILS)])


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
def _tails(text: str, parted: Words) -> tuple[str, ...]:
    """`nguyen van an`, `van an`, `an`: what a text is found by the beginning of, whichever word a search starts at."""
    found = parted(text)
    return tuple(" ".join(found[place:])[:_LONGEST_KEY] for place in range(min(len(found), _MOST_TAILS)))


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
    """The key that a resource with exactly this text has, and few others."""
    return beginning(letters + (" ".join(parted(text)) if parted else fold(text))[:_LONGEST_KEY])


def _words(found: list[str], letters: str) -> Filter:
    """Every word must begin some word of the text. Those in the order asked are found at once."""
    each_word = each(beginning(f"{letters}{word[:_LONGEST_WORD]}") for word in dict.fromkeys(found))
    joined = " ".join(found)
    if len(found) == 1 or len(joined) > _LONGEST_KEY:
        return each_word
    return Sooner(beginning(letters + joined), each_word)


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
