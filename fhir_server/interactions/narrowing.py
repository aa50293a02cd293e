"""The fields of a stored document that access control narrows by, told from the resource by data.

`profiles/vn_basic/narrowing.json` names the extensions that hold a ward code, the elements that name the caring or
sending organisation, and the codes that make a resource restricted (Law 91/2025: sensitive personal data).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_server.model.references import literal
from fhir_server.model.resources import Resource, decode
from fhir_server.store.contract import Narrowing


@dataclass(frozen=True, slots=True)
class NarrowingRules:
    """ward_extensions: URLs on Patient.address (or nested below one of them) whose code is the ward of residence.
    party_elements: element names that hold the Organization in charge. restricted_labels: (system, code) of
    meta.security. restricted_codes: system to code prefixes, for any coding of the resource."""

    ward_extensions: frozenset[str]
    party_elements: frozenset[str]
    restricted_labels: frozenset[tuple[str, str]]
    restricted_codes: dict[str, tuple[str, ...]]

    @classmethod
    def load(cls, path: Path) -> NarrowingRules:
        data = decode(path.read_bytes())
        return cls(
            frozenset(data["wardExtensions"]),
            frozenset(data["partyElements"]),
            frozenset((label["system"], label["code"]) for label in data["restrictedLabels"]),
            {row["system"]: tuple(row["prefixes"]) for row in data["restrictedCodes"]},
        )

    def narrow(self, resource: Resource, id: str, patients: Sequence[str]) -> Narrowing:
        """patients: ids of the patient compartments the resource is in, the closest first."""
        is_patient = resource["resourceType"] == "Patient"
        return Narrowing(
            patient=id if is_patient else next(iter(patients), None),
            ward=self._ward(resource) if is_patient else None,
            sensitivity=int(self._is_restricted(resource)),
            parties=tuple(sorted(set(self._parties(resource)))),
        )

    def _ward(self, patient: Resource) -> str | None:
        for address in patient.get("address") or []:
            for extension in _nested(address.get("extension") or []):
                if extension.get("url") in self.ward_extensions:
                    code = _code(extension)
                    if code:
                        return code
        return None

    def _parties(self, resource: Resource) -> Iterator[str]:
        for name in self.party_elements & resource.keys():
            for reference in resource[name] if isinstance(resource[name], list) else [resource[name]]:
                target = literal(reference.get("reference") or "") if isinstance(reference, dict) else None
                if target and target.type == "Organization":
                    yield f"Organization/{target.id}"

    def _is_restricted(self, resource: Resource) -> bool:
        labels = (resource.get("meta") or {}).get("security") or []
        if any((label.get("system"), label.get("code")) in self.restricted_labels for label in labels):
            return True
        return self._holds_restricted_code(resource)

    def _holds_restricted_code(self, resource: Resource) -> bool:
        """A walk with a stack of its own: this runs for every write."""
        waiting: list[Any] = [resource]
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                waiting.extend(value)
            elif isinstance(value, dict):
                code = value.get("code")
                if isinstance(code, str) and code.startswith(self.restricted_codes.get(value.get("system", ""), ())):
                    return True
                waiting.extend(item for item in value.values() if isinstance(item, dict | list))
        return False


def _nested(extensions: list[Resource]) -> Iterator[Resource]:
    for extension in extensions:
        yield extension
        yield from _nested(extension.get("extension") or [])


def _code(extension: Resource) -> str | None:
    for name in ("valueCode", "valueString"):
        if name in extension:
            return str(extension[name])
    coding: Resource = extension.get("valueCoding") or next(
        iter((extension.get("valueCodeableConcept") or {}).get("coding") or []), {}
    )
    code = coding.get("code")
    return str(code) if code else None
