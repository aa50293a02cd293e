"""The accept gate: one JSON Schema made from the StructureDefinitions, run by jsonschema-rs in a few microseconds.

What the gate accepts has no structural fault, and breaks no rule of R4 but those that `leftover` tells. What it does
not accept is looked at by `structure`, which names the faults, or finds none in forms too rare to be worth a schema:
arrays of primitive extensions and nulls, a primitive that has only extensions, an Extension with an id or of a type
with invariants, a conditional reference with a type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema_rs
import orjson

from fhir_server.definitions.grammar import Grammar
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Element, Type
from fhir_server.model.resources import Digits, Resource
from fhir_server.validation.leftover import HELD, has_rules, leads_to_rules, objects
from fhir_server.validation.primitives import PRIMITIVES, Primitive
from fhir_server.validation.structure import MOST_LEVELS

Schema = dict[str, Any]

# Stands for a resource inside a resource; each of those is put to the gate by itself.
_RESOURCE = True
_ID = r"[A-Za-z0-9\-.]{1,64}"
_SIGNS = r"[^\x00-\x1f]"
_STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
# Stands for every decimal: never an integer, always a number.
_DECIMAL = 0.5
# A reference to a contained resource, which the rules look for there, and one to another server.
_TO_CONTAINED, _TO_ANYTHING = b'"reference":"#', b'"reference":"urn:#'


class Gate:
    """Accepts resources without structural faults."""

    def __init__(self, definitions: Definitions) -> None:
        self._types = definitions.concrete_types
        self._validator = _compiled(definitions)

    def accepts(self, resource: Any) -> bool:
        """True only for a resource in which, and inside which, every element is as R4's structures have it, and no rule
        is broken but those that `leftover` tells; what they ask of contained resources is not looked at."""
        return self.accepted(resource) is not None

    def accepted(self, resource: Any) -> bytes | None:
        """The JSON of a resource that is accepted, followed by that of those inside it; None for one that is not."""
        waiting = [resource]
        bodies: list[bytes] = []
        while waiting:
            one = waiting.pop()
            type = one.get("resourceType") if isinstance(one, dict) else None
            if not isinstance(type, str) or type not in self._types:
                return None
            instance = {type: _shell(one, type, waiting)}
            decimals: list[Digits] = []
            body = _json(instance, decimals)
            if body is None:
                return None
            if "contained" in resource:
                instance = orjson.loads(body.replace(_TO_CONTAINED, _TO_ANYTHING))
            elif decimals:
                instance = orjson.loads(body)
            if not self._validator.is_valid(instance):
                return None
            bodies.append(body)
        whole = b"".join(bodies)
        is_flat = whole.count(b"{") <= MOST_LEVELS or _nests_within(resource, MOST_LEVELS)
        return whole if is_flat else None


def _json(instance: Any, decimals: list[Digits]) -> bytes | None:
    """With a plain number for each decimal, as jsonschema-rs knows no Digits; decimals: gets those that it met.

    None for what JSON or the stack cannot hold (nested deeper than 254, an integer of more than 64 bits, a decimal over
    1e308, half a surrogate pair): for the closures to say.
    """

    def plain(value: Any) -> float:
        if not isinstance(value, Digits) or value.is_huge:
            raise TypeError
        decimals.append(value)
        return _DECIMAL

    try:
        return orjson.dumps(instance, default=plain)
    except TypeError:
        return None


def _nests_within(value: Any, levels: int) -> bool:
    """Whether objects and arrays nest in no more than so many levels."""
    level = [value]
    while level and levels:
        levels -= 1
        inside = (one.values() if one.__class__ is dict else one for one in level)
        level = [item for items in inside for item in items if item.__class__ in (dict, list)]
    return not level


def _shell(resource: Resource, type: str, inside: list[Any]) -> Any:
    """The resource with those inside it taken out, into `inside`."""
    if type in ("Bundle", "Parameters"):
        return _taken_apart(resource, inside)
    return {**resource, "contained": _taken(resource["contained"], inside)} if "contained" in resource else resource


def _taken_apart(value: Any, inside: list[Any]) -> Any:
    if isinstance(value, dict):
        return {
            key: _taken(item, inside) if key in ("resource", "outcome") else _taken_apart(item, inside)
            for key, item in value.items()
        }
    return [_taken_apart(item, inside) for item in value] if isinstance(value, list) else value


def _taken(value: Any, inside: list[Any]) -> Any:
    """The sign for a resource, or for a list of them. A text stays: RelatedArtifact.resource is one. Anything else
    becomes null, which is accepted nowhere.
    """
    if isinstance(value, str):
        return value
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in found):
        return None
    inside.extend(found)
    return [_RESOURCE] * len(found) if isinstance(value, list) else _RESOURCE


# --- the schema


@cache
def _compiled(definitions: Definitions) -> jsonschema_rs.Draft202012Validator:
    """Made once for all who ask by the same definitions: it takes a fifth of a second, and 95 MB."""
    return jsonschema_rs.Draft202012Validator(schema(definitions), pattern_options=jsonschema_rs.RegexOptions())


def schema(definitions: Definitions) -> Schema:
    """The JSON Schema of `{resource type: resource}` for all concrete types."""
    parts = _Parts(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {type: _ref(type) for type in sorted(definitions.concrete_types)},
        "$defs": {**parts.primitives(), **parts.objects()},
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


class _Parts:
    """The definitions below `$defs`: one a primitive, one a type or element with children, one a bound value set."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    def primitives(self) -> Schema:
        return {name: _primitive(one) for name, one in PRIMITIVES.items()}

    def objects(self) -> Schema:
        found: Schema = {}
        for type in sorted(self._definitions.structure_names - PRIMITIVES.keys()):
            structure = self._definitions.structure(type)
            parents = ["", *(path for path in structure.elements if structure.children(path))]
            found.update((_name(type, path), self._object(type, path)) for path in parents)
        return found

    def _object(self, type: str, path: str) -> Schema:
        structure = self._definitions.structure(type)
        is_resource = not path and structure.kind == "resource"
        made: Schema = {"type": "object", "properties": {}, "additionalProperties": False, "dependentSchemas": {}}
        if is_resource:
            made["properties"]["resourceType"] = {"const": type}
            made["required"] = ["resourceType"]
        else:
            made.update(minProperties=1, required=[])
            made["dependentSchemas"]["id"] = {"minProperties": 2}  # ele-1
        for element in structure.children(path):
            self._add(made, type, element)
        if type == "Extension":  # the url and one more: ext-1
            made.update(minProperties=2, maxProperties=2, dependentSchemas={})
        if type == "Reference":
            made["properties"]["identifier"] = self._ruleless("Identifier")
            made["properties"]["reference"] = {"type": "string", "maxLength": PRIMITIVES["string"].max_length}
            made["dependentSchemas"]["type"] = {"anyOf": self._agreeing()}
        return made

    def _ruleless(self, type: str) -> Schema:
        """A type, only where no rule could be broken that is looked for after the gate: not in what it holds wholly."""
        if has_rules(self._definitions, type):
            return {"not": {}}
        refused: Schema = {}
        for one in self._definitions.structure(type).children():
            if any(leads_to_rules(self._definitions, *place) for place in objects(self._definitions, type, one)):
                refused.update((name, False) for name, _ in one.json_names())
        return {**_ref(type), "properties": refused}

    def _agreeing(self) -> list[Schema]:
        """The forms of a Reference with a type that is that of its text, the commonest types first."""
        structures = map(self._definitions.structure, sorted(self._definitions.structure_names))
        types = (type for one in structures for element in one.elements.values() for type in element.types)
        named = Counter(target for type in types if type.code == "Reference" for target in type.targets)
        return [
            {"properties": {"reference": {"pattern": f"^{type}/"}, "type": {"enum": [type, f"{_STRUCTURE}{type}"]}}}
            for type, _ in named.most_common()
        ]

    def _add(self, made: Schema, type: str, element: Element) -> None:
        if element.max == 0:
            return
        forms = dict(self._forms(type, element))
        made["properties"].update(forms)
        names = [name for name in forms if not name.startswith("_")]
        if element.min and len(names) == 1:
            made["required"] += names
        elif element.min:
            made.setdefault("allOf", []).append({"anyOf": [{"required": [name]} for name in names]})
        if len(names) > 1 and type != "Extension":
            for name in names:
                others = {other: False for other in names if other != name}
                made["dependentSchemas"][name] = {"properties": others}

    def _forms(self, type: str, element: Element) -> Iterator[tuple[str, Schema]]:
        """(JSON name, schema) of each form of an element, list or not, and of `_name` where the gate takes it."""
        own = bool(self._definitions.structure(type).children(element.path))
        if element.content is not None:
            yield element.name, _listed(element, _ref(_name(type, element.content)))
            return
        for name, one in element.json_names():
            value = _ref(_name(type, element.path)) if own else self._value(element, one)
            if type == "Extension" and one.code not in (*PRIMITIVES, *HELD):
                value = self._ruleless(one.code)
            yield name, _listed(element, value)
            if one.code in PRIMITIVES and not (element.is_list or element.xml or element.is_choice):
                yield f"_{name}", {**_ref("Element"), "required": ["extension"]}

    def _value(self, element: Element, type: Type) -> Schema:
        if type.code == "Resource":
            return {"const": _RESOURCE}
        if type.code == "Reference":
            return _reference(type.targets or self._definitions.concrete_types)
        codes = self._required(element)
        pattern = self._definitions.code_pattern(element.binding)
        if pattern is not None and type.code == "code":
            return {**_ref("code"), "pattern": f"^(?:{pattern})$"}
        if codes is None or type.code not in ("code", "CodeableConcept"):
            return _ref(type.profile or type.code)
        if type.code == "code":
            return {"enum": sorted({code for system in codes.values() for code in system})}
        from_set = [
            {
                "properties": {"system": {"const": system}, "code": _listed_codes(found)},
                "required": ["system", "code"],
            }
            for system, found in codes.items()
        ]
        return {
            **_ref("CodeableConcept"),
            "required": ["coding"],
            "properties": {"coding": {"contains": {"anyOf": from_set}}},
        }

    def _required(self, element: Element) -> Mapping[str, frozenset[str] | Grammar] | None:
        if element.binding is None or element.binding.strength != "required":
            return None
        return self._definitions.required_codes.get(element.binding.value_set)


def _listed_codes(codes: frozenset[str] | Grammar) -> Schema:
    return {"pattern": f"^(?:{codes.pattern})$"} if isinstance(codes, Grammar) else {"enum": sorted(codes)}


def _reference(targets: Iterable[str]) -> Schema:
    """A Reference to one of some types, or to another server."""
    local = rf"(?:{'|'.join(sorted(targets))})(?:/{_ID}(?:/_history/{_ID})?|\?{_SIGNS}*)"
    pattern = rf"^(?:{local}|[A-Za-z][A-Za-z0-9+.-]*:[^\x00- ]+)$"
    return {**_ref("Reference"), "properties": {"reference": {"pattern": pattern}}}


def _name(type: str, path: str) -> str:
    return f"{type}.{path}" if path else type


def _listed(element: Element, value: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": value} if element.is_list else value


def _primitive(one: Primitive) -> Schema:
    made: Schema = {"type": one.json}
    if one.pattern is not None:
        made["pattern"] = f"^(?:{one.pattern})$"
    if one.max_length is not None:
        made["maxLength"] = one.max_length
    if one.low is not None:
        made.update(minimum=one.low, maximum=one.high)
    return made
