"""Which part of a search no index leads to, whatever its joins lead to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fhir_server.search.leads import is_led
from fhir_server.search.rewrite import rewrite
from fhir_server.search.tree import ALL, And, Chain, Contains, Has, InHierarchy, Node, Or, has_joins
from fhir_server.store.values import Filter


async def unled(node: Node, compile: Callable[[Node], Awaitable[Filter]]) -> Node | None:
    """The part of a search for which all resources of a type, or all that have a parameter, may have to be looked
    at; None where an index leads to what is found. compile: the filter of a tree without joins."""
    match node:
        case And(nodes) if has_joins(node):
            own = rewrite(And(tuple(part for part in nodes if not has_joins(part))))
            parts = [*(part for part in nodes if has_joins(part)), *([] if own == ALL else [own])]
        case Or(nodes):
            parts = list(nodes)
        case Chain(_, _, _, child) | Has(_, _, _, child) | Contains(_, _, child):
            return None if await unled(child, compile) is None else node
        case InHierarchy():
            return None
        case _ if has_joins(node):  # its content is read, or it finds what lacks something
            return node
        case _:
            return None if is_led(await compile(node)) else node
    found = [part for one in parts if (part := await unled(one, compile)) is not None]
    return None if not found or (isinstance(node, And) and len(found) < len(parts)) else found[-1]
