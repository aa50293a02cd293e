"""The values of an element, each with its type and place, as profiles look at them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
class Form:
    """How the values of one type of an element stand in JSON. sibling: the name that holds the extensions of
    primitives. below: where the children of the values are defined."""

    key: str
    sibling: str | None
    type: str
    below: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """How the values of one element are found in its parent."""

    owner: str
    element: Element
    forms: tuple[Form, ...]
    # The forms by each JSON name that holds them, those of primitive extensions included.
    by_name: Mapping[str, Form]

    def items(self, parent: Resource, place: Place) -> list[Item]:
        forms: Iterable[Form] = self.forms
        if len(self.forms) > 1:  # of a choice's many names few are there
            forms = {self.by_name[name]: None for name in parent if name in self.by_name}
        found: list[Item] = []
        for form in forms:
            value, extended = parent.get(form.key), parent.get(form.sibling) if form.sibling else None
            if value is None and extended is None:
                continue
            if value.__class__ is list and extended is None and form.type != "Resource":  # nearly all that repeats
                name, type, below = self.element.name, form.type, form.below
                found += [Item(one, None, type, below, (place, name, number)) for number, one in enumerate(value)]
            elif isinstance(value, list) or isinstance(extended, list):
                values, others = _list(value), _list(extended)
                for number in range(max(len(values), len(others))):
                    one = values[number] if number < len(values) else None
                    other = others[number] if number < len(others) else None
                    found.append(_item(one, other, form, (place, self.element.name, number)))
            else:
                found.append(_item(value, extended, form, (place, self.element.name, None)))
        return found

    def item(self, parent: Resource, place: Place) -> Item | None:
        """The value at one place below the parent; None when there is none."""
        form = next((self.by_name[name] for name in parent if name in self.by_name), None)
        if form is None:
            return None
        number = place[2] if not isinstance(place, str) else None
        value, extended = (_at(parent.get(name), number) if name else None for name in (form.key, form.sibling))
        return _item(value, extended, form, place)


def _at(found: Any, number: int | None) -> Any:
    if not isinstance(found, list):
        return found
    return found[number] if number is not None and number < len(found) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _item(value: Any, extended: Any, form: Form, place: Place) -> Item:
    if form.type == "Resource" and isinstance(value, dict) and isinstance(value.get("resourceType"), str):
        type: str = value["resourceType"]
        return Item(value, extended, type, (type, ""), place)
    return Item(value, extended, form.type, form.below, place)


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
        forms = tuple(self._forms(type, element))
        names = ((name, form) for form in forms for name in (form.key, form.sibling) if name)
        return Reading(type, element, forms, dict(names))

    def _forms(self, type: str, element: Element) -> Iterator[Form]:
        if element.content is not None:
            yield Form(element.name, None, "BackboneElement", (type, element.content))
        own = bool(self._definitions.structure(type).children(element.path))
        for key, one in element.json_names():
            sibling = f"_{key}" if one.code in self._definitions.primitive_types else None
            yield Form(key, sibling, one.code, (type, element.path) if own else (one.code, ""))
