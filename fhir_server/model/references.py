"""References between resources: their text forms, and rewriting them in a whole resource. R4 Resource References."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec

from fhir_server.model.remember import remembered
from fhir_server.model.resources import Resource, encode

# R4 Data Types, primitive types: the id type, and the shape of a RESTful reference.
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_RESTFUL = re.compile(
    r"(?P<base>https?://[^?#]+/)?(?P<type>[A-Z][A-Za-z]{1,63})/(?P<id>[A-Za-z0-9\-.]{1,64})"
    r"(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?"
)
_LINK = re.compile(r"""(\s(?:href|src)\s*=\s*)("[^"<]*"|'[^'<]*')""")


def is_id(text: object) -> bool:
    """True for a text that R4 allows as a logical id."""
    return isinstance(text, str) and ID.fullmatch(text) is not None


class Literal(msgspec.Struct, frozen=True):
    """A RESTful reference taken apart; base is None for a relative one and ends with a slash otherwise."""

    base: str | None
    type: str
    id: str
    version: str | None


@remembered(16_384)
def literal(text: str) -> Literal | None:
    """`Patient/1`, `http://a.b/fhir/Patient/1/_history/2` taken apart; None for any other form (urn:, #, ?, …)."""
    found = _RESTFUL.fullmatch(text)
    return Literal(*found.groups()) if found else None


def conditional(text: str) -> tuple[str, str] | None:
    """`Patient?identifier=x` as (type, query), the form of a conditional reference (R4 RESTful API, transaction)."""
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


def has_conditional(resource: Resource) -> bool:
    """True when a reference of the resource is a conditional one. Every write asks, and few have any `?`."""
    return b"?" in encode(resource) and any(conditional(text) for _, text in references(resource))


def rewriter(change: Callable[[str], str], uri_names: Collection[str]) -> Callable[[Resource], Resource]:
    """What applies `change` to each link of a resource: Reference.reference, elements named in uri_names (those of type
    uri, url, oid, uuid) and href or src in narrative (R4 RESTful API, transaction). The input stays as it was.
    """
    links = frozenset(("reference", *uri_names))

    def of_object(value: Resource) -> Resource:
        made = {}
        for name, item in value.items():
            kind = item.__class__
            if kind is str:
                if name in links:
                    item = change(item)
                elif name == "div":
                    item = _LINK.sub(lambda m: f"{m[1]}{m[2][0]}{change(m[2][1:-1])}{m[2][0]}", item)
            elif kind is dict:
                item = of_object(item)
            elif kind is list:
                item = of_list(item, name)
            made[name] = item
        return made

    def of_list(items: list[Any], name: str) -> list[Any]:
        # An item stands for the element of its list, so it is looked at as that.
        return [of_object(item) if item.__class__ is dict else of_object({name: item})[name] for item in items]

    return of_object


def by_table(table: Mapping[str, str]) -> Callable[[str], str]:
    """A change for `rewriter`: exact links through a table, a `#fragment` kept."""

    def change(link: str) -> str:
        found = table.get(link)
        if found is not None or "#" not in link:
            return found or link
        whole, _, fragment = link.partition("#")
        return f"{table[whole]}#{fragment}" if whole in table else link

    return change
