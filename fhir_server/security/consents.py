"""What a Consent says to one who asks. R4 Consent: the base rule, and exceptions nested in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial

import structlog

from fhir_server.interactions.background import again_and_again
from fhir_server.interactions.consenting import TIMES, settle_consents
from fhir_server.interactions.exchange import Context
from fhir_server.model.dates import range_of
from fhir_server.model.references import literal
from fhir_server.model.resources import Resource
from fhir_server.store.contract import Transaction

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
    """What is asked of Consents: whether one of the actors (`Patient/12`) may act for the patient, now (ms)."""

    actors: frozenset[str]
    now: int
    zone: str

    def given_by(self, consents: Iterable[Resource]) -> frozenset[str]:
        """The ids of the patients whose active Consent permits one of the actors by name."""
        return frozenset(patient for consent in consents for patient in self._patients(consent))

    def _patients(self, consent: Resource) -> Iterator[str]:
        patient = literal((consent.get("patient") or {}).get("reference") or "")
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
        return not self.actors.isdisjoint(actors(provision))


def actors(provision: Resource) -> set[str]:
    """The references (`Organization/12`) that a provision names."""
    found = (literal((one.get("reference") or {}).get("reference") or "") for one in provision.get("actor") or ())
    return {f"{one.type}/{one.id}" for one in found if one is not None}


async def sweep(context: Context) -> None:
    """Settles the Consents of which a period has begun or ended."""
    for name, entry in (await context.store.due(TIMES, f"{context.clock():015d} ~")).items():
        patient = str(entry["patient"])
        await context.store.transact(partial(_settle, context, patient))
        await context.store.withdraw(TIMES, name)


async def _settle(context: Context, patient: str, transaction: Transaction) -> None:
    await settle_consents(context, transaction, [patient])


def sweeping(context: Context) -> AbstractAsyncContextManager[None]:
    """While it is open, periods of Consents that begin or end are noticed within a second."""
    return again_and_again(partial(sweep, context), SWEEP_SECONDS, "periods of consents", log)
