"""Validation of a resource: base R4, and the profiles it claims. Every fault at once, with exact places; no raising."""

from __future__ import annotations

from typing import Any

from fhir_server.definitions.load import Definitions
from fhir_server.errors import Issue
from fhir_server.model.resources import Resource
from fhir_server.terminology.load import Terminology
from fhir_server.validation.conformance import Conformance
from fhir_server.validation.gate import Gate
from fhir_server.validation.messages import Report, child, quote
from fhir_server.validation.rules import RuleChecks
from fhir_server.validation.structure import StructureChecks

# What the JSON of extensions and modifierExtensions has.
_EXTENDED = b'xtension":['
# Faults of values that are the right kind of JSON.
_OF_VALUES = frozenset({"format", "too-long", "out-of-range", "code", "concept", "required", "several-choices"})


class _Shapes(Report):
    """Notes faults of shape, and tells nothing."""

    are_sound: bool = True

    def tell(self, kind: str, path: str, **facts: Any) -> None:
        self.are_sound &= kind in _OF_VALUES


class Validator:
    """Validates against the definitions it was made with; one object serves all requests."""

    def __init__(self, definitions: Definitions, conformance: Conformance | None = None) -> None:
        """conformance: the profiles that resources may claim; without it claims are not looked at."""
        self._types = definitions.concrete_types
        self._gate = Gate(definitions)
        self._structure = StructureChecks(definitions)
        self._rules = RuleChecks(definitions)
        self._rules_left = RuleChecks(definitions, self._rules)
        self.conformance = conformance

    def validate(
        self,
        resource: Any,
        type: str | None = None,
        path: str | None = None,
        known: Terminology | None = None,
        claims: bool = True,
    ) -> list[Issue]:
        """The faults of a resource as `model.resources.decode` gives it; empty when there are none.

        type: the type it must have, if that is known. path: the FHIRPath to stand in front of the places told
        (`Bundle.entry[3].resource`); without it the resource's type stands there. Once the structure is without fault,
        claims are looked at and extensions held against the definitions of their URLs. known: the terminology for
        bindings of profiles, in place of what is shipped; with one that must read first it raises Unread. claims:
        False passes over both.
        """
        report = Report()
        found = resource.get("resourceType") if isinstance(resource, dict) else None
        of_r4 = found if isinstance(found, str) and found in self._types else None
        place = path or of_r4 or type or "Resource"
        if type is not None and found != type and isinstance(found, str):
            report.tell("other-type", child(place, "resourceType"), expected=type, found=quote(found))
        accepted = self._gate.accepted(resource)
        if accepted is None:
            self._structure.check(resource, place, report)
        is_sound = not report.issues
        looked_at = of_r4 and not report.is_cut_short
        is_plain = accepted is not None and (not claims or self.conformance is None or _EXTENDED not in accepted)
        rules = self._rules_left if is_plain else self._rules
        extensions = rules.check(resource, place, report) if looked_at else []
        issues = report.told()
        if claims and is_sound and self.conformance is not None:
            by_claims = self.conformance.claim_faults(resource, path, known)
            by_definition = self.conformance.extension_faults(resource, extensions, known)
            issues += dict.fromkeys((*by_claims, *by_definition))  # a profile may ask the same of an extension
        return issues

    def is_shaped(self, resource: Resource) -> bool:
        """True when every element is the kind of JSON that R4 has there, whatever else is wrong with its values: then
        a program can read the resource without looking twice."""
        probe = _Shapes()
        self._structure.check(resource, resource["resourceType"], probe)
        return probe.are_sound

    @property
    def not_evaluated(self) -> list[tuple[str, str, str]]:
        """(place, key, reason) of each invariant of R4 that cannot be evaluated."""
        return self._rules.not_evaluated_of_all()
