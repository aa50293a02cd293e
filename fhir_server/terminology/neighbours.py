"""The nearest valid codes to one that does not exist: for people to choose from, never taken as the code."""

from __future__ import annotations

import string
from collections.abc import Iterable

from rapidfuzz import process
from rapidfuzz.distance import OSA

# A longer text is no slip of a code.
_LONGEST = 24
# Slips that may lie between a code and its neighbours.
_FURTHEST = 3
_ALPHABET = string.digits + string.ascii_uppercase


def nearest(code: str, codes: Iterable[str], most: int) -> list[str]:
    """The codes with the fewest slips between (a letter more, less, other or two changed over; R4 has no rule for
    this), of equals those with the longest common beginning, then in order."""
    wanted = code[:_LONGEST].upper()
    listed = [one for one in codes if one != code]
    found = process.extract(
        wanted,
        listed,
        scorer=OSA.distance,
        processor=str.upper,
        score_cutoff=min(_FURTHEST, max(1, len(wanted) // 2)),
        limit=None,
    )
    ranked = sorted(found, key=lambda one: (one[1], -_common(wanted, one[0]), one[0]))
    near = [one for one, _, _ in ranked[:most]]
    return near or _beginning_alike(wanted, listed, most)


def _common(one: str, other: str) -> int:
    length = 0
    for left, right in zip(one, other.upper(), strict=False):
        if left != right:
            break
        length += 1
    return length


def _beginning_alike(wanted: str, listed: list[str], most: int) -> list[str]:
    """Where none is near: those that begin as the code does, with at least two characters."""
    for length in range(len(wanted) - 1, 1, -1):
        alike = sorted(one for one in listed if one.upper().startswith(wanted[:length]))
        if alike:
            return alike[:most]
    return []


def variants(code: str) -> list[str]:
    """Every text one slip away from a code, for tables that are too long to compare with: at most about 1,800."""
    text = code[:_LONGEST].upper()
    parts = [(text[:place], text[place:]) for place in range(len(text) + 1)]
    fewer = [left + right[1:] for left, right in parts if right]
    turned = [left + right[1] + right[0] + right[2:] for left, right in parts if len(right) > 1]
    other = [left + letter + right[1:] for left, right in parts if right for letter in _ALPHABET]
    more = [left + letter + right for left, right in parts for letter in (*_ALPHABET, ".", "-")]
    return sorted({*fewer, *turned, *other, *more} - {code, ""})
