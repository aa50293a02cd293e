"""A record in the making: its repeating parts, what rows say each field held, and the choice among what they say."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import orjson

from fhir_server.records.checks import holds, sortable
from fhir_server.records.facts import Facts, WrongValue
from fhir_server.records.inverse_facts import Known, NotMade
from fhir_server.records.inverse_targets import InverseRow
from fhir_server.records.inverse_transforms import invert
from fhir_server.records.scopes import split_path
from fhir_server.records.source import Tree
from fhir_server.records.transforms import TRANSFORMS

Keys = tuple[str, ...]
JOINED = InverseRow(())  # several texts of a `;` list, put together: nothing knows better


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a row says a field held. rank: 0 for a row that cannot be mistaken."""

    row: InverseRow
    text: str
    rank: int


@dataclass(eq=False, slots=True)
class Item:
    """A repeating part of a record, or the record itself. path: where it stands, from the top. texts: keys below it ->
    what rows say. parts: keys below it -> the items of the list there."""

    path: Keys
    texts: dict[Keys, list[Candidate]] = field(default_factory=lambda: defaultdict(list))
    parts: dict[Keys, list[Item]] = field(default_factory=lambda: defaultdict(list))
    chosen: dict[Keys, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a group stands: an item, and the keys below it."""

    item: Item
    keys: Keys = ()

    def below(self, keys: Keys) -> Spot:
        return Spot(self.item, self.keys + keys)

    def step(self, keys: Keys, many: Collection[Keys]) -> Spot:
        """The spot at `keys` below; a new item where a list stands at the end, the last one where one stands before."""
        spot = self
        for number, key in enumerate(keys, 1):
            spot = spot.below((key,))
            if spot.item.path + spot.keys in many:
                held = spot.item.parts[spot.keys]
                if number == len(keys) or not held:
                    held.append(Item(spot.item.path + spot.keys))
                spot = Spot(held[-1])
        return spot


class Choice:
    """Chooses among what rows say. dates: keys of which the latest day is right, whatever else resources say."""

    def __init__(self, facts: Facts, known: Known, dates: Collection[Keys]) -> None:
        self._facts = facts
        self._known = known
        self._dates = dates

    def of(self, path: Keys, candidates: Sequence[Candidate]) -> str:
        """The text of a field from at least one candidate. path: from the top of the record."""
        best = min(one.rank for one in candidates)
        texts = Counter(one.text for one in candidates if one.rank == best)
        if len(texts) == 1:
            return next(iter(texts))
        if path in self._dates:
            return max(texts, key=sortable)
        rows = list({id(one.row): one for one in candidates if one.rank == best}.values())
        tried = [*texts, "".join(dict.fromkeys(one.text for one in rows))] if len(rows) > 1 else [*texts]
        return max(tried, key=lambda text: (sum(self._gives(one, text) for one in rows), texts[text]))

    def _gives(self, candidate: Candidate, text: str) -> bool:
        """True when the row would have made of `text` what it found."""
        row = candidate.row
        if not row.transforms:
            return candidate.text == text
        try:
            value: Any = text
            for name in row.transforms:
                value = TRANSFORMS[name](value, row.options, self._facts)
            return (
                value is not None and invert(list(row.transforms), value, row.options, self._known)[0] == candidate.text
            )
        except (WrongValue, NotMade, TypeError):
            return False


def settle(item: Item, choice: Choice) -> None:
    """Chooses a text for every field of an item and of those within it."""
    for keys, candidates in item.texts.items():
        item.chosen[keys] = choice.of(item.path + keys, candidates)
    for held in item.parts.values():
        for one in held:
            settle(one, choice)


def render(item: Item) -> Any:
    """The item as its reader would give it: fields, nested parts, lists; a text where it is nothing else."""
    if set(item.chosen) == {()} and not item.parts:
        return item.chosen[()]
    tree: Tree = {}
    for keys, text in item.chosen.items():
        if keys:
            _put(tree, keys, text)
    for keys, held in item.parts.items():
        made = [one for one in map(render, held) if one not in ({}, "")]
        if made:
            _put(tree, keys, made)
    return tree


def _put(tree: Tree, keys: Keys, value: Any) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
    tree[keys[-1]] = value


def ordered(value: Any, path: Keys, order: Mapping[Keys, Sequence[str]]) -> Any:
    """The same tree with its fields in the order that the format's tables give; others stay behind them."""
    if isinstance(value, list):
        return [ordered(one, path, order) for one in value]
    if not isinstance(value, dict):
        return value
    names = order.get(path, ())
    first = [name for name in names if name in value]
    rest = [name for name in value if name not in names]
    return {name: ordered(value[name], (*path, name), order) for name in (*first, *rest)}


@dataclass(frozen=True, slots=True)
class Fill:
    """What is written where FHIR says nothing: at every part at `at`, a field from another one or a fixed text."""

    at: Keys
    field: str
    value: str
    source: str
    when: Mapping[str, Any]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Fill:
        return cls(
            split_path(data["at"]), data["field"], data.get("value", ""), data.get("from", ""), data.get("when", {})
        )

    def apply(self, parts: Iterable[Tree], words: Mapping[str, str]) -> None:
        """words: what `{name}` in a fixed text stands for."""
        for part in parts:
            if self.field in part or not all(holds(part.get(name), what) for name, what in self.when.items()):
                continue
            text = self.value.format_map(words) if self.value else part.get(self.source)
            if isinstance(text, str) and text:
                part[self.field] = text


def written(today: date | None, content: Tree) -> dict[str, str]:
    """What the fixed texts of a format may name: the day of writing in each form, and a key of what is written."""
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    day = today.isoformat() if today else ""
    return {
        "day_iso": day,
        "day_ymd": day.replace("-", ""),
        "day_dmy": "/".join(reversed(day.split("-"))) if day else "",
        "request": digest[:24],
    }


def part_at(tree: Tree, keys: Keys) -> Tree:
    """The part at a path, made where it is not there; the last one of a list."""
    for key in keys:
        held = tree.setdefault(key, {})
        tree = held[-1] if isinstance(held, list) else held
    return tree


def parts_at(tree: Any, keys: Keys) -> Iterator[Tree]:
    """Every part at a path, through lists."""
    level = [tree]
    for key in keys:
        held = [one.get(key) for one in level if isinstance(one, dict)]
        level = [item for one in held if one is not None for item in (one if isinstance(one, list) else [one])]
    for one in level:
        if isinstance(one, dict):
            yield one
