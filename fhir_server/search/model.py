"""What the server knows of search, in one object: parameters, index keys, filters, orders. It holds no request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from fhir_server.config import Settings
from fhir_server.definitions.capabilities import Capability
from fhir_server.definitions.load import Definitions
from fhir_server.errors import FhirError, Kind
from fhir_server.model.references import literal
from fhir_server.model.registry import Registry, UnknownSystems
from fhir_server.model.resources import Resource, decode
from fhir_server.search.canonical import canonical_text
from fhir_server.search.compartments import membership
from fhir_server.search.compile import compile_tree, id_filter, last_updated_filter
from fhir_server.search.contained import keys_within
from fhir_server.search.custom import CustomParameters, parameter_of, refuse_unfit, takes_effect
from fhir_server.search.extract import Extractor
from fhir_server.search.lineage import Lineage, alone, widened
from fhir_server.search.lookup import (
    Codes,
    Expand,
    Lookup,
    ReadCodes,
    Unexpanded,
    expanded,
    no_codes,
    unknown_modifier,
)
from fhir_server.search.order import phases
from fhir_server.search.parameters import Parameters
from fhir_server.search.plan import Part, Plan, parts
from fhir_server.search.planned import PlannedSearches
from fhir_server.search.result_parameters import SortKey
from fhir_server.search.summary import Subsets
from fhir_server.search.tree import InCompartment, Leaf, Node
from fhir_server.search.types.table import TYPES
from fhir_server.store.contract import Store
from fhir_server.store.evaluate import satisfies
from fhir_server.store.values import ORDER_SHIFT, Filter, Indexed


class SearchModel:
    """read_codes: the codes of value sets and hierarchies, for `:in`, `:above` and `:below`; None for a server without
    terminology. lineage: an administrative unit with those before and after it."""

    def __init__(
        self,
        definitions: Definitions,
        extractor: Extractor,
        settings: Settings,
        capability: Capability,
        read_codes: ReadCodes | None = None,
        lineage: Lineage = alone,
    ) -> None:
        self._custom = CustomParameters(definitions)
        self.parameters = Parameters(definitions, capability, self._custom)
        self.subsets = Subsets(definitions)
        self.planned = PlannedSearches()
        self._definitions = definitions
        self._extractor = extractor
        self._zone = settings.zone
        self._read_codes = read_codes
        self._lineage = lineage

    def adopt(self, resources: Iterable[Resource]) -> None:
        """Takes these SearchParameter resources in place of all that were adopted before."""
        self._custom.adopt(resources)
        self._extractor = self._extractor.over(self._custom.of)
        self.parameters.forget()
        self.planned.forget()

    def refuse_unfit(self, resource: Resource) -> None:
        """Raises FhirError UNPROCESSABLE for a SearchParameter that would take effect and cannot be searched by."""
        if resource["resourceType"] != "SearchParameter" or not takes_effect(self._definitions, resource):
            return
        param = parameter_of(resource)
        refuse_unfit(self._definitions, param)
        for type in self._custom.types_of(param):
            self._extractor.over(lambda _: {param.code: param}).declared(type)

    def declared(self, types: Iterable[str] | None = None) -> dict[tuple[str, str], str]:
        """For each parameter with keys a hash of what its keys depend on, for `store.ensure_letters`. types: without
        them all that are declared."""
        return {
            (type, code): hash
            for type in (self.parameters.types if types is None else types)
            for kept in (self._kept(type),)
            for (_, code), hash in self._extractor.declared(type).items()
            if code.partition("[")[0] in kept
        }

    def _kept(self, type: str) -> set[str]:
        """The declared parameters of a type, and those at whose home their values are written."""
        codes = self.parameters.of(type).keys()
        homes = {home.code.partition("[")[0] for code in codes for home in self._extractor.homes(type, code)}
        return homes | codes

    def index(self, resource: Resource, registry: Registry) -> Indexed:
        """What a resource is found and sorted by, what it contains included. Raises UnknownSystems."""
        indexed = self._extractor.index(resource, registry)
        within = [
            key
            for one in resource.get("contained") or ()
            if one.get("resourceType") in self.parameters.types
            for key in keys_within(one["resourceType"], self._extractor.index(one, registry).keys)
        ]
        return replace(indexed, keys=tuple(dict.fromkeys((*indexed.keys, *within)))) if within else indexed

    def contained(self, raw: bytes, type: str, filter: Filter, registry: Registry) -> list[Resource]:
        """The resources of a type within a stored one that satisfy a filter. Raises UnknownSystems."""
        found = []
        for one in decode(raw).get("contained") or ():
            if one.get("resourceType") == type:
                indexed = self._extractor.index(one, registry)
                entry = {"_id": one.get("id"), "k": indexed.keys, "x": indexed.sort}
                if indexed.order is not None:
                    entry["o"] = indexed.order << ORDER_SHIFT
                if satisfies(entry, filter):
                    found.append(one)
        return found

    async def filter(self, node: Node, store: Store, base: str, now: int) -> Filter:
        """The database filter of a tree without joins. base: the server's own URL. now: ms since the epoch.

        Raises FhirError for a value or modifier that a parameter cannot have.
        """
        absent: frozenset[str] = frozenset()
        listed: dict[tuple[str, str], Codes] = {}
        expand = expanded(listed) if self._read_codes else no_codes
        while True:
            lookup = self._lookup(store.registry, base, now, absent, expand)
            try:
                return compile_tree(node, lambda leaf, lookup=lookup: self._leaf(leaf, lookup), self._members)  # type: ignore[misc]
            except UnknownSystems as unknown:
                absent |= {uri for uri in unknown.uris if await store.known_system(uri) is None}
                if absent:  # the first resource with such a system changes what is meant
                    self.planned.pass_over()
            except Unexpanded as unread:
                if self._read_codes is not None:
                    listed[unread.modifier, unread.value] = await _read(self._read_codes, unread)

    def _lookup(self, registry: Registry, base: str, now: int, absent: frozenset[str], expand: Expand) -> Lookup:
        return Lookup(
            registry=registry,
            zone=self._zone,
            base=base,
            now=now,
            paths=self._extractor.paths,
            component=self._extractor.component,
            expand=expand,
            canonical_system=self._extractor.setting.canonical_system,
            absent=absent,
            homes=self._extractor.homes,
        )

    def _members(self, node: InCompartment) -> Node:
        params = self.parameters.of(node.type)
        return membership(node, params, self._definitions.compartment(node.code).get(node.type, ()))

    def _leaf(self, leaf: Leaf, lookup: Lookup) -> Filter:
        if leaf.param.code in ("_id", "_lastUpdated"):
            if leaf.modifier is not None:
                raise unknown_modifier(leaf)
            return id_filter(leaf) if leaf.param.code == "_id" else last_updated_filter(leaf, lookup.zone)
        if leaf.param.lineage_of:
            leaf = widened(leaf, self.parameters.of(leaf.type)[leaf.param.lineage_of], self._lineage)
        try:
            return TYPES[leaf.param.type].filter(
                leaf, self.letters(leaf.type, leaf.param.code, lookup.registry), lookup
            )
        except Unexpanded as unread:
            unread.place = f"{leaf.param.code}:{unread.modifier}"
            raise

    def letters(self, type: str, code: str, registry: Registry) -> str:
        """What the keys of a parameter begin with, and the path it is sorted by; see `homes`, too.

        Raises FhirError for a parameter that is not indexed.
        """
        homes = self._extractor.homes(type, code)
        found = registry.letters.get((type, homes[0].code if len(homes) == 1 else code))
        if found is None:
            raise _not_ready(type, code, registry)
        return found

    def pointers(self, type: str, code: str, keys: Iterable[str], registry: Registry) -> Iterator[tuple[str, str]]:
        """What a resource's keys say that a reference parameter, or any for `*`, points at here: (type, id)."""
        places: dict[str, set[str | None]] = {}
        for param in self.parameters.references(type, code):
            for home in self._extractor.homes(type, param.code):
                places.setdefault(self.letters(type, home.code, registry), set()).add(home.target)
        for key in keys:
            targets = places.get(key[:2])
            found = literal(key[2:]) if targets else None
            if targets and found and found.base is None and not targets.isdisjoint((None, found.type)):
                yield found.type, found.id

    def ids(self, type: str, ids: Iterable[str]) -> Leaf:
        """The resources of a type that have one of the ids."""
        return Leaf(type, self._definitions.search_params(type)["_id"], None, tuple(ids))

    def parts(self, plan: Plan, sort: tuple[SortKey, ...], registry: Registry, merged: bool) -> tuple[Part, ...]:
        """The parts of an answer in the order of _sort, to be given one behind the other. merged: see `phases`."""
        found = phases(plan.type, sort, lambda code: self.letters(plan.type, code, registry), merged)
        return parts(plan, found, bool(sort))

    def canonical_text(self, node: Node) -> str:
        """One text for every spelling of the same search."""
        return canonical_text(node, self._extractor.setting.canonical_system)


async def _read(read_codes: ReadCodes, unread: Unexpanded) -> Codes:
    try:
        return await read_codes(unread.modifier, unread.value)
    except FhirError as fault:
        fault.expression = fault.expression or (unread.place,)
        raise


def _not_ready(type: str, code: str, registry: Registry) -> FhirError:
    """The answer in place of a page that would lack what has not been indexed yet."""
    if (type, code) in registry.pending:
        text = (
            f"{type}.{code} is being indexed and cannot be searched by yet; a server tells at $reindex how far it is; "
            "where none runs `fhir-server migrate` does it"
        )
        return FhirError(Kind.UNAVAILABLE, text, (code,), headers={"Retry-After": "30"})
    return FhirError(Kind.UNSUPPORTED_PARAMETER, f"{type}.{code} is not indexed here", (code,))
