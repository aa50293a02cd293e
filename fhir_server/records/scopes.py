"""Source paths of mapping rows, compiled once, and the scopes that they are read in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from fhir_server.model.resources import Resource
from fhir_server.records.source import Problem, Tree


@dataclass(slots=True, eq=False)
class Made:
    """A resource made of a record. owner: record (its id follows from the record), person (from the patient), shared
    (from its own key alone). key: what tells it from others of its group. id is set when the patient is known."""

    group: str
    owner: str
    key: tuple[str, ...]
    resource: Resource
    id: str = ""


# The target paths of a resource that are written so far, those that stand for another resource with that one -> the
# dict that stands there; "" is the resource itself. Not with its scope: then each would keep the other alive.
Places = dict[str | tuple[str, Made], Resource]


@dataclass(slots=True)
class Scope:
    """Where in the record a group stands. fields: those of the item, none where it is a text. made and places: what
    becomes of the item, once it is known that something does. labels: security labels of what is made here and within.
    """

    root: Tree
    item: Any
    parent: Scope | None
    line: int
    fields: Tree
    labels: tuple[Resource, ...] = ()
    made: Made = field(init=False)
    places: Places = field(init=False)


@dataclass(slots=True)
class Mapped:
    """What became of one record: resources with open ids, the references still to be filled in, what was told."""

    made: list[Made] = field(default_factory=list)
    links: list[tuple[Resource, Made]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    latest: dict[str, Scope] = field(default_factory=dict)  # group -> where it made its last resource
    labels: tuple[Resource, ...] = ()  # security labels of all that the record alone owns

    def of(self, group: str) -> Made | None:
        """The resource that a group made last, None when it has made none."""
        scope = self.latest.get(group)
        return scope.made if scope else None


Read = Callable[[Scope], Any]


def split_path(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part and part != ".")


def walk(tree: Any, keys: Sequence[str]) -> Any:
    """The value below `keys`; the first of several where a step repeats; None when it is not there."""
    for key in keys:
        if isinstance(tree, list):
            tree = tree[0] if tree else None
        if not isinstance(tree, dict):
            return None
        tree = tree.get(key)
    return tree


def compile_source(path: str) -> Read:
    """`A/B` below the group's item, `../A` below its parent's, `/A` from the top of the record, `.` the item."""
    keys = split_path(path.replace("../", ""))
    if path.startswith("/"):
        return lambda scope: walk(scope.root, keys)
    ups = path.count("../")
    if ups:

        def read_above(scope: Scope) -> Any:
            at: Scope | None = scope
            for _ in range(ups):
                at = at.parent if at else None
            return walk(at.item, keys) if at else None

        return read_above
    if not keys:
        return lambda scope: scope.item
    if len(keys) == 1:
        name = keys[0]
        return lambda scope: scope.fields.get(name)
    return lambda scope: walk(scope.item, keys)


def field_of_item(path: str) -> str | None:
    """The name, where a source path is that of one field of the group's item alone."""
    return path if split_path(path) == (path,) else None


def walk_all(tree: Any, keys: Sequence[str]) -> list[Any]:
    """Every value below `keys`, however often each step repeats."""
    for place, key in enumerate(keys):
        if tree.__class__ is list:
            return _walk_lists(tree, keys[place:])
        if tree.__class__ is not dict or key not in tree:
            return []
        tree = tree[key]
    return tree if tree.__class__ is list else [tree]


def _walk_lists(tree: list[Any], keys: Sequence[str]) -> list[Any]:
    level: list[Any] = [tree]
    for key in keys:
        following: list[Any] = []
        for one in level:
            for held in one if isinstance(one, list) else (one,):
                following += [held[key]] if isinstance(held, dict) and key in held else []
        level = following
    return [item for held in level for item in (held if isinstance(held, list) else (held,))]


def different_values(tree: Any, paths: Sequence[Sequence[str]]) -> Iterator[str]:
    """Each text at the paths once, in order; `;` lists are parted."""
    seen: dict[str, None] = {}
    for keys in paths:
        for found in walk_all(tree, keys):
            if isinstance(found, str):
                seen.update((part, None) for one in found.split(";") if (part := one.strip()))
    return iter(seen)


def grouped(items: Sequence[Any], names: Sequence[str]) -> Iterator[Tree]:
    """Items with equal values of the fields as one item: the first of them, with all of them under `*`."""
    found: dict[tuple[Any, ...], Tree] = {}
    for item in items:
        if isinstance(item, dict):
            values = tuple(str(item.get(name, "")) for name in names)
            found.setdefault(values, {**item, "*": []})["*"].append(item)
    return iter(found.values())


def split_lists(item: Tree, names: Sequence[str]) -> Iterator[Tree]:
    """`;` lists that stand side by side, as one item each: {MA_THE: "A;B", TU: "1;2"} → {A, 1}, {B, 2}. Without any of
    the lists the item itself."""
    columns = {
        name: [one.strip() for one in text.split(";")] for name in names if isinstance(text := item.get(name), str)
    }
    if not columns:
        yield item
        return
    others = {name: value for name, value in item.items() if name not in names}
    for row in zip_longest(*columns.values()):
        parts = {name: part for name, part in zip(columns, row, strict=True) if part}
        if parts:
            yield {**others, **parts}
