"""The Provenance that stands beside what a citizen writes: who, when, to which version. R4 section 6.3 (Provenance)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fhir_server.interactions.exchange import Context
from fhir_server.interactions.planning import draft
from fhir_server.model.dates import instant
from fhir_server.model.resources import Resource
from fhir_server.store.contract import Put, Stored, Transaction, Written

_AGENT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_ACTIVITY = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"


async def record(context: Context, transaction: Transaction, written: Iterable[Written]) -> None:
    """Writes a Provenance for each version that was made, in the transaction that made it."""
    made = [await draft(context, _provenance(context, one), _id(one.stored)) for one in written if one.changed]
    await transaction.apply([Put(draft, 0, "POST") for draft in made])


def _id(stored: Stored) -> str:
    """Told from the version, so that a transaction that is run again writes the same."""
    return hashlib.sha256(f"{stored.type}/{stored.id}/_history/{stored.version}".encode()).hexdigest()[:32]


def _provenance(context: Context, written: Written) -> Resource:
    stored, caller = written.stored, context.caller
    activity = "DELETE" if stored.deleted else "CREATE" if written.created else "UPDATE"
    who = {"reference": caller.user or f"Patient/{caller.patient}"}
    return {
        "resourceType": "Provenance",
        "target": [{"reference": f"{stored.type}/{stored.id}/_history/{stored.version}"}],
        "recorded": instant(stored.updated),
        "activity": {"coding": [{"system": _ACTIVITY, "code": activity}]},
        "agent": [{"type": {"coding": [{"system": _AGENT, "code": "author"}]}, "who": who}],
    }
