"""An access as an AuditEvent: who, from where, what, why, when, with what outcome. R4 section 6.4 (AuditEvent)."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from fhir_server.errors import FhirError
from fhir_server.interactions.access import Access
from fhir_server.interactions.exchange import Context, FhirResponse, Pairs
from fhir_server.model.dates import instant
from fhir_server.model.resources import Resource
from fhir_server.search.parse import query_pairs
from fhir_server.store.contract import Stored

_TYPE = {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"}
_SUBTYPE = "http://hl7.org/fhir/restful-interaction"
_OWN_SUBTYPE = "urn:vn-basic:CodeSystem:audit-event"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_PURPOSE = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_APPLICATION = {"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110150"}]}
_ACTIONS = {"create": "C", "update": "U", "patch": "U", "delete": "D", "read": "R", "vread": "R"}
_NUMBER = re.compile(r"\d{9,}")
# Parameters that carry numbers of people, whatever form these have.
_NUMBERED = ("identifier", "phone", "telecom", "email")
MOST_PATIENTS = 1000  # of one page that are named
_LONGEST_QUERY = 8_000


@dataclass(frozen=True, slots=True)
class Events:
    """Makes events. key: what personal numbers are hashed with; site: what the server calls itself."""

    key: bytes
    site: str

    @classmethod
    async def open(cls, context: Context) -> Events:
        return cls(await context.store.secret("audit-numbers"), context.base)

    def hashed(self, number: str) -> str:
        """What stands for a number on record."""
        return "#" + hmac.digest(self.key, number.encode(), "sha256").hex()[:24]

    def of_answer(self, access: Access, response: FhirResponse) -> Resource:
        """Of what was answered: the resource, or the query and the patients whose records were told."""
        outcome = "0" if response.status < 400 else "4"
        return self._event(access, outcome, self._told(access, response.told))

    def of_write(self, access: Access, written: Sequence[Stored]) -> Resource:
        named = [_entity(f"{one.type}/{one.id}/_history/{one.version}") for one in written]
        return self._event(access, "0", [*named, *_patients(written)])

    def of_refusal(self, access: Access, fault: FhirError) -> Resource:
        """Refused, or not found: what was asked for, and why not."""
        kind = fault.kind
        event = self._event(access, "8" if kind.status >= 500 else "4", self._asked(access))
        return {**event, "outcomeDesc": f"{kind.status} {kind.code}"}

    def of_crowd(self, number: int, at: int) -> Resource:
        """Of callers who were not let in and are counted alone."""
        event = self._base("login", "E", at, "4")
        text = f"{number} more requests without a valid access token in this second"
        return {**event, "outcomeDesc": text, "agent": [{"requestor": True, "altId": "unknown"}]}

    def _event(self, access: Access, outcome: str, entities: list[Resource]) -> Resource:
        event = self._base(access.interaction, _ACTIONS.get(access.interaction, "E"), access.at, outcome)
        caller = access.context.caller
        if caller.purposes:
            event["purposeOfEvent"] = [{"coding": [{"system": _PURPOSE, "code": code}]} for code in caller.purposes]
        if reason := access.context.origin.emergency:
            detail = [{"type": "break-glass", "valueString": reason}]
            entities = [*entities, {"name": "break-glass", "detail": detail}]
        return {**event, "agent": self._agents(access), **({"entity": entities} if entities else {})}

    def _base(self, interaction: str, action: str, at: int, outcome: str) -> Resource:
        own = interaction.startswith("$") or interaction == "login"
        return {
            "resourceType": "AuditEvent",
            "type": dict(_TYPE),
            "subtype": [{"system": _OWN_SUBTYPE if own else _SUBTYPE, "code": interaction.removeprefix("$")}],
            "action": action,
            "recorded": instant(at),
            "outcome": outcome,
            "source": {"site": self.site, "observer": {"display": "fhir-server-vn"}},
        }

    def _agents(self, access: Access) -> list[Resource]:
        """The user, or the system when there is none; then the application that was used."""
        caller, origin = access.context.caller, access.context.origin
        person: Resource = {"requestor": True, "altId": _shown(caller.subject or "unknown")}
        if caller.user is not None or caller.patient is not None:
            person["who"] = {"reference": caller.user or f"Patient/{caller.patient}"}
        if caller.unit is not None or caller.organisation is not None:
            held = [caller.unit or "", f"Organization/{caller.organisation}" if caller.organisation else ""]
            person["role"] = [{"text": _shown(text)} for text in held if text]
        if origin.peer:
            person["network"] = {"address": origin.peer, "type": "2"}
        application: Resource = {"type": dict(_APPLICATION), "requestor": False, "altId": _shown(caller.client or "-")}
        return [person, application]

    def _told(self, access: Access, told: Sequence[Stored]) -> list[Resource]:
        if len(access.request.segments) >= 2 and len(told) == 1 and not access.request.query:
            one = told[0]
            return [_entity(f"{one.type}/{one.id}/_history/{one.version}"), *_patients(told)]
        return [*self._asked(access, len(told)), *_patients(told)]

    def _asked(self, access: Access, found: int | None = None) -> list[Resource]:
        """The path and the query, personal numbers hashed."""
        request = access.request
        path = "/".join(_shown(part) for part in request.segments)
        pairs = request.query
        if request.segments[-1:] == ("_search",):
            pairs += _form_pairs(request.body)
        text = path + ("?" + urlencode(self.redacted(pairs), safe="/:,|$*#") if pairs else "")
        query = base64.b64encode(text[:_LONGEST_QUERY].encode()).decode()
        entity: Resource = {"role": {"system": _ROLE, "code": "24"}, "query": query}
        if found is not None:
            entity["detail"] = [{"type": "found", "valueString": str(found)}]
        return [entity]

    def redacted(self, pairs: Pairs) -> Pairs:
        """The same query with a hash in place of every personal number."""
        return tuple((_NUMBER.sub(self._hash_of, name), self._value(name, value)) for name, value in pairs)

    def _value(self, name: str, value: str) -> str:
        if any(part in name for part in _NUMBERED):
            return ",".join(self._token(part) for part in value.split(","))
        return _NUMBER.sub(self._hash_of, value)

    def _token(self, value: str) -> str:
        system, bar, number = value.rpartition("|")
        return system + bar + (self.hashed(number) if number else "")

    def _hash_of(self, found: re.Match[str]) -> str:
        return self.hashed(found[0])


def _entity(reference: str) -> Resource:
    return {"what": {"reference": reference}, "role": {"system": _ROLE, "code": "4"}}


def _patients(told: Iterable[Stored]) -> list[Resource]:
    """The patients whose records were told, each once, so that they can be given the list of who looked."""
    ids = dict.fromkeys(one.patient for one in told if one.patient is not None)
    return [
        {"what": {"reference": f"Patient/{id}"}, "role": {"system": _ROLE, "code": "1"}}
        for id in list(ids)[:MOST_PATIENTS]
    ]


def _form_pairs(body: bytes) -> Pairs:
    try:
        return query_pairs(body.decode())
    except (FhirError, UnicodeDecodeError):
        return ()


def _shown(text: str) -> str:
    """A text of the caller's, bounded and without numbers of people."""
    return _NUMBER.sub("…", text[:200]) or "-"
