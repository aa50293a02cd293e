"""CodeSystem/$subsumes. R4 section 4.8.18."""

from __future__ import annotations

from typing import Literal

from fhir_server.errors import FhirError, Kind
from fhir_server.terminology.code_systems import CodeSystem
from fhir_server.terminology.load import Terminology

Outcome = Literal["equivalent", "subsumes", "subsumed-by", "not-subsumed"]


def subsumes(terminology: Terminology, system: str, one: str, other: str) -> Outcome:
    """How code `one` (codeA) stands to `other` (codeB).

    Raises FhirError(NOT_FOUND) for a system that is not loaded, FhirError(VALUE) for a code that it does not have.
    """
    found = terminology.code_system(system)
    if found is None:
        raise FhirError(Kind.NOT_FOUND, f"the code system {system[:200]!r} is not loaded")
    for code in (one, other):
        _known(found, code)
    if one == other:
        return "equivalent"
    if found.is_below(other, one):
        return "subsumes"
    return "subsumed-by" if found.is_below(one, other) else "not-subsumed"


def _known(system: CodeSystem, code: str) -> None:
    if system.has(code) is False or (system.has(code) is None and system.shape is None):
        raise FhirError(Kind.VALUE, f"{system.title} has no code {code[:100]!r}")
