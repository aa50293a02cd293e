"""What of an import may be written by who sends it: what is new bears the sender's mark, what is others' stays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.interactions.exchange import Context
from fhir_server.interactions.guard import RightsGuard
from fhir_server.interactions.rights import ALL_RIGHTS, Action
from fhir_server.records.identity import Known
from fhir_server.store.contract import Guard
from fhir_server.store.values import Op, Put

Identity = tuple[str, str]


async def hold(context: Context, type: str, stored: Mapping[str, Known]) -> None:
    """Notes of what is stored what the caller may not change (`fixed`) and what it may not know of (`hidden`)."""
    if context.rights is ALL_RIGHTS or not stored:
        return
    changeable = await _within(context, "update", type, stored)
    seen = await _within(context, "read", type, stored) | await _within(context, "search", type, stored)
    for id, known in stored.items():
        known.fixed, known.hidden = id not in changeable, id not in seen


async def _within(context: Context, action: Action, type: str, ids: Collection[str]) -> set[str]:
    if not context.rights.is_narrowed(action, type):
        return set(ids)
    return set(await context.store.read_many(type, sorted(ids), context.rights.view(action)))


@dataclass(frozen=True, slots=True)
class _FilingGuard:
    """Holds an import against the caller's rights. shared: facilities and staff that its records name, and doubts about
    who is who, which it may add where they are not there."""

    held: RightsGuard
    shared: Collection[Identity]

    def finds(self, op: Op, document: Mapping[str, Any] | None) -> bool:
        return self.held.finds(op, document)

    def admit(self, op: Op, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        is_new = before is None or before.get("d", False)
        if not (is_new and isinstance(op, Put) and (op.draft.type, op.draft.id) in self.shared):
            self.held.admit(op, before, after)


def guard_of(context: Context, shared: Collection[Identity]) -> Guard | None:
    """None where nobody is asked who they are."""
    return None if context.rights is ALL_RIGHTS else _FilingGuard(RightsGuard(context.rights, ()), shared)
