"""Membership of compartments as search keys (R4 section 3.3)."""

from __future__ import annotations

# What the keys of each compartment begin with; the one asked for most has the shortest.
_MARKS = {"Patient": "@", "Encounter": "@E:", "RelatedPerson": "@R:", "Practitioner": "@P:", "Device": "@D:"}
COMPARTMENTS = tuple(_MARKS)


def compartment_key(code: str, id: str) -> str:
    """The key that every member of a compartment carries. Raises KeyError for a compartment that R4 does not have."""
    return _MARKS[code] + id
