"""Reads the golden files of search, and tells what the compiler makes of a query in the words of those files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fhir_server.config import DATA_ROOT, Settings
from fhir_server.definitions.capabilities import Capability
from fhir_server.definitions.load import Definitions
from fhir_server.model.registry import Registry
from fhir_server.search.extract import Extractor
from fhir_server.search.model import SearchModel
from fhir_server.search.parse import Search, parse, query_pairs
from fhir_server.search.rewrite import rewrite
from fhir_server.search.tree import And, Chain, Content, Has, InCompartment, InHierarchy, Leaf, Node, Not, Or
from fhir_server.terminology.naming import NamingSystems

FOLDER = Path(__file__).resolve().parent.parent / "golden" / "search"
BASE = "http://test/fhir"
NOW = 1_767_225_600_000  # 2026-01-01T00:00Z
# The marks within keys that no text can hold, as the golden files show them.
_MARKS = {"\x1f": "␟", "\x1e": "␞", "\x1d": "␝", "\x1c": "␜", "\x1b": "␛", "\U0010ffff": "￿"}
_CASE = re.compile(
    r"^### (?P<title>.+)\n+```query\n(?P<query>.*)\n```\n+```tree\n(?P<tree>(?:.*\n)*?)```\n+"
    r"```mongodb\n(?P<mongodb>(?:.*\n)*?)```\n",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Case:
    """One titled triple of a golden file."""

    file: str
    title: str
    query: str
    tree: str
    mongodb: str


def cases() -> list[Case]:
    found = []
    for path in sorted(FOLDER.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        part = [Case(path.name, *match.group("title", "query", "tree", "mongodb")) for match in _CASE.finditer(text)]
        if len(part) != text.count("\n### "):
            raise ValueError(f"{path.name}: a case is not title, query, tree and mongodb in this order")
        found += part
    return found


class NamedLetters(dict[tuple[str, str], str]):
    """Parameters' own names in place of the two letters that a database gives them."""

    def __missing__(self, key: tuple[str, str]) -> str:
        return f"{key[1]}:"

    def get(self, key: tuple[str, str], default: Any = None) -> str:  # type: ignore[override]
        return self[key]


class NumberedSystems(dict[str, int]):
    """Every system has a number: its place in the alphabet of the first letter of its last part, say."""

    def __missing__(self, uri: str) -> int:
        return len(uri)

    def __contains__(self, uri: object) -> bool:
        return True

    def keys(self) -> Any:
        return _Everything()


class _Everything:
    def __rsub__(self, other: set[str]) -> set[str]:
        return set()


class PureStore:
    """What the compiler asks of a store: its registry."""

    registry = Registry(letters=NamedLetters(), systems=NumberedSystems())


@cache
def model() -> SearchModel:
    definitions = Definitions.load(DATA_ROOT)
    naming = NamingSystems.load(DATA_ROOT)
    extractor = Extractor(definitions, "+07:00", naming.canonical)
    capability = Capability.load(DATA_ROOT / "capability_statement.json")
    return SearchModel(definitions, extractor, Settings(), capability)


def parsed(query: str, strict: bool = True) -> Search:
    """`Patient?name=a`, `Patient/1/Condition?code=x` or `?_type=…` parsed for its type."""
    path, _, text = query.partition("?")
    parts = path.split("/") if path else []
    compartment = (parts[0], parts[1]) if len(parts) == 3 else None
    types = parts[-1:] or model().parameters.types
    return parse(model().parameters, types, query_pairs(text), strict=strict, compartment=compartment)


async def told(query: str) -> tuple[str, str]:
    """The tree after rewriting, and the queries it becomes, as the golden files show them."""
    search = parsed(query)
    trees: list[str] = []
    queries: list[str] = []
    for type, tree in search.trees:
        small = rewrite(tree)
        trees.append("\n".join(_lines(small)))
        queries += await _queries(type, small)
    return "\n".join(trees) + "\n", "\n".join(queries) + "\n"


def _lines(node: Node, depth: int = 0) -> Iterator[str]:
    indent = "  " * depth
    match node:
        case Leaf(type, param, modifier, values):
            name = f"{type}.{param.code}" + (f":{modifier}" if modifier else "")
            yield f"{indent}{name} = {' or '.join(values)}"
        case And(()):
            yield f"{indent}everything"
        case Or(()):
            yield f"{indent}nothing"
        case And(nodes) | Or(nodes):
            yield f"{indent}{'all of' if isinstance(node, And) else 'any of'}"
            for child in nodes:
                yield from _lines(child, depth + 1)
        case Not(child):
            yield f"{indent}not"
            yield from _lines(child, depth + 1)
        case Chain(type, param, targets, child):
            yield f"{indent}{type}.{param.code} points at a {targets[0]} with"
            yield from _lines(child, depth + 1)
        case Has(_, source, param, child):
            yield f"{indent}the target of {source}.{param.code} of a {source} with"
            yield from _lines(child, depth + 1)
        case InHierarchy(type, param, target, _, ids, above):
            yield f"{indent}{type}.{param.code} points {'above' if above else 'below'} {target}/{' or '.join(ids)}"
        case Content(_, narrative, values):
            yield f"{indent}the {'narrative' if narrative else 'content'} has the words {' or '.join(values)}"
        case InCompartment(_, code, id):
            yield f"{indent}in the compartment of {code}/{id}"


async def _queries(type: str, node: Node) -> list[str]:
    """Each join's own query first, then that of the type with the join's answer in it."""
    asked: list[str] = []

    async def resolved(node: Node) -> Node:
        match node:
            case And(nodes) | Or(nodes):
                made = [await resolved(child) for child in nodes]
                return And(tuple(made)) if isinstance(node, And) else Or(tuple(made))
            case Not(child):
                return Not(await resolved(child))
            case Chain(owner, param, (target,), child):
                asked.extend(await _queries(target, child))
                return Leaf(owner, param, None, (f"{target}/…",))
            case Has(owner, source, _, child):
                asked.extend(await _queries(source, child))
                return model().ids(owner, ("…",))
            case InHierarchy(owner, param, target, parent, ids, _):
                level = Leaf(target, parent, None, tuple(f"{target}/{id}" for id in ids))
                asked.extend(await _queries(target, level))
                return Leaf(owner, param, None, (*(f"{target}/{id}" for id in ids), f"{target}/…"))
        return node

    compiled = await model().filter(rewrite(await resolved(node)), PureStore(), BASE, NOW)  # type: ignore[arg-type]
    return [*asked, f"{type} {_json(compiled)}"]


def _json(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=False)
    for mark, shown in _MARKS.items():
        text = text.replace(json.dumps(mark, ensure_ascii=False)[1:-1], shown)
    return text
