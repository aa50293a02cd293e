"""The search parameter types by name: what writes their keys and what makes a filter of a query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fhir_server.search.clauses import whole
from fhir_server.search.compile import conjunction, disjunction
from fhir_server.search.entry import Write
from fhir_server.search.lookup import Lookup, Setting, unusable
from fhir_server.search.path import Path
from fhir_server.search.primary_dates import primary_date
from fhir_server.search.tree import Leaf
from fhir_server.search.types import composite, date, number, quantity, reference, special, string, token, uri
from fhir_server.store.values import Filter

Writers = Callable[[str, tuple[Path, ...], Setting], Iterator[tuple[Path, Write]]]


@dataclass(frozen=True, slots=True)
class SearchType:
    """writers: the functions that write keys, by path; None for composites, which `extract` builds from components.
    modifiers: those that may stand beside a parameter of this type (`missing` stands beside any). sorted_by: the path
    below `x.<letters>` that orders resources, None when the type has no order.
    """

    values: Callable[[Leaf, str, Lookup], Filter]
    modifiers: frozenset[str]
    writers: Writers | None
    sorted_by: str | None

    def filter(self, leaf: Leaf, letters: str, lookup: Lookup) -> Filter:
        """The stored documents that a leaf means. letters: those of the parameter's first home in the registry.

        Raises FhirError naming the parameter for a modifier or value it cannot have, and UnknownSystems.
        """
        homes = lookup.homes(leaf.type, leaf.param.code)
        if leaf.modifier == "missing":
            return _missing(leaf, [lookup.registry.letters[leaf.type, home.code] for home in homes])
        # The homes of what points at one type are chosen by value.
        places = [lookup.registry.letters[leaf.type, home.code] for home in homes if home.target is None]
        return disjunction(self.values(leaf, place, lookup) for place in places or [letters])


def _missing(leaf: Leaf, places: list[str]) -> Filter:
    """`:missing=false` is a range over the parameter's keys, `true` whatever is outside of it."""
    if any(value not in ("true", "false") for value in leaf.values):
        raise unusable(leaf.param.code, ",".join(leaf.values), "must be true or false beside :missing")
    wanted = set(leaf.values)
    if len(wanted) > 1:
        return {}
    if leaf.param.type == "date" and primary_date(leaf.type) == leaf.param.code:
        return date.missing(leaf.type, places[0], wanted == {"true"})
    present = [whole(letters) for letters in places]
    if wanted == {"false"}:
        return disjunction(present)
    return conjunction({"k": {"$not": one["k"]}} for one in present)


def _composite(leaf: Leaf, letters: str, lookup: Lookup) -> Filter:
    return composite.filter(leaf, letters, lookup, COMPONENT_KINDS)


COMPONENT_KINDS: Mapping[str, composite.Kind] = {
    "string": string,
    "token": token,
    "date": date,
    "number": number,
    "quantity": quantity,
    "reference": reference,
}

TYPES: Mapping[str, SearchType] = {
    "string": SearchType(string.filter, string.MODIFIERS, string.writers, ".f"),
    "token": SearchType(token.filter, token.MODIFIERS, token.writers, ""),
    "date": SearchType(date.filter, date.MODIFIERS, date.writers, ".l"),
    "number": SearchType(number.filter, number.MODIFIERS, number.writers, ".l"),
    "quantity": SearchType(quantity.filter, quantity.MODIFIERS, quantity.writers, ".l"),
    "reference": SearchType(reference.filter, reference.MODIFIERS, reference.writers, ""),
    "uri": SearchType(uri.filter, uri.MODIFIERS, uri.writers, ""),
    "composite": SearchType(_composite, composite.MODIFIERS, None, None),
    "special": SearchType(special.filter, special.MODIFIERS, special.writers, None),
}
