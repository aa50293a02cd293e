"""The numbers that senders give their messages (REQUEST_ID): each is used once, for one content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fhir_server.records.record import Record
from fhir_server.records.source import Problem
from fhir_server.store.contract import Store, Transaction

REGISTER = "sender-requests"
CONFLICT = "request-id-conflict"


async def used_otherwise(store: Store | Transaction, records: Sequence[Record]) -> list[Record]:
    """Those whose number came before with other content."""
    names = list(filter(None, map(request_name, records)))
    used = await store.entries_named(REGISTER, names) if names else {}
    return [one for one in records if (held := used.get(request_name(one))) and held["digest"] != one.digest]


def conflict(record: Record) -> Problem:
    """Why such a record is refused."""
    text = ("the number of the message was used for other content", "số của thông điệp đã dùng cho nội dung khác")
    return Problem("error", CONFLICT, text, "REQUEST_ID", record.request)


def uses_of(records: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """The entries of records that are stored."""
    named = ((request_name(one), one) for one in records if not one.refused)
    return {name: {"digest": one.digest} for name, one in named if name}


def request_name(record: Record) -> str:
    """A message may hold several records: each is told by its place in it. "" without a number."""
    return f"{record.facility}|{record.request}|{record.source.place.record}" if record.request else ""
