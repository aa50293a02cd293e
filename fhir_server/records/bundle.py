"""The resources of a record with their ids and references settled, and as a transaction that can be sent twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir_server.model.resources import Resource
from fhir_server.records.identity import check_numbers, new_id, put_aside_foreign_numbers
from fhir_server.records.ids import named_id, shared_id
from fhir_server.records.record import Record
from fhir_server.records.scopes import Made
from fhir_server.terminology.naming import NamingSystems

# What the RelatedPerson is who stands for whoever bears the number on a newborn's record.
HOLDER = "Người có giấy tờ ghi trong hồ sơ trẻ sơ sinh (cha, mẹ hoặc người giám hộ)"


def prepare(record: Record, naming: NamingSystems) -> None:
    """What must be done before the patient is looked for: numbers that are another person's are put aside."""
    if record.refused:
        return
    for number in put_aside_foreign_numbers(record, naming):
        record.holders.append((number, _keep_with_relative(record, number)))
    check_numbers(record, naming)


def _keep_with_relative(record: Record, number: Mapping[str, Any]) -> Made:
    reference: Resource = {}
    relative: Resource = {
        "resourceType": "RelatedPerson",
        "patient": reference,
        "identifier": [number],
        "relationship": [{"text": HOLDER}],
    }
    made = Made("holder-of-number", "record", (number.get("system", ""), number["value"]), relative)
    record.mapped.made.append(made)
    record.mapped.links.append((reference, record.patient))
    return made


def own_id(record: Record, one: Made, patient_id: str = "") -> str:
    """The id that a resource has when nobody has stored it under another."""
    type = one.resource["resourceType"]
    if one.owner == "record":
        return named_id(record.id, type, one.group, *one.key)
    # Shared things of one key are one, whatever format named them.
    return named_id(patient_id, type, type, *one.key) if one.owner == "person" else shared_id(type, *one.key)


def settle(record: Record, patient_id: str, stored: Mapping[str, str] | None = None) -> None:
    """Gives every resource its id and fills in every reference. A second call settles anew.

    Ids are UUIDv5: of the record (format, facility, key), the group and the line for what the record owns; of the
    patient, the group and the line for what belongs to a person; of the group and the line alone for what is shared.
    stored: ids under which something is stored already, by the ids that follow: further Patients, what a person who was
    joined to this one had.
    """
    patient = record.patient
    for one in record.mapped.made:
        one.id = patient_id if one is patient else own_id(record, one, patient_id)
        one.id = stored.get(one.id, one.id) if stored else one.id
        one.resource["id"] = one.id
    for reference, target in record.mapped.links:
        reference["reference"] = f"{target.resource['resourceType']}/{target.id}"


def source_of(record: Record) -> str:
    """Who sent a record, in which format."""
    return f"urn:vn-basic:source:{record.format.name}:{record.facility or 'unknown'}"


def stamp(record: Record) -> None:
    """Writes Meta.source (the sender, after the # the record), the profiles that are claimed, and for what several
    records share the record's date, which decides which one is newer."""
    sender, finish = source_of(record), record.format.tools.finish
    url = record.format.tools.extensions["record-date"][0]
    for one in record.mapped.made:
        resource = one.resource
        # What all records of a sender share must not differ from one record to the next.
        meta: Resource = {"source": sender if one.owner == "shared" else f"{sender}#{record.id}"}
        if (one.owner == "person" or resource["resourceType"] == "Patient") and record.moment:
            meta["extension"] = [{"url": url, "valueDateTime": record.moment}]
        labels = resource["meta"].get("security") if "meta" in resource else None
        finish.complete(resource)
        if claims := finish.claims(resource):
            meta["profile"] = claims
        if labels:
            meta["security"] = labels
        resource["meta"] = meta


def transaction(record: Record, naming: NamingSystems) -> Resource:
    """A Bundle of PUTs for a server that does not know the person yet. Needs no server to be made."""
    settle(record, new_id(record, False, naming))
    stamp(record)
    entries = [
        {"resource": one.resource, "request": {"method": "PUT", "url": f"{one.resource['resourceType']}/{one.id}"}}
        for one in unique(record)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def unique(record: Record) -> list[Made]:
    """The resources of a record, each identity once: a facility may be named for the record and for its visits."""
    found: dict[tuple[str, str], Made] = {}
    for one in record.mapped.made:
        name = (one.resource["resourceType"], one.id)
        held = found.get(name)
        if held is None or len(one.resource) > len(held.resource):
            found[name] = one
    return list(found.values())
