"""Where an extension may stand: `context` and `contextInvariant` of its definition (R4 StructureDefinition)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from fhir_server.definitions.fhirpath import FhirPathError
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import CORE, Context, ProfileElement, slice_line
from fhir_server.model.resources import Resource
from fhir_server.validation.elements import Form, Item, Reading, Readings
from fhir_server.validation.fhirpath import compile_condition, compile_path
from fhir_server.validation.items import Environment, Run, Test
from fhir_server.validation.places import Place
from fhir_server.validation.profile_walk import Known, Probe, Walk
from fhir_server.validation.questions import CannotTellError

if TYPE_CHECKING:
    from fhir_server.validation.profile_checks import Root

T = TypeVar("T")


# A value, and how it is found in the one that holds it (None for the whole resource).
Step = tuple[Reading | None, Item]


@dataclass(frozen=True, slots=True)
class Holder:
    """What an extension stands on. line: from the whole resource down to it, with how each is found in the one before.
    ids: by which R4's contexts name it, `Patient.contact`, `Address`, `Element`."""

    line: tuple[Step, ...]
    ids: frozenset[str]

    @property
    def item(self) -> Item:
        return self.line[-1][1]


@dataclass
class Holders:
    """Finds what extensions stand on, by their places."""

    definitions: Definitions
    readings: Readings
    _ids: dict[tuple[str, str, str], frozenset[str]] = field(default_factory=dict)

    def of(self, resource: Resource, place: Place) -> Holder | None:
        """resource: the whole one, from which the place of the extension leads down. None below what R4 does not
        define."""
        steps: list[Place] = []
        while not isinstance(place, str):
            steps.append(place)
            place = place[0]
        type = resource["resourceType"]
        line: list[Step] = [(None, Item(resource, None, type, (type, ""), place))]
        for step in reversed(steps[1:]):
            above = line[-1][1]
            readings = self.readings.of(*above.below)
            reading = readings.get(step[1]) or readings.get(f"{step[1]}[x]")
            found = reading.item(above.content, step) if reading is not None else None
            if found is None:
                return None
            line.append((reading, found))
        return Holder(tuple(line), self._ids_of(*line[-1]))

    def _ids_of(self, reading: Reading | None, item: Item) -> frozenset[str]:
        form = next((one for one in reading.forms if one.type == item.type), None) if reading is not None else None
        key = (reading.owner, reading.element.path, item.type) if reading is not None and form else ("", "", item.type)
        if key not in self._ids:
            own = frozenset(self.definitions.lineage(item.type))
            self._ids[key] = own | self._of_element(reading, form) if reading is not None and form else own
        return self._ids[key]

    def _of_element(self, reading: Reading, form: Form) -> frozenset[str]:
        path = reading.element.path
        named = {path, path.removesuffix("[x]"), f"{path.rpartition('.')[0]}.{form.key}".lstrip(".")}
        named |= {reading.element.content} if reading.element.content else set()  # `item.item` is an `item`
        return frozenset(f"{owner}.{one}" for owner in self.definitions.lineage(reading.owner) for one in named)


@dataclass
class ContextCheck:
    """What the definition of an extension says of the places where it may stand."""

    definitions: Definitions
    context: Context
    # The compiled profile of a canonical; None when it is not loaded.
    root: Callable[[str], Root | None]
    # Of `today()` in invariants.
    zone: str
    _tests: dict[tuple[str, tuple[str, str]], Test | None] = field(default_factory=dict)
    _paths: dict[tuple[str, str], Run | None] = field(default_factory=dict)

    @cached_property
    def _elements(self) -> frozenset[str]:
        """The ids of elements as R4 itself has them."""
        return frozenset(_plain(text) for text in self.context.elements if "#" not in text)

    @cached_property
    def _by_profile(self) -> tuple[tuple[str, str], ...]:
        """(canonical, id) of those that only count where a profile is kept: `http://a.b/x#Patient.contact:mother`."""
        return tuple((text.partition("#")[0], text.partition("#")[2]) for text in self.context.elements if "#" in text)

    def allows(self, holder: Holder, environment: Environment, known: Known) -> bool:
        if not self.context.allowed or "Element" in self._elements:
            return True
        if not self._elements.isdisjoint(holder.ids):
            return True
        if "Extension" in holder.ids and holder.item.content["url"] in self.context.extensions:
            return True
        if any(self._is_within(canonical, id, holder, environment, known) for canonical, id in self._by_profile):
            return True
        return any(self._is_at(path, holder, environment) for path in self.context.paths)

    def _is_within(self, canonical: str, id: str, holder: Holder, environment: Environment, known: Known) -> bool:
        """Whether the holder is the element of a profile, in the slices that the id names, of what keeps the profile.
        True where the profile is not loaded, since that cannot be told."""
        if _plain(id) not in holder.ids:
            return False
        root = self.root(canonical)
        if root is None:
            return True
        line = holder.line
        first = next((place for place in range(len(line) - 1, -1, -1) if line[place][1].type in root.types), None)
        if first is None:
            return False
        probe = Probe()
        walk = Walk(root.name, environment, probe, known)
        root.run(line[first][1], walk)
        slices = [part.partition(":")[2] for part in id.split(".")[1:]]
        return not probe.failed and _is_in_slices(root, line[first + 1 :], slices, walk)

    def _is_at(self, path: str, holder: Holder, environment: Environment) -> bool:
        """Whether a path from the resource leads to the holder; one that cannot be evaluated allows all."""
        type = environment.resource["resourceType"]
        leading = re.match(r"[A-Z]\w*", path)
        if leading and leading[0] in self.definitions.concrete_types - {type}:
            return False
        if (type, path) not in self._paths:
            self._paths[type, path] = _or_none(compile_path, self.definitions, path, type)
        run = self._paths[type, path]
        return run is None or any(one is holder.item.value for one in run([environment.resource], environment))

    def broken(self, extension: Resource, holder: Holder, environment: Environment) -> Iterator[str]:
        """The invariants that do not hold: the focus is what the extension stands on, %extension the extension."""
        around = replace(environment, extension=extension, constants={}) if self.context.invariants else environment
        for expression in self.context.invariants:
            test = self._test(expression, holder.item.below)
            try:
                if test is not None and test([holder.item.value], around) is not True:
                    yield expression
            except CannotTellError:
                continue

    def _test(self, expression: str, spot: tuple[str, str]) -> Test | None:
        key = (expression, spot)
        if key not in self._tests:
            self._tests[key] = _or_none(compile_condition, self.definitions, expression, *spot, self.zone)
        return self._tests[key]

    def problems(self) -> Iterator[str]:
        """What cannot be evaluated, on the elements that the definition names."""
        named = self._elements | {_plain(id) for _, id in self._by_profile}
        for expression in self.context.invariants:
            for type, _, path in (one.partition(".") for one in sorted(named)):
                known = type in self.definitions.structure_names and path in (
                    "",
                    *self.definitions.structure(type).elements,
                )
                if known and self._test(expression, (type, path)) is None:
                    yield f"the context invariant {expression} cannot be evaluated on {type}{path and '.'}{path}"


def _plain(id: str) -> str:
    """The id of an element without slices: `Observation.value[x]:valueQuantity` is `Observation.valueQuantity`."""
    parts = (part.partition(":") for part in id.removeprefix(CORE).split("."))
    return ".".join(slice if slice and name.endswith("[x]") else name for name, _, slice in parts)


def _is_in_slices(root: Root, line: Sequence[Step], slices: Sequence[str], walk: Walk) -> bool:
    """line: from below what keeps the profile down to the holder. slices: a slice's name or "" for each."""
    node: ProfileElement | None = root.profile.root
    for (reading, item), slice in zip(line, slices, strict=False):
        node = node.children.get(reading.element.path.rpartition(".")[2]) if node and reading else None
        for one in slice_line(slice):
            if node is None or reading is None or one not in node.slices:
                return True  # no such slice: that cannot be told
            places = root.places(node, reading)([item], walk)
            if places is not None and places[0] != list(node.slices).index(one):
                return False
            node = node.slices[one]
    return True


def _or_none(compile: Callable[..., T], *arguments: Any) -> T | None:
    """None for an expression that cannot be evaluated."""
    try:
        return compile(*arguments)
    except FhirPathError:
        return None
