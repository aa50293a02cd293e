"""The numbers that senders give their messages (REQUEST_ID): each is used once, for one content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.records.record import Identity, Record
from fhir_server.records.source import Place, Problem
from fhir_server.store.contract import Store

REGISTER = "sender-requests"
CONFLICT = "request-id-conflict"


async def used_for(store: Store, asked: Iterable[tuple[Identity | None, Place]]) -> Mapping[str, Any]:
    """What the messages of these records were used for so far, by name."""
    names = [name_of(identity.facility, identity.request, place) for identity, place in asked if identity]
    wanted = list(filter(None, names))
    return await store.entries_named(REGISTER, wanted) if wanted else {}


def conflict(identity: Identity, place: Place, used: Mapping[str, Any]) -> Problem | None:
    """Why a record is refused whose number came before with other content."""
    held = used.get(name_of(identity.facility, identity.request, place))
    if held is None or held["digest"] == identity.digest:
        return None
    text = ("the number of the message was used for other content", "số của thông điệp đã dùng cho nội dung khác")
    return Problem("error", CONFLICT, text, "REQUEST_ID", identity.request)


def uses_of(records: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """The entries of records that are stored."""
    named = ((name_of(one.facility, one.request, one.source.place), one) for one in records if not one.refused)
    return {name: {"digest": one.digest} for name, one in named if name}


def name_of(facility: str, request: str, place: Place) -> str:
    """A message may hold several records: each is told by its place in it. "" without a number."""
    return f"{facility}|{request}|{place.record}" if request else ""
