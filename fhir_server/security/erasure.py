"""Erasure by law: a person's whole record taken away for good, after two people have said so, and on record.

What is left is a tombstone of the Patient, so that the id is never given again, and the entry of the register. A record
of care is kept for its legal time (TT 33/2025: ten years); that goes before erasure, unless a decision is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.store.contract import EVERYTHING, Find, Store

REGISTER = "erasures"
KEPT_MS = int(10 * 365.25 * 24 * 3600 * 1000)
# Of the Patient compartment, what is no clinical record.
ADMINISTRATIVE = frozenset({"Patient", "RelatedPerson", "Person", "Consent", "Provenance", "Coverage", "Appointment"})


class NotErased(Exception):
    """The message says why, in one sentence."""


@dataclass(frozen=True, slots=True)
class Erasures:
    """The register of erasures, and what it takes to carry one out."""

    store: Store

    async def ask(self, id: str, patient: str, by: str, reason: str, now: int) -> None:
        """The first of two people. Raises NotErased when there is no such Patient."""
        found = await self.store.read("Patient", patient, EVERYTHING)
        if found is None:
            raise NotErased(f"Patient/{patient} is not stored")
        entry = {
            "patient": patient,
            "asked_by": by,
            "reason": reason,
            "asked": now,
            "confirmed_by": None,
            "erased": None,
        }
        await self.store.enter(REGISTER, id, entry)

    async def confirm(self, id: str, by: str, despite_retention: str | None, now: int) -> Mapping[str, Any]:
        """The second of two people: it is carried out. Run again, it completes what was cut off. Raises NotErased."""
        before = await self.store.entry(REGISTER, id)
        if before is None:
            raise NotErased(f"{id} is no erasure that was asked for")
        if before["asked_by"].strip().casefold() == by.strip().casefold():
            raise NotErased("who asked for an erasure cannot confirm it")
        if before["erased"] is None and despite_retention is None:
            await self._refuse_kept(str(before["patient"]), now)
        confirmed = {**before, "confirmed_by": by, "despite_retention": despite_retention}
        if before["confirmed_by"] is None and not await self.store.replace(REGISTER, id, confirmed, before):
            raise NotErased("somebody else confirms it at this moment")
        count = await self.store.erase(str(before["patient"]))
        after = {**confirmed, "erased": {"at": now, "versions": count}}
        await self.store.replace(REGISTER, id, after, confirmed if before["confirmed_by"] is None else before)
        return after

    async def _refuse_kept(self, patient: str, now: int) -> None:
        for type in sorted(await self.store.types() - ADMINISTRATIVE):
            condition = {"k": f"@{patient}", "p": patient, "u": {"$gte": now - KEPT_MS}}
            if await self.store.find(Find(type, condition, (), 1, raw=False), EVERYTHING):
                text = (
                    "has to be kept for ten years (TT 33/2025); a decision to erase it sooner is given with its number"
                )
                raise NotErased(f"a {type} of this patient {text}")
