"""Which search parameters a resource type has here: what the capability statement declares, as R4 defines it."""

from __future__ import annotations

from collections.abc import Mapping

from fhir_server.definitions.capabilities import Capability
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.search_params import SearchParameter
from fhir_server.search.custom import CustomParameters


class Parameters:
    """The vocabulary of queries. Tables are made when first asked for; one object serves all requests."""

    def __init__(
        self, definitions: Definitions, capability: Capability, custom: CustomParameters | None = None
    ) -> None:
        self._definitions = definitions
        self._custom = custom or CustomParameters(definitions)
        self._capability = capability
        self._of: dict[str, Mapping[str, SearchParameter]] = {}
        self.types: tuple[str, ...] = tuple(sorted(capability.types))

    def of(self, type: str) -> Mapping[str, SearchParameter]:
        """Code -> parameter; empty for a type that is not served."""
        found = self._of.get(type)
        if found is None:
            found = self._of[type] = self._collect(type)
        return found

    def _collect(self, type: str) -> Mapping[str, SearchParameter]:
        declared = self._capability.types.get(type)
        defined = self._definitions.search_params(type)
        if declared is None:
            return {}
        of_every_type = [code for code, param in defined.items() if not param.expression]  # `_list`, `_text`, …
        found = {code: defined[code] for code in (*declared.search_params, *of_every_type) if code in defined}
        return {**self._custom.added(type), **found}

    def added(self, type: str) -> Mapping[str, SearchParameter]:
        """Those that stored SearchParameter resources have added."""
        return self._custom.added(type)

    def forget(self) -> None:
        """Collects the tables anew, after other custom parameters have been adopted."""
        self._of = {}

    def targets(self, param: SearchParameter) -> tuple[str, ...]:
        """The served types that a reference parameter may point at; all of them where R4 names none."""
        if not param.targets:
            return self.types
        return tuple(target for target in param.targets if target in self._capability.types)

    def has_element(self, type: str, name: str) -> bool:
        """Whether a type has an element of this name at its root (`value` for `value[x]`)."""
        return any(element.name == name for element in self._definitions.structure(type).children())

    def parent(self, type: str) -> SearchParameter | None:
        """The reference by which resources of a type stand below others of it (Location.partof); None for none."""
        for code in ("partof", "part-of"):
            param = self.of(type).get(code)
            if param is not None and type in param.targets:
                return param
        return None

    def references(self, type: str, code: str) -> list[SearchParameter]:
        """The reference parameter of a type, or all of them for `*`; none when the type has no such one."""
        params = self.of(type)
        wanted = params.values() if code == "*" else [params[code]] if code in params else []
        return [param for param in wanted if param.type == "reference"]

    def compartment(self, code: str) -> frozenset[str]:
        """The served types that can be members of a compartment, empty for an unknown code (CompartmentDefinition)."""
        members = {type for type, params in self._definitions.compartment(code).items() if params}
        return frozenset((members | {code}) & set(self.types)) if members else frozenset()
