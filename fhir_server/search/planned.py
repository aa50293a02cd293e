"""Searches that were parsed and planned before, remembered by their text: the same ones are asked again and again.

Only what the text, the search parameters and the patients that a View names decide is remembered: nothing that leads to
other resources, is about a list of codes, or depends on the time.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from fhir_server.model.registry import Registry
from fhir_server.search.parse import Pairs, Search
from fhir_server.search.plan import Part, Plan
from fhir_server.search.tree import Leaf, Node, has_joins, walk
from fhir_server.store.values import LEDGER_TYPE

MOST_REMEMBERED = 1_000
LONGEST = 500  # characters of a query; longer ones seldom come twice
_OF_LISTS = frozenset({"in", "above", "below"})

# (base URL, path, query, whether handling is strict, the patients that the caller's View lets be walked).
Text = tuple[str, tuple[str, ...], Pairs, bool, str]


class Planned(msgspec.Struct, frozen=True):
    """A search, the plans that answer it, and the parts that its answer is cut into. link: what was really searched."""

    search: Search
    plans: tuple[Plan, ...]
    parts: tuple[Part, ...]
    link: str


class PlannedSearches:
    """Those of one process that were asked last. What the registry gets to know makes all of them old."""

    def __init__(self) -> None:
        self._planned: OrderedDict[Text, Planned] = OrderedDict()
        self._made_for: tuple[int, int, int, int] | None = None
        self.turn = 0  # grows when what is being planned must not be remembered

    def get(self, text: Text, registry: Registry) -> Planned | None:
        state = (registry.generation, len(registry.letters), len(registry.systems), len(registry.pending))
        if state != self._made_for:
            self._planned.clear()
            self._made_for = state
        found = self._planned.get(text)
        if found is not None:
            self._planned.move_to_end(text)
        return found

    def keep(self, text: Text, planned: Planned, turn: int) -> None:
        """turn: as it was before the search was parsed."""
        is_short = sum(len(name) + len(value) for name, value in text[2]) <= LONGEST
        if turn == self.turn and is_short and _lasts(planned.search):
            self._planned[text] = planned
            if len(self._planned) > MOST_REMEMBERED:
                self._planned.popitem(last=False)

    def __len__(self) -> int:
        return len(self._planned)

    def pass_over(self) -> None:
        """Remembers nothing of what is being planned now."""
        self.turn += 1

    def forget(self) -> None:
        """Everything: the search parameters are others."""
        self._planned.clear()
        self.turn += 1


def _lasts(search: Search) -> bool:
    """False for what other queries have to answer first, and for the ledger, which has to be written before."""
    trees = [tree for type, tree in search.trees if type != LEDGER_TYPE]
    return len(trees) == len(search.trees) and not any(has_joins(one) or any(map(_passes, walk(one))) for one in trees)


def _passes(node: Node) -> bool:
    """True for what another moment may read otherwise: lists of codes, and `ap` of a date."""
    if not isinstance(node, Leaf):
        return False
    is_of_date = node.param.type in ("date", "composite")
    is_of_list = node.modifier in _OF_LISTS or bool(node.param.lineage_of)
    return is_of_list or (is_of_date and any("ap" in value for value in node.values))
