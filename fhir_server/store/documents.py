"""The stored document: a resource's own JSON bytes, its search keys and what access is narrowed by, in one place.

    {_id, v: versionId, u: lastUpdated ms, o: order key, k: keys, x: sort values, p w s c a: narrowing,
     g: generation of the keys, b: creation ms, m: method, n: true after a deletion, raw: JSON bytes}

A tombstone has `d: true`, `k: []`, no `o x raw`. An old version, in `<Type>_history`, has `_id: "id/00000006"`,
`i: id` and `e`: the ms at which its successor took its place.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.model.dates import instant
from fhir_server.model.resources import decode, render, same_content
from fhir_server.store.values import (
    EARLIEST_ORDER,
    LARGEST_RESOURCE_BYTES,
    LATEST_ORDER,
    LOWEST_UNDATED,
    ORDER_SHIFT,
    UNDATED_SHIFT,
    Draft,
    Indexed,
    Stored,
)

Document = dict[str, Any]

BODY = {"v": 1, "u": 1, "o": 1, "d": 1, "m": 1, "n": 1, "p": 1, "raw": 1}
HISTORY_BODY = {"i": 1, "v": 1, "u": 1, "d": 1, "m": 1, "n": 1, "p": 1, "raw": 1}
_HASH_MASK = (1 << ORDER_SHIFT) - 1
_LATEST_CREATION = (1 << 62 - UNDATED_SHIFT) - 1  # the year 2109


def dated_order(seconds: int, id: str) -> int:
    """Sorts by date, then apart by id; far dates are clamped (`contract.EARLIEST_ORDER`, `LATEST_ORDER`)."""
    clamped = min(max(seconds, EARLIEST_ORDER), LATEST_ORDER)
    return clamped << ORDER_SHIFT | zlib.crc32(id.encode()) & _HASH_MASK


def undated_order(created: int, id: str) -> int:
    """Below every dated order, the first created lowest. created: ms since the epoch."""
    hash = zlib.crc32(id.encode()) & ((1 << UNDATED_SHIFT) - 1)
    return LOWEST_UNDATED + (min(max(created, 0), _LATEST_CREATION) << UNDATED_SHIFT | hash)


def tiers(parties: Iterable[str]) -> list[str]:
    """The tier codes among parties; organisations are references and have a slash."""
    return [party for party in parties if "/" not in party]


def organisations(parties: Iterable[str]) -> list[str]:
    return [party for party in parties if "/" in party]


def live_document(draft: Draft, previous: Document | None, now: int, method: str, generation: int) -> Document:
    """The document of the next version. `previous` is the version or tombstone that it follows, if any.

    Raises FhirError TOO_LONG.
    """
    version, updated = next_of(previous, now)
    created = previous["b"] if previous else updated
    document: Document = {
        "_id": draft.id,
        "v": version,
        "u": updated,
        **index_fields(draft.id, draft.indexed, created),
        **narrowing_fields(draft),
        "g": generation,
        "b": created,
        "m": method,
    }
    if previous is not None and previous.get("d", False):
        document["n"] = True
    document["raw"] = render(draft.type, draft.id, version, instant(updated), draft.content)
    _refuse_too_long(draft, document)
    return document


def next_of(previous: Document | None, now: int) -> tuple[int, int]:
    """versionId and lastUpdated of the next version; lastUpdated always grows, whatever the clock does."""
    return (previous["v"] + 1, max(now, previous["u"] + 1)) if previous else (1, now)


def index_fields(id: str, indexed: Indexed, created: int) -> Document:
    order = dated_order(indexed.order, id) if indexed.order is not None else undated_order(created, id)
    return {"o": order, "k": list(indexed.keys), "x": indexed.sort}


def narrowing_fields(draft: Draft) -> Document:
    told = draft.narrowing
    return {
        "p": told.patient,
        "w": told.ward,
        "s": told.sensitivity,
        "c": int(told.denied),
        "a": list(told.parties),
    }


def tombstone(previous: Document, now: int, generation: int) -> Document:
    version, updated = next_of(previous, now)
    kept = {name: previous[name] for name in ("p", "w", "s", "c", "a", "b")}
    return {
        "_id": previous["_id"],
        "v": version,
        "u": updated,
        "k": [],
        **kept,
        "g": generation,
        "m": "DELETE",
        "d": True,
    }


def history_document(document: Document, ended: int) -> Document:
    """The old version as kept: without what only the current version is sorted by."""
    kept = {name: value for name, value in document.items() if name not in ("o", "x", "b")}
    return {**kept, "_id": history_id(document["_id"], document["v"]), "i": document["_id"], "e": ended}


def history_id(id: str, version: int) -> str:
    return f"{id}/{version:08d}"


def stored(type: str, document: Mapping[str, Any]) -> Stored:
    """A document, current or old, as the rest of the program sees it."""
    get = document.get
    version, keys = document["v"], get("k")
    if keys.__class__ is dict:  # an entry of the index over keys
        keys = (keys["k"],)
    return Stored(
        type,
        get("i") or document["_id"],
        version,
        document["u"],
        get("raw", b""),
        get("d", False),
        get("o", 0),
        get("x"),
        tuple(keys) if keys is not None else None,
        document["m"],
        get("p"),
        version == 1 or get("n", False),
    )


def same_version(draft: Draft, previous: Document) -> bool:
    """True when the draft says what the stored version says already."""
    raw: bytes = previous["raw"]
    if render(draft.type, draft.id, previous["v"], instant(previous["u"]), draft.content) == raw:
        return True
    return same_content(decode(raw), draft.resource)


def _refuse_too_long(draft: Draft, document: Document) -> None:
    size = len(document["raw"]) + sum(map(len, document["k"])) + 16 * len(document["k"])
    if size > LARGEST_RESOURCE_BYTES:
        raise FhirError(
            Kind.TOO_LONG,
            f"{draft.type}/{draft.id} takes {size} bytes as stored; the limit of one resource is "
            f"{LARGEST_RESOURCE_BYTES} bytes (15 MiB)",
        )
