"""`_text` and `_content`: words of the narrative and of everything in a resource (R4 section 3.1.1.4.20).

The distinct folded words are kept in `x` as one text. They have no keys: a search by them walks whatever else the query
narrows, under the work limit, and costs the other searches nothing.
"""

from __future__ import annotations

import html
import re
from typing import Any

from fhir_server.model.remember import remembered
from fhir_server.search.clauses import each, holds
from fhir_server.search.compile import disjunction
from fhir_server.search.entry import Entry, Write
from fhir_server.search.escapes import unescape
from fhir_server.search.fold import words
from fhir_server.search.lookup import unknown_modifier, unusable
from fhir_server.search.tree import Leaf
from fhir_server.store.contract import Filter

CODES = frozenset({"_text", "_content"})
_MARKUP = re.compile(r"<[^>]*>")
# What names things for machines, or is no text at all.
_NOT_READ = frozenset({"id", "resourceType", "reference", "system", "url", "fullUrl", "profile", "data", "meta"})
_LONGEST_WORD = 48
_LONGEST = 8_192


def writer(letters: str, code: str) -> Write:
    """The function that keeps the words of a resource."""
    gather = _gather_narrative if code == "_text" else _gather

    def write(resource: Any, entry: Entry) -> None:
        found: dict[str, None] = {}
        gather(resource, found)
        if found:
            entry.sort[letters] = {"f": [f" {' '.join(found)}"[:_LONGEST]]}

    return write


def _gather_narrative(resource: Any, found: dict[str, None]) -> None:
    div = (resource.get("text") or {}).get("div")
    if div:
        found.update(_words(read_markup(div)))


def _gather(value: Any, found: dict[str, None]) -> None:
    for name, item in value.items():
        if name in _NOT_READ:
            continue
        if isinstance(item, str):
            found.update(_words(read_markup(item) if name == "div" else item))
        elif isinstance(item, dict):
            _gather(item, found)
        elif isinstance(item, list):
            for one in item:
                if isinstance(one, dict):
                    _gather(one, found)
                elif isinstance(one, str):
                    found.update(_words(one))


@remembered(32_768)
def _words(text: str) -> dict[str, None]:
    return dict.fromkeys(word[:_LONGEST_WORD] for word in words(text))


def read_markup(div: str) -> str:
    """The text of an XHTML narrative."""
    return html.unescape(_MARKUP.sub(" ", div))


def filter(leaf: Leaf, letters: str) -> Filter:
    """Every word of a value begins some word that is kept. Raises FhirError for a modifier and for an empty value."""
    if leaf.modifier is not None:
        raise unknown_modifier(leaf)
    return disjunction(_one(leaf, unescape(value), letters) for value in leaf.values)


def _one(leaf: Leaf, text: str, letters: str) -> Filter:
    if not text.strip():
        raise unusable(leaf.param.code, text, "is empty")
    return each(holds(f"{letters}.f", f" {word[:_LONGEST_WORD]}") for word in dict.fromkeys(words(text)))
