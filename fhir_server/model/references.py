"""References between resources: their text forms, and rewriting them through a whole resource. R4 section 2.3."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.model.resources import Resource

# R4 section 2.24.0.1: the id type, and the shape of a RESTful reference.
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_RESTFUL = re.compile(
    r"(?P<base>https?://[^?#]+/)?(?P<type>[A-Z][A-Za-z]{1,63})/(?P<id>[A-Za-z0-9\-.]{1,64})"
    r"(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?"
)
_LINK = re.compile(r"""(\s(?:href|src)\s*=\s*)("[^"<]*"|'[^'<]*')""")


def is_id(text: object) -> bool:
    """True for a text that R4 allows as a logical id."""
    return isinstance(text, str) and ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Literal:
    """A RESTful reference taken apart; base is None for a relative one and ends with a slash otherwise."""

    base: str | None
    type: str
    id: str
    version: str | None


def literal(text: str) -> Literal | None:
    """`Patient/1`, `http://a.b/fhir/Patient/1/_history/2` taken apart; None for any other form (urn:, #, ?, …)."""
    found = _RESTFUL.fullmatch(text)
    return Literal(found["base"], found["type"], found["id"], found["version"]) if found else None


def conditional(text: str) -> tuple[str, str] | None:
    """`Patient?identifier=x` as (type, query), the form of a conditional reference (R4 section 3.1.0.11.2)."""
    type, mark, query = text.partition("?")
    return (type, query) if mark and type.isalpha() and type[:1].isupper() else None


def references(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(FHIRPath, text) of every Reference.reference below a value, contained resources included."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "reference" and isinstance(item, str):
                yield f"{path}.reference", item
            else:
                yield from references(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from references(item, f"{path}[{place}]")


def rewrite(resource: Resource, change: Callable[[str], str], uri_names: Collection[str]) -> Resource:
    """The resource with `change` applied to each link: Reference.reference, elements named in uri_names (those of type
    uri, url, oid, uuid) and href or src in narrative. R4 section 3.1.0.11.2 says which. The input stays as it was.
    """

    def walk(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, name) for item in value]
        if isinstance(value, str):
            if name == "reference" or name in uri_names:
                return change(value)
            if name == "div":
                return _LINK.sub(lambda m: f"{m[1]}{m[2][0]}{change(m[2][1:-1])}{m[2][0]}", value)
        return value

    return {key: walk(item, key) for key, item in resource.items()}


def by_table(table: Mapping[str, str]) -> Callable[[str], str]:
    """A change for `rewrite`: exact links through a table, a `#fragment` kept."""

    def change(link: str) -> str:
        if link in table:
            return table[link]
        whole, mark, fragment = link.partition("#")
        return f"{table[whole]}#{fragment}" if mark and whole in table else link

    return change
