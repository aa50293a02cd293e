"""From query pairs to a search tree: parameters, modifiers, chains, _has, compartments. R4 Search.

Nothing here knows the database. A parameter that cannot be used is an error when handling is strict; when it is lenient
it is left out and told (R4 Search, Handling Errors). A modifier that R4 does not allow on a known parameter is always
an error, since to leave it out would widen the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl

import msgspec

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.errors import FhirError, Issue, Kind
from fhir_server.model.references import is_id
from fhir_server.model.remember import remembered
from fhir_server.search.filter_expression import parse_filter
from fhir_server.search.parameters import Parameters
from fhir_server.search.result_parameters import NAMES, ResultReader, Results, Unusable
from fhir_server.search.tree import ALL, NONE, And, Chain, Content, Has, InCompartment, InHierarchy, Leaf, Node, Not, Or
from fhir_server.search.types.table import TYPES

Pairs = tuple[tuple[str, str], ...]

# Modifiers that are answered by joins and not by the parameter's own keys.
_ELSEWHERE = {"reference": frozenset({"above", "below"})}
_DEEPEST = 32  # steps of one chain; the request line ends most of them far earlier
_MOST_PAIRS = 1000
_SPLIT = re.compile(r"((?:[^\\,]|\\.|\\$)*)(?:,|$)", re.DOTALL)


class Search(msgspec.Struct, frozen=True):
    """A whole search. trees: each type to be searched with what it must satisfy. used: the pairs that took part, in
    the order sent. ignored: one issue for each that did not."""

    trees: tuple[tuple[str, Node], ...]
    results: Results
    used: Pairs
    ignored: tuple[Issue, ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(type for type, _ in self.trees)


@remembered(1_000)
def query_pairs(text: str) -> Pairs:
    """The decoded pairs of a query string or form body, in the order sent. Raises FhirError INVALID."""
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PAIRS))
    except UnicodeDecodeError:
        raise FhirError(Kind.INVALID, "the query is not UTF-8") from None
    except ValueError:
        raise FhirError(Kind.TOO_LONG, f"a query has at most {_MOST_PAIRS} parameters") from None


def parse(
    parameters: Parameters,
    types: Iterable[str],
    pairs: Pairs,
    *,
    strict: bool,
    page_size: int = 20,
    page_limit: int = 1000,
    compartment: tuple[str, str] | None = None,
) -> Search:
    """One search of one or more types, within the compartment (code, id) if there is one.

    Raises FhirError UNSUPPORTED_PARAMETER or VALUE, its expression naming the parameter.
    """
    wanted = _narrow_types(parameters, tuple(types), pairs)
    reader = ResultReader(parameters, wanted, page_size, page_limit)
    trees: dict[str, list[Node]] = {type: _scope(type, compartment) for type in wanted}
    used: list[tuple[str, str]] = []
    ignored: list[Issue] = []
    for name, value in pairs:
        try:
            if name.partition(":")[0] in NAMES:
                reader.take(name, value)
            elif name != "_type":
                nodes = {type: parse_parameter(parameters, type, name, value) for type in wanted}
                for type, node in nodes.items():
                    trees[type].append(node)
            used.append((name, value))
        except Unusable as why:
            if strict:
                raise FhirError(Kind.UNSUPPORTED_PARAMETER, f"{name}: {why}", (name,)) from None
            ignored.append(Issue("warning", "not-supported", f"{name} was ignored: {why}", (name,)))
    return Search(
        tuple((type, And(tuple(nodes))) for type, nodes in trees.items()), reader.results, tuple(used), tuple(ignored)
    )


def _narrow_types(parameters: Parameters, types: tuple[str, ...], pairs: Pairs) -> tuple[str, ...]:
    """`_type` (R4 Search, Specifying the type of Resource) keeps the order in which it names the types."""
    named = [name for key, value in pairs if key == "_type" for name in value.split(",")]
    if not named:
        return types
    for name in named:
        if name not in parameters.types:
            raise FhirError(Kind.VALUE, f"_type: this server has no resource type {name[:64]!r}", ("_type",))
    return tuple(dict.fromkeys(name for name in named if name in types))


def _scope(type: str, compartment: tuple[str, str] | None) -> list[Node]:
    return [InCompartment(type, *compartment)] if compartment else []


def parse_parameter(parameters: Parameters, type: str, name: str, value: str, depth: int = 0) -> Node:
    """One pair as a tree for one type. Raises Unusable, and FhirError for what is wrong however lenient one is."""
    if depth > _DEEPEST:
        raise FhirError(Kind.TOO_COSTLY, f"a chain has at most {_DEEPEST} steps", (name[:64],))
    if name == "_type":
        return ALL if type in value.split(",") else NONE
    if name == "_filter":
        return parse_filter(parameters, type, value, parse_parameter)
    if name.startswith("_has:"):
        return _has(parameters, type, name, value, depth)
    head, dot, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    param = _known(parameters, type, code)
    if dot:
        return _chain(parameters, type, param, modifier, rest, value, depth)
    values = split_values(value)
    if not values:
        raise Unusable("it has no value")
    if code in ("_list", "_text", "_content") and modifier:
        raise _refused(param, modifier)
    if code == "_list":
        return _list(parameters, type, values)
    if code in ("_text", "_content"):
        return Content(type, code == "_text", values)
    return _leaf(parameters, type, param, modifier, values)


def _known(parameters: Parameters, type: str, code: str) -> SearchParameter:
    param = parameters.of(type).get(code)
    if param is None:
        raise Unusable(f"{type} has no search parameter {code[:64]!r} here")
    return param


def _has(parameters: Parameters, type: str, name: str, value: str, depth: int) -> Node:
    """`_has:Observation:patient:code`, R4 Search, Reverse Chaining; the last part may be any name again."""
    parts = name.split(":", 3)
    if len(parts) < 4:
        raise FhirError(Kind.VALUE, "_has must be _has:Type:reference:parameter", (name[:64],))
    _, source, code, rest = parts
    if source not in parameters.types:
        raise Unusable(f"this server has no resource type {source[:64]!r}")
    param = _known(parameters, source, code)
    if param.type != "reference" or type not in parameters.targets(param):
        raise Unusable(f"{source}.{code} is no reference to {type}")
    return Has(type, source, param, parse_parameter(parameters, source, rest, value, depth + 1))


def _chain(
    parameters: Parameters, type: str, param: SearchParameter, modifier: str, rest: str, value: str, depth: int
) -> Node:
    """`subject:Patient.name`, R4 Search, Chained Parameters. Without a type every target that knows `rest` is
    asked."""
    if param.type != "reference":
        raise Unusable(f"{param.code} is no reference, so nothing can follow it")
    if modifier:
        _check_target(parameters, param, modifier)
        child = parse_parameter(parameters, modifier, rest, value, depth + 1)
        return Chain(type, param, (modifier,), child)
    branches = []
    why = Unusable(f"{param.code} points at nothing that is served here")
    for target in parameters.targets(param):
        try:
            child = parse_parameter(parameters, target, rest, value, depth + 1)
            branches.append(Chain(type, param, (target,), child))
        except Unusable as fault:
            why = fault
    if not branches:
        raise why
    return branches[0] if len(branches) == 1 else Or(tuple(branches))


def _check_target(parameters: Parameters, param: SearchParameter, target: str) -> None:
    if target not in parameters.targets(param):
        raise FhirError(Kind.UNSUPPORTED_PARAMETER, f"{param.code} never points at {target[:64]!r}", (param.code,))


def _list(parameters: Parameters, type: str, values: tuple[str, ...]) -> Node:
    """`_list=42` (R4 Search, Searching by list) is `_has:List:item:_id=42`."""
    if any(not is_id(value) for value in values):
        text = "_list takes the id of a List resource; functional lists are not served"
        raise FhirError(Kind.UNSUPPORTED_PARAMETER, text, ("_list",))
    item, id = (_known(parameters, "List", code) for code in ("item", "_id"))
    return Has(type, "List", item, Leaf("List", id, None, values))


def _leaf(parameters: Parameters, type: str, param: SearchParameter, modifier: str, values: tuple[str, ...]) -> Node:
    if param.code == "_query" or (param.type == "special" and not param.expression):
        raise FhirError(Kind.UNSUPPORTED_PARAMETER, f"{param.code} is not served", (param.code,))
    if not modifier:
        return Leaf(type, param, None, values)
    if param.type == "reference" and modifier[:1].isupper():
        _check_target(parameters, param, modifier)
        return Leaf(type, param, None, tuple(_typed(value, modifier) for value in values))
    if modifier == "missing" and param.type != "composite":
        return _missing(type, param, values)
    if modifier not in TYPES[param.type].modifiers | _ELSEWHERE.get(param.type, frozenset()):
        text = f"R4 has no modifier ':{modifier[:64]}' for {param.code}, which is of type {param.type}"
        raise FhirError(Kind.UNSUPPORTED_PARAMETER, text, (f"{param.code}:{modifier[:64]}",))
    if param.type == "reference" and modifier in ("above", "below"):
        return _hierarchy(parameters, type, param, modifier, values)
    if modifier in ("not", "not-in"):
        return Not(Leaf(type, param, "in" if modifier == "not-in" else None, values))
    return Leaf(type, param, modifier, values)


def _refused(param: SearchParameter, modifier: str) -> FhirError:
    text = f"R4 has no modifier :{modifier[:64]} for {param.code}, which is of type {param.type}"
    return FhirError(Kind.UNSUPPORTED_PARAMETER, text, (f"{param.code}:{modifier[:64]}",))


def _hierarchy(
    parameters: Parameters, type: str, param: SearchParameter, modifier: str, values: tuple[str, ...]
) -> Node:
    """`location:below=42`, R4 Search, Searching Hierarchies. Canonical URLs have `:below`, by version."""
    branches = []
    for target in parameters.targets(param):
        parent = parameters.parent(target)
        ids = tuple(value.removeprefix(f"{target}/") for value in values)
        if parent is not None:
            own = tuple(id for id in ids if is_id(id))
            branches.append(InHierarchy(type, param, target, parent, own, modifier == "above"))
    if branches:
        return Or(tuple(branches))
    if modifier in TYPES["reference"].modifiers:
        return Leaf(type, param, modifier, values)
    text = f"{param.code} points at nothing that has parents, so it has no :{modifier}"
    raise FhirError(Kind.UNSUPPORTED_PARAMETER, text, (f"{param.code}:{modifier}",))


def _missing(type: str, param: SearchParameter, values: tuple[str, ...]) -> Node:
    if values not in (("true",), ("false",)):
        raise FhirError(Kind.VALUE, f"{param.code}:missing must be true or false", (f"{param.code}:missing",))
    if param.code in ("_id", "_lastUpdated"):  # every resource has them
        return ALL if values == ("false",) else NONE
    return Leaf(type, param, "missing", values)


def _typed(value: str, type: str) -> str:
    """`23` with :Patient is `Patient/23`; a value that has a type already, or is a URL, stays."""
    return value if "/" in value or ":" in value else f"{type}/{value}"


def split_values(text: str) -> tuple[str, ...]:
    """The alternatives of a value, split at commas without a backslash; the escapes stay in them. Empty ones go."""
    if "," not in text:
        return (text,) if text else ()
    return tuple(found[1] for found in _SPLIT.finditer(text) if found[1])
