"""The search tree: what a query means, before anything is known of the database."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fhir_server.definitions.search_params import SearchParameter


class Leaf(msgspec.Struct, frozen=True):
    """One parameter of one resource type with its values, any of which may match.

    values: the raw texts after the split at unescaped commas; the escapes of R4 Search (`\\,` `\\$` `\\|`
    `\\\\`) are still in them, so that the type can split at `|` and `$`. modifier: without the colon; `not`, `not-in`
    and a resource type never come here: they are told by Not and by the values.
    """

    type: str
    param: SearchParameter
    modifier: str | None
    values: tuple[str, ...]


class And(msgspec.Struct, frozen=True):
    children: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True):
    children: tuple[Node, ...]


class Not(msgspec.Struct, frozen=True):
    child: Node


class Chain(msgspec.Struct, frozen=True):
    """`param.child`: the reference `param` of `type` points at a resource of one of `targets` that satisfies child."""

    type: str
    param: SearchParameter
    targets: tuple[str, ...]
    child: Node


class Has(msgspec.Struct, frozen=True):
    """`_has:source:param:child`: some `source` whose reference `param` points at this resource satisfies child."""

    type: str
    source: str
    param: SearchParameter
    child: Node


class InCompartment(msgspec.Struct, frozen=True):
    """Membership of the compartment `code` (Patient, Encounter, …) of the resource `id`. R4 CompartmentDefinition."""

    type: str
    code: str
    id: str


class InHierarchy(msgspec.Struct, frozen=True):
    """`param:below` or `:above`: the reference points at one of `ids` of `target`, or at what is below (above) it by
    the reference `parent` of target. R4 Search, Searching Hierarchies.
    """

    type: str
    param: SearchParameter
    target: str
    parent: SearchParameter
    ids: tuple[str, ...]
    above: bool


class Content(msgspec.Struct, frozen=True):
    """`_content` and `_text`: the words of any of `values` are all in the resource, or in its narrative alone.

    No index answers this: each candidate is read.
    """

    type: str
    narrative: bool
    values: tuple[str, ...]


class Contains(msgspec.Struct, frozen=True):
    """`_contained`: a resource of `contained` stands within this one and satisfies child. R4 Search."""

    type: str
    contained: str
    child: Node


Node = Contains | Leaf | And | Or | Not | Chain | Has | InCompartment | InHierarchy | Content

ALL = And(())
NONE = Or(())


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below, in order."""
    match node:
        case And(nodes) | Or(nodes):
            return nodes
        case Not(child) | Chain(_, _, _, child) | Has(_, _, _, child) | Contains(_, _, child):
            return (child,)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and every node below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def has_joins(node: Node) -> bool:
    """True when one database query cannot give the answer: it depends on other resources, or on reading each."""
    return any(isinstance(part, Chain | Has | InHierarchy | Content | Contains) for part in walk(node))


def is_read(node: Node) -> bool:
    """True when candidates must be read with their content."""
    return any(isinstance(part, Content | Contains) for part in walk(node))


def has_chains(node: Node) -> bool:
    """True when candidates must be known by what they point at."""
    return any(isinstance(part, Chain) for part in walk(node))
