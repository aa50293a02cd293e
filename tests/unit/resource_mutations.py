"""Resources with one fault each: an example is broken in one way at a time, at every element it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fhir_server.config import DATA_ROOT
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Element, Type
from fhir_server.model.resources import Digits, Resource, decode, encode

DEFINITIONS = Definitions.load(DATA_ROOT)

Steps = tuple[str | int, ...]
Change = Callable[[Any], None]


@dataclass(frozen=True)
class Mutation:
    """steps: the way to the object that is changed. place: the FHIRPath where the fault must be told."""

    kind: str
    steps: Steps
    change: Change
    place: str
    code: str

    def apply(self, resource: Resource) -> Resource:
        return self._change(decode(encode(resource)))

    def apply_to(self, path: Path) -> Resource:
        return self._change(decode(path.read_bytes()))

    def _change(self, copy: Resource) -> Resource:
        target: Any = copy
        for step in self.steps:
            target = target[step]
        self.change(target)
        return copy


WRONG_FORMAT: dict[str, tuple[Any, ...]] = {
    "date": ("2026-02-29", "2026-13", "26-01-01", "2026-01-01T00:00:00Z", ""),
    "dateTime": ("2026-02-30", "2026-01-01T25:00:00Z", "2026-01-01T10:00:00", "01/02/2026"),
    "instant": ("2026-01-01", "2026-01-01T10:00:00", "2026-04-31T10:00:00Z"),
    "time": ("24:00:00", "07:30", "7:30:00"),
    "id": ("a b", "x" * 65, "đ"),
    "code": (" a", "a  b", ""),
    "uri": ("http://a b", "", " "),
    "url": ("http://a b", ""),
    "canonical": ("http://a b", ""),
    "oid": ("1.2.3", "urn:oid:3.1", "urn:oid:1.02"),
    "uuid": ("urn:uuid:C757873D-EC9A-4326-A141-556F43239520", "c757873d-ec9a-4326-a141-556f43239520"),
    "base64Binary": ("QUJ", "QUJD!", "====", ""),
    "string": ("", "   ", "\t\n"),
    "markdown": ("", " "),
    "integer": (2**31, -(2**31) - 1, Digits("1.0")),
    "positiveInt": (0, -1, 2**31),
    "unsignedInt": (-1, 2**31),
    "decimal": ("1.0",),
    "boolean": ("true", 1, 0),
}
WRONG_JSON: dict[str, Any] = {
    "boolean": "false",
    "integer": "1",
    "positiveInt": "1",
    "unsignedInt": "1",
    "decimal": "1",
}


def _set(key: str | int, value: Any, target: Any) -> None:
    target[key] = value


def _drop(keys: tuple[str, ...], target: Any) -> None:
    for key in keys:
        target.pop(key, None)


def mutations(resource: Resource) -> Iterator[Mutation]:
    yield from of_object(resource["resourceType"], "", resource, (), resource["resourceType"])


def of_object(type: str, path: str, value: Resource, steps: Steps, place: str) -> Iterator[Mutation]:
    """The mutations of an object and of everything below it."""
    yield Mutation("unknown element", steps, partial(_set, "colour", "red"), f"{place}.colour", "structure")
    yield Mutation("a name in the wrong case", steps, partial(_set, "STATUS", "x"), f"{place}.STATUS", "structure")
    for element in DEFINITIONS.structure(type).children(path):
        present = [(key, one) for key, one in forms(element) if key in value]
        if element.min and present and len(value) > 1:
            keys = tuple(name for key, _ in present for name in (key, f"_{key}"))
            yield Mutation("required missing", steps, partial(_drop, keys), f"{place}.{element.name}", "required")
        if element.is_choice and present:
            others = ((key, GOOD[one.code]) for key, one in forms(element) if key not in value and one.code in GOOD)
            for key, good in list(others)[:1]:
                change = partial(_set, key, good)
                yield Mutation("two of a choice", steps, change, f"{place}.{element.name}", "structure")
        for key, one in present:
            yield from of_property(type, element, one, key, value[key], steps, f"{place}.{element.name}")


GOOD: dict[str, Any] = {
    "string": "x", "boolean": True, "dateTime": "2026", "CodeableConcept": {"text": "x"}, "Period": {"start": "2026"},
    "Duration": {"value": 1}, "Range": {"low": {"value": 1}}, "Reference": {"display": "x"},
}  # fmt: skip


def forms(element: Element) -> list[tuple[str, Type]]:
    return [(element.name, Type("BackboneElement"))] if element.content else list(element.json_names())


def of_property(
    type: str, element: Element, one: Type, key: str, value: Any, steps: Steps, place: str
) -> Iterator[Mutation]:
    if element.is_list:
        yield Mutation("no list", steps, partial(_set, key, value[0]), place, "structure")
        yield Mutation("empty list", steps, partial(_set, key, []), place, "structure")
        for number, item in enumerate(value):
            if item is not None:
                yield from of_value(type, element, one, item, (*steps, key), number, f"{place}[{number}]")
    else:
        yield Mutation("a list", steps, partial(_set, key, [value]), place, "structure")
        yield from of_value(type, element, one, value, steps, key, place)


def of_value(
    type: str, element: Element, one: Type, value: Any, steps: Steps, key: str | int, place: str
) -> Iterator[Mutation]:
    put = partial(partial, _set, key)
    yield Mutation("null", steps, put(None), place, "structure")
    if one.code in DEFINITIONS.primitive_types:
        yield from of_primitive(element, one, steps, put, place)
        return
    yield Mutation("text for an object", steps, put("x"), place, "structure")
    yield Mutation("number for an object", steps, put(7), place, "structure")
    here = (*steps, key)
    if one.code == "Resource":
        yield Mutation("no resource", steps, put({}), f"{place}.resourceType", "required")
        yield Mutation(
            "unknown type", here, partial(_set, "resourceType", "Pateint"), f"{place}.resourceType", "structure"
        )
        yield from of_object(value["resourceType"], "", value, here, place)
        return
    yield Mutation("empty object", steps, put({}), place, "structure")
    yield Mutation("only an id", steps, put({"id": "a"}), place, "structure")
    yield from of_datatype(element, one, value, here, place)
    if element.content is not None:
        yield from of_object(type, element.content, value, here, place)
    elif DEFINITIONS.structure(type).children(element.path):
        yield from of_object(type, element.path, value, here, place)
    else:
        yield from of_object(one.code, "", value, here, place)


def of_primitive(
    element: Element, one: Type, steps: Steps, put: Callable[[Any], Change], place: str
) -> Iterator[Mutation]:
    yield Mutation("wrong JSON type", steps, put(WRONG_JSON.get(one.code, 7)), place, "value")
    yield Mutation("object for a primitive", steps, put({"value": 1}), place, "value")
    for wrong in WRONG_FORMAT.get("string" if one.code == "xhtml" else one.code, ()):
        code = "invariant" if one.code == "xhtml" else "value"
        yield Mutation(f"format of {one.code}", steps, put(wrong), place, code)
    bound = element.binding and element.binding.strength == "required"
    if one.code == "code" and bound and element.binding and element.binding.value_set in DEFINITIONS.required_codes:
        yield Mutation("code of no value set", steps, put("no-such-code"), place, "code-invalid")
    if one.code == "xhtml":
        for wrong in (
            "<div>x</div>",
            "<p/>",
            '<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div>',
            "x",
        ):
            yield Mutation("narrative", steps, put(wrong), place, "invariant")


def of_datatype(element: Element, one: Type, value: Resource, here: Steps, place: str) -> Iterator[Mutation]:
    """What only one datatype can have wrong."""
    if one.code == "Reference" and "reference" in value:
        for wrong in ("Nothing/1", "bs-1", "Patient/a b", "#nowhere", "Patient/" + "x" * 65):
            code = "invariant" if wrong.startswith("#") else "value"
            yield Mutation("reference", here, partial(_set, "reference", wrong), f"{place}.reference", code)
        if one.targets:
            yield Mutation("target", here, partial(_set, "reference", "Slot/1"), f"{place}.reference", "structure")
    elif one.code == "Extension" and "value" in "".join(value):
        both = partial(_set, "extension", [{"url": "http://a.b", "valueString": "x"}])
        yield Mutation("ext-1", here, both, place, "invariant")
    elif one.code == "Period":
        change = partial(_set, "end", "1900")
        yield Mutation("per-1", here, change, place, "invariant")
    elif one.code == "ContactPoint":
        yield Mutation("cpt-2", here, partial(_drop, ("system",)), place, "invariant")
    elif one.code == "Quantity" and "code" in value:
        yield Mutation("qty-3", here, partial(_drop, ("system",)), place, "invariant")
    elif one.code == "Attachment" and "data" in value:
        yield Mutation("att-1", here, partial(_drop, ("contentType",)), place, "invariant")
    elif one.code == "CodeableConcept" and element.binding and element.binding.strength == "required":
        change = partial(_set, "coding", [{"system": "http://a.b", "code": "x"}])
        yield Mutation("concept of no value set", here, change, place, "code-invalid")
