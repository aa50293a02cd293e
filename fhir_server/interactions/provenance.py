"""The Provenance that stands beside what a citizen writes, or everybody by setting: who, for whom, by what, when, to
which version, by which request. R4 Provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from fhir_server.audit.access import Agent
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.planning import draft
from fhir_server.interactions.recording import agent_of
from fhir_server.model.dates import instant
from fhir_server.model.resources import Resource
from fhir_server.store.contract import Transaction
from fhir_server.store.values import Put, Stored, Written

TYPE = "Provenance"
_CLIENT, _SUBJECT = "urn:vn-basic:NamingSystem:client", "urn:vn-basic:NamingSystem:subject"
_REQUEST = "urn:vn-basic:NamingSystem:request"
_AGENT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_ACTIVITY = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"


async def record(context: Context, transaction: Transaction, written: Iterable[Written]) -> None:
    """Writes a Provenance for each version that was made, in the transaction that made it; one that was written tells
    of itself."""
    changed = [one for one in written if one.changed and one.stored.type != TYPE]
    made = [await draft(context, _provenance(context, one), _id(one.stored)) for one in changed]
    await transaction.apply([Put(draft, 0, "POST") for draft in made])


def _id(stored: Stored) -> str:
    """Told from the version, so that a transaction that is run again writes the same."""
    return hashlib.sha256(f"{stored.type}/{stored.id}/_history/{stored.version}".encode()).hexdigest()[:32]


def _provenance(context: Context, written: Written) -> Resource:
    stored = written.stored
    activity = "DELETE" if stored.deleted else "CREATE" if written.created else "UPDATE"
    provenance: Resource = {
        "resourceType": TYPE,
        "target": [{"reference": f"{stored.type}/{stored.id}/_history/{stored.version}"}],
        "recorded": instant(stored.updated),
        "activity": {"coding": [{"system": _ACTIVITY, "code": activity}]},
        "agent": list(_agents(agent_of(context))),
    }
    if context.origin.request:
        request = {"identifier": {"system": _REQUEST, "value": context.origin.request}}
        provenance["entity"] = [{"role": "source", "what": request}]
    return provenance


def _agents(agent: Agent) -> Iterator[Resource]:
    """Who wrote, and on behalf of which organisation; and the application, where it wrote for a person."""
    author: Resource = {"type": {"coding": [{"system": _AGENT, "code": "author"}]}, "who": _who(agent)}
    if agent.organisation is not None:
        author["onBehalfOf"] = {"reference": f"Organization/{agent.organisation}"}
    yield author
    if agent.client and (agent.user or agent.subject):
        yield {
            "type": {"coding": [{"system": _AGENT, "code": "assembler"}]},
            "who": {"identifier": {"system": _CLIENT, "value": agent.client}},
        }


def _who(agent: Agent) -> Resource:
    if agent.user is not None:
        return {"reference": agent.user}
    if agent.subject or agent.client:
        system, value = (_SUBJECT, agent.subject) if agent.subject else (_CLIENT, agent.client)
        return {"identifier": {"system": system, "value": value}}
    return {"display": agent.name or "unknown"}
