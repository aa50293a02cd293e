"""What a Consent says to one who asks. R4 Consent: the base rule, and exceptions nested in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from fhir_server.interactions.background import again_and_again
from fhir_server.interactions.consenting import TIMES, settle
from fhir_server.interactions.exchange import Context
from fhir_server.model.dates import range_of
from fhir_server.model.references import Literal
from fhir_server.model.resources import Resource

log = structlog.get_logger("fhir_server.security")

SWEEP_SECONDS = 1.0


def in_force(period: Resource | None, now: int, zone: str) -> bool:
    """True when now (ms) lies within a Period; its end counts to the last moment that its precision covers."""
    if not period:
        return True
    start, end = (range_of(period.get(name) or "", zone) for name in ("start", "end"))
    return (start is None or start[0] <= now) and (end is None or now < end[1])


@dataclass(frozen=True, slots=True)
class Grant:
    """What is asked of Consents: whether one of the actors (`Patient/12`) may act for the patient, now (ms). here: what
    a Reference points at on this server."""

    actors: frozenset[str]
    now: int
    zone: str
    here: Callable[[Any], Literal | None]

    def given_by(self, consents: Iterable[Resource]) -> frozenset[str]:
        """The ids of the patients whose active Consent permits one of the actors by name."""
        return frozenset(patient for consent in consents for patient in self._patients(consent))

    def _patients(self, consent: Resource) -> Iterator[str]:
        patient = self.here(consent.get("patient"))
        provision = consent.get("provision") or {}
        if consent.get("status") != "active" or patient is None or patient.type != "Patient":
            return
        if in_force(provision.get("period"), self.now, self.zone) and any(
            self._permits(one) for one in (provision, *(provision.get("provision") or ()))
        ):
            yield patient.id

    def _permits(self, provision: Resource) -> bool:
        """A permit that names an actor and limits neither types, labels, codes nor data: only that lets act for."""
        if provision.get("type") != "permit" or not in_force(provision.get("period"), self.now, self.zone):
            return False
        if any(name in provision for name in ("securityLabel", "class", "code", "data", "dataPeriod", "purpose")):
            return False
        named = (self.here(one.get("reference")) for one in provision.get("actor") or ())
        return any(f"{one.type}/{one.id}" in self.actors for one in named if one is not None)


async def sweep(context: Context) -> None:
    """Settles the Consents of which a period has begun or ended."""
    for name, entry in (await context.store.due(TIMES, f"{context.clock():015d} ~")).items():
        await settle(context, str(entry["patient"]))
        await context.store.withdraw(TIMES, name)


def sweeping(context: Context) -> AbstractAsyncContextManager[None]:
    """While it is open, periods of Consents that begin or end are noticed within a second."""
    return again_and_again(partial(sweep, context), SWEEP_SECONDS, "periods of consents", log)
