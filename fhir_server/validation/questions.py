"""What conditions of profiles ask beyond the resource: memberOf(), conformsTo(). R4 FHIRPath, Additional functions."""

from __future__ import annotations

from msgspec.structs import replace

from fhir_server.validation.items import Elsewhere, Environment, Focus, NoValue
from fhir_server.validation.patterns import codes

# The functions of FHIRPath that ask so.
QUESTIONS = frozenset({"memberOf", "conformsTo"})


class CannotTellError(Exception):
    """A condition asks for what is not known here: a list, a profile, a resource elsewhere. It is no fault then."""


def member_of(items: Focus, value_set: Focus, environment: Environment) -> Focus:
    """Whether one code, Coding, CodeableConcept or Quantity is in a value set. Raises CannotTellError."""
    if len(items) != 1 or len(value_set) != 1:
        return []
    found = [environment.membership(str(value_set[0]), system, code) for system, code in codes(items[0])]
    if None in found and True not in found:
        raise CannotTellError
    return [True in found]


def conforms_to(items: Focus, canonical: Focus, environment: Environment, spot: tuple[str, str]) -> Focus:
    """Whether one value conforms to a profile. spot: where its children are defined. Raises CannotTellError."""
    if len(items) != 1 or len(canonical) != 1:
        return []
    value, profile = items[0], str(canonical[0])
    if (id(value), profile) in environment.asked:  # a profile that asks for itself asks nothing more
        return [True]
    if isinstance(value, Elsewhere | NoValue):
        raise CannotTellError
    within = replace(environment, asked=environment.asked | {(id(value), profile)})
    held = within.conforms(value, spot, profile, within)
    if held is None:
        raise CannotTellError
    return [held]
