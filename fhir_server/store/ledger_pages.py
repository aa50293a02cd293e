"""A page of the ledger as a document, and the filters by which pages are found that may hold an event.

    audit_pages: {_id: "chain/00000001", first, at, from, to: ms of its earliest and latest event,
                  k: keys of all its events, places: for each key the numbers of its events in the page,
                  raws: their times and bytes, digests: 32 bytes an event, before, late}

A page has one index entry for a key, however many of its events have it: that is why a page costs so little more than
one event. Keys of more than a quarter of the events are noted without places.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from fhir_server.store.documents import Document
from fhir_server.store.ledger_contract import Event, Page
from fhir_server.store.values import ORDER_SHIFT, Filter

PAGES = "audit_pages"
_DIGEST = 32
_PART = "\x1f"  # sets the system, or the version of a reference, apart in a key (search.entry)
_PATIENT = "Patient/"
_LETTERS = 2  # that every key of a parameter begins with
_BUCKET = 16  # bits of ms: ids are found by the minute in which they were made
_START = b'{"resourceType":"AuditEvent","id":"'
_encode = msgspec.msgpack.Encoder().encode
_places = msgspec.msgpack.Decoder(list[bytes | None])
_raws = msgspec.msgpack.Decoder(list[tuple[int, bytes]])

EVERYWHERE: Filter = {}


def name_of(chain: str, number: int) -> str:
    return f"{chain}/{number:08d}"


def document_of(page: Page, events: Sequence[Event]) -> Document:
    """As it is stored. Events of one page: at most 256, whose numbers fit a byte."""
    times = [event.at for event in events]
    told: Document = {"_id": name_of(page.chain, page.number), "first": page.first, "at": page.at}
    told |= {"from": min(times), "to": max(times)}
    told |= keys_of([event.keys for event in events], [event.id for event in events])
    told["raws"] = zlib.compress(_encode([(event.at, event.raw) for event in events]), 1)
    told |= {"digests": b"".join(page.digests), "before": page.before}
    return told | ({"late": True} if page.late else {})


def keys_of(keys: Sequence[Sequence[str]], ids: Sequence[str]) -> Document:
    """`k` and `places`. keys: the plain ones of each event."""
    found: dict[str, bytearray] = {}
    for number, own in enumerate(keys):
        for key in own:
            if key in found:
                found[key].append(number)
            else:
                found[key] = bytearray((number,))
    for number, id in enumerate(ids):
        found.setdefault(bucket_of(id), bytearray()).append(number)
    common = len(keys) // 4
    places = [bytes(numbers) if len(numbers) <= max(common, 1) else None for numbers in found.values()]
    return {"k": list(found), "places": zlib.compress(_encode(places), 1)}


def noted(document: Document) -> Iterable[tuple[str, bytes | None]]:
    """Each key of a page with the numbers of its events, None where it is noted without. Raises ValueError."""
    try:
        places = _places.decode(zlib.decompress(document["places"]))
    except (zlib.error, msgspec.DecodeError) as fault:
        raise ValueError(str(fault)) from None
    return zip(document["k"], places, strict=True)


def plain_keys(keys: Iterable[str]) -> tuple[str, ...]:
    """Those that a page is found by: where a key has a system or a version, there is one without it, too; and whatever
    points at a patient is found by the key of that patient's compartment."""
    return tuple(dict.fromkeys(_plain(key) for key in keys if key.find(_PART) <= _LETTERS))


def page_of(document: Document) -> Page:
    chain, _, number = document["_id"].rpartition("/")
    digests = bytes(document["digests"])
    parts = tuple(digests[start : start + _DIGEST] for start in range(0, len(digests), _DIGEST))
    late = document.get("late", False)
    first, at = int(document["first"]), int(document["at"])
    return Page(chain, int(number), first, at, parts, bytes(document["before"]), late)


def raws_of(document: Document) -> list[tuple[int, bytes]]:
    """The time (ms) and the bytes of each event. Raises ValueError when somebody has made nonsense of them."""
    try:
        return _raws.decode(zlib.decompress(document["raws"]))
    except (zlib.error, msgspec.DecodeError) as fault:
        raise ValueError(str(fault)) from None


def id_of(raw: bytes) -> str:
    """The id of an event, from its bytes as `audit.event` makes them."""
    start = len(_START)
    return raw[start : raw.index(b'"', start)].decode()


def bucket_of(id: str) -> str:
    """The key of the page that an event with this id may be in."""
    return f"#{ms_of(id) >> _BUCKET:x}"


def ms_of(id: str) -> int:
    """The time in a UUID of version 7; 0 for any other id."""
    try:
        return int(id[:8] + id[9:13], 16) if len(id) == 36 else 0
    except ValueError:
        return 0


# --- which pages -----------------------------------------------------------------------------------------------------


def page_filter(filter: Filter) -> Filter:
    """What holds of every page with an event that satisfies the filter; EVERYWHERE when nothing can be told."""
    parts = [part for name, wanted in filter.items() if (part := _page_part(name, wanted))]
    return parts[0] if len(parts) == 1 else {"$and": parts} if parts else EVERYWHERE


def _page_part(name: str, wanted: Any) -> Filter:
    if name == "$and":
        return page_filter_of_all([page_filter(part) for part in wanted])
    if name == "$or":
        parts = [page_filter(part) for part in wanted]
        return {"$or": parts} if all(parts) else EVERYWHERE
    if name == "$nor" and len(wanted) == 1 and set(wanted[0]) == {"$nor"} and len(wanted[0]["$nor"]) == 1:
        return page_filter(wanted[0]["$nor"][0])  # as `unwalked` writes it
    if name == "k":
        return _keys(wanted)
    if name == "_id":
        return _ids(wanted)
    if name == "o":
        return _times(wanted, lambda order: (order >> ORDER_SHIFT) * 1000, 1000)
    return _times(wanted, int, 1) if name == "u" else EVERYWHERE


def _ids(wanted: Any) -> Filter:
    """Ids begin with their time."""
    if isinstance(wanted, Mapping) and wanted.keys() == {"$gt"}:
        return {"to": {"$gte": ms_of(wanted["$gt"])}}
    ids = [wanted] if isinstance(wanted, str) else wanted.get("$in") if isinstance(wanted, Mapping) else None
    return {"k": {"$in": sorted({bucket_of(id) for id in ids})}} if ids is not None else EVERYWHERE


def page_filter_of_all(parts: Sequence[Filter]) -> Filter:
    told = [part for part in parts if part]
    return told[0] if len(told) == 1 else {"$and": told} if told else EVERYWHERE


def _keys(wanted: Any) -> Filter:
    if isinstance(wanted, str):
        return {"k": _plain(wanted)}
    if not isinstance(wanted, Mapping):
        return EVERYWHERE
    if wanted.keys() == {"$in"}:
        return {"k": {"$in": sorted({_plain(key) for key in wanted["$in"]})}}
    if wanted.keys() == {"$all"}:
        return {"k": {"$all": [_plain(key) for key in wanted["$all"]]}}
    span = wanted.get("$elemMatch", {})
    if wanted.keys() == {"$elemMatch"} and span.keys() == {"$gte", "$lt"}:
        return EVERYWHERE if _is_of_patients(span["$gte"], span["$lt"]) else {"k": wanted}
    return EVERYWHERE


def _plain(key: str) -> str:
    if key.startswith(_PATIENT, _LETTERS):
        key = f"@{key[_LETTERS + len(_PATIENT) :]}"
    place = key.find(_PART)
    return key[:place] if place > _LETTERS else key


def _is_of_patients(low: str, high: str) -> bool:
    """Whether plain keys stand for some of the keys in this span."""
    first = low[:_LETTERS] + _PATIENT
    return _PART in low or _PART in high or (low < first + "\x7f" and first < high)


def _times(wanted: Any, ms: Any, width: int) -> Filter:
    """From a range over an event's time to the ranges that a page's times must meet."""
    if not isinstance(wanted, Mapping):
        return {"from": {"$lt": ms(wanted) + width}, "to": {"$gte": ms(wanted)}}
    told: dict[str, Any] = {}
    for name, value in wanted.items():
        if name in ("$gte", "$gt"):
            told["to"] = {"$gte": ms(value)}
        elif name in ("$lt", "$lte"):
            told["from"] = {"$lte": ms(value) + width}
    return told


# --- which events of a page ------------------------------------------------------------------------------------------


class Places:
    """Which events of a page can satisfy a filter, by what the page notes of its keys."""

    def __init__(self, document: Document, count: int) -> None:
        self._places: dict[str, bytes | None] = dict(noted(document))
        self._all = frozenset(range(count))

    def of(self, filter: Filter) -> frozenset[int]:
        """A superset of the numbers of the events that satisfy the filter."""
        found = self._all
        for name, wanted in filter.items():
            if name == "$and":
                for part in wanted:
                    found &= self.of(part)
            elif name == "$or":
                found &= frozenset[int]().union(*(self.of(part) for part in wanted))
            elif name == "k":
                found &= self._with(wanted)
            elif name == "_id" and isinstance(wanted, str):
                found &= self._one(bucket_of(wanted))
        return found

    def _with(self, wanted: Any) -> frozenset[int]:
        if isinstance(wanted, str):
            return self._one(_plain(wanted))
        if isinstance(wanted, Mapping) and wanted.keys() == {"$in"}:
            return frozenset[int]().union(*(self._one(_plain(key)) for key in wanted["$in"]))
        if isinstance(wanted, Mapping) and wanted.keys() == {"$all"}:
            return self._all.intersection(*(self._one(_plain(key)) for key in wanted["$all"]))
        return self._all

    def _one(self, key: str) -> frozenset[int]:
        numbers = self._places.get(key, b"")
        return self._all if numbers is None else frozenset(numbers)
