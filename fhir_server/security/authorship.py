"""What a narrowed caller's writes bear and may change: the mark of who sent it, and the limits of a citizen's hand."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.consenting import TYPE as CONSENT
from fhir_server.interactions.narrowing import NarrowingRules
from fhir_server.model.resources import Resource
from fhir_server.security.sight import TypeLists


@dataclass(frozen=True, slots=True)
class Authorship:
    """organisation: id of the Organization that sends; None for a citizen and an officer."""

    types: TypeLists
    rules: NarrowingRules
    is_citizen: bool
    organisation: str | None

    def sign(self, resource: Resource) -> Resource:
        """The resource with the mark of its author, and no other's. Raises FhirError FORBIDDEN, UNPROCESSABLE."""
        if self.is_citizen:
            return self._reported(resource)
        if resource["resourceType"] == CONSENT and _permits(resource.get("provision") or {}):
            text = "who asks for a record does not permit it: that is for the patient, or for who runs this server"
            raise FhirError(Kind.FORBIDDEN, text, (f"{CONSENT}.provision",))
        return self.rules.sent_by(self.organisation, resource) if self.organisation is not None else resource

    def _reported(self, resource: Resource) -> Resource:
        """A citizen's own report bears the label of one, and is unconfirmed; nobody's mark as a sender stays on it."""
        type = resource["resourceType"]
        unmarked = _without(resource, "tag", self.rules.sender_system)
        if type == "Patient":
            return unmarked
        system = self.types.unconfirmed.get(type)
        if system is not None:
            codes = {one.get("code") for one in (resource.get("verificationStatus") or {}).get("coding") or ()}
            if codes - {"unconfirmed"}:
                text = "what people report of themselves is unconfirmed until a professional confirms it"
                raise FhirError(Kind.FORBIDDEN, text, (f"{type}.verificationStatus",))
            status = {"coding": [{"system": system, "code": "unconfirmed"}]}
            unmarked = {**unmarked, "verificationStatus": status}
        label = dict(self.types.patient_reported)
        return _labelled(unmarked, label)

    def judge(self, before: Resource, after: Resource) -> None:
        """Raises FhirError FORBIDDEN when a citizen changes of their Patient more than what is administrative."""
        if not self.is_citizen or after["resourceType"] != "Patient":
            return
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        fixed = sorted(
            name for name in changed - self.types.administrative if name.lstrip("_") not in self.types.administrative
        )
        if fixed:
            text = f"people change of their own record what is administrative; {', '.join(fixed)} is for the commune"
            raise FhirError(Kind.FORBIDDEN, text, tuple(f"Patient.{name}" for name in fixed))
        if _labels(before) != _labels(after):
            raise FhirError(Kind.FORBIDDEN, "labels and tags are not for the patient to change", ("Patient.meta",))


def _permits(provision: Resource) -> bool:
    return provision.get("type") == "permit" or any(map(_permits, provision.get("provision") or ()))


def _labels(resource: Resource) -> tuple[object, object]:
    meta = resource.get("meta") or {}
    return meta.get("security"), meta.get("tag")


def _labelled(resource: Resource, label: Resource) -> Resource:
    meta = resource.get("meta") or {}
    others = [one for one in meta.get("security") or () if one != label]
    return {**resource, "meta": {**meta, "security": [*others, label]}}


def _without(resource: Resource, name: str, system: str) -> Resource:
    meta = resource.get("meta") or {}
    kept = [one for one in meta.get(name) or () if one.get("system") != system]
    if len(kept) == len(meta.get(name) or ()):
        return resource
    rest = {key: value for key, value in meta.items() if key != name}
    return {**resource, "meta": {**rest, name: kept} if kept else rest}
