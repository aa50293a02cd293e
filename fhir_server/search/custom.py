"""Search parameters that an operator adds at run time, as SearchParameter resources. R4 Search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.search_params import Component, SearchParameter
from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.search.types.table import TYPES


class CustomParameters:
    """What R4 defines together with what has been adopted; a code that R4 uses for a type stays R4's."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._custom: dict[str, dict[str, SearchParameter]] = {}

    def adopt(self, resources: Iterable[Resource]) -> None:
        """Takes these SearchParameter resources in place of all before; those that take no effect are passed over."""
        custom: dict[str, dict[str, SearchParameter]] = {}
        for resource in resources:
            if takes_effect(self._definitions, resource):
                param = parameter_of(resource)
                for type in self.types_of(param):
                    custom.setdefault(type, {}).setdefault(param.code, param)
        self._custom = custom

    def types_of(self, param: SearchParameter) -> list[str]:
        """The resource types of its `base`; Resource and DomainResource stand for all of theirs."""
        found: dict[str, None] = {}
        for base in param.base:
            if base == "Resource":
                found.update(dict.fromkeys(sorted(self._definitions.resource_types)))
            elif base == "DomainResource":
                found.update(dict.fromkeys(sorted(self._definitions.domain_resource_types)))
            elif base in self._definitions.resource_types:
                found[base] = None
        return [type for type in found if param.code not in self._definitions.search_params(type)]

    def of(self, type: str) -> Mapping[str, SearchParameter]:
        """Code -> parameter of a type."""
        own = self._custom.get(type)
        defined = self._definitions.search_params(type)
        return {**own, **defined} if own else defined

    def added(self, type: str) -> Mapping[str, SearchParameter]:
        """Only what has been adopted."""
        return self._custom.get(type, {})


def takes_effect(definitions: Definitions, resource: Resource) -> bool:
    """True for an active parameter with an expression that R4 does not define itself."""
    return (
        resource.get("status") == "active"
        and bool(resource.get("expression"))
        and definitions.search_param_by_url(str(resource.get("url"))) is None
    )


def parameter_of(resource: Resource) -> SearchParameter:
    """The definition that a valid SearchParameter resource is."""
    return SearchParameter(
        url=resource["url"],
        code=resource["code"],
        type=resource["type"],
        expression=resource["expression"],
        base=tuple(resource["base"]),
        targets=tuple(resource.get("target", ())),
        components=tuple(Component(one["definition"], one["expression"]) for one in resource.get("component", ())),
        description=resource.get("description", ""),
    )


def refuse_unfit(definitions: Definitions, param: SearchParameter) -> None:
    """Raises FhirError UNPROCESSABLE for a parameter that no query could name or that R4 has already."""
    if param.type not in TYPES or param.type == "special":
        raise FhirError(
            Kind.UNPROCESSABLE, f"parameters of type {param.type} cannot be added", ("SearchParameter.type",)
        )
    if not param.code.replace("-", "").replace("_", "").isalnum() or param.code.startswith("_"):
        text = f"the code {param.code[:64]!r} must be letters, digits and hyphens, and not begin with _"
        raise FhirError(Kind.UNPROCESSABLE, text, ("SearchParameter.code",))
    for type in param.base:
        if param.code in definitions.search_params(type):
            text = f"R4 has a parameter {param.code!r} of {type} already"
            raise FhirError(Kind.UNPROCESSABLE, text, ("SearchParameter.code",))
