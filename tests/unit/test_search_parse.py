"""Parsing of queries: what is taken apart how, and that no text can break it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.errors import FhirError
from fhir_server.search.parse import parse, query_pairs, split_values
from fhir_server.search.result_parameters import Inclusion
from fhir_server.search.tree import ALL, And, Chain, Has, Leaf, Node, walk
from tests.unit.search_golden import model, parsed

NAMES = [*sorted(model().parameters.of("Observation")), "_has:Observation:patient:code", "_filter", "_sort", "_include"]
PIECES = [*NAMES, "Patient", ":", ".", ":not", ":missing", ":exact", "subject:Patient.name", "*", "", " ", "ệ", "\x00"]


def the(node: Node) -> Node:
    """The only child of the conjunction that a search of one parameter is."""
    assert isinstance(node, And)
    (child,) = node.children
    return child


def refusal(call: Callable[[], object]) -> int | None:
    """The status of the refusal, None when it is none; any other error is the test's."""
    try:
        call()
    except FhirError as fault:
        return fault.kind.status
    return None


def leaf(query: str) -> Leaf:
    node = the(parsed(query).trees[0][1])
    assert isinstance(node, Leaf)
    return node


@given(
    st.text(alphabet=st.sampled_from(list("aă,\\|$ ")), max_size=20),
)
def test_alternatives_joined_again_by_commas_are_the_value(text: str) -> None:
    values = split_values(text)
    assert all(values)
    if not any(part == "" for part in text.split(",")):
        assert ",".join(values) == text


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\\,"), min_size=1), min_size=1, max_size=5))
def test_escaped_commas_part_nothing(parts: list[str]) -> None:
    assert split_values(r"\,".join(parts)) == (r"\,".join(parts),)
    assert split_values(",".join(parts)) == tuple(parts)


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=5), st.text(max_size=20), st.booleans())
def test_no_name_and_value_break_the_parser(pieces: list[str], value: str, strict: bool) -> None:
    pairs = (("".join(pieces), value),)
    status = refusal(lambda: parse(model().parameters, ["Observation"], pairs, strict=strict))
    assert status is None or 400 <= status < 500


@given(st.text(alphabet=st.sampled_from(list('()[]." aeqndort-:\\')), max_size=40))
def test_no_filter_expression_breaks_its_reader(text: str) -> None:
    assert refusal(lambda: parse(model().parameters, ["Patient"], (("_filter", text),), strict=True)) in (None, 400)


@given(st.text(max_size=60))
def test_no_query_string_breaks_its_decoding(text: str) -> None:
    assert refusal(lambda: query_pairs(text)) in (None, 400, 413)


def test_pairs_keep_their_order_and_their_blanks() -> None:
    assert query_pairs("b=1&a=x%20y&b=&c=%C4%91+%2B") == (("b", "1"), ("a", "x y"), ("b", ""), ("c", "đ +"))


def test_a_query_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(FhirError, match="UTF-8"):
        query_pairs("name=%FF%FE")


def test_a_query_of_a_thousand_and_one_parameters_is_refused() -> None:
    with pytest.raises(FhirError, match="1000"):
        query_pairs("&".join(["a=1"] * 1001))


def test_a_type_as_modifier_becomes_part_of_the_value() -> None:
    assert leaf("Observation?subject:Patient=1,Patient/2").values == ("Patient/1", "Patient/2")
    assert leaf("Observation?subject:Patient=1").modifier is None


def test_a_chain_without_a_type_asks_each_type_that_knows_the_rest() -> None:
    node = the(parsed("Observation?subject.name=a").trees[0][1])
    chains = [part for part in walk(node) if isinstance(part, Chain)]
    assert {chain.targets for chain in chains} == {("Location",), ("Patient",)}


def test_has_and_chains_nest_in_each_other() -> None:
    node = the(parsed("Observation?patient:Patient._has:Condition:patient:encounter.location.name=a").trees[0][1])
    kinds = [type(part).__name__ for part in walk(node)]
    assert kinds == ["Chain", "Has", "Chain", "Chain", "Leaf"]
    has = next(part for part in walk(node) if isinstance(part, Has))
    assert (has.type, has.source, has.param.code) == ("Patient", "Condition", "patient")


def test_a_chain_of_more_than_32_steps_is_refused() -> None:
    with pytest.raises(FhirError, match="32"):
        parsed(f"Organization?{'partof.' * 40}name=a")


def test_inclusions_are_taken_apart() -> None:
    query = "Observation?_include=Observation:subject:Patient&_revinclude:iterate=*:*&_include=*"
    with pytest.raises(FhirError, match="iterated"):
        parsed(query)
    found = parsed(query, strict=False).results.inclusions
    assert found == (
        Inclusion("Observation", "subject", "Patient", reverse=False, iterate=False),
        Inclusion("*", "*", None, reverse=False, iterate=False),
    )


def test_sort_keys_of_several_parameters_follow_each_other() -> None:
    keys = parsed("Patient?_sort=-birthdate,family&_sort=_id").results.sort
    assert [(key.param.code, key.descending) for key in keys] == [
        ("birthdate", True),
        ("family", False),
        ("_id", False),
    ]


def test_a_parameter_of_only_one_of_the_types_searched_is_unusable() -> None:
    found = parsed("?_type=Patient,Organization&birthdate=2020", strict=False)
    assert [issue.expression for issue in found.ignored] == [("birthdate",)]
    assert [tree for _, tree in found.trees] == [And(()), And(())]


def test_a_search_of_every_resource_means_everything() -> None:
    assert parsed("Patient").trees == (("Patient", ALL),)


def test_filter_brackets_bind_before_left_to_right() -> None:
    node = the(parsed("Patient?_filter=gender eq male or gender eq female and active eq true").trees[0][1])
    assert type(node).__name__ == "And"
    node = the(parsed("Patient?_filter=gender eq male or (gender eq female and active eq true)").trees[0][1])
    assert type(node).__name__ == "Or"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name eq", "a value at character 8"),
        ("name is a", "'is' has no meaning for name"),
        ("colour eq blue", "no parameter 'colour'"),
        ("(name eq a", "expected ')'"),
        ("name eq a b", "expected the end"),
        ('name eq "a', "a string closed by a quote"),
        ("birthdate pr maybe", "pr is followed by"),
        ("name.family eq a", "is no reference"),
        ("(" * 50 + "name eq a", "nested brackets"),
    ],
)
def test_a_filter_that_is_none_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(FhirError) as fault:
        parse(model().parameters, ["Patient"], (("_filter", text),), strict=False)
    assert words in fault.value.diagnostics


def test_a_comma_in_a_filter_string_is_a_comma() -> None:
    assert leaf('Organization?_filter=name sw "Hà Nội, Ba Đình"').values == (r"Hà Nội\, Ba Đình",)
