"""Links of a Patient to others that are, or may be, the same person (R4 Patient, link)."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_server.model.references import literal
from fhir_server.model.resources import Resource


def replaced_by(patient: Resource) -> str | None:
    """The id of the Patient that a Patient was joined into."""
    return next(_linked(patient, "replaced-by"), None)


def replaced(patient: Resource) -> list[str]:
    """The ids of the Patients that were joined into a Patient."""
    return list(_linked(patient, "replaces"))


def _linked(patient: Resource, type: str) -> Iterator[str]:
    for link in patient.get("link", ()):
        named = literal((link.get("other") or {}).get("reference", ""))
        if link.get("type") == type and named is not None and named.type == "Patient":
            yield named.id


def with_link(patient: Resource, reference: str, type: str) -> Resource:
    """The Patient with a link (R4 Patient, link); the same object where it has that link already."""
    link, held = {"other": {"reference": reference}, "type": type}, patient.get("link", [])
    return patient if link in held else {**patient, "link": [*held, link]}
