"""What goes into the store and comes out of it: filters and Views, resources with their keys, and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fhir_server.model.resources import Resource

# A MongoDB filter over stored documents; made by search.compile and by Views, never from a user's text.
Filter = Mapping[str, Any]

NOTHING: Filter = {"_id": {"$in": []}}

# The type of which the ledger alone makes resources, never changed again. It speaks of all others and belongs to none:
# it is in no patient's compartment, and answers that range over types have it only when it is named.
LEDGER_TYPE = "AuditEvent"


def unwalked(filter: Filter) -> Filter:
    """The same, in a form for which MongoDB looks at documents and never at an index: so that it walks another one."""
    return {"$nor": [{"$nor": [filter]}]}


# The order key `o` of a dated resource is seconds << 30 | 30 bits of a hash of the id. Dates outside these seconds (the
# years 1833 to 2242) are written as the nearest one, so a range over `o` must not be planned from or to beyond them.
ORDER_SHIFT = 30
EARLIEST_ORDER = -(1 << 32)
LATEST_ORDER = (1 << 33) - 1
# Resources without such a date stand below all dated ones, the first created lowest: ms of creation << 20 | 20 bits of
# the hash.
LOWEST_DATED = EARLIEST_ORDER << ORDER_SHIFT
LOWEST_UNDATED = -(1 << 63)
UNDATED_SHIFT = 20

# Names of the indexes of every resource collection, for `Find.hint`: {_id}, {k, o desc, s}, {o desc}, {u, _id}.
INDEX_ID = "_id_"
INDEX_KEYS = "keys"
INDEX_ORDER = "order"
INDEX_UPDATED = "updated"
# {w, k, o desc} of what has a ward, where the setting `ward_index` asks for it.
INDEX_WARD = "ward"

# The largest resource, as JSON bytes with its search keys. MongoDB's own limit of a document is 16 MiB.
LARGEST_RESOURCE_BYTES = 15 << 20


class StartError(Exception):
    """The database cannot be used at all; the message is one sentence for the person who started the program."""


@dataclass(frozen=True, slots=True)
class View:
    """What a caller may see: a filter for each resource type, and one for all types that are not named.

    A filter of None sees all; NOTHING sees nothing. Only the scalars p, w, s, c, a, and k may be used in it.
    """

    by_type: Mapping[str, Filter | None] = field(default_factory=dict)
    otherwise: Filter | None = None

    def of(self, type: str) -> Filter | None:
        return self.by_type.get(type, self.otherwise)

    def narrow(self, type: str, query: Filter) -> Filter:
        """`query` and what the View allows, both."""
        allowed = self.of(type)
        if allowed is None:
            return query
        return {"$and": [query, allowed]} if query else allowed

    def ward(self, type: str) -> str | None:
        """The ward of residence outside of which nothing is allowed; None where there is none."""
        return _ward(self.of(type) or {})

    def walked(self, type: str) -> Filter:
        """What the View allows of live resources, once more, as far as the index over keys can walk it: the patients
        that it names. {} where it names none."""
        allowed = self.of(type)
        if allowed is None:
            return {}
        patients = next((part["p"] for part in allowed.get("$and", (allowed,)) if "p" in part), None)
        if isinstance(patients, str):
            return {"k": f"@{patients}"}
        if isinstance(patients, Mapping) and set(patients) == {"$in"}:
            return {"k": {"$in": [f"@{patient}" for patient in patients["$in"]]}}
        return {}


def _ward(allowed: Filter) -> str | None:
    ward = allowed.get("w")
    return ward if isinstance(ward, str) else next(filter(None, map(_ward, allowed.get("$and", ()))), None)


EVERYTHING = View()


class Indexed(msgspec.Struct, frozen=True):
    """What a resource is found and sorted by; made by search.extract from the resource alone.

    keys: the strings of field `k`. sort: field `x`, {two characters: lowest and highest value}. order: seconds since
    the epoch of the type's primary date, None when it has none (the store then uses the creation time).
    """

    keys: tuple[str, ...] = ()
    sort: Mapping[str, Any] = {}
    order: int | None = None


class Narrowing(msgspec.Struct, frozen=True):
    """The fields that access control narrows by. For a resource of a patient's compartment the store fills ward,
    denied and tiers from that Patient, and rewrites them, in every version, in the transaction that changes the
    Patient. A resource with a patient must have the key `@<patient id>`, by which the store finds it then.

    patient: id of the patient whose compartment it is in. ward: ward code of residence. sensitivity: 0 none, else one
    bit for each class that the resource belongs to. denied: the patient's Consent denies. parties: organisations that
    the resource names or was sent by (`Organization/12`, `sent/12`), and what the Patient says for the compartment:
    units of residence and caring organisations (without `/`: `province:38`, `care:12`).
    """

    patient: str | None = None
    ward: str | None = None
    sensitivity: int = 0
    denied: bool = False
    parties: tuple[str, ...] = ()


class Stored(msgspec.Struct, frozen=True):
    """One version of a resource as stored. raw is the JSON as served, b"" for a deletion."""

    type: str
    id: str
    version: int
    updated: int  # ms since the epoch
    raw: bytes
    deleted: bool = False
    order: int = 0  # the order key `o`, for cursors
    sort: Mapping[str, Any] | None = None  # `x`, when the Find asked for it
    keys: tuple[str, ...] | None = None  # `k`, when the Find asked for it
    method: str = "PUT"  # how this version came to be: POST, PUT, PATCH, DELETE
    patient: str | None = None  # of whose compartment it is
    created: bool = False  # it is the first version, or the first after a deletion
    met: tuple[Any, ...] = ()  # where a walk through other resources met it, for cursors


class Draft(msgspec.Struct, frozen=True):
    """A resource to be written (no server meta needed), its `content_of` and what it is indexed by."""

    type: str
    id: str
    resource: Resource
    content: bytes
    indexed: Indexed
    narrowing: Narrowing = Narrowing()


ANY_VERSION = -1  # of Put.expected and Remove.expected: whichever it is, but there must be one


class Put(msgspec.Struct, frozen=True):
    """Write a draft. expected: None any (a retry reads again); 0 must not exist (or be deleted); ANY_VERSION must be
    there; n must be version n (else FhirError PRECONDITION with `Type/id` as its place). An identical draft makes no
    new version, but new keys and narrowing are written. method goes into history. FhirError TOO_LONG when the resource
    is over LARGEST_RESOURCE_BYTES as stored."""

    draft: Draft
    expected: int | None = None
    method: str = "PUT"


class Remove(msgspec.Struct, frozen=True):
    """Delete: leaves a tombstone. Removing what is absent or already deleted writes nothing. expected: as of Put."""

    type: str
    id: str
    expected: int | None = None


Op = Put | Remove


class Written(msgspec.Struct, frozen=True):
    """The outcome of one Op, in the order of the ops. created: there was no live version before."""

    stored: Stored
    created: bool
    changed: bool


class Bound(msgspec.Struct, frozen=True):
    """How far a find may look: at so many of the resources that satisfy `walked`, in the order of the find. walked:
    what the index is walked by, a part of the find's filter."""

    walked: Filter
    most: int


class Find(msgspec.Struct, frozen=True):
    """One page of one type. sort: (path, 1 or -1) pairs over `o`, `_id`, `u`, `x.<letters>`; without any the order of
    the index that the filter needs. hint: name of the index to walk, if the collection has its indexes already.

    Over an `x.` path a list counts by its lowest value (descending: its highest), and a resource without a value comes
    last. raw: False leaves the bytes out. want_sort, want_keys: also give `x`, `k`. keys_within: (low, high), to give
    at least the first of `k` from low to before high. start: (key, order) at which the index over keys is entered, and
    walked to the end of keys_within: it saves the way there and decides nothing. Time is bounded by the settings;
    what a query that takes over a second may look at by `bound`, which needs an order that the index of the hint gives:
    FhirError TOO_COSTLY when the page is not full within it. Deleted resources are never found.
    """

    type: str
    filter: Filter
    sort: tuple[tuple[str, int], ...] = (("o", -1),)
    limit: int = 20
    raw: bool = True
    want_sort: bool = False
    want_keys: bool = False
    keys_within: tuple[str, str] | None = None
    hint: str | None = None
    bound: Bound | None = None
    start: tuple[Any, ...] | None = None


class HistoryQuery(msgspec.Struct, frozen=True):
    """One page of history, newest first; equal times by descending `Type/id`. type None: whole system; id None: whole
    type. since: from this time on (ms). at: what was current at this time, or at some time from at until at_end (ms,
    not included). before: what the last page ended with (opaque to callers)."""

    type: str | None = None
    id: str | None = None
    since: int | None = None
    at: int | None = None
    at_end: int | None = None
    limit: int = 20
    before: tuple[int, str, int] | None = None  # (updated, "Type/id", version) of the last entry told


@dataclass(frozen=True, slots=True)
class Deferred:
    """A request that is answered later. done: `answer` holds what was settled. held: some process works on it now.
    expires: ms since the epoch until which it is kept."""

    done: bool
    held: bool
    expires: int
    answer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One version that was committed. seq: its number in the order of commits, from 1. patient: whose compartment it is
    in. at: ms since the epoch, in whole seconds."""

    seq: int
    type: str
    id: str
    version: int
    patient: str | None
    deleted: bool
    at: int


@dataclass(frozen=True, slots=True)
class ChangeSpan:
    """What is known of the sequence. name: of this sequence; another one begins anew. first, last: numbers that are
    kept, last 0 for none. begun: since when changes are numbered, ms since the epoch."""

    name: str
    first: int
    last: int
    begun: int


@dataclass(frozen=True, slots=True)
class Installed:
    """A FHIR package in the store. identity: name, version and canonical base as one text. facts: JSON about it.
    revision: another one after each installation, "" for a package that is yet to be installed."""

    identity: str
    facts: Mapping[str, Any]
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that `Store.check` found wrong. place: `Condition/12`, `Condition/12/_history/3` or a collection."""

    place: str
    fault: str
