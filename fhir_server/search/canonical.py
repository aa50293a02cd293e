"""One text for every spelling of the same search: what conditional writes lock by."""

from __future__ import annotations

from collections.abc import Callable

from fhir_server.search.escapes import split, unescape
from fhir_server.search.fold import fold
from fhir_server.search.tree import And, Chain, Contains, Content, Has, InCompartment, InHierarchy, Leaf, Node, Not, Or


def canonical_text(node: Node, canonical_system: Callable[[str], str]) -> str:
    """The same text when only the order of parameters or values, letter case or the URI of a naming system differ."""

    def text(node: Node) -> str:
        match node:
            case Leaf(_, param, modifier, values):
                name = f"{param.code}:{modifier}" if modifier else param.code
                return f"{name}={','.join(sorted({_value(node, value, canonical_system) for value in values}))}"
            case And(nodes):
                return "&".join(sorted(text(child) for child in nodes))
            case Or(nodes):
                return f"({'|'.join(sorted(text(child) for child in nodes))})"
            case Not(child):
                return f"!({text(child)})"
            case Chain(_, param, targets, child):
                return f"{param.code}:{','.join(sorted(targets))}.({text(child)})"
            case Has(_, source, param, child):
                return f"_has:{source}:{param.code}:({text(child)})"
            case InHierarchy(_, param, target, _, ids, above):
                return f"{param.code}:{'above' if above else 'below'}={target}/{','.join(sorted(ids))}"
            case Contains(_, contained, child):
                return f"_contained:{contained}:({text(child)})"
            case Content(_, narrative, values):
                return f"{'_text' if narrative else '_content'}={','.join(sorted(fold(value) for value in values))}"
            case InCompartment(_, code, id):
                return f"{code}/{id}"
        raise TypeError(node)

    return text(node)


def _value(leaf: Leaf, value: str, canonical_system: Callable[[str], str]) -> str:
    if leaf.param.type == "string" and leaf.modifier != "exact":
        return fold(unescape(value))
    if leaf.param.type == "token" or leaf.modifier == "identifier":
        system, *code = split(value, "|", 1)
        return "|".join((canonical_system(unescape(system)), *code)) if code else value
    return value
