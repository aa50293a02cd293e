"""Full text: whether the words of a search stand in a resource or its narrative. R4 Search, Text Search Parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape as html_text
from typing import Any

from fhir_server.model.resources import Resource, decode
from fhir_server.search.escapes import unescape
from fhir_server.search.fold import words
from fhir_server.search.tree import Content

_MARKUP = re.compile(r"<[^>]*>")


def contains(content: Content, raw: bytes) -> bool:
    """True when each word of one of the values begins a word of the resource."""
    resource: Resource = decode(raw)
    texts = [_narrative(resource)] if content.narrative else [_narrative(resource), *_texts(resource)]
    found = {word for text in texts for word in words(text)}
    return any(all(_begins(word, found) for word in words(unescape(value))) for value in content.values)


def _begins(start: str, found: set[str]) -> bool:
    return start in found or any(word.startswith(start) for word in found)


def _narrative(resource: Resource) -> str:
    return html_text(_MARKUP.sub(" ", (resource.get("text") or {}).get("div", "")))


def _texts(value: Any) -> Iterator[str]:
    """Every string of a resource but its narrative."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in ("div", "resourceType"):
                yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
