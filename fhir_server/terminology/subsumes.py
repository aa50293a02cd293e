"""CodeSystem/$subsumes, R4."""

from __future__ import annotations

from typing import Literal

from fhir_server.errors import FhirError, Kind
from fhir_server.terminology.code_systems import CodeSystem
from fhir_server.terminology.load import Terminology

Outcome = Literal["equivalent", "subsumes", "subsumed-by", "not-subsumed"]


def subsumes(terminology: Terminology, system: str, one: str, other: str) -> Outcome:
    """How code `one` (codeA) stands to `other` (codeB). system: URL or `url|version`.

    Raises FhirError(NOT_FOUND) for a system that is not loaded and for a code that it does not have; and Unread.
    """
    found = terminology.code_system(system)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"the code system {system[:200]!r} is not loaded")
    return outcome(found, one, other)


def outcome(system: CodeSystem, one: str, other: str) -> Outcome:
    """The same for a code system that is at hand."""
    for code in (one, other):
        _known(system, code)
    if one == other:
        return "equivalent"
    if system.is_below(other, one):
        return "subsumes"
    return "subsumed-by" if system.is_below(one, other) else "not-subsumed"


def _known(system: CodeSystem, code: str) -> None:
    if system.has(code) is False or (system.has(code) is None and system.shape is None):
        raise FhirError(Kind.NOT_FOUND, f"{system.title} has no code {code[:100]!r}")
