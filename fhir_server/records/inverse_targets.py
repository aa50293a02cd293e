"""Targets of mapping rows backwards: what the rows of a group find in a resource that they might have made.

The target paths of a group form a tree. Elements of a list are given to the labels that can have made them: by what an
element made there starts with (`items`), by what the row's transform makes, then by their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_server.model.resources import Resource
from fhir_server.records.inverse_facts import Known, NotMade
from fhir_server.records.inverse_transforms import facility_of, invert
from fhir_server.records.targets import steps

EXTENSIONS = ("extension", "modifierExtension")


@dataclass(frozen=True, slots=True)
class InverseRow:
    """A row that reads from the source, or a constant whose condition says what the source held.

    sources: the paths it may have read, in order. several: it reads a `;` list. default: what it wrote where there was
    nothing. constant, implied: what a `value` row wrote, and the text that its condition says the source held. beside:
    fields that its condition says were there too; without: those that were not. is_link: it made a reference.
    """

    sources: tuple[str, ...]
    transforms: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    several: bool = False
    default: Any = None
    constant: Any = None
    implied: str | None = None
    beside: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    is_link: bool = False


@dataclass(slots=True)
class Found:
    """What rows found: (row, text, rank), facilities that options were read from, and how many rows failed."""

    texts: list[tuple[InverseRow, str, int]] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    failed: int = 0
    matched: bool = False

    @property
    def rank(self) -> int:
        return min((rank for _, _, rank in self.texts), default=99)

    def add(self, other: Found) -> None:
        self.texts += other.texts
        self.options += other.options
        self.failed += other.failed


@dataclass(slots=True)
class _Slot:
    """The elements that one label stands for. template: what an element made there starts with."""

    label: str
    template: Resource
    node: Node
    several: bool = False


class Node:
    """The rows at one place and below it."""

    def __init__(self) -> None:
        self._rows: list[InverseRow] = []
        self._plain: dict[str, Node] = {}
        self._slots: dict[str, list[_Slot]] = {}

    def put(self, target: str, row: InverseRow, items: Mapping[str, Resource]) -> None:
        """Adds a row at its target path. items: path -> what an element made there starts with."""
        node, path = self, ""
        for name, label in steps(target):
            here = f"{path}.{name}" if path else name
            path = here if label is None else f"{here}[{label}]"
            if label is None:
                node = node._plain.setdefault(name, Node())
            else:
                node = node._slot(name, label, row, items.get(path, {})).node
        node._rows.append(row)

    def _slot(self, name: str, label: str, row: InverseRow, template: Resource) -> _Slot:
        held = self._slots.setdefault(name, [])
        found = next((one for one in held if one.label == label and label != "+"), None)
        if found is None:
            found = _Slot(label, template, Node(), several=label == "+" and row.several)
            held.append(found)
        return found

    def find(self, value: Any, known: Known) -> Found:
        """What the rows find in an element or value."""
        found = self._here(value, known)
        if isinstance(value, dict):
            for name, node in self._plain.items():
                if name in value:
                    found.add(node.find(value[name], known))
            for name, slots in self._slots.items():
                if name in EXTENSIONS:
                    found.add(_in_extensions(value.get(name), slots, known))
                elif isinstance(value.get(name), list):
                    inner = _in_list(value[name], slots, known)
                    if name == "coding" and self._rows:
                        inner.failed = 0  # codings of the concept that another row made as a whole
                    found.add(inner)
        return found

    def _here(self, value: Any, known: Known) -> Found:
        """Rows of one place may each have made only some of its values: none has failed if one has not."""
        found = Found()
        if any(row.constant == value and row.constant is not None and row.implied is None for row in self._rows):
            found.matched = True  # written where there was nothing to read
            return found
        for row in self._rows:
            if row.transforms:
                _read(row, value, known, found)
            elif row.is_link:
                found.matched = found.matched or (isinstance(value, dict) and "reference" in value)
            elif row.constant == value:
                found.matched = True
                if row.implied is not None:
                    found.texts.append((row, row.implied, 0))
        if self._rows and not found.texts and not found.matched and all(row.transforms for row in self._rows):
            found.failed += 1
        return found


def _read(row: InverseRow, value: Any, known: Known, found: Found) -> None:
    if row.default is not None and row.default == value:
        found.matched = True
        return
    try:
        made, rank = invert(list(row.transforms), value, row.options, known)
    except NotMade:
        return
    found.texts.append((row, made, rank))
    facility = facility_of(value, known) if "facility_from" in row.options else None
    if facility is not None:
        found.options.append((row.options["facility_from"], facility))
    if "display_from" in row.options and isinstance(value.get("display"), str):
        found.options.append((row.options["display_from"], value["display"]))


def _in_extensions(held: Any, slots: Iterable[_Slot], known: Known) -> Found:
    found = Found()
    for slot in slots:
        here = [one for chain in _chains(slot.label, known) for one in _chained(held, chain)]
        tried = [slot.node.find(one, known) for one in here]
        best = min(tried, key=lambda one: one.failed, default=None)
        if best is not None:
            found.add(best)
    return found


def _chains(label: str, known: Known) -> Iterator[tuple[str, ...]]:
    """The chains of URLs of an extension's label in every guide: `ward`, `kept:TT_THAU`, `:DON_GIA`."""
    kind, _, inner = label.partition(":")
    for chain in known.chains.get(kind.rstrip("#"), ()) if kind else ((),):
        yield (*chain, inner) if inner else chain


def _chained(held: Any, chain: tuple[str, ...]) -> Iterator[Resource]:
    """The innermost extensions of a chain of URLs."""
    for one in held if isinstance(held, list) else ():
        if isinstance(one, dict) and one.get("url") == chain[0]:
            if len(chain) == 1:
                yield one
            else:
                yield from _chained(one.get("extension"), chain[1:])


def _in_list(elements: list[Any], slots: list[_Slot], known: Known) -> Found:
    """Each element goes to the free label with the best claim to it; what nobody claims is left."""
    found = Found()
    free = list(slots)
    for element in elements:
        claims = []
        for place, slot in enumerate(free):
            if slot.template and not holds(element, slot.template):
                continue
            tried = slot.node.find(element, known)
            if not tried.failed and (tried.texts or tried.matched):
                claims.append(((not slot.template, -1 if tried.matched else tried.rank, place), slot, tried))
        if claims:
            _, slot, tried = min(claims, key=lambda claim: claim[0])
            found.add(tried)
            if not slot.several:
                free.remove(slot)
        else:
            found.failed += 1
    return found


def holds(value: Any, wanted: Any) -> bool:
    """True when `value` has all that `wanted` has; a list, in any order and among others. Displays and texts, which
    are for people, do not matter."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(
            holds(value.get(name), item) for name, item in wanted.items() if name not in ("display", "text")
        )
    if isinstance(wanted, list):
        return isinstance(value, list) and all(any(holds(one, item) for one in value) for item in wanted)
    return bool(value == wanted)


def at(resource: Any, names: Iterable[str]) -> list[Any]:
    """Every value at a path of names, through lists."""
    level = [resource]
    for name in names:
        held = (one.get(name) for one in level if isinstance(one, dict))
        level = [item for one in held if one is not None for item in (one if isinstance(one, list) else [one])]
    return level
