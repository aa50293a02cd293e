"""The pieces that filters over stored documents are built of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.store.contract import Filter

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


class Sooner(dict[str, Any]):
    """`all` is what is meant; `few`, a range of keys that is part of it, is found at once. The plan makes use of it."""

    def __init__(self, few: Filter, all: Filter) -> None:
        super().__init__({"$or": [few, all]})
        self.few = few
        self.all = all


def each(filters: Iterable[Filter]) -> Filter:
    """All of them at once."""
    parts = list(filters)
    return {"$and": parts} if len(parts) > 1 else parts[0]
