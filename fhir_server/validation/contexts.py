"""Where an extension may stand: `context` and `contextInvariant` of its definition (R4 StructureDefinition)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from msgspec.structs import replace

from fhir_server.definitions.fhirpath import FhirPathError
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import CORE, Context
from fhir_server.model.resources import Resource
from fhir_server.validation.elements import Form, Reading, Readings
from fhir_server.validation.fhirpath import compile_condition, compile_path
from fhir_server.validation.items import Environment, Run, Test
from fhir_server.validation.places import Place
from fhir_server.validation.questions import CannotTellError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Holder:
    """What an extension stands on. value: None for a primitive without one. spot: the structure and the path below it
    where its children are defined. ids: by which R4's contexts name it, `Patient.contact`, `Address`, `Element`."""

    value: Any
    spot: tuple[str, str]
    ids: frozenset[str]


@dataclass
class Holders:
    """Finds what extensions stand on, by their places."""

    definitions: Definitions
    readings: Readings
    _children: dict[tuple[tuple[str, str], str], Reading | None] = field(default_factory=dict)
    _ids: dict[tuple[str, str, str], frozenset[str]] = field(default_factory=dict)

    def of(self, resource: Resource, place: Place) -> Holder | None:
        """resource: the whole one, from which the place of the extension leads down. None below what R4 does not
        define."""
        steps: list[tuple[str, int | None]] = []
        while not isinstance(place, str):
            place, name, number = place
            steps.append((name, number))
        value: Any = resource
        spot, ids = (resource["resourceType"], ""), self._of_type(resource["resourceType"])
        for name, number in reversed(steps[1:]):
            reading = self._child(spot, name)
            form = next((reading.by_name[key] for key in value if key in reading.by_name), None) if reading else None
            if reading is None or form is None:
                return None
            value = value.get(form.key)
            if isinstance(value, list):
                value = value[number] if number is not None and number < len(value) else None
            if form.type == "Resource":
                spot, ids = (value["resourceType"], ""), self._of_type(value["resourceType"])
            else:
                spot, ids = form.below, self._of_element(reading, form)
        return Holder(value, spot, ids)

    def _child(self, spot: tuple[str, str], name: str) -> Reading | None:
        key = (spot, name)
        if key not in self._children:
            readings = self.readings.of(*spot)
            self._children[key] = readings.get(name) or readings.get(f"{name}[x]")
        return self._children[key]

    def _of_type(self, type: str) -> frozenset[str]:
        key = (type, "", "")
        if key not in self._ids:
            self._ids[key] = frozenset(self.definitions.lineage(type))
        return self._ids[key]

    def _of_element(self, reading: Reading, form: Form) -> frozenset[str]:
        path = reading.element.path
        key = (reading.owner, path, form.key)
        if key not in self._ids:
            named = {path, path.removesuffix("[x]"), f"{path.rpartition('.')[0]}.{form.key}".lstrip(".")}
            named |= {reading.element.content} if reading.element.content else set()  # `item.item` is an `item`
            owners = self.definitions.lineage(reading.owner)
            self._ids[key] = self._of_type(form.type) | {f"{owner}.{one}" for owner in owners for one in named}
        return self._ids[key]


@dataclass
class ContextCheck:
    """What the definition of an extension says of the places where it may stand."""

    definitions: Definitions
    context: Context
    _tests: dict[tuple[str, tuple[str, str]], Test | None] = field(default_factory=dict)
    _paths: dict[tuple[str, str], Run | None] = field(default_factory=dict)

    @cached_property
    def _elements(self) -> frozenset[str]:
        """Without the profile that an id may name before a #, and without slice names."""
        found = (text.rpartition("#")[2].removeprefix(CORE) for text in self.context.elements)
        return frozenset(".".join(part.partition(":")[0] for part in text.split(".")) for text in found)

    def allows(self, holder: Holder, environment: Environment) -> bool:
        if not self.context.allowed or "Element" in self._elements:
            return True
        if not self._elements.isdisjoint(holder.ids):
            return True
        if "Extension" in holder.ids and holder.value["url"] in self.context.extensions:
            return True
        return any(self._is_at(path, holder, environment) for path in self.context.paths)

    def _is_at(self, path: str, holder: Holder, environment: Environment) -> bool:
        """Whether a path from the resource leads to the holder; one that cannot be evaluated allows all."""
        type = environment.resource["resourceType"]
        leading = re.match(r"[A-Z]\w*", path)
        if leading and leading[0] in self.definitions.concrete_types - {type}:
            return False
        if (type, path) not in self._paths:
            self._paths[type, path] = _or_none(compile_path, self.definitions, path, type)
        run = self._paths[type, path]
        return run is None or any(one is holder.value for one in run([environment.resource], environment))

    def broken(self, extension: Resource, holder: Holder, environment: Environment) -> Iterator[str]:
        """The invariants that do not hold: the focus is what the extension stands on, %extension the extension."""
        around = replace(environment, extension=extension, constants={}) if self.context.invariants else environment
        for expression in self.context.invariants:
            test = self._test(expression, holder.spot)
            try:
                if test is not None and test([holder.value], around) is not True:
                    yield expression
            except CannotTellError:
                continue

    def _test(self, expression: str, spot: tuple[str, str]) -> Test | None:
        key = (expression, spot)
        if key not in self._tests:
            self._tests[key] = _or_none(compile_condition, self.definitions, expression, *spot)
        return self._tests[key]

    def problems(self) -> Iterator[str]:
        """What cannot be evaluated, on the elements that the definition names."""
        for expression in self.context.invariants:
            for type, _, path in (one.partition(".") for one in sorted(self._elements)):
                known = type in self.definitions.structure_names and path in (
                    "",
                    *self.definitions.structure(type).elements,
                )
                if known and self._test(expression, (type, path)) is None:
                    yield f"the context invariant {expression} cannot be evaluated on {type}{path and '.'}{path}"


def _or_none(compile: Callable[..., T], *arguments: Any) -> T | None:
    """None for an expression that cannot be evaluated."""
    try:
        return compile(*arguments)
    except FhirPathError:
        return None
