"""Evidence of consent: of every version of a Consent, which text, by which channel, when and by whom, and the hash of
its bytes, in the record of accesses, where nobody can change it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from fhir_server.audit.access import Access, Pairs, Touched
from fhir_server.interactions.consenting import TYPE as CONSENT
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.recording import agent_of
from fhir_server.model.resources import Resource, decode
from fhir_server.store.values import Stored

KIND = "consent"


def evidence(context: Context, written: Iterable[Stored]) -> Iterator[Access]:
    """One access for each version of a Consent among what was written."""
    for stored in written:
        if stored.type == CONSENT:
            agent, moment, request = agent_of(context), context.clock(), context.origin.request
            touched = Touched(stored.type, stored.id, stored.version)
            patients = (stored.patient,) if stored.patient is not None else ()
            details = told(stored, agent.client or agent.name)
            yield Access(KIND, agent, 200, moment, request, (touched,), patients, details=details)


def told(stored: Stored, channel: str) -> Pairs:
    """What is kept of a version. channel: by which it came, unless `meta.source` tells."""
    if stored.deleted:
        return (("status", "deleted"),)
    consent = decode(stored.raw)
    facts = {
        "status": str(consent.get("status", "")),
        "text": " ".join(_texts(consent)),
        "channel": str(consent.get("meta", {}).get("source") or channel),
        "given": str(consent.get("dateTime", "")),
        "by": " ".join(str(one["reference"]) for one in consent.get("performer", ()) if "reference" in one),
        "sha256": hashlib.sha256(stored.raw).hexdigest(),
    }
    return tuple((name, value) for name, value in facts.items() if value)


def _texts(consent: Resource) -> Iterator[str]:
    """Which text was agreed to: URLs with their versions, references, hashes. None of them is free text."""
    yield from (policy["uri"] for policy in consent.get("policy", ()) if "uri" in policy)
    yield from (
        f"{coding.get('system', '')}|{coding['code']}"
        for coding in consent.get("policyRule", {}).get("coding", ())
        if "code" in coding
    )
    attachment = consent.get("sourceAttachment", {})
    yield from (str(attachment[name]) for name in ("url", "hash") if name in attachment)
    if "reference" in consent.get("sourceReference", {}):
        yield str(consent["sourceReference"]["reference"])
