"""The head of a record: the Provenance that says where it came from, what it made, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fhir_server.model.references import literal
from fhir_server.model.resources import Resource, decode
from fhir_server.records.filing import Identity
from fhir_server.records.formats import Format
from fhir_server.records.received import Received
from fhir_server.records.record import Record
from fhir_server.records.scopes import Made
from fhir_server.store.values import Stored


def head_of(
    record: Record, people: Iterable[str], own: Iterable[Made], now: int, received: Received | None = None
) -> Resource:
    """The head of a record as it is now. people: ids of its Patients, the one it is about first. own: what the record
    alone owns. now: ms since the epoch. received: what is kept of its file."""
    head: Resource = {
        "resourceType": "Provenance",
        "id": record.id,
        "target": [
            *({"reference": f"Patient/{id}"} for id in people),
            *({"reference": f"{one.resource['resourceType']}/{one.id}"} for one in own),
        ],
        "recorded": datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="seconds"),
        "policy": [record.format.plan],
        "agent": [{"who": {"display": f"Nơi gửi {record.facility or 'không rõ'}"}}],
        "entity": [
            {
                "role": "source",
                "what": {
                    "identifier": {"system": "urn:ietf:rfc:3986", "value": _content_uri(record.digest)},
                    "display": f"{_place_of(record)} ({record.format.name})",
                },
            }
        ],
    }
    if received is not None:
        head["entity"].append({"role": "source", "what": received.what})
    if record.moment:
        head["occurredDateTime"] = record.moment
    meta: Resource = {"profile": record.format.tools.finish.claims(head)}
    if record.written:
        url = record.format.tools.extensions["record-date"][0]
        meta["extension"] = [{"url": url, "valueDateTime": record.written}]
    return head | {"meta": meta}


def _place_of(record: Record) -> str:
    """File, number of the record within it, and line where that is known."""
    place = record.source.place
    line = f", dòng {place.line}" if place.line is not None else ""
    return f"{place.file.rpartition('/')[2]} #{place.record}{line}"


def _content_uri(digest: str) -> str:
    return f"ni:///sha-256;{digest}"


def is_stored(stored: Stored, format: Format, digest: str) -> bool:
    """True when the same content was stored by the same mapping: then nothing is done, not even what a user changed
    or deleted since is put back. stored: the Provenance of the record."""
    head = {} if stored.deleted else decode(stored.raw)
    return _entity_value(head) == _content_uri(digest) and format.plan in head.get("policy", ())


def _entity_value(head: Mapping[str, Any]) -> str | None:
    for entity in head.get("entity", ()):
        value = (entity.get("what") or {}).get("identifier", {}).get("value")
        if isinstance(value, str):
            return value
    return None


def written_before(head: Stored | None) -> str:
    """When the stored version of a record was written by its sender, "" unknown."""
    meta = decode(head.raw).get("meta", {}) if head is not None else {}
    return str(next((one["valueDateTime"] for one in meta.get("extension", ()) if "valueDateTime" in one), ""))


def targets(head: Stored | None) -> list[Identity]:
    """What a record made as it was stored last: its Patients, then what it alone owns."""
    if head is None or head.deleted:
        return []
    found = (literal(one.get("reference", "")) for one in decode(head.raw).get("target", ()))
    return [(one.type, one.id) for one in found if one is not None]


def patient_before(head: Stored | None) -> str | None:
    return next((id for type, id in targets(head) if type == "Patient"), None)


def owned_before(head: Stored | None) -> set[Identity]:
    return {(type, id) for type, id in targets(head) if type != "Patient"}
