"""Makes a search tree smaller without changing what it means: a list of pure rules, applied until none changes it.

A rule that has nothing to do returns the very object it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from fhir_server.search.tree import ALL, NONE, And, Chain, Contains, Has, Leaf, Node, Not, Or

Rule = Callable[[Node], Node]


def flatten(node: Node) -> Node:
    """And within And and Or within Or become one; one of a single child is that child."""
    if not isinstance(node, And | Or):
        return node
    kind = type(node)
    if len(node.children) == 1:
        return node.children[0]
    if not any(isinstance(child, kind) for child in node.children):
        return node
    return kind(tuple(_spread(kind, node.children)))


def _spread(kind: type[And] | type[Or], nodes: Iterable[Node]) -> Iterable[Node]:
    for node in nodes:
        if isinstance(node, And | Or) and isinstance(node, kind):
            yield from node.children
        else:
            yield node


def settle_constants(node: Node) -> Node:
    """What is satisfied by everything or by nothing decides the node around it."""
    match node:
        case And(nodes) if NONE in nodes:
            return NONE
        case And(nodes) if ALL in nodes:
            return And(tuple(child for child in nodes if child != ALL))
        case Or(nodes) if ALL in nodes:
            return ALL
        case Or(nodes) if NONE in nodes:
            return Or(tuple(child for child in nodes if child != NONE))
        case Not(child) if child == ALL:
            return NONE
        case Not(child) if child == NONE:
            return ALL
        case Chain(_, _, _, child) | Has(_, _, _, child) if child == NONE:
            return NONE
    return node


def cancel_double_negation(node: Node) -> Node:
    match node:
        case Not(Not(child)):
            return child
    return node


def drop_duplicates(node: Node) -> Node:
    if not isinstance(node, And | Or):
        return node
    once = tuple(dict.fromkeys(node.children))
    return node if len(once) == len(node.children) else type(node)(once)


def merge_alternatives(node: Node) -> Node:
    """`a=1` or `a=2` is `a=1,2`, which the database answers from one index scan a value, in order."""
    if not isinstance(node, Or):
        return node
    merged: dict[object, Node] = {}
    for child in node.children:
        key: object = child
        if isinstance(child, Leaf) and child.modifier != "missing":
            key = (child.type, child.param, child.modifier)
            first = merged.get(key)
            if isinstance(first, Leaf):
                child = replace(first, values=tuple(dict.fromkeys(first.values + child.values)))
        merged[key] = child
    return node if len(merged) == len(node.children) else Or(tuple(merged.values()))


RULES: tuple[Rule, ...] = (flatten, settle_constants, cancel_double_negation, drop_duplicates, merge_alternatives)


def rewrite(node: Node, rules: tuple[Rule, ...] = RULES) -> Node:
    """The same search, smaller; the same object when no rule applies anywhere."""
    while True:
        smaller = _below(node, rules)
        for rule in rules:
            smaller = rule(smaller)
        if smaller is node:
            return node
        node = smaller


def _below(node: Node, rules: tuple[Rule, ...]) -> Node:
    match node:
        case And(nodes) | Or(nodes):
            rewritten = tuple(rewrite(child, rules) for child in nodes)
            same = all(new is old for new, old in zip(rewritten, nodes, strict=True))
            return node if same else type(node)(rewritten)
        case Not(child):
            smaller = rewrite(child, rules)
            return node if smaller is child else Not(smaller)
        case Chain(owner, param, targets, child):
            smaller = rewrite(child, rules)
            return node if smaller is child else Chain(owner, param, targets, smaller)
        case Has(owner, source, param, child):
            smaller = rewrite(child, rules)
            return node if smaller is child else Has(owner, source, param, smaller)
        case Contains(owner, contained, child):
            smaller = rewrite(child, rules)
            return node if smaller is child else Contains(owner, contained, smaller)
    return node
