"""The terminology of one question: what is in memory at once, what the store has when it has been read."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fhir_server.model.resources import decode
from fhir_server.store.contract import Store
from fhir_server.store.table_contract import Table
from fhir_server.store.values import EVERYTHING
from fhir_server.terminology.kept import Kept
from fhir_server.terminology.load import Entry, Index, Terminology, make
from fhir_server.terminology.loaded import LoadedSystem
from fhir_server.terminology.unread import Reading, Unread


@dataclass(frozen=True, slots=True)
class Place:
    """A definition that is stored as a resource. size: of its JSON, bytes."""

    type: str
    id: str
    version: int
    size: int


class Scope(Terminology):
    """What was known when the question was put. Its methods, and those of what they give, raise Unread."""

    def __init__(self, base: Terminology, index: Index, kept: Kept) -> None:
        super().__init__((), base.today)
        self._index = index
        self._made = base.made
        self._kept = kept
        self._held: dict[Hashable, Any] = {}

    def need(self, key: Hashable, read: Reading, size: int) -> Any:
        """What was read under the key; raises Unread when nothing was."""
        if key in self._held:
            return self._held[key]
        if key in self._kept:
            # Held from now on: other questions may push it out before this one is answered.
            return self._held.setdefault(key, self._kept.get(key))
        raise Unread(key, read, size)

    def hold(self, unread: Unread, value: Any) -> None:
        """Takes what was read."""
        self._held[unread.key] = value
        if unread.size:
            self._kept.put(unread.key, value, unread.size)

    def _made_of(self, entry: Entry) -> Any:
        match entry.source:
            case Place(size=size):
                return self.need(entry.source, partial(_read_stored, entry), size)
            case Table():
                return LoadedSystem(entry.source, self.need)
        return super()._made_of(entry)


async def _read_stored(entry: Entry, store: Store) -> Any:
    """The definition made ready; None when it was deleted since its head was read."""
    place: Place = entry.source
    found = await store.read(place.type, place.id, EVERYTHING)
    return make(entry, decode(found.raw)) if found is not None and not found.deleted else None
