"""Rewriting of trees: smaller, the same meaning, and the same object when there is nothing to do."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.search.rewrite import RULES, rewrite
from fhir_server.search.tree import ALL, NONE, And, Chain, Has, Leaf, Node, Not, Or, walk

CODES = ("a", "b", "c")


def param(code: str) -> SearchParameter:
    return SearchParameter(f"urn:{code}", code, "token", f"Thing.{code}", ("Thing",))


LEAVES = st.builds(
    lambda code, values: Leaf("Thing", param(code), None, tuple(values)),
    st.sampled_from(CODES),
    st.lists(st.sampled_from(["1", "2"]), min_size=1, max_size=2, unique=True),
)
TREES = st.recursive(
    LEAVES,
    lambda below: st.one_of(
        st.builds(lambda nodes: And(tuple(nodes)), st.lists(below, max_size=3)),
        st.builds(lambda nodes: Or(tuple(nodes)), st.lists(below, max_size=3)),
        st.builds(Not, below),
    ),
    max_leaves=12,
)
THINGS = [{"a": a, "b": b, "c": c} for a in "12" for b in "12" for c in "12"]


def holds(node: Node, thing: Mapping[str, str]) -> bool:
    """What a tree means, by the book."""
    match node:
        case Leaf(_, named, _, values):
            return thing[named.code] in values
        case And(nodes):
            return all(holds(child, thing) for child in nodes)
        case Or(nodes):
            return any(holds(child, thing) for child in nodes)
        case Not(child):
            return not holds(child, thing)
    raise TypeError(node)


@given(TREES)
def test_rewriting_keeps_the_meaning(tree: Node) -> None:
    small = rewrite(tree)
    assert [holds(small, thing) for thing in THINGS] == [holds(tree, thing) for thing in THINGS]


@given(TREES)
def test_rewriting_never_makes_a_tree_larger(tree: Node) -> None:
    assert len(list(walk(rewrite(tree)))) <= len(list(walk(tree)))


@given(TREES)
def test_what_is_rewritten_stays_the_very_same_object(tree: Node) -> None:
    small = rewrite(tree)
    assert rewrite(small) is small
    assert all(rule(small) is small for rule in RULES)


def test_nothing_on_the_other_side_of_a_join_is_nothing() -> None:
    to = param("ref")
    assert rewrite(Chain("Thing", to, ("Thing",), NONE)) == NONE
    assert rewrite(Has("Thing", "Thing", to, And((NONE, ALL)))) == NONE
    assert rewrite(Not(Has("Thing", "Thing", to, NONE))) == ALL
