"""The pieces that filters over stored documents are built of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.store.values import Filter

_LAST = "\U0010ffff"


def key(text: str) -> Filter:
    return {"k": text}


def between(low: str, high: str) -> Filter:
    """Some key from low to before high. A range over an array is tight only within `$elemMatch`."""
    return {"k": {"$elemMatch": {"$gte": low, "$lt": high}}}


def beginning(text: str) -> Filter:
    """Some key that begins with a text."""
    return between(text, text + _LAST)


def element(path: str, condition: Mapping[str, Any]) -> Filter:
    """Some element of the list at `x.<path>` satisfies all of the condition."""
    return {f"x.{path}": {"$elemMatch": condition}}


def holds(path: str, needle: str) -> Filter:
    """Some text of the list at `x.<path>` has the needle anywhere; the needle stays a literal, never a pattern."""
    texts = {"$ifNull": [f"$x.{path}", []]}
    found = {"$gte": [{"$indexOfBytes": ["$$text", {"$literal": needle}]}, 0]}
    return {"$expr": {"$anyElementTrue": [{"$map": {"input": texts, "as": "text", "in": found}}]}}


def ends(path: str, needle: str) -> Filter:
    """Some text of the list at `x.<path>` ends with the needle."""
    texts = {"$ifNull": [f"$x.{path}", []]}
    closed = {"$map": {"input": texts, "as": "text", "in": {"$concat": ["$$text", _LAST]}}}
    found = {"$gte": [{"$indexOfBytes": ["$$text", {"$literal": needle + _LAST}]}, 0]}
    return {"$expr": {"$anyElementTrue": [{"$map": {"input": closed, "as": "text", "in": found}}]}}


class Whole(dict[str, Any]):
    """All keys of a parameter."""


def whole(letters: str) -> Filter:
    """Some key of a parameter."""
    return Whole(beginning(letters))


class Few(dict[str, Any]):
    """Exact keys that few resources have, whatever the store holds: an identifier, what is about one person."""


class Ways(dict[str, Any]):
    """Alternatives of which each is a walk of the index of its own; `plan` has them answered one behind the other."""

    def __init__(self, ways: Iterable[Filter]) -> None:
        self.ways = tuple(ways)
        super().__init__({"$or": list(self.ways)})


def each(filters: Iterable[Filter]) -> Filter:
    """All of them at once."""
    parts = list(filters)
    return {"$and": parts} if len(parts) > 1 else parts[0]
