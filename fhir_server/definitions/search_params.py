"""Search parameter definitions, R4 Search and the resource SearchParameter."""

from __future__ import annotations

import msgspec

from fhir_server.model.resources import Resource


class Component(msgspec.Struct, frozen=True):
    """One part of a composite: the canonical URL of the parameter it uses and its expression below the composite's."""

    definition: str
    expression: str


class SearchParameter(msgspec.Struct, frozen=True):
    """A search parameter as it applies to one resource type.

    code: its name in a query. type: number | date | string | token | reference | composite | quantity | uri | special.
    expression: the whole FHIRPath of the definition (a union may name several types; the compiler takes what starts
    with the type). targets: resource types a reference may point at. components: for composites.
    """

    url: str
    code: str
    type: str
    expression: str
    base: tuple[str, ...]
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    description: str = ""
    lineage_of: str = ""


def as_resource(parameter: SearchParameter) -> Resource:
    """One of our own parameters as a SearchParameter resource."""
    base, _, name = parameter.url.rpartition(":")
    facts = {
        "resourceType": "SearchParameter",
        "id": f"vn-basic-{name}",
        "url": parameter.url,
        "version": "1.0.0",
        "name": "VnBasic" + "".join(part.capitalize() for part in name.split("-")),
        "derivedFrom": f"{base}:{parameter.lineage_of}" if parameter.lineage_of else None,
        "status": "active",
        "experimental": False,
        "publisher": "fhir-server-vn",
        "description": parameter.description,
        "code": parameter.code,
        "base": list(parameter.base),
        "type": parameter.type,
        "expression": parameter.expression or None,
    }
    return {name: value for name, value in facts.items() if value is not None}
