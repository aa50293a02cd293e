"""Holds each write against the caller's Rights, on the documents as they are stored before and after it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.rights import Action, Rights
from fhir_server.model.resources import decode
from fhir_server.store.contract import Op, Put
from fhir_server.store.evaluate import satisfies

_KNOWING: tuple[Action, ...] = ("read", "search", "update", "delete")
Identity = tuple[str, str]
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RightsGuard:
    """contract.Guard. named: the identities that the request itself names, which only callers who see everything may
    choose for something new. joined: the patients whose compartments have got a member meanwhile."""

    rights: Rights
    named: Collection[Identity]
    joined: set[str] = field(default_factory=set)

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
            text = f"this caller may not {action} this {type}: it is outside of what the caller may write"
            raise FhirError(Kind.FORBIDDEN, text)
        if type != "Patient" and after["p"] is not None and (before is None or before["p"] != after["p"]):
            self.joined.add(after["p"])
        if before is not None and not is_new and isinstance(op, Put):
            self.rights.judge(decode(before["raw"]), decode(after["raw"]))

    def _is_seen(self, type: str, document: Document) -> bool:
        return any(self._allows(action, type, document) for action in _KNOWING)

    def _chooses_ids(self, type: str) -> bool:
        return not any(self.rights.is_narrowed(action, type) for action in ("create", "update"))

    def _allows(self, action: Action, type: str, document: Document) -> bool:
        allowed = self.rights.view(action).of(type)
        return allowed is None or satisfies(document, allowed)
