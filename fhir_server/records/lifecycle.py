"""Provenance of what befell a Patient beside its records: joined, taken apart, linked (codes of ISO 21089)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir_server.interactions.exchange import Context
from fhir_server.model.dates import instant
from fhir_server.model.resources import Resource
from fhir_server.records.doubts import who

_ACTIVITY = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_AGENT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def lifecycle_event(context: Context, code: str, targets: Iterable[str], entities: Sequence[Resource]) -> Resource:
    """The Provenance (R4 Provenance) of an event. code: `merge`, `unmerge` or `link`. targets: what it made, as
    references. entities: of which it made that."""
    named = {"reference": context.caller.user} if context.caller.user else {"display": who(context)}
    display = f"{code.capitalize()} Record Lifecycle Event"
    return {
        "resourceType": "Provenance",
        "target": [{"reference": target} for target in targets],
        "recorded": instant(context.clock()),
        "activity": {"coding": [{"system": _ACTIVITY, "code": code, "display": display}]},
        "agent": [{"type": {"coding": [{"system": _AGENT, "code": "author"}]}, "who": named}],
        "entity": list(entities),
    }


def entity(role: str, reference: str) -> Resource:
    return {"role": role, "what": {"reference": reference}}


def event_of(provenance: Resource) -> str:
    """The code of the event, "" for another Provenance."""
    codings = (provenance.get("activity") or {}).get("coding") or ()
    return next((str(one.get("code")) for one in codings if one.get("system") == _ACTIVITY), "")
