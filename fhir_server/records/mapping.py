"""A mapping: groups of rows that make one resource of each item of a list of the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache
from typing import Any

from fhir_server.model.resources import Resource
from fhir_server.records.conditions import compile_test
from fhir_server.records.facts import Facts, WrongValue
from fhir_server.records.rows import compile_row
from fhir_server.records.scopes import (
    Made,
    Mapped,
    Places,
    Scope,
    compile_source,
    different_values,
    grouped,
    split_lists,
    split_path,
    walk_all,
)
from fhir_server.records.source import Problem, Tree
from fhir_server.records.targets import Elements, compile_copy, steps
from fhir_server.records.transform_dates import Transform
from fhir_server.records.transforms import TRANSFORMS

OWNERS = ("record", "person", "shared")
# What a group may say; a word that is misspelt must not be passed over.
WORDS = frozenset({
    "name", "type", "owner", "each", "each_of", "split", "group_by", "when", "key", "date", "fixed", "items", "needs",
    "notes", "labels", "only", "derived", "rows", "resources", "description",
})  # fmt: skip


class Group:
    """The rows that make one resource of each item of a list of the record, and the groups within it."""

    def __init__(self, data: Mapping[str, Any], elements: Elements) -> None:
        self.name: str = data["name"]
        if not data.keys() <= WORDS:
            raise ValueError(f"{self.name}: a group says nothing of {', '.join(sorted(data.keys() - WORDS))}")
        self.type: str = data["type"]
        self.owner: str = data.get("owner", "record")
        if self.owner not in OWNERS:
            raise ValueError(f"{self.name}: no such owner {self.owner!r}")
        each: str = data.get("each", ".")
        self._from_root = each.startswith("/") or "each_of" in data
        self._keys = split_path(each)
        self._values = [split_path(path) for path in data.get("each_of", ())]
        self._split: tuple[str, ...] = tuple(data.get("split", ()))
        self._group_by: tuple[str, ...] = tuple(data.get("group_by", ()))
        self._labels = Labels(data.get("labels", ()))
        self._test = compile_test(data.get("when"))
        self._key = [compile_source(path) for path in data.get("key", ())]
        written = {steps(row["target"])[0][0] for row in data["rows"] if row.get("on", self.name) == self.name}
        fixed: Resource = data.get("fixed", {})
        # What no row writes into is one object for all resources: nothing is changed once it is made.
        self._shared = {name: value for name, value in fixed.items() if name not in written}
        self._own = compile_copy({name: value for name, value in fixed.items() if name in written})
        self._rows = [compile_row(row, self.name, elements) for row in data["rows"]]
        # None keeps the day of the record.
        self._date = _date_of(data["date"]) if "date" in data else None
        self._needs: tuple[str, ...] = tuple(data.get("needs", ()))
        self._notes = [(compile_test(note["when"]), note) for note in data.get("notes", ())]
        self.children = [Group(child, elements) for child in data.get("resources", ())]

    def run(self, parent: Scope | None, root: Tree, facts: Facts, mapped: Mapped) -> None:
        """Makes the resources of every item and appends them to `mapped`."""
        items = self._each(root if self._from_root or parent is None else parent.item)
        if not items:
            return
        seen: dict[tuple[str, ...], int] = {}
        before, above = facts.on, self._key_above(parent)
        labels = parent.labels if parent is not None else mapped.labels if self.owner == "record" else ()
        for line, item in enumerate(items, 1):
            scope = Scope(root, item, parent, line, item if item.__class__ is dict else {}, labels)
            told = len(mapped.problems)
            if self._notes:
                self._tell(scope, mapped)
            if self._test is None or self._test(scope):
                facts.on = (self._date and self._date(scope, facts)) or before
                self._fill(scope, (*above, *self._line_key(scope, seen)), facts, mapped)
            if len(items) > 1 and len(mapped.problems) > told:
                self._say_which(line, mapped.problems, told)
        facts.on = before

    def _fill(self, scope: Scope, key: tuple[str, ...], facts: Facts, mapped: Mapped) -> None:
        """The resource of one item, and those of the groups within it; taken back when it would say nothing."""
        links = len(mapped.links)
        resource = {"resourceType": self.type, **self._shared, **self._own()}
        if self._labels:
            scope.labels = self._labels.of(scope, scope.labels)
        if scope.labels and self.owner == "record":
            resource["meta"] = {"security": list(scope.labels)}
        scope.made = Made(self.name, self.owner, key, resource)
        places: Places = {"": resource}
        scope.places = places
        mapped.made.append(scope.made)
        mapped.latest[self.name] = scope
        fields = scope.fields
        for name, act in self._rows:
            if name is None:
                act(None, scope, places, facts, mapped)
            elif (found := fields.get(name)) is not None:
                act(found, scope, places, facts, mapped)
        if self._needs and any(name not in resource for name in self._needs):
            mapped.made.pop()  # what was wrong has been told
            del mapped.latest[self.name]
            del mapped.links[links:]
            return
        for child in self.children:
            child.run(scope, scope.root, facts, mapped)

    def _say_which(self, line: int, problems: list[Problem], told: int) -> None:
        """Puts the item's number before the fields of its problems: `THONGTINMUITIEM[3]/NGAYTIEM`."""
        item = f"{self._keys[-1]}[{line}]" if self._keys else f"[{line}]"
        problems[told:] = [
            replace(one, field=f"{item}/{one.field}" if self._keys else f"{one.field}{item}") for one in problems[told:]
        ]

    def _tell(self, scope: Scope, mapped: Mapped) -> None:
        for test, note in self._notes:
            if test is None or test(scope):
                text = (note["en"], note["vi"])
                mapped.problems.append(Problem("warning", note["rule"], text, field=note["field"]))

    def _each(self, tree: Any) -> Sequence[Any]:
        if self._values:
            return list(different_values(tree, self._values))
        found = walk_all(tree, self._keys)
        if self._group_by:
            found = list(grouped(found, self._group_by))
        if self._split:
            return [part for item in found if isinstance(item, dict) for part in split_lists(item, self._split)]
        return found

    def _key_above(self, parent: Scope | None) -> tuple[str, ...]:
        """The key of the item that it lies in: the first line of one visit is not the first line of another."""
        is_within = parent is not None and parent.made.owner == self.owner == "record"
        return parent.made.key if parent is not None and is_within else ()

    def _line_key(self, scope: Scope, seen: dict[tuple[str, ...], int]) -> tuple[str, ...]:
        """The key fields' values and, from the second item with equal ones, a number; the line where there are none."""
        values = tuple([str(read(scope) or "") for read in self._key])
        if not any(values):
            values = (str(scope.line),)
        seen[values] = seen.get(values, 0) + 1
        return values if seen[values] == 1 else (*values, str(seen[values]))


class Labels:
    """Security labels (R4 Security Labels) with the conditions under which they are given."""

    def __init__(self, data: Sequence[Mapping[str, Any]]) -> None:
        self._labels = [(compile_test(one.get("when")), one["value"]) for one in data]

    def __bool__(self) -> bool:
        return bool(self._labels)

    def of(self, scope: Scope, held: tuple[Resource, ...] = ()) -> tuple[Resource, ...]:
        """The labels held already, and those whose condition holds here, each once."""
        for test, value in self._labels:
            if value not in held and (test is None or test(scope)):
                held = (*held, value)
        return held


def _date_of(data: Mapping[str, Any]) -> Callable[[Scope, Facts], date | None]:
    """The day whose code lists apply inside a group; None where its field says none."""
    reads = [compile_source(path) for path in data["source"]]
    transform = TRANSFORMS[data["as"]]

    def read_day(scope: Scope, facts: Facts) -> date | None:
        for read in reads:
            found = read(scope)
            if isinstance(found, str):
                return day_of(found, transform, facts)
        return None

    return read_day


def day_of(found: str, transform: Transform, facts: Facts) -> date | None:
    """The day that a source date names; the first one of a month or year; None when it is no date."""
    try:
        text = transform(found, {}, facts)
    except WrongValue:
        return None
    return _first_day(text[:10])


@lru_cache(maxsize=8_192)
def _first_day(text: str) -> date:
    parts = [int(part) for part in text.split("-")]
    return date(parts[0], parts[1] if len(parts) > 1 else 1, parts[2] if len(parts) > 2 else 1)
