"""Which searches no index answers: they choose by what is absent, or by what only the whole content tells.

`:not`, `:not-in`, `:missing=true` and `ne` find what lacks something; what `:contains` asks (and `co`, `ew` of _filter)
may stand anywhere in a text; `_text` and `_content` read the resources. Beside another parameter they cost little: only
what that one finds is looked at.
"""

from __future__ import annotations

from fhir_server.search.primary_dates import primary_dates
from fhir_server.search.tree import And, Chain, Contains, Content, Has, Leaf, Node, Not, Or

_ANYWHERE = frozenset({"contains", "ends"})
_BY_PREFIX = frozenset({"date", "number", "quantity"})


def unindexed(node: Node) -> Node | None:
    """The part of a search because of which every resource of the type (or all that have the parameter) may have to be
    looked at; None when an index leads to what is found."""
    match node:
        case And(nodes):
            found = [part for child in nodes if (part := unindexed(child)) is not None]
            return found[0] if found and len(found) == len(nodes) else None
        case Or(nodes):
            return next((part for child in nodes if (part := unindexed(child)) is not None), None)
        case Chain(_, _, _, child) | Has(_, _, _, child) | Contains(_, _, child):
            return None if unindexed(child) is None else node
        case Not() | Content():
            return node
        case Leaf():
            return node if _is_unindexed(node) else None
    return None


def _is_unindexed(leaf: Leaf) -> bool:
    if leaf.modifier == "missing":  # what has no primary date stands apart in the order, unless another stands in
        return "true" in leaf.values and primary_dates(leaf.type) != (leaf.param.code,)
    if leaf.param.type in _BY_PREFIX and leaf.param.code != "_lastUpdated":
        return any(value.startswith("ne") for value in leaf.values)
    return leaf.modifier in _ANYWHERE
