"""Scopes of SMART App Launch 2 (`patient/Condition.rs?category=…`) and 1 (`user/*.read`), and ours beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fhir_server.errors import FhirError
from fhir_server.interactions.rights import Action
from fhir_server.search.parse import Pairs, query_pairs

_LETTERS: dict[str, Action] = {"c": "create", "r": "read", "u": "update", "d": "delete", "s": "search"}
# SMART App Launch 2, section "Scopes for requesting FHIR Resources": what the scopes of version 1 mean.
_VERSION_1 = {"read": "rs", "write": "cud", "*": "cruds"}
_SCOPE = re.compile(
    r"(?P<context>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]{1,63})\."
    r"(?P<letters>read|write|\*|(?=.)c?r?u?d?s?)(?:\?(?P<query>\S+))?"
)
OPERATION = "operation/"
# Classes of sensitivity as HEART names them: `sens/HIV`, `conf/R`.
SENSITIVE = ("sens/", "conf/")
BREAK_GLASS = "btg"
MOST = 200  # scopes of one token


@dataclass(frozen=True, slots=True)
class Scope:
    """One grant. context: patient | user | system. type: a resource type, None for all. constraints: search pairs that
    a resource must satisfy, too."""

    context: str
    type: str | None
    actions: frozenset[Action]
    constraints: Pairs = ()

    def covers(self, action: Action, type: str) -> bool:
        return action in self.actions and self.type in (None, type)


@dataclass(frozen=True, slots=True)
class Scopes:
    """All that one token grants. sensitive: `sens/HIV`, … as written. operations: names without `$`, `*` for all."""

    grants: tuple[Scope, ...] = ()
    sensitive: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    break_glass: bool = False


def parse_scopes(texts: Iterable[str]) -> Scopes:
    """What is understood of a token's scopes. The rest (`openid`, a misspelt one) grants nothing here."""
    named = list(dict.fromkeys(texts))[:MOST]
    grants = [scope for text in named if (scope := _scope(text)) is not None]
    return Scopes(
        tuple(grants),
        frozenset(text for text in named if text.startswith(SENSITIVE)),
        frozenset(text.removeprefix(OPERATION).removeprefix("$") for text in named if text.startswith(OPERATION)),
        BREAK_GLASS in named,
    )


def _scope(text: str) -> Scope | None:
    found = _SCOPE.fullmatch(text)
    if found is None:
        return None
    letters = _VERSION_1.get(found["letters"], found["letters"])
    try:
        constraints = query_pairs(found["query"]) if found["query"] else ()
    except FhirError:
        return None
    if found["query"] and not constraints:
        return None  # it meant to narrow, so it does not grant all
    type = None if found["type"] == "*" else found["type"]
    return Scope(found["context"], type, frozenset(_LETTERS[letter] for letter in letters), constraints)
