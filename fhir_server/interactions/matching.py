"""Conditions of conditional interactions and references: always strict, so that a slip never matches everyone.

R4 RESTful API: conditional create, update and delete, and the conditional references of transaction.
"""

from __future__ import annotations

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, Pairs
from fhir_server.interactions.finder import Finder, Reader
from fhir_server.interactions.rights import ALL_RIGHTS
from fhir_server.search.compile import one_of
from fhir_server.search.parse import parse
from fhir_server.search.result_parameters import NAMES
from fhir_server.search.rewrite import rewrite
from fhir_server.search.tree import ALL, Node
from fhir_server.store.values import EVERYTHING, Find, Stored


async def match(context: Context, type: str, pairs: Pairs, reader: Reader, limit: int = 2) -> list[Stored]:
    """The first `limit` resources that satisfy a condition, read through a store or from inside a transaction.

    Raises FhirError UNSUPPORTED_PARAMETER or VALUE for a parameter that cannot be used, PRECONDITION for a condition
    that is empty or that everything satisfies.
    """
    finder = Finder(context, reader)
    return await finder.page(await finder.plan(type, _condition(context, type, pairs)), limit)


async def unique_match(context: Context, type: str, pairs: Pairs, reader: Reader) -> list[Stored]:
    """As `match`, for a condition that keeps something from being made twice.

    One that asks for identifiers alone is held against all resources, for numbers are unique whoever may see them; any
    other against those the caller may see, or it would tell what is in the rest. Raises FhirError CONFLICT for a match
    that the caller may not see, without telling anything of it.
    """
    if context.rights is ALL_RIGHTS or {name for name, _ in pairs} != {"identifier"}:
        return await match(context, type, pairs, reader)
    found = await match(context.with_(view=EVERYTHING), type, pairs, reader)
    seen = await reader.find(Find(type, one_of("_id", [stored.id for stored in found]), limit=2), context.view)
    if len(seen) < len(found):
        raise FhirError(Kind.CONFLICT, f"this {type} cannot be made here", (type,))
    return found


def criterion(context: Context, type: str, pairs: Pairs) -> str:
    """One text for all spellings of a condition: the order of parameters and alternatives and the URI of a naming
    system do not matter. It is what conditional writes lock. Raises as `match` does."""
    return f"{type}?{context.search.canonical_text(_condition(context, type, pairs))}"


def _condition(context: Context, type: str, pairs: Pairs) -> Node:
    for name, _ in pairs:
        if name.partition(":")[0] in NAMES:
            raise FhirError(Kind.UNSUPPORTED_PARAMETER, f"{name} chooses nothing and cannot be in a condition", (name,))
    if not pairs:
        raise FhirError(Kind.PRECONDITION, "the condition has no parameter")
    (_, tree), *_ = parse(context.search.parameters, (type,), pairs, strict=True).trees or ((type, ALL),)
    condition = rewrite(tree)
    if condition == ALL:
        raise FhirError(Kind.PRECONDITION, "the condition is satisfied by every resource")
    return condition
