"""Targets of mapping rows: a small FHIRPath-like path, compiled once to a function that writes there.

name[0].text                     the element of a list that all rows with the same label share
identifier[+]                    one more element; an equal one is not written twice
address[current].line[+]         labels are free words; the order is that of the first write
address[current].extension[ward].valueCodeableConcept
                                 an extension is labelled by its kind; its URL is the guide's
extension[kept:TT_THAU].valueString
                                 the extension TT_THAU within that of the kind; without a kind within the one around
diagnosis[#].rank                # stands for the resource that the row belongs to, for rows on a parent
extension[claim-line#]           one extension of the kind for each such resource
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fhir_server.model.resources import Resource

T = TypeVar("T")

_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9]*)(?:\[([A-Za-z0-9_+#:\-]+)\])?")


class Building:
    """A resource in the making. places: the path written so far -> the dict that stands there."""

    __slots__ = ("extensions", "items", "places", "resource")

    def __init__(
        self, resource: Resource, items: Mapping[str, Resource], extensions: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.resource = resource
        self.items = items  # path -> what an element made there starts with
        self.extensions = extensions  # kind -> chain of URLs
        self.places: dict[str, Resource] = {"": resource}


def copied(value: T) -> T:
    """A JSON value of its own; `copy.deepcopy` takes five times as long."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [copied(item) for item in value]  # type: ignore[return-value]
    return value


# (where, value, what # stands for) -> the list element that took the value up, None where it stands itself.
Put = Callable[[Building, Any, str], Resource | None]


def steps(target: str) -> list[tuple[str, str | None]]:
    """`a[x].b` as [("a", "x"), ("b", None)]. Raises ValueError for a path that is none."""
    found = []
    for part in target.split("."):
        match = _STEP.fullmatch(part)
        if match is None:
            raise ValueError(f"{target!r} is no target path")
        found.append((match[1], match[2]))
    return found


def compile_target(target: str) -> Put:
    """The function that writes a value at a target path."""
    path = steps(target)
    parent, (name, label) = path[:-1], path[-1]
    dynamic = any("#" in (one or "") for _, one in path)
    prefixes = _prefixes(parent)

    place = prefixes[-1][0] if prefixes else ""

    def node_of(building: Building, self_label: str) -> Resource:
        node = building.places.get(place.replace("#", self_label) if dynamic else place)
        return node if node is not None else _make(building, prefixes, self_label)

    def put_value(building: Building, value: Any, self_label: str) -> None:
        node_of(building, self_label)[name] = value

    def put_at_top(building: Building, value: Any, self_label: str) -> None:
        building.resource[name] = value

    def put_more(building: Building, value: Any, self_label: str) -> None:
        held = node_of(building, self_label).setdefault(name, [])
        for item in value if isinstance(value, list) else (value,):
            if not any(_same(item, one) for one in held):
                held.append(item)

    whole_path = _prefixes(path)

    def put_element(building: Building, value: Any, self_label: str) -> Resource:
        whole = _make(building, whole_path, self_label)
        whole.update(value)
        return whole

    if label is None:
        return put_value if prefixes else put_at_top
    return put_more if label == "+" else put_element


def _same(item: Any, other: Any) -> bool:
    """True for equal values, and for identifiers and contact points of one system and value, whatever else they say."""
    if isinstance(item, dict) and isinstance(other, dict) and "value" in item and "value" in other:
        return bool(item["value"] == other["value"] and item.get("system") == other.get("system"))
    return bool(item == other)


def _prefixes(path: list[tuple[str, str | None]]) -> list[tuple[str, str, str, str | None]]:
    """For each step: (path up to it, path before it, name, label)."""
    found = []
    before = ""
    for name, label in path:
        here = f"{before}.{name}" if before else name
        here = here if label is None else f"{here}[{label}]"
        found.append((here, before, name, label))
        before = here
    return found


def _make(building: Building, prefixes: list[tuple[str, str, str, str | None]], self_label: str) -> Resource:
    """Walks down, making what is not there yet; the dict at the end."""
    node = building.resource
    for path, _, name, label in prefixes:
        here = path.replace("#", self_label) if "#" in path else path
        known = building.places.get(here)
        if known is None:
            known = building.places[here] = _child(building, node, path, name, label)
        node = known
    return node


def _child(building: Building, node: Resource, path: str, name: str, label: str | None) -> Resource:
    if name in ("extension", "modifierExtension") and label is not None:
        return _extension(node, name, extension_urls(label, building.extensions))
    made: Resource = copied(building.items.get(path, {}))
    if label is None:
        held = node.get(name)
        if isinstance(held, dict):
            return held
        node[name] = made
    else:
        node.setdefault(name, []).append(made)
    return made


def extension_urls(label: str, extensions: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The chain of URLs of an extension's label: `ward`, `claim-line#`, `kept:TT_THAU`, `:DON_GIA`."""
    kind, _, inner = label.partition(":")
    kind = kind.rstrip("#")
    return (*(extensions[kind] if kind else ()), *((inner,) if inner else ()))


def _extension(node: Resource, name: str, urls: tuple[str, ...]) -> Resource:
    """The innermost of a chain of extensions; outer ones of the same URL are shared."""
    for depth, url in enumerate(urls):
        held = node.setdefault(name if depth == 0 else "extension", [])
        last = depth == len(urls) - 1
        found = None if last or not held else next((one for one in held if one["url"] == url), None)
        if found is None:
            found = {"url": url}
            held.append(found)
        node = found
    return node
