"""From an access to an R4 AuditEvent: its bytes and search keys, by templates.

What accesses of one kind by one agent have in common is written and indexed once; then an event costs a few joins. The
extractor of search makes the keys of the templates, so an event has the keys that it would get as any other resource.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import getrandbits
from typing import Any

import msgspec
from msgspec.structs import replace

from fhir_server.audit.access import Access, Agent, Touched
from fhir_server.audit.hiding import Hiding
from fhir_server.model.dates import instant
from fhir_server.model.ids import uuid7
from fhir_server.model.registry import Registry, UnknownSystems
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.search.model import SearchModel
from fhir_server.store.ledger_contract import Event
from fhir_server.store.ledger_pages import plain_keys

TYPES = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTIONS = "http://hl7.org/fhir/restful-interaction"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
ENTITY_TYPES = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ROLES = "http://terminology.hl7.org/CodeSystem/object-role"
REASONS = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
EMERGENCY = "BTG"
OPERATIONS = "urn:vn-basic:CodeSystem:operation"

# AuditEvent.action of each interaction; the rest is E, execute (R4 AuditEvent, action).
_ACTIONS = {"create": "C", "update": "U", "patch": "U", "delete": "D", "read": "R", "vread": "R"}
_ACTIONS |= {"history-instance": "R", "history-type": "R", "history-system": "R"}
# Kinds of access that are no RESTful interaction: type system and code, subtype system and code, action.
KINDS = {
    "login": ((DICOM, "110114"), (DICOM, "110122"), "E"),
    "import": ((DICOM, "110107"), None, "C"),
    "export": ((DICOM, "110106"), None, "R"),
    "erase": ((LIFECYCLE, "destroy"), None, "D"),
    "erase-ask": ((LIFECYCLE, "destroy"), (OPERATIONS, "erase-ask"), "E"),
    "erase-confirm": ((LIFECYCLE, "destroy"), (OPERATIONS, "erase-confirm"), "E"),
    "prune": ((LIFECYCLE, "destroy"), (DICOM, "110101"), "D"),
    "audit-export": ((DICOM, "110101"), (DICOM, "110106"), "R"),
    "audit-read": ((DICOM, "110101"), None, "R"),
    "clients": ((DICOM, "110113"), (DICOM, "110137"), "U"),  # Security Alert, User Security Attributes Changed
    "configure": ((DICOM, "110113"), (DICOM, "110131"), "U"),  # Security Alert, Software Configuration
    "consent": ((LIFECYCLE, "attest"), None, "C"),  # its evidence; the write itself is another event
    "petition": ((LIFECYCLE, "amend"), None, "U"),
    "petitions-read": ((LIFECYCLE, "access"), None, "R"),
}
MOST_ENTITIES = 500  # of one event; what touches more is told by several
MOST_SHAPES = 5_000
_CODE = re.compile(r"\S+( \S+)*")  # R4 Data Types, primitive types: code
_SAMPLE = "0-0-0"  # in place of the id in templates


class _Shape(msgspec.Struct, frozen=True):
    """What events of one kind have in common. head, tail: the bytes between id and recorded, and after recorded up to
    the entities. keys: see Event."""

    head: bytes
    tail: bytes
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Added:
    """The keys that an entity adds: some always, and some with its id, as what stands before and after that."""

    always: tuple[str, ...]
    around: tuple[tuple[str, str], ...]


class Events:
    """Makes the events of one process."""

    def __init__(self, search: SearchModel, registry: Registry, hiding: Hiding) -> None:
        self._search = search
        self._registry = registry
        self._hiding = hiding
        self._made_for: tuple[int, int, int] | None = None
        self._shapes: dict[object, _Shape] = {}
        self._added: dict[str, _Added] = {}

    def make(self, access: Access) -> list[Event]:
        """The events of an access: one, or several where it touched a great many. Raises UnknownSystems."""
        state = (self._registry.generation, len(self._registry.letters), len(self._registry.pending))
        if state != self._made_for or len(self._shapes) > MOST_SHAPES:
            self._made_for = state
            self._shapes, self._added = {}, {}
        touched, patients = access.resources, _others(access)
        if len(touched) + len(patients) <= MOST_ENTITIES:
            return [self._event(access, touched, patients)]
        return [
            self._event(access, touched[start : start + MOST_ENTITIES], patients[start : start + MOST_ENTITIES])
            for start in range(0, max(len(touched), len(patients)), MOST_ENTITIES)
        ]

    def _event(self, access: Access, touched: Sequence[Touched], patients: Sequence[str]) -> Event:
        shape = self._shape(access)
        # That nobody has the same id matters, not that nobody can guess it.
        id, moment = uuid7(access.at, getrandbits(80)), instant(access.at)
        keys = {*shape.keys}
        parts = []
        for one in touched:
            parts.append(_entity(one))
            self._add(keys, one.type, (one.id,))
        if patients:
            parts.append(",".join([f"{_PATIENT}{id}{_OF_PATIENT}" for id in patients]).encode())
            self._add(keys, "Patient", patients)
        if asked := self._asked(access):
            parts.append(asked)
            if access.query is not None:
                keys.update(self._keys_of("", _QUERY).always)
        start = f'{{"resourceType":"AuditEvent","id":"{id}","meta":{{"versionId":"1","lastUpdated":"{moment}"}}'
        end = b',"entity":[' + b",".join(parts) + b"]}" if parts else b"}"
        raw = b"".join((start.encode(), shape.head, moment.encode(), shape.tail, end))
        return Event(id, access.at, raw, tuple(keys))

    def _add(self, keys: set[str], type: str, ids: Iterable[str]) -> None:
        """The keys of entities of one type."""
        added = self._added.get(type) or self._keys_of(type, decode(_entity(Touched(type, _SAMPLE))))
        keys.update(added.always)
        for before, after in added.around:
            keys.update([f"{before}{id}{after}" for id in ids])

    def _asked(self, access: Access) -> bytes:
        """The entity of the query, and of what else there is to tell."""
        if access.query is None and not access.details:
            return _request(access.request)
        entity: Resource = {}
        if access.query is not None:
            url = self._hiding.url(access.path, access.query) or "/"  # the base URL itself
            entity = {**_QUERY, "query": b64encode(url.encode()).decode()}
        details = [{"type": name, "valueString": value} for name, value in access.details]
        if access.request:
            details.append({"type": "request", "valueString": access.request})
        return encode({**entity, "detail": details} if details else entity)

    # --- templates ---------------------------------------------------------------------------------------------------

    def _shape(self, access: Access) -> _Shape:
        name = (access.interaction, access.operation, access.agent, access.status)
        found = self._shapes.get(name)
        if found is None:
            found = self._shapes[name] = self._make_shape(access)
        return found

    def _make_shape(self, access: Access) -> _Shape:
        resource = _frame(replace(access, agent=self._hidden(access.agent)))
        keys = plain_keys(self._search.index(resource, self._registry).keys)
        own = {name: value for name, value in resource.items() if name not in ("resourceType", "id")}
        head, _, tail = encode(own).partition(encode(resource["recorded"]))
        return _Shape(b"," + head[1:] + b'"', b'"' + tail[:-1], keys)

    def _hidden(self, agent: Agent) -> Agent:
        """Some servers know people by their personal numbers."""
        name, subject, client = (self._hiding.text(text) for text in (agent.name, agent.subject, agent.client))
        return replace(agent, name=name, subject=subject, client=client)

    def _keys_of(self, name: str, entity: Resource) -> _Added:
        """name: what it is remembered by."""
        found = self._added.get(name)
        if found is None:
            indexed = self._search.index({"resourceType": "AuditEvent", "entity": [entity]}, self._registry)
            halves = [key.partition(_SAMPLE) for key in plain_keys(indexed.keys)]
            always = tuple(before for before, mark, _ in halves if not mark)
            around = tuple((before, after) for before, mark, after in halves if mark)
            found = self._added[name] = _Added(always, around)
        return found


async def made(events: Events, access: Access, intern: Callable[[Sequence[str]], Any]) -> list[Event]:
    """The events, giving numbers to code systems that are met for the first time."""
    while True:
        try:
            return events.make(access)
        except UnknownSystems as missing:
            await intern(sorted(missing.uris))


def _others(access: Access) -> tuple[str, ...]:
    """The patients that the resources do not name themselves."""
    if not access.resources:
        return tuple(dict.fromkeys(access.patients))
    named = {one.id for one in access.resources if one.type == "Patient"}
    return tuple(patient for patient in dict.fromkeys(access.patients) if patient not in named)


def _frame(access: Access) -> Resource:
    """The AuditEvent without its entities."""
    type, subtypes, action = _classified(access)
    agent = access.agent
    if agent.emergency is not None:
        subtypes = [*subtypes, {"system": DICOM, "code": "110127"}]  # Emergency Override Started
    purposes: list[Resource] = [{"coding": [_coding(REASONS, code)]} for code in agent.purposes if code != EMERGENCY]
    if agent.emergency is not None:
        purposes.append({"coding": [_coding(REASONS, EMERGENCY)], "text": agent.emergency})
    frame = {
        "resourceType": "AuditEvent",
        "id": _SAMPLE,
        "type": type,
        "subtype": subtypes,
        "action": action,
        "recorded": instant(0),
        "outcome": _outcome(access.status),
        "outcomeDesc": str(access.status) if access.status >= 400 else None,
        "purposeOfEvent": purposes,
        "agent": list(_agents(agent)),
        "source": {"observer": {"display": "fhir-server"}, "type": [_coding(_SOURCE_TYPES, "4")]},
    }
    return {name: _writable(value) for name, value in frame.items() if value}


def _writable(value: Any) -> Any:
    """Without halves of characters, which a token may hold and JSON cannot."""
    if isinstance(value, dict):
        return {name: _writable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_writable(item) for item in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


_SOURCE_TYPES = "http://terminology.hl7.org/CodeSystem/security-source-type"


def _classified(access: Access) -> tuple[Resource, list[Resource], str]:
    if access.interaction in KINDS:
        type, subtype, action = KINDS[access.interaction]
        return _coding(*type), [_coding(*subtype)] if subtype else [], action
    subtypes = [_coding(INTERACTIONS, access.interaction)]
    if access.operation is not None:
        subtypes.append(_coding(OPERATIONS, access.operation))
    return _coding(TYPES, "rest"), subtypes, _ACTIONS.get(access.interaction, "E")


def _coding(system: str, code: str) -> Resource:
    return {"system": system, "code": code}


def _outcome(status: int) -> str:
    """R4 AuditEvent, outcome: 0 success, 4 the request is at fault, 8 the server is."""
    return "0" if status < 400 else "4" if status < 500 else "8"


def _agents(agent: Agent) -> Iterator[Resource]:
    """The one who asks, and the application where it asks for a person."""
    network = {"address": agent.address, "type": "2"} if agent.address else None
    is_person = bool(agent.user or agent.subject)
    who: Resource = {}
    if agent.user is not None:
        who["reference"] = agent.user
    else:
        who["display"] = agent.name or agent.subject or agent.client or "unknown"
    asker: Resource = {
        "type": None if is_person or not agent.client else {"coding": [_coding(DICOM, "110150")]},
        "role": [{"coding": [{"code": role}]} if _CODE.fullmatch(role) else {"text": role} for role in agent.roles],
        "who": who,
        "altId": agent.subject or (None if is_person else agent.client),
        "name": agent.name,
        "requestor": True,
        "network": network,
    }
    yield {name: value for name, value in asker.items() if value}
    if is_person and agent.client:
        application = {"type": {"coding": [_coding(DICOM, "110150")]}, "altId": agent.client, "requestor": False}
        yield application
    if agent.organisation is not None:
        yield {"who": {"reference": f"Organization/{agent.organisation}"}, "requestor": False}


_QUERY = {"type": {"system": ENTITY_TYPES, "code": "2"}, "role": {"system": ROLES, "code": "24"}}


# The entity of a patient, around the id.
_PATIENT = '{"what":{"reference":"Patient/'
_OF_PATIENT = f'"}},"type":{{"system":"{ENTITY_TYPES}","code":"1"}},"role":{{"system":"{ROLES}","code":"1"}}}}'


def _request(request: str) -> bytes:
    """The request id has no letter that JSON would escape."""
    return f'{{"detail":[{{"type":"request","valueString":"{request}"}}]}}'.encode() if request else b""


def _entity(one: Touched) -> bytes:
    version = f"/_history/{one.version}" if one.version is not None else ""
    if one.type == "Patient":
        return f"{_PATIENT}{one.id}{version}{_OF_PATIENT}".encode()
    return (
        f'{{"what":{{"reference":"{one.type}/{one.id}{version}"}},"type":{{"system":"{ENTITY_TYPES}","code":"2"}},'
        f'"role":{{"system":"{ROLES}","code":"4"}}}}'
    ).encode()
