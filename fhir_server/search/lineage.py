"""Administrative units through time: a code of either era stands for the units before and after it, when asked so."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.search.escapes import escape, split, unescape
from fhir_server.search.lookup import unknown_modifier, unusable
from fhir_server.search.tree import Leaf

# (system, code) of a unit to those of the unit itself, its predecessors and its successors.
Lineage = Callable[[str, str], Iterable[tuple[str, str]]]


def alone(system: str, code: str) -> Iterable[tuple[str, str]]:
    """The lineage where no succession is known."""
    return [(system, code)]


def widened(leaf: Leaf, param: SearchParameter, lineage: Lineage) -> Leaf:
    """The same search over `param`, each value with its lineage.

    Raises FhirError VALUE for a code without its system: the codes of merged provinces are in use again for others.
    """
    if leaf.modifier is not None:
        raise unknown_modifier(leaf)
    values: list[str] = []
    for value in leaf.values:
        parts = [unescape(part) for part in split(value, "|")]
        if len(parts) != 2 or not all(parts):
            raise unusable(leaf.param.code, value, "a unit is named system|code, for its code alone has no era")
        values += [f"{escape(system)}|{escape(code)}" for system, code in lineage(*parts)]
    return replace(leaf, param=param, values=tuple(dict.fromkeys(values)))
