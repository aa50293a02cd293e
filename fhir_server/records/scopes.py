"""Source paths and conditions of mapping rows, compiled once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_server.model.resources import Resource
from fhir_server.records.source import Problem, Tree
from fhir_server.records.targets import Building


@dataclass(slots=True)
class Made:
    """A resource made of a record. owner: record (its id follows from the record), person (from the patient), shared
    (from its own key alone). key: what tells it from others of its group. id is set when the patient is known."""

    group: str
    owner: str
    key: tuple[str, ...]
    resource: Resource
    id: str = ""


@dataclass(slots=True)
class Scope:
    """Where in the record a group stands."""

    root: Tree
    item: Any
    parent: Scope | None
    line: int
    building: Building
    made: Made
    label: str


@dataclass(slots=True)
class Mapped:
    """What became of one record: resources with open ids, the references still to be filled in, what was told."""

    made: list[Made] = field(default_factory=list)
    links: list[tuple[Resource, Made]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    latest: dict[str, Scope] = field(default_factory=dict)  # group -> where it made its last resource

    def of(self, group: str) -> Made | None:
        """The resource that a group made last, None when it has made none."""
        scope = self.latest.get(group)
        return scope.made if scope else None


Read = Callable[[Scope], Any]
Test = Callable[[Scope], bool]


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
        return lambda scope: scope.item.get(name) if isinstance(scope.item, dict) else None
    return lambda scope: walk(scope.item, keys)


def compile_test(when: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> Test | None:
    """All of the conditions of an object: path -> "present" | "absent" | list of texts | {"not": […]} | {"starts": […]}
    | {"ends": […]} | {"any": […]} | {"any_starts": […]} (one of a `;` list) | {"not_words": "none"}. Of several objects
    in a list one suffices."""
    if not when:
        return None
    if not isinstance(when, Mapping):
        choices = [test for one in when if (test := compile_test(one)) is not None]
        return lambda scope: any(test(scope) for test in choices)
    tests = [(compile_source(path), _predicate(rule)) for path, rule in when.items()]
    return lambda scope: all(holds(read(scope)) for read, holds in tests)


# What senders write for «none» in a list that should be empty.
_NO_WORDS = frozenset(
    {"không", "không có", "ko", "k", "không rõ", "chưa phát hiện", "bình thường", "none", "no", "0", "-"}
)


def _predicate(rule: Any) -> Callable[[Any], bool]:
    if rule == "present":
        return lambda value: value is not None
    if rule == "absent":
        return lambda value: value is None
    if isinstance(rule, list):
        wanted = frozenset(rule)
        return lambda value: isinstance(value, str) and value in wanted
    if "not" in rule:
        barred = frozenset(rule["not"])
        return lambda value: not (isinstance(value, str) and value in barred)
    if "starts" in rule:
        starts = tuple(rule["starts"])
        return lambda value: isinstance(value, str) and value.startswith(starts)
    if "not_words" in rule:
        return lambda value: not (isinstance(value, str) and value.strip(" .").casefold() in _NO_WORDS)
    if "ends" in rule:
        ends = tuple(rule["ends"])
        return lambda value: isinstance(value, str) and value.endswith(ends)
    if "any_starts" in rule:
        begins = tuple(rule["any_starts"])
        return lambda value: isinstance(value, str) and any(p.strip().startswith(begins) for p in value.split(";"))
    if "any" in rule:
        members = frozenset(rule["any"])
        return lambda value: isinstance(value, str) and not members.isdisjoint(p.strip() for p in value.split(";"))
    raise ValueError(f"no such condition: {rule!r}")


def walk_all(tree: Any, keys: Sequence[str]) -> list[Any]:
    """Every value below `keys`, however often each step repeats."""
    level = [tree]
    for key in keys:
        following: list[Any] = []
        for one in level:
            for held in one if isinstance(one, list) else (one,):
                following += [held[key]] if isinstance(held, dict) and key in held else []
        level = following
    return [item for held in level for item in (held if isinstance(held, list) else (held,))]


def split_lists(item: Tree, names: Sequence[str]) -> Iterator[Tree]:
    """`;` lists that stand side by side, as one item each: {MA_THE: "A;B", TU: "1;2"} → {A, 1}, {B, 2}."""
    texts = {name: item[name] for name in names if isinstance(item.get(name), str)}
    columns = {name: [part.strip() for part in text.split(";")] for name, text in texts.items()}
    for place, first in enumerate(columns.get(names[0], ())):
        if first:
            rest = {name: parts[place] for name, parts in columns.items() if place < len(parts) and parts[place]}
            yield {**{name: value for name, value in item.items() if name not in names}, **rest}
