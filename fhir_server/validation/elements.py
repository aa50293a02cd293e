"""The values of an element, each with its type and place, as profiles look at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Element
from fhir_server.model.resources import Resource
from fhir_server.validation.places import Place


class Item(msgspec.Struct, frozen=True):
    """One value of an element.

    value: None for a primitive that is only extensions. extended: the object that holds a primitive's extensions.
    type: its R4 type, for a resource its resourceType. below: (structure, path) where its children are defined.
    """

    value: Any
    extended: Any
    type: str
    below: tuple[str, str]
    place: Place

    @property
    def content(self) -> Resource:
        """What the children are read from."""
        found = self.value if isinstance(self.value, dict) else self.extended
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Reading:
    """How the values of one element are found in its parent: (JSON name, type, where children are defined) each."""

    owner: str
    element: Element
    forms: tuple[tuple[str, str, tuple[str, str]], ...]
    # The JSON names that hold it, those of primitive extensions included.
    names: frozenset[str]

    def items(self, parent: Resource, place: Place) -> list[Item]:
        found: list[Item] = []
        for key, type, below in self.forms:
            value, extended = parent.get(key), parent.get(f"_{key}")
            if value is None and extended is None:
                continue
            if isinstance(value, list) or isinstance(extended, list):
                values, others = _list(value), _list(extended)
                for number in range(max(len(values), len(others))):
                    one = values[number] if number < len(values) else None
                    other = others[number] if number < len(others) else None
                    found.append(_item(one, other, type, below, (place, self.element.name, number)))
            else:
                found.append(_item(value, extended, type, below, (place, self.element.name, None)))
        return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _item(value: Any, extended: Any, type: str, below: tuple[str, str], place: Place) -> Item:
    if type == "Resource" and isinstance(value, dict) and isinstance(value.get("resourceType"), str):
        type = value["resourceType"]
        below = (type, "")
    return Item(value, extended, type, below, place)


class Readings:
    """The readings of all elements, made when first asked for."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._made: dict[tuple[str, str], Mapping[str, Reading]] = {}
        self._shared: dict[tuple[str, str], tuple[Reading, ...]] = {}

    def of(self, type: str, path: str) -> Mapping[str, Reading]:
        """Name in a profile's path (`value[x]`) → reading, of the elements below a place; empty for an unknown type."""
        made = self._made.get((type, path))
        if made is None:
            known = type in self._definitions.structure_names
            elements = self._definitions.structure(type).children(path) if known else ()
            made = {element.path.rpartition(".")[2]: self._reading(type, element) for element in elements}
            self._made[type, path] = made
        return made

    def shared(self, type: str, path: str) -> tuple[Reading, ...]:
        """The readings of the elements that have the content of another one (`Questionnaire.item.item`)."""
        made = self._shared.get((type, path))
        if made is None:
            found = tuple(one for one in self.of(type, path).values() if one.element.content is not None)
            made = self._shared[type, path] = found
        return made

    def _reading(self, type: str, element: Element) -> Reading:
        if element.content is not None:
            shared = (element.name, "BackboneElement", (type, element.content))
            return Reading(type, element, (shared,), frozenset({element.name}))
        own = bool(self._definitions.structure(type).children(element.path))
        forms = tuple(
            (key, one.code, (type, element.path) if own else (one.code, "")) for key, one in element.json_names()
        )
        names = {name for key, _, _ in forms for name in (key, f"_{key}")}
        return Reading(type, element, forms, frozenset(names))
