"""What a resource is found and sorted by: its search keys, sort values and order, made from the resource alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.search_params import SearchParameter
from fhir_server.errors import FhirError, Kind
from fhir_server.model.registry import Registry
from fhir_server.model.resources import Resource
from fhir_server.search.compartments import PATIENT, SECURED, patient_key
from fhir_server.search.entry import Entry, Numbers, Write
from fhir_server.search.homes import Homes, homes_of
from fhir_server.search.lookup import Home, Setting, identity
from fhir_server.search.path import Child, Path
from fhir_server.search.paths import paths_of
from fhir_server.search.primary_dates import primary_date, primary_dates
from fhir_server.search.type_index import Memory, TypeIndex
from fhir_server.search.types import composite, date, reference
from fhir_server.search.types.table import COMPONENT_KINDS, TYPES
from fhir_server.store.values import Indexed

# Raised when keys of unchanged definitions would come out differently: all stored keys are then of an older making.
KEYS_VERSION = 2

# Answered from the document's own fields.
_OWN_FIELDS = frozenset({"_id", "_lastUpdated"})

ParametersOf = Callable[[str], Mapping[str, SearchParameter]]


class Extractor:
    """Compiles the search parameters of each type once and makes the index entries of resources."""

    def __init__(
        self,
        definitions: Definitions,
        zone: str,
        canonical_system: Callable[[str], str] = identity,
        base: str = "",
        parameters: ParametersOf | None = None,
    ) -> None:
        """zone: of dates without one. canonical_system: makes the known URIs of one naming system one. base: the
        server's own URL, references below which are relative. parameters: those of a type, all of R4 by default."""
        self._definitions = definitions
        self._parameters = parameters or definitions.search_params
        self.setting = Setting(zone, base, canonical_system)
        self._indexes: dict[str, TypeIndex] = {}
        self._homes: dict[str, Homes] = {}
        # What the indexes are from.
        self._registry: Registry | None = None
        self._state = (0, 0, 0)
        self._numbers = Numbers({}, canonical_system)
        self._memory = Memory()

    def over(self, parameters: ParametersOf) -> Extractor:
        """One for other parameters, otherwise the same."""
        return Extractor(
            self._definitions, self.setting.zone, self.setting.canonical_system, self.setting.base, parameters
        )

    def params(self, type: str) -> Mapping[str, SearchParameter]:
        """The parameters of a type that have keys."""
        return {
            code: param
            for code, param in self._parameters(type).items()
            if param.expression and code not in _OWN_FIELDS and param.type in TYPES
        }

    def paths(self, type: str, param: SearchParameter) -> tuple[Path, ...]:
        """What a parameter can yield for a type; for one made by `component`, what it yields below the composite's
        elements. Raises FhirError(UNPROCESSABLE), see paths_of."""
        if "#" not in param.url:
            return paths_of(self._definitions, type, param.expression)
        composite_code, _, _ = param.code.partition("[")
        elements = self.paths(type, self._parameters(type)[composite_code])
        return tuple(dict.fromkeys(path for element in elements for path in self._below(type, element, param)))

    def _below(self, type: str, element: Path, component: SearchParameter) -> tuple[Path, ...]:
        """The paths of a component from one element of its composite."""
        paths = paths_of(self._definitions, element.type, component.expression)
        if any(COMPONENT_KINDS[component.type].readers(paths, self.setting)):
            return paths
        # FHIR: R4 has the expressions of DocumentReference-relationship the wrong way round. Where the expression gives
        # nothing of the component's type, what its own definition says below this element is meant.
        url = component.url.partition("#")[2].partition(" ")[2]
        defined = self._definitions.search_param_by_url(url)
        whole = paths_of(self._definitions, type, defined.expression) if defined else ()
        depth = len(element.steps)
        return tuple(replace(path, steps=path.steps[depth:]) for path in whole if path.steps[:depth] == element.steps)

    def component(self, type: str, param: SearchParameter, place: int) -> SearchParameter:
        """The parameter that a component of a composite stands for: of the type that its definition has, with the
        component's own expression. Raises FhirError(UNPROCESSABLE) when the definition is not known."""
        part = param.components[place]
        defined = self._definitions.search_param_by_url(part.definition)
        if defined is None or defined.type not in COMPONENT_KINDS:
            why = f"{param.code}: {part.definition!r} cannot be a component"
            raise FhirError(Kind.UNPROCESSABLE, why, (param.code,))
        return replace(
            defined,
            url=f"{param.url}#{place} {part.definition}",
            code=f"{param.code}[{place + 1}]",
            expression=part.expression,
            components=(),
        )

    def homes(self, type: str, code: str) -> tuple[Home, ...]:
        """Where the keys of a parameter are kept."""
        table = self._homes.get(type)
        if table is None:
            params = self.params(type)
            table = homes_of(params, lambda param: self.paths(type, param), lambda param: self._kinds(type, param))
            self._homes[type] = table
        return table.get(code) or (Home(code),)

    def _kinds(self, type: str, param: SearchParameter) -> tuple[tuple[str, str], ...]:
        parts = [self.component(type, param, place) for place in range(len(param.components))]
        return tuple((part.type, part.expression) for part in parts)

    def declared(self, type: str) -> dict[tuple[str, str], str]:
        """For each parameter with keys a hash of all that its keys depend on: a new hash needs new letters."""
        return {(type, code): self._hash(type, param) for code, param in self.params(type).items()}

    def _hash(self, type: str, param: SearchParameter) -> str:
        facts: list[object] = [KEYS_VERSION, self.setting.zone, param.type, param.expression, param.components]
        facts.append(self.homes(type, param.code))
        if primary_date(type) == param.code:
            facts.append("primary")
        if param.type == "composite":
            facts.append(self._kinds(type, param))
        return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()

    def index(self, resource: Resource, registry: Registry) -> Indexed:
        """The index entry of a resource. Raises UnknownSystems when code systems have no number yet."""
        state = (registry.generation, len(registry.letters), len(registry.pending))
        if registry is not self._registry or state != self._state:
            self._registry, self._state, self._indexes = registry, state, {}
            self._numbers = Numbers(registry.systems, self.setting.canonical_system)
            self._memory = Memory()
        type = resource["resourceType"]
        index = self._indexes.get(type)
        if index is None:
            index = self._indexes[type] = self._compile(type, registry)
        return index.index(resource)

    def forget(self, type: str) -> None:
        """Compiles a type anew when it is next met: its parameters have changed."""
        self._homes.pop(type, None)
        self._indexes.pop(type, None)

    # --- what writes -------------------------------------------------------------------------------------------------

    def _compile(self, type: str, registry: Registry) -> TypeIndex:
        index = TypeIndex(self._numbers, self._memory)
        for code, param in self.params(type).items():
            for table in (registry.letters, registry.pending):
                letters = table.get((type, code))
                if letters is not None:
                    self._compile_parameter(index, type, param, letters, {**registry.letters, **table})
        for path, write in self._order_writers(type):
            index.add_stand_in(path, write)
        for path, write in self._members(type):
            index.add(path, write)
        return index

    def _compile_parameter(
        self, index: TypeIndex, type: str, param: SearchParameter, letters: str, table: Mapping[tuple[str, str], str]
    ) -> None:
        homes = self.homes(type, param.code)
        if homes[0].code != param.code:
            if len(homes) > 1 and TYPES[param.type].sorted_by is not None:
                index.unite(letters, [table[type, home.code] for home in homes if (type, home.code) in table])
        elif param.type == "composite":
            for names, write in self._composite_writers(type, param, letters):
                index.add_reading(names, write)
        else:
            for path, write in self._writers(type, param, letters):
                index.add(path, write)

    def _writers(self, type: str, param: SearchParameter, letters: str) -> Iterator[tuple[Path, Write]]:
        paths = self.paths(type, param)
        if param.type == "date" and param.code == primary_date(type):
            yield from date.primary_writers(letters, paths, self.setting)
        elif param.type == "reference":
            elsewhere = frozenset(home.target for home in self.homes(type, param.code) if home.target)
            yield from reference.writers(letters, paths, self.setting, elsewhere)
        else:
            writers = TYPES[param.type].writers
            assert writers is not None
            yield from writers(letters, paths, self.setting)

    def _composite_writers(
        self, type: str, param: SearchParameter, letters: str
    ) -> Iterator[tuple[Iterable[str | None], Write]]:
        """For each kind of element the top-level elements that the writer looks at, None for any, and the writer."""
        parts = [self.component(type, param, place) for place in range(len(param.components))]
        for element in self.paths(type, param):
            paths = [self._below(type, element, part) for part in parts]
            components = [
                composite.component(COMPONENT_KINDS[part.type], below, self.setting)
                for part, below in zip(parts, paths, strict=True)
            ]
            read = [path if path.from_resource or not element.steps else element for below in paths for path in below]
            yield {path.first for path in read}, composite.writer(letters, element.walk(), components)

    def _order_writers(self, type: str) -> Iterator[tuple[Path, Write]]:
        """The dates that stand in for a missing primary date, in order of preference."""
        for code in primary_dates(type)[1:]:
            param = self._parameters(type).get(code)
            if param is not None:
                yield from date.order_writers(self.paths(type, param), self.setting)

    def _members(self, type: str) -> Iterator[tuple[Path, Write]]:
        """What writes the key of each patient whose compartment a resource of this type is in."""
        params = self._definitions.search_params(type)
        codes = self._definitions.compartment(PATIENT).get(type, ())
        found = dict.fromkeys(path for code in codes if code in params for path in self.paths(type, params[code]))
        if type in SECURED:
            found[Path("Reference", (Child(SECURED[type], many=False),))] = None
        for path in found:
            if path.type == "Reference":
                yield path, _member_writer(self.setting.base)
        if type == PATIENT:
            yield Path("id", (Child("id", many=False),)), lambda id, entry: entry.keys.add(patient_key(id))


def _member_writer(base: str) -> Write:
    here = f"{PATIENT}/"

    def write(value: Any, entry: Entry) -> None:
        text = value.get("reference")
        if text:
            target, _, _ = reference.local(text, base)
            if target.startswith(here):
                entry.keys.add(patient_key(target[len(here) :]))

    return write
