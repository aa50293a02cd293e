"""Structure checked by closures generated from the StructureDefinitions: every fault, each at its exact place.

Element names, cardinalities, types, choices, primitive formats, primitive extensions (R4 JSON format) and required
bindings. Closures are made when a type is first met and kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Element, Type
from fhir_server.model.resources import LARGEST_EXPONENT, Digits, Resource
from fhir_server.validation.messages import Report, child, quote
from fhir_server.validation.primitives import PRIMITIVES, Primitive

# Levels of objects in objects. R4 sets no limit; the deepest official example has 17.
MOST_LEVELS = 100
_MOST_CODES_SHOWN = 12

# (value, its FHIRPath, report, level)
Check = Callable[[Any, str, Report, int], None]
# The same for one property of an object: (object, FHIRPath of the object, report, level)
PropertyCheck = Callable[[Resource, str, Report, int], None]
Codes = Mapping[str, Collection[str]]

_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class _Presence:
    """The JSON names of one element: any of them when it is required, at most one of them when it is a choice."""

    element: Element
    names: frozenset[str]


class StructureChecks:
    """The closures of all types, made one by one when they are first needed."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._objects: dict[tuple[str, str], Check] = {}

    def check(self, value: Any, path: str, report: Report, level: int = 0) -> None:
        """Tells every structural fault of a resource, of whatever type it says it is."""
        if not isinstance(value, dict):
            return report.tell("not-a-resource", path, found=quote(value))
        type = value.get("resourceType")
        if type is None:
            return report.tell("no-resource-type", child(path, "resourceType"))
        if not isinstance(type, str) or type not in self._definitions.concrete_types:
            return report.tell("unknown-type", child(path, "resourceType"), found=quote(type))
        return self._object(type, "")(value, path, report, level)

    def _object(self, type: str, path: str) -> Check:
        """The check of an object of a type, or of an element of it that has children of its own."""
        made = self._objects.get((type, path))
        if made is None:
            made = self._objects[type, path] = self._make_object(type, path)
        return made

    def _object_later(self, type: str, path: str) -> Check:
        """The same, made at its first use: types contain each other."""
        return lambda value, where, report, level: self._object(type, path)(value, where, report, level)

    def _make_object(self, type: str, path: str) -> Check:
        elements = self._definitions.structure(type).children(path)
        properties = {name: check for element in elements for name, check in self._properties(type, element)}
        names = {element.path: _json_names(element) for element in elements}
        required = [_Presence(one, names[one.path]) for one in elements if one.min > 0]
        choices = [_Presence(one, names[one.path]) for one in elements if one.is_choice and len(one.types) > 1]
        label = f"{type}.{path}" if path else type
        is_resource = not path and type in self._definitions.concrete_types

        def check(value: Any, where: str, report: Report, level: int) -> None:
            if not isinstance(value, dict):
                return report.tell("not-an-object", where, type=label, found=quote(value))
            if level > MOST_LEVELS:
                return report.tell("too-deep", where, most=MOST_LEVELS)
            if not is_resource and value.keys() <= _NO_CONTENT:
                return report.tell("empty-object", where)
            for name in value:
                one = properties.get(name)
                if one is None:
                    if not (is_resource and name == "resourceType"):
                        report.tell("unknown-element", child(where, name), type=label, found=quote(name))
                elif name[0] != "_" or name[1:] not in value:
                    one(value, where, report, level)
            _check_presence(value, where, report, required, choices)
            return None

        return check

    def _properties(self, type: str, element: Element) -> list[tuple[str, PropertyCheck]]:
        """(JSON name, check) of each form of an element, the names of primitive extensions included."""
        if element.content is not None:
            return [(element.name, _complex(element, element.name, self._object_later(type, element.content)))]
        found: list[tuple[str, PropertyCheck]] = []
        own = bool(self._definitions.structure(type).children(element.path))
        for name, one in element.json_names():
            if element.max == 0:
                found.append((name, _not_allowed(element)))
            elif own:
                found.append((name, _complex(element, name, self._object_later(type, element.path))))
            elif one.code in PRIMITIVES:
                found += self._primitive(element, name, one)
            else:
                found.append((name, _complex(element, name, self._complex_type(element, one))))
        return found

    def _complex_type(self, element: Element, type: Type) -> Check:
        if type.code == "Resource":
            return self.check
        check = self._object_later(type.profile or type.code, "")
        codes = self._required_codes(element)
        return check if codes is None or type.code != "CodeableConcept" else _with_concept(check, element, codes)

    def _required_codes(self, element: Element) -> Codes | None:
        """System -> codes of a required binding, when R4 lists them."""
        if element.binding is None or element.binding.strength != "required":
            return None
        return self._definitions.required_codes.get(element.binding.value_set)

    def _primitive(self, element: Element, name: str, type: Type) -> list[tuple[str, PropertyCheck]]:
        pattern = self._definitions.code_pattern(element.binding) if type.code == "code" else None
        check = _primitive_value(type.code, PRIMITIVES[type.code], element, self._required_codes(element), pattern)
        if element.xml or type.code == "xhtml":  # Element.id, Extension.url and narrative cannot be extended
            return [(name, _complex(element, name, check))]
        pair = _primitive_pair(element, name, check, self._object_later("Element", ""))
        return [(name, pair), (f"_{name}", pair)]


_NO_CONTENT = frozenset({"id"})


def _json_names(element: Element) -> frozenset[str]:
    if element.content is not None:
        return frozenset({element.name})
    names = {name for name, _ in element.json_names()}
    return frozenset(names | {f"_{name}" for name in names})


def _check_presence(
    value: Resource, where: str, report: Report, required: list[_Presence], choices: list[_Presence]
) -> None:
    for one in required:
        if one.names.isdisjoint(value):
            element = one.element
            most = "*" if element.max is None else element.max
            name = element.path.rpartition(".")[2]
            report.tell("required", f"{where}.{element.name}", element=name, min=element.min, max=most)
    for one in choices:
        used = sorted({name.removeprefix("_") for name in one.names.intersection(value)})
        if len(used) > 1:
            report.tell("several-choices", f"{where}.{one.element.name}", found=", ".join(used))


def _not_allowed(element: Element) -> PropertyCheck:
    def check(value: Resource, where: str, report: Report, level: int) -> None:
        report.tell("not-allowed", f"{where}.{element.name}", element=element.name)

    return check


def _complex(element: Element, name: str, check: Check) -> PropertyCheck:
    """A property whose values have no extensions beside them: complex ones, Element.id, Extension.url, narrative."""
    below = f".{element.name}"

    def single(value: Resource, where: str, report: Report, level: int) -> None:
        item = value[name]
        if isinstance(item, list):
            report.tell("not-single", where + below)
        elif item is None:
            report.tell("null", where + below)
        else:
            check(item, where + below, report, level + 1)

    def several(value: Resource, where: str, report: Report, level: int) -> None:
        items = value[name]
        if not isinstance(items, list):
            return report.tell("not-a-list", where + below, found=quote(items))
        if not items:
            return report.tell("empty-list", where + below)
        for place, item in enumerate(items):
            if item is None:
                report.tell("null", f"{where}{below}[{place}]")
            else:
                check(item, f"{where}{below}[{place}]", report, level + 1)
        return None

    return several if element.is_list else single


# --- primitives


def _primitive_pair(element: Element, name: str, check: Check, extended: Check) -> PropertyCheck:
    """A primitive and its `_name`: R4 JSON format, "representation of primitive elements"."""
    below, sibling = f".{element.name}", f"_{name}"

    def single(value: Resource, where: str, report: Report, level: int) -> None:
        where += below
        item, other = value.get(name, _ABSENT), value.get(sibling, _ABSENT)
        if isinstance(item, list) or isinstance(other, list):
            report.tell("not-single", where)
        elif item is None or other is None:
            report.tell("null", where)
        else:
            check_pair(item, other, where, report, level)

    def several(value: Resource, where: str, report: Report, level: int) -> None:
        where += below
        found = [value[one] for one in (name, sibling) if one in value]
        for one in found:
            if not isinstance(one, list) or not one:
                kind = "empty-list" if isinstance(one, list) else "not-a-list"
                return report.tell(kind, where, found=quote(one))
        items, others = value.get(name, []), value.get(sibling, [])
        for place in range(max(map(len, found))):
            item = _ABSENT if place >= len(items) or items[place] is None else items[place]
            other = _ABSENT if place >= len(others) or others[place] is None else others[place]
            if item is _ABSENT and other is _ABSENT:
                report.tell("nothing-at-place", f"{where}[{place}]")
            else:
                check_pair(item, other, f"{where}[{place}]", report, level)
        return None

    def check_pair(item: Any, other: Any, where: str, report: Report, level: int) -> None:
        if item is not _ABSENT:
            check(item, where, report, level)
        if other is not _ABSENT:
            only_id = isinstance(other, dict) and other.keys() == _NO_CONTENT
            if only_id and item is not _ABSENT:
                _check_element_id(other["id"], where, report)
            else:
                extended(other, where, report, level + 1)

    return several if element.is_list else single


def _check_element_id(id: Any, where: str, report: Report) -> None:
    if not isinstance(id, str) or not id.strip():
        report.tell("format", f"{where}.id", found=quote(id), type="string", example="a1")


def _primitive_value(
    type: str, primitive: Primitive, element: Element, codes: Codes | None, pattern: str | None
) -> Check:
    """codes, pattern: what its binding lets pass."""
    if primitive.json == "boolean":
        return _boolean
    if primitive.json == "integer":
        return _integer(type, primitive)
    if primitive.json == "number":
        return _decimal
    allowed = None if codes is None else frozenset(code for system in codes.values() for code in system)
    form = None if pattern is None else re.compile(pattern)
    choices = "" if allowed is None else _choices(allowed)
    most = primitive.max_length

    def check(value: Any, where: str, report: Report, level: int) -> None:
        if not isinstance(value, str):
            report.tell("wrong-json-type", where, type=type, expected="string", found=quote(value))
        elif most is not None and len(value) > most:
            report.tell("too-long", where, found=len(value), most=most)
        elif not primitive.matches(value):
            report.tell("format", where, found=quote(value), type=type, example=primitive.example)
        elif (allowed is not None and value not in allowed) or (form is not None and not form.fullmatch(value)):
            url = element.binding.value_set if element.binding else ""
            report.tell("code", where, found=quote(value), value_set=url, choices=choices)

    return check


def _boolean(value: Any, where: str, report: Report, level: int) -> None:
    if not isinstance(value, bool):
        report.tell("wrong-json-type", where, type="boolean", expected="boolean", found=quote(value))


def _integer(type: str, primitive: Primitive) -> Check:
    low, high = primitive.low or 0, primitive.high or 0

    def check(value: Any, where: str, report: Report, level: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            report.tell("wrong-json-type", where, type=type, expected="integer", found=quote(value))
        elif not low <= value <= high:
            report.tell("out-of-range", where, type=type, found=quote(value), example=primitive.example)

    return check


def _decimal(value: Any, where: str, report: Report, level: int) -> None:
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        report.tell("wrong-json-type", where, type="decimal", expected="number", found=quote(value))
    elif value.is_huge if isinstance(value, Digits) else abs(value) >= 10**LARGEST_EXPONENT:
        report.tell("out-of-range", where, type="decimal", found=quote(value), example="1e-308..1e308")


# --- required bindings of concepts


def _with_concept(check: Check, element: Element, codes: Codes) -> Check:
    """A CodeableConcept bound as required: one of its codings is from the value set (R4 Using Codes in Resources)."""
    url = element.binding.value_set if element.binding else ""
    shown = _choices(frozenset(code for system in codes.values() for code in system))

    def check_concept(value: Any, where: str, report: Report, level: int) -> None:
        check(value, where, report, level)
        if isinstance(value, dict) and not _is_from(value, codes):
            report.tell("concept", where, value_set=url, choices=shown)

    return check_concept


def _is_from(concept: Resource, codes: Codes) -> bool:
    """True when a coding is from the set, and for a concept that says only by extension why there is none."""
    codings = concept.get("coding")
    if codings is None and "text" not in concept:
        return True
    found = (one for one in codings if isinstance(one, dict)) if isinstance(codings, list) else ()
    return any(_is_text(one, "code") and one["code"] in codes.get(_system(one), ()) for one in found)


def _is_text(coding: Resource, name: str) -> bool:
    return isinstance(coding.get(name), str)


def _system(coding: Resource) -> str:
    system = coding.get("system")
    return system if isinstance(system, str) else ""


def _choices(codes: Collection[str]) -> str:
    return ": " + ", ".join(sorted(codes)) if 0 < len(codes) <= _MOST_CODES_SHOWN else ""
