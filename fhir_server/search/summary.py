"""_summary and _elements: less of a resource than is stored, marked as SUBSETTED. R4 Search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Element, Structure
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.search.result_parameters import Results

SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_ALWAYS = ("resourceType", "id", "meta")

Fields = Mapping[str, tuple[Element, str]]  # JSON property -> its element and the code of its type


class Subsets:
    """Cuts resources by the definitions; tables are made when first asked for and kept."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._fields: dict[tuple[str, str], Fields] = {}

    def cut(self, raw: bytes, results: Results) -> bytes:
        """The JSON of the part that `results` asks for, with the tag SUBSETTED."""
        resource: Resource = decode(raw)
        structure = self._definitions.structure(resource["resourceType"])
        if results.elements:
            cut = self._only(resource, structure, frozenset(results.elements))
        elif results.summary == "text":
            cut = self._only(resource, structure, frozenset({"text"}))
        elif results.summary == "data":
            cut = {name: value for name, value in resource.items() if name != "text"}
        else:
            cut = self._summary(resource, structure, "")
        return encode(_marked(cut))

    def _only(self, resource: Resource, structure: Structure, names: frozenset[str]) -> Resource:
        """The named elements of the root, and those that R4 makes mandatory."""
        fields = self._of(structure, "")

        def is_kept(name: str) -> bool:
            known = fields.get(name.removeprefix("_"))
            return known is not None and (known[0].name in names or known[0].min > 0)

        return {name: value for name, value in resource.items() if name in _ALWAYS or is_kept(name)}

    def _summary(self, value: Resource, structure: Structure, path: str) -> Resource:
        """The elements marked Σ, at every depth; mandatory ones of the root too, so that what is left is valid."""
        fields = self._of(structure, path)
        kept: Resource = {}
        for name, item in value.items():
            known = fields.get(name.removeprefix("_"))
            if not path and name in _ALWAYS:
                kept[name] = item
            elif known is not None and (known[0].is_summary or (not path and known[0].min > 0)):
                kept[name] = item if name.startswith("_") else self._below(item, structure, *known)
        return kept

    def _below(self, value: Any, structure: Structure, element: Element, code: str) -> Any:
        if isinstance(value, list):
            return [self._below(item, structure, element, code) for item in value]
        if not isinstance(value, dict) or code == "Resource":
            return value
        if structure.children(element.path):
            return self._summary(value, structure, element.path)
        if element.content:
            return self._summary(value, structure, element.content)
        if code in self._definitions.complex_types and code != "Extension":
            return self._datatype(value, self._definitions.structure(code))
        return value

    def _datatype(self, value: Resource, structure: Structure) -> Resource:
        fields = self._of(structure, "")
        return {
            name: self._below(item, structure, *fields[name])
            for name, item in value.items()
            if name in fields and fields[name][0].is_summary
        }

    def _of(self, structure: Structure, path: str) -> Fields:
        found = self._fields.get((structure.type, path))
        if found is None:
            children = structure.children(path)
            found = {name: (child, type.code) for child in children for name, type in _properties(child)}
            self._fields[structure.type, path] = found
        return found


def _properties(element: Element) -> list[tuple[str, Any]]:
    """Its JSON properties; an element that shares another's children has no type of its own."""
    names = list(element.json_names())
    return names or [(element.name, _Shared)]


class _Shared:
    code = ""


def _marked(resource: Resource) -> Resource:
    meta = resource.get("meta") or {}
    tags = [tag for tag in meta.get("tag", ()) if tag.get("code") != SUBSETTED["code"]]
    return {**resource, "meta": {**meta, "tag": [*tags, SUBSETTED]}}
