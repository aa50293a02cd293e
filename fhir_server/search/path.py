"""A path through a resource to values of one FHIR type, and the plain function that walks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from fhir_server.model.references import literal

Walk = Callable[[Any], Sequence[Any]]
Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Child:
    """Step to an element by its JSON name."""

    name: str
    many: bool


@dataclass(frozen=True, slots=True)
class Where:
    """Keep the items that satisfy a test; label tells equal tests apart from others. points_at: the resource type, when
    the test is that the reference points at one."""

    test: Test
    label: str
    points_at: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Where) and other.label == self.label

    def __hash__(self) -> int:
        return hash(self.label)


@dataclass(frozen=True, slots=True)
class At:
    """Only the item at one place of all that were found so far."""

    place: int


@dataclass(frozen=True, slots=True)
class Truth:
    """The answer of a test, in place of the item."""

    test: Test
    label: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Truth) and other.label == self.label

    def __hash__(self) -> int:
        return hash(self.label)


Step = Child | Where | At | Truth


class Path(msgspec.Struct, frozen=True):
    """One way of an expression from a resource to values of one FHIR type.

    type: `HumanName`, `code`, …; `Observation.component` for an element without a type of its own; `Resource` for a
    nested resource. systems: the code systems that a required binding implies. from_resource: it starts at the resource
    although the expression is applied to one of its elements (`%resource`).
    """

    type: str
    steps: tuple[Step, ...] = ()
    systems: tuple[str, ...] = ()
    from_resource: bool = False

    @property
    def many(self) -> bool:
        """True when one resource can have several such values."""
        many = False
        for step in self.steps:
            many = (many or step.many) if isinstance(step, Child) else many and not isinstance(step, At)
        return many

    @property
    def first(self) -> str | None:
        """The JSON name that the resource must have, None when it can be any."""
        step = self.steps[0] if self.steps else None
        return step.name if isinstance(step, Child) else None

    @property
    def points_at(self) -> str | None:
        """The resource type that all of its references point at, None when they are not limited to one."""
        step = self.steps[-1] if self.steps else None
        return step.points_at if isinstance(step, Where) else None

    def walk(self) -> Walk:
        """The function from a resource (or the element the path starts at) to the values."""
        return walk_of(self.steps)


def target_type(value: Any) -> str | None:
    """The resource type a Reference, canonical or nested resource points at, by what it says itself."""
    if isinstance(value, str):
        found = literal(value)
        return found.type if found else None
    text = value.get("reference")
    if text is not None:
        found = literal(text)
        if found:
            return found.type
    named = value.get("type") if "resourceType" not in value else value["resourceType"]
    return named if isinstance(named, str) else None


def walk_of(steps: tuple[Step, ...]) -> Walk:
    for place, step in enumerate(steps):
        if isinstance(step, At):
            return _pick(walk_of(steps[:place]), step.place, walk_of(steps[place + 1 :]))
    if not steps:
        return lambda item: (item,)
    rest = walk_of(steps[1:]) if len(steps) > 1 else None
    match steps[0]:
        case Child(name, many):
            return _all(name, rest) if many else _one(name, rest)
        case Where(test):
            return _if(test, rest)
        case Truth(test):
            return lambda item: (test(item),)
    raise TypeError(steps[0])


def _one(name: str, rest: Walk | None) -> Walk:
    def end(item: Any) -> Sequence[Any]:
        found = item.get(name)
        return () if found is None else (found,)

    def through(item: Any) -> Sequence[Any]:
        found = item.get(name)
        return () if found is None else rest(found)  # type: ignore[misc]

    return end if rest is None else through


def _all(name: str, rest: Walk | None) -> Walk:
    def end(item: Any) -> Sequence[Any]:
        found: Sequence[Any] = item.get(name) or ()
        # A primitive that has extensions only is null in the array of values.
        return found if None not in found else [one for one in found if one is not None]

    def through(item: Any) -> Sequence[Any]:
        found = item.get(name)
        if not found:
            return ()
        if len(found) == 1:
            return rest(found[0])  # type: ignore[misc]
        return [value for one in found for value in rest(one)]  # type: ignore[misc]

    return end if rest is None else through


def _if(test: Test, rest: Walk | None) -> Walk:
    if rest is None:
        return lambda item: (item,) if test(item) else ()
    return lambda item: rest(item) if test(item) else ()


def _pick(before: Walk, place: int, after: Walk) -> Walk:
    def walk(item: Any) -> Sequence[Any]:
        found = before(item)
        return after(found[place]) if place < len(found) else ()

    return walk
