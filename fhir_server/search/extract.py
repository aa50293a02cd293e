"""What a resource is found and sorted by: its search keys, sort values and order, made from the resource alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.search_params import SearchParameter
from fhir_server.errors import FhirError, Kind
from fhir_server.model.registry import Registry, UnknownSystems
from fhir_server.model.resources import Resource
from fhir_server.search.compartments import PATIENT, SECURED, patient_key
from fhir_server.search.entry import Entry, Write
from fhir_server.search.homes import Homes, homes_of
from fhir_server.search.lookup import Home, Setting, identity
from fhir_server.search.path import At, Child, Path, walk_of
from fhir_server.search.paths import paths_of
from fhir_server.search.primary_dates import primary_date, primary_dates
from fhir_server.search.types import composite, date, reference
from fhir_server.search.types.table import COMPONENT_KINDS, TYPES
from fhir_server.store.values import Indexed

# Raised when keys of unchanged definitions would come out differently: all stored keys are then of an older making.
KEYS_VERSION = 2

# Answered from the document's own fields.
_OWN_FIELDS = frozenset({"_id", "_lastUpdated"})

ParametersOf = Callable[[str], Mapping[str, SearchParameter]]


@dataclass(slots=True)
class _Plan:
    """How one type is indexed. by_name: what to do with each top-level element that is present; whole: what needs the
    whole resource. last: what looks at what was written before. made_for: the state of the registry it is from."""

    made_for: tuple[int, int, int]
    by_name: dict[str, list[Write]] = field(default_factory=dict)
    whole: list[Write] = field(default_factory=list)
    last: list[Write] = field(default_factory=list)


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
        self._plans: dict[str, _Plan] = {}
        self._numbers: dict[str, str] = {}
        self._homes: dict[str, Homes] = {}
        # Plans and numbers are those of one registry.
        self._registry: Registry | None = None

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
        type = resource["resourceType"]
        plan = self._plan(type, registry)
        entry = Entry(registry.systems, self._numbers, self.setting.canonical_system)
        by_name = plan.by_name
        for name, value in resource.items():
            writes = by_name.get(name)
            if writes is not None:
                for write in writes:
                    write(value, entry)
        for write in plan.whole:
            write(resource, entry)
        for write in plan.last:
            write(resource, entry)
        if type == PATIENT and "id" in resource:
            entry.keys.add(patient_key(resource["id"]))
        if entry.unknown:
            raise UnknownSystems(entry.unknown)
        return Indexed(tuple(entry.keys), _bounded(entry.sort), entry.order)

    def forget(self, type: str) -> None:
        """Compiles a type anew when it is next met: its parameters have changed."""
        self._homes.pop(type, None)
        self._plans.pop(type, None)

    # --- plans -------------------------------------------------------------------------------------------------------

    def _plan(self, type: str, registry: Registry) -> _Plan:
        if registry is not self._registry:
            self._registry = registry
            self._plans, self._numbers = {}, {}
        state = (registry.generation, len(registry.letters), len(registry.pending))
        plan = self._plans.get(type)
        if plan is None or plan.made_for != state:
            plan = self._plans[type] = self._make_plan(type, registry, state)
        return plan

    def _make_plan(self, type: str, registry: Registry, state: tuple[int, int, int]) -> _Plan:
        plan = _Plan(state)
        for code, param in self.params(type).items():
            for table in (registry.letters, registry.pending):
                letters = table.get((type, code))
                if letters is not None:
                    self._plan_parameter(plan, type, param, letters, {**registry.letters, **table})
        for path, write in self._order_writers(type):
            plan.last.append(_after(path.walk(), write))
        for path, write in self._members(type):
            _add(plan, path, write)
        return plan

    def _plan_parameter(
        self, plan: _Plan, type: str, param: SearchParameter, letters: str, table: Mapping[tuple[str, str], str]
    ) -> None:
        homes = self.homes(type, param.code)
        if homes[0].code == param.code:
            for path, write in self._writers(type, param, letters):
                _add(plan, path, write)
        elif len(homes) > 1 and TYPES[param.type].sorted_by is not None:
            places = [table[type, home.code] for home in homes if (type, home.code) in table]
            plan.last.append(_sort_writer(letters, places))

    def _writers(self, type: str, param: SearchParameter, letters: str) -> Iterator[tuple[Path, Write]]:
        paths = self.paths(type, param)
        if param.type == "composite":
            yield from self._composite_writers(type, param, letters, paths)
        elif param.type == "date" and param.code == primary_date(type):
            yield from date.primary_writers(letters, paths, self.setting)
        elif param.type == "reference":
            elsewhere = frozenset(home.target for home in self.homes(type, param.code) if home.target)
            yield from reference.writers(letters, paths, self.setting, elsewhere)
        else:
            writers = TYPES[param.type].writers
            assert writers is not None
            yield from writers(letters, paths, self.setting)

    def _composite_writers(
        self, type: str, param: SearchParameter, letters: str, elements: tuple[Path, ...]
    ) -> Iterator[tuple[Path, Write]]:
        parts = [self.component(type, param, place) for place in range(len(param.components))]
        for element in elements:
            components = [
                composite.component(COMPONENT_KINDS[part.type], self._below(type, element, part), self.setting)
                for part in parts
            ]
            yield Path("Resource"), composite.writer(letters, element.walk(), components)

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


def _add(plan: _Plan, path: Path, write: Write) -> None:
    """Puts a writer where its path begins."""
    first = path.steps[0] if path.steps else None
    if not isinstance(first, Child) or any(isinstance(step, At) for step in path.steps):
        plan.whole.append(_after(path.walk(), write) if path.steps else write)
        return
    rest = path.steps[1:]
    plan.by_name.setdefault(first.name, []).append(_from(first.many, walk_of(rest) if rest else None, write))


def _after(walk: Callable[[Any], Any], write: Write) -> Write:
    def reach(item: Any, entry: Entry) -> None:
        for value in walk(item):
            write(value, entry)

    return reach


def _from(many: bool, walk: Callable[[Any], Any] | None, write: Write) -> Write:
    """The writer that starts at the value of the path's first element."""
    if not many:
        return write if walk is None else _after(walk, write)

    def each(items: Any, entry: Entry) -> None:
        for item in items:
            if item is not None:
                write(item, entry)

    def each_below(items: Any, entry: Entry) -> None:
        for item in items:
            for value in walk(item):  # type: ignore[misc]
                write(value, entry)

    return each if walk is None else each_below


def _sort_writer(letters: str, places: list[str]) -> Write:
    """What a parameter that is kept in several homes is sorted by: the values of all of them."""

    def write(resource: Any, entry: Entry) -> None:
        found = [value for place in places for value in entry.sort.get(place, ())]
        if found:
            entry.sort[letters] = [{"l": one["l"]} if isinstance(one, dict) else one for one in found]

    return write


def _member_writer(base: str) -> Write:
    here = f"{PATIENT}/"

    def write(value: Any, entry: Entry) -> None:
        text = value.get("reference")
        if text:
            target, _, _ = reference.local(text, base)
            if target.startswith(here):
                entry.keys.add(patient_key(target[len(here) :]))

    return write


def _bounded(sort: dict[str, Any]) -> dict[str, Any]:
    """Texts that only sort are needed by their lowest and highest; facts that are compared are all kept."""
    for letters, values in sort.items():
        if isinstance(values, list) and len(values) > 2 and isinstance(values[0], str):
            sort[letters] = [min(values), max(values)]
    return sort
