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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fhir_server.model.resources import Resource
from fhir_server.records.scopes import Places, Scope

T = TypeVar("T")

_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9]*)(?:\[([A-Za-z0-9_+#:\-]+)\])?")


@dataclass(frozen=True, slots=True)
class Elements:
    """What elements are made with. extensions: kind -> chain of URLs. items: group -> target path -> what a list
    element made there starts with."""

    extensions: Mapping[str, tuple[str, ...]]
    items: Mapping[str, Mapping[str, Resource]]


def copied(value: T) -> T:
    """A JSON value of its own; `copy.deepcopy` takes five times as long."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [copied(item) for item in value]  # type: ignore[return-value]
    return value


def compile_copy(value: Any) -> Callable[[], Any]:
    """A function that copies one JSON value, again and again."""
    if isinstance(value, list):
        items = [compile_copy(item) for item in value]
        if len(items) == 1:
            first = items[0]
            return lambda: [first()]
        return lambda: [make() for make in items]
    if not isinstance(value, dict):
        return lambda: value
    inner = [(name, compile_copy(item)) for name, item in value.items() if isinstance(item, dict | list)]
    if not inner:
        return value.copy

    def copy() -> Resource:
        made = value.copy()
        for name, make in inner:
            made[name] = make()
        return made

    return copy


# (what is written so far, value, what # stands for) -> the list element that took the value up, None where it stands
# itself.
Put = Callable[[Places, Any, Scope], Resource | None]
_Node = Callable[[Places, Scope], Resource]


def steps(target: str) -> list[tuple[str, str | None]]:
    """`a[x].b` as [("a", "x"), ("b", None)]. Raises ValueError for a path that is none."""
    found = []
    for part in target.split("."):
        match = _STEP.fullmatch(part)
        if match is None:
            raise ValueError(f"{target!r} is no target path")
        found.append((match[1], match[2]))
    return found


def compile_target(target: str, group: str, elements: Elements) -> Put:
    """The function that writes a value at a target path of a group's resource. Raises ValueError for a path that is
    none."""
    *parents, (name, label) = steps(target)
    if label is not None and label != "+":
        return _put_element(_node([*parents, (name, label)], group, elements))
    node = _node(parents, group, elements)
    if label == "+":
        return _put_more(node, name)
    return _put_value(node, name) if parents else _put_at_top(name)


def _put_at_top(name: str) -> Put:
    def put(places: Places, value: Any, scope: Scope) -> None:
        places[""][name] = value

    return put


def _put_value(node: _Node, name: str) -> Put:
    def put(places: Places, value: Any, scope: Scope) -> None:
        node(places, scope)[name] = value

    return put


def _put_more(node: _Node, name: str) -> Put:
    def put(places: Places, value: Any, scope: Scope) -> None:
        around = node(places, scope)
        held = around.get(name)
        if held is None:
            held = around[name] = []
            if value.__class__ is dict:  # the first of the list is compared with none
                held.append(value)
                return
        for item in value if isinstance(value, list) else (value,):
            if not any(_same(item, one) for one in held):
                held.append(item)

    return put


def _put_element(node: _Node) -> Put:
    def put(places: Places, value: Any, scope: Scope) -> Resource:
        element = node(places, scope)
        element.update(value)
        return element

    return put


def _same(item: Any, other: Any) -> bool:
    """True for equal values, and for identifiers and contact points of one system and value, whatever else they say."""
    if isinstance(item, dict) and isinstance(other, dict) and "value" in item and "value" in other:
        return bool(item["value"] == other["value"] and item.get("system") == other.get("system"))
    return bool(item == other)


def _resource(places: Places, scope: Scope) -> Resource:
    return places[""]


def _node(path: Sequence[tuple[str, str | None]], group: str, elements: Elements) -> _Node:
    """The dict at a path; what is not there yet is made, from the resource down."""
    node: _Node = _resource
    here = ""
    for name, label in path:
        before = f"{here}." if here else ""
        here = before + (name if label is None else f"{name}[{label}]")
        start = elements.items.get(group, {}).get(here, {})
        inner = name
        if name in ("extension", "modifierExtension") and label is not None:
            *outer, last = extension_urls(label, elements.extensions)
            start = {"url": last}
            for url in outer:  # those of one URL are shared
                before += f"{inner}<{url}>."
                node = _found_or_made(before, node, _extension(inner, url))
                inner = "extension"
        node = _found_or_made(here, node, _element(inner, label is not None, start))
    return node


def _found_or_made(path: str, parent: _Node, make: Callable[[Resource], Resource]) -> _Node:
    def node(places: Places, scope: Scope) -> Resource:
        found = places.get(path)
        if found is None:
            found = places[path] = make(parent(places, scope))
        return found

    def node_of_each(places: Places, scope: Scope) -> Resource:
        here = (path, scope.made)
        found = places.get(here)
        if found is None:
            found = places[here] = make(parent(places, scope))
        return found

    return node_of_each if "#" in path else node


def _element(name: str, repeats: bool, start: Resource) -> Callable[[Resource], Resource]:
    """Makes one more element of a list, or finds or makes the one that stands alone."""

    copy = compile_copy(start)

    def make_one_more(node: Resource) -> Resource:
        made: Resource = copy()
        held = node.get(name)
        if held is None:
            node[name] = [made]
        else:
            held.append(made)
        return made

    def make(node: Resource) -> Resource:
        held = node.get(name)
        if held.__class__ is not dict:
            held = node[name] = copy()
        return held

    return make_one_more if repeats else make


def extension_urls(label: str, extensions: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The chain of URLs of an extension's label: `ward`, `claim-line#`, `kept:TT_THAU`, `:DON_GIA`.

    Raises ValueError for a kind that does not exist.
    """
    kind, _, inner = label.partition(":")
    kind = kind.rstrip("#")
    if kind not in extensions and (kind or not inner):
        raise ValueError(f"there is no kind of extension {label!r}")
    return (*(extensions[kind] if kind else ()), *((inner,) if inner else ()))


def _extension(name: str, url: str) -> Callable[[Resource], Resource]:
    """Finds or makes the extension of a URL."""

    def make(node: Resource) -> Resource:
        held: list[Resource] = node.setdefault(name, [])
        for one in held:
            if one["url"] == url:
                return one
        made: Resource = {"url": url}
        held.append(made)
        return made

    return make
