"""Drafts and shortcuts for the store's contract: what to write, and how to write it in one line."""

from __future__ import annotations

from typing import Any

from fhir_server.model.resources import content_of
from fhir_server.store.contract import Store
from fhir_server.store.values import Draft, Indexed, Narrowing, Op, Put, Remove, Written


def a_draft(type: str = "Organization", id: str = "1", **more: Any) -> Draft:
    """A draft of a resource; keys, order, sort, narrowing are taken out of `more`, the rest is content."""
    indexed = Indexed(tuple(more.pop("keys", ())), more.pop("sort", {}), more.pop("order", None))
    narrowing = more.pop("narrowing", Narrowing())
    resource = {"resourceType": type, "id": id, **more}
    return Draft(type, id, resource, content_of(resource), indexed, narrowing)


def a_patient(
    id: str, ward: str | None = None, denied: bool = False, parties: tuple[str, ...] = (), **more: Any
) -> Draft:
    """Its ward is part of its content, denial and parties are not."""
    return a_draft("Patient", id, ward=ward, narrowing=Narrowing(id, ward, 0, denied, parties), **more)


def a_member(patient: str, id: str, type: str = "Condition", parties: tuple[str, ...] = (), **more: Any) -> Draft:
    """A resource in a patient's compartment."""
    keys = (f"@{patient}", *more.pop("keys", ()))
    return a_draft(type, id, subject=patient, keys=keys, narrowing=Narrowing(patient, parties=parties), **more)


async def put(store: Store, *drafts: Draft, expected: int | None = None, method: str = "PUT") -> list[Written]:
    return await apply(store, *(Put(draft, expected, method) for draft in drafts))


async def remove(store: Store, type: str, id: str, expected: int | None = None) -> Written:
    return (await apply(store, Remove(type, id, expected)))[0]


async def apply(store: Store, *ops: Op) -> list[Written]:
    return await store.transact(lambda transaction: transaction.apply(ops))
