"""Names the parts of a search as a client would, for what is told about them."""

from __future__ import annotations

from fhir_server.search.paging import Order
from fhir_server.search.plan import Plan
from fhir_server.search.tree import ALL, And, Chain, Contains, Content, Has, InHierarchy, Leaf, Node, Not, Or


def describe(node: Node) -> str:
    """The parameter that made a part of the tree, as a client would name it."""
    match node:
        case Leaf(_, param, "missing", values):
            return f"{param.code}:missing={','.join(values)}"
        case Leaf(_, param, modifier, _):
            return f"{param.code}:{modifier}" if modifier else param.code
        case Chain(_, param, targets, child):
            return f"{param.code}:{targets[0]}.{describe(child)}"
        case Has(_, source, param, child):
            return f"_has:{source}:{param.code}:{describe(child)}"
        case And(nodes) | Or(nodes) if nodes:
            return " and ".join(dict.fromkeys(describe(child) for child in nodes))
        case Not(Leaf(_, param, modifier, _)):
            return f"{param.code}:{'not-in' if modifier == 'in' else 'not'}"
        case Not(child):
            return f"not {describe(child)}"
        case InHierarchy(_, param, _, _, _, above):
            return f"{param.code}:{'above' if above else 'below'}"
        case Contains(_, contained, child):
            return f"contained {contained} with {describe(child)}"
        case Content(_, narrative, _):
            return "_text" if narrative else "_content"
    return "the whole search"


def costly(plan: Plan, order: Order) -> str:
    """The parts of a search that no exact key answers, as a client would name them."""
    named = [describe(plan.node)] if plan.node is not None and plan.node != ALL else []
    return " and ".join([*named, *(["_sort"] if order.by_value else [])]) or f"all of {plan.type}"
