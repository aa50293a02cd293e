"""The R4 definitions in profiles/r4/, each file read when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import orjson

from fhir_server.definitions.grammar import Grammar
from fhir_server.definitions.operations import Parameter, in_parameters
from fhir_server.definitions.search_params import Component, SearchParameter
from fhir_server.definitions.structures import Binding, Element, Structure, structure

# R4 Parameters: "there is no endpoint": it is only sent along with operations.
_WITHOUT_ENDPOINT = "Parameters"


class Definitions:
    """What R4 defines: resource types, structures, codes of required bindings, search parameters, compartments.

    Tables are built when first asked for and never change afterwards, so one object serves all requests.
    """

    def __init__(self, folder: Path) -> None:
        """folder: the one that holds search_parameters.json and its neighbours (profiles/r4)."""
        self._folder = folder
        self._params_of: dict[str, Mapping[str, SearchParameter]] = {}
        self._structures: dict[str, Structure] = {}
        self._operation_parameters: dict[str, tuple[Parameter, ...]] = {}

    @classmethod
    @cache
    def load(cls, root: Path) -> Definitions:
        """Those of one folder are one object. root: the folder that holds profiles/ (`config.DATA_ROOT`). Raises
        OSError when it is not there."""
        folder = root / "profiles" / "r4"
        folder.stat()
        return cls(folder)

    def read(self, name: str) -> Any:
        """The parsed JSON of one file of the folder."""
        return orjson.loads((self._folder / name).read_bytes())

    @cached_property
    def _types(self) -> Mapping[str, frozenset[str]]:
        return {kind: frozenset(names) for kind, names in self.read("types.json").items()}

    @cached_property
    def resource_types(self) -> frozenset[str]:
        """The 145 concrete resource types that have an endpoint."""
        return self.concrete_types - {_WITHOUT_ENDPOINT}

    @cached_property
    def concrete_types(self) -> frozenset[str]:
        """The 146 types a resourceType may name: those with an endpoint, and Parameters."""
        return self._types["Resource"] | self._types["DomainResource"]

    @property
    def domain_resource_types(self) -> frozenset[str]:
        """The types that have text, contained, extension and modifierExtension: all but Bundle, Binary, Parameters."""
        return self._types["DomainResource"]

    @property
    def primitive_types(self) -> frozenset[str]:
        return self._types["primitive-type"]

    @property
    def complex_types(self) -> frozenset[str]:
        return self._types["complex-type"]

    @cached_property
    def _structure_rows(self) -> Mapping[str, Any]:
        rows: Mapping[str, Any] = self.read("structures.json")
        return rows

    @property
    def structure_names(self) -> frozenset[str]:
        """Every resource, datatype and primitive type, abstract ones and the two Quantity profiles included."""
        return frozenset(self._structure_rows)

    def structure(self, type: str) -> Structure:
        """The structure of a type. Raises KeyError for a name that R4 does not have."""
        found = self._structures.get(type)
        if found is None:
            found = self._structures[type] = structure(type, self._structure_rows[type], self._vietnamese)
        return found

    @cached_property
    def _vietnamese(self) -> Mapping[str, str]:
        """What an invariant of R4 says -> the same in Vietnamese. By the sentence: `inv-1` is the key of three."""
        found: Mapping[str, str] = orjson.loads((self._folder.parent / "invariants_vi.json").read_bytes())["invariants"]
        return found

    def lineage(self, type: str) -> tuple[str, ...]:
        """The type and its ancestors: ("Patient", "DomainResource", "Resource")."""
        parent = self.structure(type).parent
        return (type, *self.lineage(parent)) if parent else (type,)

    def element(self, type: str, path: str) -> Element | None:
        """The element that a path of JSON names or FHIRPath names leads to, through datatypes and content references.

        `element("Patient", "contact.name.family")`, `element("Observation", "valueQuantity.code")`. None when there is
        no such element, and below a choice that is not named with its type.
        """
        head, _, rest = path.partition(".")
        return self._descend(self.structure(type), "", head, rest) if type in self._structure_rows else None

    def _descend(self, structure: Structure, parent: str, name: str, rest: str) -> Element | None:
        for element in structure.children(parent):
            for key, one in element.json_names() if element.types else ((element.name, None),):
                if name not in (key, element.name):
                    continue
                if not rest:
                    return element
                head, _, tail = rest.partition(".")
                if one is None:
                    return self._descend(structure, element.content or "", head, tail)
                if structure.children(element.path):
                    return self._descend(structure, element.path, head, tail)
                if name == key:
                    return self._descend(self.structure(one.code), "", head, tail)
        return None

    @cached_property
    def required_codes(self) -> Mapping[str, Mapping[str, frozenset[str] | Grammar]]:
        """Value set -> system -> codes, for the value sets of required bindings whose codes R4 lists, or another
        standard does or gives a grammar."""
        table = self.read("required_codes.json")
        rows = self._other_standards.items()
        table |= {url: {row["system"]: row["codes"]} for url, row in rows if "codes" in row}
        lists = {url: {system: frozenset(codes) for system, codes in found.items()} for url, found in table.items()}
        grammars = {url: {row["system"]: Grammar(row["grammar"])} for url, row in rows if "grammar" in row}
        return {**lists, **grammars}

    @cached_property
    def _other_standards(self) -> Mapping[str, Mapping[str, Any]]:
        """What R4's value sets take from other standards."""
        rows: Mapping[str, Any] = orjson.loads((self._folder.parent / "other_standards.json").read_bytes())
        return rows["value_sets"]  # type: ignore[no-any-return]

    def code_pattern(self, binding: Binding | None) -> str | None:
        """The pattern that a bound code has, where another standard gives its codes a form and no list."""
        row = self._other_standards.get(binding.value_set, {}) if binding is not None else {}
        is_held = binding is not None and binding.strength in row.get("strengths", ())
        return row["pattern"] if is_held else None

    @cached_property
    def _params(self) -> Mapping[str, SearchParameter]:
        return {row["url"]: _parameter(row) for row in (*self.read("search_parameters.json"), *self._own_rows)}

    @cached_property
    def _own_rows(self) -> list[Mapping[str, Any]]:
        """The parameters of Việt Nam, beside R4's own."""
        file = self._folder.parent / "vn_basic" / "search_parameters.json"
        rows: list[Mapping[str, Any]] = orjson.loads(file.read_bytes()) if file.exists() else []
        return rows

    @property
    def own_search_params(self) -> tuple[SearchParameter, ...]:
        """The parameters of Việt Nam."""
        return tuple(map(_parameter, self._own_rows))

    def search_params(self, type: str) -> Mapping[str, SearchParameter]:
        """Code -> parameter for one resource type: its own, then those of DomainResource and Resource (`_id`, …).

        `_text`, `_content`, `_filter`, `_query` and `_list` have no expression. Empty for an unknown type.
        """
        found = self._params_of.get(type)
        if found is None:
            found = self._params_of[type] = self._collect(type)
        return found

    def _collect(self, type: str) -> Mapping[str, SearchParameter]:
        if type not in self.concrete_types:
            return {}
        bases = {type, "Resource"} | ({"DomainResource"} if type in self.domain_resource_types else set())
        return {param.code: param for param in self._params.values() if not bases.isdisjoint(param.base)}

    def search_param_by_url(self, url: str) -> SearchParameter | None:
        return self._params.get(url)

    def description(self, type: str, param: SearchParameter) -> str:
        """The sentence R4 says about a parameter where it applies to this type."""
        return self._descriptions.get((param.url, type)) or self._descriptions.get((param.url, ""), "")

    @cached_property
    def _descriptions(self) -> Mapping[tuple[str, str], str]:
        found = (*self.read("search_parameters.json"), *self._own_rows)
        rows = ((row["url"], row["description"]) for row in found)
        tables = ((url, text if isinstance(text, dict) else {"": text}) for url, text in rows)
        return {(url, type): text for url, table in tables for type, text in table.items()}

    @cached_property
    def _compartments(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        table = self.read("compartments.json")
        return {code: {type: tuple(params) for type, params in rows.items()} for code, rows in table.items()}

    def compartment(self, code: str) -> Mapping[str, tuple[str, ...]]:
        """Resource type -> the search parameters that make it a member; empty for an unknown code.

        R4 CompartmentDefinition. A resource is always a member of its own compartment: R4 writes that as the parameter
        `{def}` of some types.
        """
        return self._compartments.get(code, {})

    @property
    def compartment_codes(self) -> frozenset[str]:
        """Patient, Encounter, RelatedPerson, Practitioner, Device."""
        return frozenset(self._compartments)

    @cached_property
    def _operations(self) -> Mapping[str, Any]:
        rows: Mapping[str, Any] = self.read("operations.json")
        return rows

    def operation_parameters(self, definition: str) -> tuple[Parameter, ...]:
        """The in parameters of an operation by its canonical URL. Raises KeyError for one that R4 does not define."""
        found = self._operation_parameters.get(definition)
        if found is None:
            found = self._operation_parameters[definition] = in_parameters(self._operations[definition])
        return found


def _parameter(row: Mapping[str, Any]) -> SearchParameter:
    text = row["description"]
    return SearchParameter(
        url=row["url"],
        code=row["code"],
        type=row["type"],
        expression=row.get("expression", ""),
        base=tuple(row["base"]),
        lineage_of=row.get("lineageOf", ""),
        targets=tuple(row.get("target", ())),
        components=tuple(Component(url, expression) for url, expression in row.get("component", ())),
        description=text if isinstance(text, str) else "",
    )
