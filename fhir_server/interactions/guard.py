"""Holds each write against the caller's Rights, on the documents as they are stored before and after it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_server.errors import FhirError, Issue, Kind, refuse_faults
from fhir_server.interactions.rights import Action, Rights
from fhir_server.model.references import Literal, literal
from fhir_server.model.resources import Resource, decode
from fhir_server.store.contract import Transaction
from fhir_server.store.evaluate import satisfies
from fhir_server.store.values import Op, Put, Written

_KNOWING: tuple[Action, ...] = ("read", "search", "update", "delete")
Identity = tuple[str, str]
Document = Mapping[str, Any]
# In one text, so that whose patient is hidden cannot be told from whose is unknown.
_OUTSIDE = "it is outside of what the caller may write, or speaks of somebody who is not there for the caller"


@dataclass(frozen=True, slots=True)
class RightsGuard:
    """contract.Guard. named: the identities that the request itself names, which only callers who see everything may
    choose for something new. joined: the patients whose compartments get a member, with those members (`Type/id`)."""

    rights: Rights
    named: Collection[Identity]
    joined: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def finds(self, op: Op, document: Document | None) -> bool:
        type, id = (op.draft.type, op.draft.id) if isinstance(op, Put) else (op.type, op.id)
        is_seen = document is not None and self._is_seen(type, document)
        if not isinstance(op, Put) or (type, id) not in self.named:
            return is_seen or isinstance(op, Put)
        # The same answer for what is hidden and for what has never been, so that ids cannot be tried out.
        if not is_seen and not self._chooses_ids(type):
            raise FhirError(Kind.FORBIDDEN, f"{type}/{id} is not there for this caller, who may not choose ids")
        return True

    def admit(self, op: Op, before: Document | None, after: Document) -> None:
        type = op.draft.type if isinstance(op, Put) else op.type
        is_new = before is None or before.get("d", False)
        action: Action = "create" if is_new else "update" if isinstance(op, Put) else "delete"
        # A tombstone has no keys, so it is held against nothing that was made of them.
        held = [*(() if is_new else (before,)), *((after,) if isinstance(op, Put) else ())]
        if not all(self._allows(action, type, document) for document in held if document is not None):
            raise FhirError(Kind.FORBIDDEN, _OUTSIDE)
        if type != "Patient" and after["p"] is not None and (before is None or before["p"] != after["p"]):
            self.joined[after["p"]].append(f"{type}/{after['_id']}")
        if before is not None and not is_new and isinstance(op, Put):
            self.rights.judge(decode(before["raw"]), decode(after["raw"]))

    def _is_seen(self, type: str, document: Document) -> bool:
        return any(self._allows(action, type, document) for action in _KNOWING)

    def _chooses_ids(self, type: str) -> bool:
        return not any(self.rights.is_narrowed(action, type) for action in ("create", "update"))

    def _allows(self, action: Action, type: str, document: Document) -> bool:
        allowed = self.rights.view(action).of(type)
        return allowed is None or satisfies(document, allowed)


async def refuse_strangers(rights: Rights, transaction: Transaction, joined: Mapping[str, Iterable[str]]) -> None:
    """What is written must not join the compartment of a patient who is not there for the caller. joined: by patient
    the identities (`Type/id`) of what does. Raises FhirError FORBIDDEN with these as places."""
    if rights.places_patients:
        issues = [
            Issue("error", Kind.FORBIDDEN.code, _OUTSIDE, (member,))
            for patient in sorted(await _absent(rights, transaction, "Patient", joined))
            for member in joined[patient]
        ]
        refuse_faults(issues, Kind.FORBIDDEN)


async def refuse_links(rights: Rights, transaction: Transaction, written: Iterable[Written]) -> None:
    """A Person must not link who is not there for the caller, for whoever is linked acts for the others. Raises
    FhirError FORBIDDEN with the identity of the Person."""
    for one in written:
        if one.changed and one.stored.type == "Person" and not one.stored.deleted:
            linked: dict[str, set[str]] = defaultdict(set)
            for target in _linked(decode(one.stored.raw)):
                linked[target.type].add(target.id)
            for type, ids in sorted(linked.items()):
                if await _absent(rights, transaction, type, ids):
                    raise FhirError(Kind.FORBIDDEN, _OUTSIDE, (f"Person/{one.stored.id}",))


async def _absent(rights: Rights, transaction: Transaction, type: str, ids: Collection[str]) -> set[str]:
    """Those of the resources that are not there for the caller."""
    if not ids or not rights.is_narrowed("read", type):
        return set()
    return set(ids).difference(await transaction.read_many(type, sorted(ids), rights.view("read")))


def _linked(person: Resource) -> Iterator[Literal]:
    for link in person.get("link") or ():
        target = literal((link.get("target") or {}).get("reference") or "")
        if target is not None:
            yield target
