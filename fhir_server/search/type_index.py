"""How the resources of one type are indexed: what each element adds to the entry, worked out once for each JSON text.

What an element adds depends on nothing but the element, and most are said many times over: categories, codes, the
patient and the encounter of all that came of one visit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fhir_server.model.registry import UnknownSystems
from fhir_server.model.resources import Resource, encode
from fhir_server.search.entry import Entry, Numbers, Write, bounded
from fhir_server.search.path import At, Child, Path, walk_of
from fhir_server.store.values import Indexed

# Of these hardly one comes twice.
_SELDOM_TWICE = frozenset({"HumanName", "Identifier", "ContactPoint", "id"})
# Nor does a longer element.
_LONGEST_REMEMBERED = 1_024
# A part that remembers so many begins anew, and all do that remember so many together.
_MOST_OF_A_PART = 256
MOST_OF_ALL = 16_384

Remembered = dict[str | bytes, Entry]


class Part:
    """One element, or several that are looked at together. remembered: what they add, by their JSON; nobody changes it
    any more."""

    __slots__ = ("is_remembered", "remembered", "writes")

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.is_remembered = True
        self.remembered: Remembered = {}


class Memory:
    """What the parts of all types remember: bounded together, since there are thousands of parts."""

    def __init__(self) -> None:
        self._holding: list[Remembered] = []
        self._count = 0

    def remember(self, part: Part, text: str | bytes, entry: Entry) -> None:
        if len(text) > _LONGEST_REMEMBERED:
            return
        remembered = part.remembered
        if len(remembered) >= _MOST_OF_A_PART:
            self._count -= len(remembered)
            remembered.clear()
        elif not remembered:
            self._holding.append(remembered)
        if self._count >= MOST_OF_ALL:
            for one in self._holding:
                one.clear()
            self._holding, self._count = [remembered], 0
        remembered[text] = entry
        self._count += 1


class TypeIndex:
    """Writers are put into it one by one; then it indexes any number of resources."""

    def __init__(self, numbers: Numbers, memory: Memory) -> None:
        self._numbers = numbers
        self._memory = memory
        self._elements: dict[str, Part] = {}
        # Of writers that look at several elements, and the names of all of these.
        self._together = Part()
        self._names: tuple[str, ...] = ()
        # What may look at anything.
        self._whole: list[Write] = []
        self._stand_ins: list[Write] = []
        self._united: list[tuple[str, Sequence[str]]] = []

    def add(self, path: Path, write: Write) -> None:
        """A writer of the values that a path leads to."""
        first = path.steps[0] if path.steps else None
        if not isinstance(first, Child) or any(isinstance(step, At) for step in path.steps):
            self._whole.append(_after(path.walk(), write) if path.steps else write)
            return
        part = self._elements.setdefault(first.name, Part())
        part.is_remembered &= path.type not in _SELDOM_TWICE
        rest = path.steps[1:]
        part.writes.append(_from(first.many, walk_of(rest) if rest else None, write))

    def add_reading(self, names: Iterable[str | None], write: Write) -> None:
        """A writer that takes the whole resource and looks at these of its elements, of which None is any."""
        match list(names):
            case [str(name)]:
                part = self._elements.setdefault(name, Part())
                part.writes.append(lambda value, entry: write({name: value}, entry))
            case [*several] if None not in several:
                self._names = tuple(dict.fromkeys((*self._names, *several)))  # type: ignore[arg-type]
                self._together.writes.append(write)
            case _:
                self._whole.append(write)

    def add_stand_in(self, path: Path, write: Write) -> None:
        """A writer of the order of a resource of which no element has written one; earlier ones come first."""
        self._stand_ins.append(_after(path.walk(), write))

    def unite(self, letters: str, places: Sequence[str]) -> None:
        """A parameter that is kept in several homes is sorted by the values of all of them."""
        self._united.append((letters, places))

    def index(self, resource: Resource) -> Indexed:
        """Raises UnknownSystems with all that have no number."""
        unknown: set[str] = set()
        own = Entry(self._numbers, unknown)
        elements = self._elements
        parts: list[Entry] = []
        for name, value in resource.items():
            part = elements.get(name)
            if part is None:
                continue
            if part.is_remembered:
                text = value if value.__class__ is str else encode(value)
                parts.append(part.remembered.get(text) or self._new(part, value, text, unknown))
            else:
                for write in part.writes:
                    write(value, own)
        if self._names:
            part, text = self._together, encode([resource.get(name) for name in self._names])
            parts.append(part.remembered.get(text) or self._new(part, resource, text, unknown))
        for write in self._whole:
            write(resource, own)
        if unknown:
            raise UnknownSystems(unknown)
        for one in parts:
            own.join(one)
        return self._indexed(resource, own)

    def _new(self, part: Part, value: Any, text: str | bytes, unknown: set[str]) -> Entry:
        """What a part adds that is not remembered."""
        entry = Entry(self._numbers, unknown)
        for write in part.writes:
            write(value, entry)
        if not unknown:
            self._memory.remember(part, text, entry)
        return entry

    def _indexed(self, resource: Resource, entry: Entry) -> Indexed:
        sort = entry.sort
        for letters, places in self._united:
            if not sort.keys().isdisjoint(places):
                found = [value for place in places for value in sort.get(place, ())]
                sort[letters] = bounded([{"l": one["l"]} if isinstance(one, dict) else one for one in found])
        if entry.order is None:
            for write in self._stand_ins:
                write(resource, entry)
        return Indexed(tuple(entry.keys), sort, entry.order)


def _after(walk: Callable[[Any], Any], write: Write) -> Write:
    def reach(item: Any, entry: Entry) -> None:
        for value in walk(item):
            write(value, entry)

    return reach


def _from(many: bool, walk: Callable[[Any], Any] | None, write: Write) -> Write:
    """The writer that starts at the value of the path's first element."""
    if not many:
        return write if walk is None else _after(walk, write)

    def each(items: Any, entry: Entry) -> None:
        for item in items:
            if item is not None:
                write(item, entry)

    def each_below(items: Any, entry: Entry) -> None:
        for item in items:
            for value in walk(item):  # type: ignore[misc]
                write(value, entry)

    return each if walk is None else each_below
