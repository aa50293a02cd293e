"""Which of R4's rules are left to look at in a resource that the gate has accepted.

The gate's schema holds what R4 asks of references and extensions, and accepts only those in which no other rule could
be broken. So most objects of a resource have no rule left, and the walk of `rules` passes them over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Constraint, Element
from fhir_server.validation.primitives import PRIMITIVES

# Constraints that are held elsewhere: ele-1 by structure, the others by code in `rules`.
_HELD_ELSEWHERE = frozenset({"ele-1", "ext-1", "dom-3", "ref-1", "txt-1", "txt-2", "sqty-1"})
# Advice on good practice that nearly every resource without narrative would be told; R4 itself marks it so.
_ADVICE = frozenset({"dom-6"})
# Types of which the gate holds every rule.
HELD = frozenset({"Extension", "Reference"})
# Objects with rules in code that the gate does not hold.
_IN_CODE = frozenset({("Bundle", "entry"), ("Narrative", "")})


def evaluated(constraints: Iterable[Constraint]) -> list[Constraint]:
    """The constraints whose expression is evaluated."""
    return [one for one in constraints if one.key not in _HELD_ELSEWHERE and one.key not in _ADVICE]


def has_rules(definitions: Definitions, type: str, path: str = "") -> bool:
    """Whether rules of an object itself are left; path: of an element with children of its own."""
    if path:
        constraints = definitions.structure(type).elements[path].constraints
    else:
        constraints = tuple(c for name in definitions.lineage(type) for c in definitions.structure(name).constraints)
    return (type, path) in _IN_CODE or bool(evaluated(constraints))


@cache
def leads_to_rules(definitions: Definitions, type: str, path: str = "") -> bool:
    """Whether rules of an object, or of anything below it, are left."""
    seen: set[tuple[str, str]] = set()
    waiting = [(type, path)]
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        if has_rules(definitions, *place):
            return True
        for element in definitions.structure(place[0]).children(place[1]):
            if evaluated(element.constraints) or any(one.code == "Resource" for one in element.types):
                return True
            waiting += objects(definitions, place[0], element)
    return False


def objects(definitions: Definitions, type: str, element: Element) -> Iterator[tuple[str, str]]:
    """(structure, path) of the objects that an element of a type holds, but for those that the gate holds wholly."""
    path = element.content or element.path
    if definitions.structure(type).children(path):
        yield type, path
    else:
        yield from ((one.code, "") for one in element.types if one.code not in PRIMITIVES and one.code not in HELD)
