"""The register of what people ask about their data, with the days by which the law wants an answer (`data_subjects`).

Entries are added to and never taken away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from fhir_server.security.data_subjects import rules
from fhir_server.store.contract import Store

REGISTER = "petitions"


@dataclass(frozen=True, slots=True)
class Petitions:
    """The register in the store. Dates are days of the installation's zone, as ISO texts."""

    store: Store

    async def add(self, id: str, kind: str, patient: str, by: str, on: date) -> dict[str, Any]:
        """A new petition. kind: one that the rules have days for. Raises KeyError for another."""
        law = rules().petitions
        entry: dict[str, Any] = {
            "kind": kind,
            "law": law.law,
            "patient": patient,
            "by": by,
            "received": on.isoformat(),
            "acknowledge": working_days_after(on, law.acknowledge_working_days).isoformat(),
            "due": (on + timedelta(days=law.days[kind].answer)).isoformat(),
            "steps": [],
            "closed": None,
        }
        await self.store.enter(REGISTER, id, entry)
        return entry

    async def step(self, id: str, step: str, by: str, note: str, on: date) -> dict[str, Any] | None:
        """Notes what was done: acknowledged, extended or closed. None when there is no such open petition."""
        before = await self.store.entry(REGISTER, id)
        if before is None or before["closed"] is not None:
            return None
        steps = [*before["steps"], {"step": step, "by": by, "note": note, "on": on.isoformat()}]
        changes: dict[str, Any] = {"steps": steps}
        if step == "closed":
            changes["closed"] = on.isoformat()
        if step == "extended":
            received = date.fromisoformat(before["received"])
            changes["due"] = (received + timedelta(days=rules().petitions.days[before["kind"]].extended)).isoformat()
        after = {**before, **changes}
        return after if await self.store.replace(REGISTER, id, after, before) else None

    async def all(self) -> dict[str, dict[str, Any]]:
        return await self.store.entries(REGISTER)


def is_late(entry: Mapping[str, Any], on: date) -> bool:
    """True for an open petition whose answer, or whose acknowledgement, is overdue."""
    if entry["closed"] is not None:
        return False
    acknowledged = any(step["step"] == "acknowledged" for step in entry["steps"])
    return entry["due"] < on.isoformat() or (not acknowledged and entry["acknowledge"] < on.isoformat())


def working_days_after(day: date, days: int) -> date:
    """Saturdays, Sundays and public holidays do not count, but for Saturdays that are worked in their place."""
    holidays = rules().holidays
    while days:
        day += timedelta(days=1)
        days -= holidays.has_work(day)
    return day
