"""Joins: what a search asks of other resources, by chains, _has and hierarchies, or of a resource's own content.

A join (R4 Search, Chained Parameters and Reverse Chaining) whose other side is short is resolved first and
becomes a list of references or ids in the query. When the other side is long the candidates are walked in their order,
a batch at a time, and each batch is asked whether the join holds: the page is exact however many resources stand on the
other side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_server.errors import FhirError, Kind
from fhir_server.search.clauses import Few
from fhir_server.search.compile import flat
from fhir_server.search.content import contains
from fhir_server.search.describe import describe
from fhir_server.search.model import SearchModel
from fhir_server.search.paging import AS_FOUND
from fhir_server.search.plan import Plan, Walk, alternatives
from fhir_server.search.tree import And, Chain, Contains, Content, Has, InHierarchy, Leaf, Node, Not, Or
from fhir_server.store.values import Stored

if TYPE_CHECKING:
    from fhir_server.interactions.finder import Finder


@dataclass(frozen=True, slots=True)
class Reach:
    """How long the other side of a join may be and still be put into the query: the resources that a chain leads to,
    and those that _has comes from."""

    targets: int
    sources: int


NOWHERE = Reach(0, 0)
AT_FIRST = Reach(100, 100)  # for a search that may be answered in any order, so that the other side can be walked
AT_ONCE = Reach(1_000, 500)
AT_MOST = Reach(20_000, 50_000)
_WORTH_LOOKING_AT = 4  # candidates for each that may be found
LARGEST_BATCH = 200  # MongoDB merges that many index scans in order, and sorts in memory beyond


class Joins:
    """The joins of one search; `finder` asks the queries that they need."""

    def __init__(self, finder: Finder, model: SearchModel) -> None:
        self._finder = finder
        self._model = model

    async def resolve(self, node: Node, reach: Reach) -> Node:
        """The same tree with each join whose other side is short made a leaf."""
        match node:
            case And(nodes) | Or(nodes):
                return type(node)(tuple([await self.resolve(child, reach) for child in nodes]))
            case Not(child):
                return Not(await self.resolve(child, reach))
            case Chain():
                return await self._resolve_chain(node, reach.targets)
            case Has():
                return await self._resolve_has(node, reach.sources)
            case InHierarchy():
                return await self._resolve_hierarchy(node)
        return node

    async def _resolve_chain(self, chain: Chain, most: int) -> Node:
        values: list[str] = []
        for target in chain.targets:
            plan = await self._finder.plan(target, chain.child)
            if await self._is_long(plan, most):
                return chain
            found = await self._finder.some(plan, most + 1)
            self._finder.work.spend(len(found), describe(chain))
            values += [f"{target}/{stored.id}" for stored in found]
            if len(values) > most:
                return chain
        return Leaf(chain.type, chain.param, None, tuple(values)) if values else Or(())

    async def _resolve_has(self, has: Has, most: int) -> Node:
        plan = await self._finder.plan(has.source, has.child)
        if await self._is_long(plan, most):
            return has
        found = await self._finder.some(plan, most + 1, keys=True)
        self._finder.work.spend(len(found), describe(has))
        if len(found) > most:
            return has
        ids = dict.fromkeys(id for stored in found for id in self.ids_at(stored, has.param.code, has.type))
        return self._model.ids(has.type, ids)

    async def _is_long(self, plan: Plan, most: int) -> bool:
        """True when so many resources would have to be looked at that it is not worth while to find out more.

        Weights are remembered, but names and identifiers seldom come twice: where as many are found as are looked at,
        they are asked for at once.
        """
        if plan.joins is not None or isinstance(plan.filter, Few):
            return False
        limit, ways = max(most * _WORTH_LOOKING_AT, 1), alternatives(plan)
        doubtful = [one for one in ways if len(ways) == 1 or len(flat(one.filter)) > 1]
        return sum([await self._finder.weight(one, limit) for one in doubtful]) >= limit

    async def _resolve_hierarchy(self, node: InHierarchy) -> Node:
        """Level by level, until nothing new is found; a hierarchy that is a ring ends, too."""
        found = dict.fromkeys(node.ids)
        level = list(found)
        while level:
            step = self._above if node.above else self._below
            level = [id for id in await step(node, level) if id not in found]
            found.update(dict.fromkeys(level))
            self._finder.work.spend(len(level), describe(node))
            if len(found) > AT_MOST.targets:
                text = f"{describe(node)} reaches more than {AT_MOST.targets} resources; ask for a smaller part"
                raise FhirError(Kind.TOO_COSTLY, text, (describe(node),))
        return Leaf(node.type, node.param, None, tuple(f"{node.target}/{id}" for id in found)) if found else Or(())

    async def _above(self, node: InHierarchy, ids: Sequence[str]) -> list[str]:
        plan = await self._finder.plan(node.target, self._model.ids(node.target, ids))
        found = await self._finder.page(plan, len(ids), raw=False, keys=True)
        return list(dict.fromkeys(id for stored in found for id in self.ids_at(stored, node.parent.code, node.target)))

    async def _below(self, node: InHierarchy, ids: Sequence[str]) -> list[str]:
        names = [f"{node.target}/{id}" for id in ids]
        plan = Plan(node.target, rest=await self._finder.pointing_at(node.target, (node.parent,), names))
        found = await self._finder.page(plan, AT_MOST.targets + 1, raw=False)
        return [stored.id for stored in found]

    async def satisfying(self, node: Node, candidates: Sequence[Stored]) -> set[str]:
        """The ids of the candidates for which the node holds. The candidates carry their keys and are of one type."""
        if not candidates:
            return set()
        match node:
            case And(nodes):
                left = list(candidates)
                for child in nodes:
                    fitting = await self.satisfying(child, left)
                    left = [stored for stored in left if stored.id in fitting]
                return {stored.id for stored in left}
            case Or(nodes):
                fitting = set()
                for child in nodes:
                    rest = [stored for stored in candidates if stored.id not in fitting]
                    fitting |= await self.satisfying(child, rest)
                return fitting
            case Not(child):
                return {stored.id for stored in candidates} - await self.satisfying(child, candidates)
            case Chain():
                return await self._satisfying_chain(node, candidates)
            case Has():
                return await self._satisfying_has(node, [stored.id for stored in candidates])
            case Content():
                return {stored.id for stored in candidates if contains(node, stored.raw)}
            case Contains():
                return {stored.id for stored in candidates if await self._finder.contained(node, stored)}
        return await self._which(candidates[0].type, node, [stored.id for stored in candidates])

    async def _satisfying_chain(self, chain: Chain, candidates: Sequence[Stored]) -> set[str]:
        fitting: set[str] = set()
        for target in chain.targets:
            pointers = {stored.id: self.ids_at(stored, chain.param.code, target) for stored in candidates}
            ids = list(dict.fromkeys(id for found in pointers.values() for id in found))
            good = await self._which(target, chain.child, ids)
            fitting.update(id for id, found in pointers.items() if not good.isdisjoint(found))
        return fitting

    async def _which(self, type: str, node: Node, ids: Sequence[str]) -> set[str]:
        """Those of the ids whose resource satisfies the node."""
        found = await self._finder.with_ids(await self._finder.plan(type, node), ids, raw=False)
        return {stored.id for stored in found}

    async def _satisfying_has(self, has: Has, ids: Sequence[str]) -> set[str]:
        return await self.pointed_at(has, await self._finder.plan(has.source, has.child), ids)

    async def pointed_at(self, has: Has, plan: Plan, ids: Sequence[str]) -> set[str]:
        """Those of the ids at which some source that satisfies the plan points. Ids that are found fall out, so each
        query asks for less."""
        left = dict.fromkeys(ids)
        while left:
            names = [f"{has.type}/{id}" for id in left]
            pointing = await self._finder.pointing_at(has.source, (has.param,), names)
            part, walk = plan.also(pointing), Walk(AS_FOUND, pointing)
            found = await self._finder.page(part, AT_ONCE.sources, walk, raw=False, keys=True)
            self._finder.work.spend(len(found), describe(has))
            for stored in found:
                for id in self.ids_at(stored, has.param.code, has.type):
                    left.pop(id, None)
            if len(found) < AT_ONCE.sources:
                break
        return {id for id in ids if id not in left}

    def ids_at(self, stored: Stored, code: str, target: str) -> list[str]:
        """The ids of the resources of a type that a reference parameter of a found resource points at."""
        return [id for type, id in self._finder.pointers(stored, code) if type == target]


def chunks(ids: Iterable[str], size: int) -> Iterable[list[str]]:
    every = list(ids)
    return (every[start : start + size] for start in range(0, len(every), size))
