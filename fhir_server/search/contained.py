"""Contained resources in the index: their keys stand with those of the resource that contains them.

Which key belongs to which contained resource is not kept, so the keys only lead to candidates; each is then read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fhir_server.search.compile import conjunction, flat
from fhir_server.search.entry import PART
from fhir_server.store.values import Filter

_MARK = "#"


def keys_within(type: str, keys: Iterable[str]) -> Iterator[str]:
    """What a resource is found by that contains a resource of `type` with these keys."""
    yield _MARK + type
    for key in keys:
        if not key.startswith("@"):  # a contained resource is in no compartment of its own
            yield _within(type, key)


def _within(type: str, key: str) -> str:
    return f"{_MARK}{type}{PART}{key}"


def containers(type: str, filter: Filter) -> Filter:
    """The resources that may contain a resource of `type` that satisfies the filter: no match is missing."""
    parts = [found for part in flat(filter) if (found := _lead(type, part)) is not None]
    return conjunction(parts or [{"k": _MARK + type}])


def _lead(type: str, part: Filter) -> Filter | None:
    if set(part) != {"k"}:
        return None
    wanted = part["k"]
    if isinstance(wanted, str):
        return {"k": _within(type, wanted)}
    return {"k": bounds} if (bounds := _bounds(type, wanted)) is not None else None


def _bounds(type: str, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    match dict(wanted):
        case {"$in": keys, **rest} if not rest:
            return {"$in": [_within(type, key) for key in keys]}
        case {"$elemMatch": {"$gte": low, "$lt": high}, **rest} if not rest:
            return {"$elemMatch": {"$gte": _within(type, low), "$lt": _within(type, high)}}
    return None
