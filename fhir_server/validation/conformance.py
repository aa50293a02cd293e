"""What a resource is held against beside base R4: the profiles at hand, and what a fault against a claim counts for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import CORE, Profiles
from fhir_server.errors import FhirError, Issue
from fhir_server.model.resources import Resource
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.membership import is_member
from fhir_server.validation.messages import Report, quote
from fhir_server.validation.profile import ProfileValidator

# Codes of which it is remembered whether they are in a value set.
_MOST_REMEMBERED = 1 << 16
_OF_TERMINOLOGY = frozenset({"CodeSystem", "ValueSet"})
# Resources inside resources nest no deeper than this before base R4 refuses them.
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Severities:
    """What a fault against a claimed profile counts for: error (refused), warning (told) or off (not looked at).

    by_profile: (canonical URL, severity), one that ends with `*` stands for all that begin so; the longest counts.
    """

    otherwise: str
    by_profile: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, text: str) -> Severities:
        """`error, http://a.b/*=warning` as the setting FHIR_PROFILE_FAULTS has it."""
        first, *others = (part.strip() for part in text.split(","))
        pairs = (part.rpartition("=") for part in others)
        return cls(first, tuple(sorted(((url, kind) for url, _, kind in pairs), key=lambda pair: -len(pair[0]))))

    def for_profile(self, canonical: str) -> str:
        url = canonical.partition("|")[0]
        for pattern, severity in self.by_profile:
            if url == pattern or (pattern.endswith("*") and url.startswith(pattern[:-1])):
                return severity
        return self.otherwise


class Conformance:
    """Holds resources against the shipped profiles and those of packages. What is compiled for it is kept, so one
    object serves all requests; `adopt` puts the packages of the moment in the place of those before."""

    def __init__(
        self,
        definitions: Definitions,
        terminology: Terminology,
        shipped: Sequence[Resource] = (),
        severities: Severities = Severities("error"),
    ) -> None:
        """shipped: StructureDefinitions that are there whatever packages are installed."""
        self._definitions = definitions
        self._terminology = terminology
        self._shipped = tuple(shipped)
        self._severities = severities
        self.adopt(())

    def adopt(self, resources: Iterable[Resource]) -> None:
        """Takes up the StructureDefinitions, ValueSets and CodeSystems of packages."""
        packaged = list(resources)
        of_terminology = [one for one in packaged if one.get("resourceType") in _OF_TERMINOLOGY]
        terminology = self._terminology.with_resources(of_terminology) if of_terminology else self._terminology
        self.profiles = Profiles(self._definitions, [*self._shipped, *packaged])
        self._validator = ProfileValidator(self._definitions, self.profiles, _membership(terminology))
        # Resource type → canonical URLs of the profiles on it, for CapabilityStatement.rest.resource.
        self.supported = self._supported()

    def _supported(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for url in sorted(self.profiles.urls):
            type = self.profiles.type_of(url)
            if type in self._definitions.resource_types:
                found.setdefault(type, []).append(url)
        return found

    def faults_by(self, resource: Resource, canonical: str) -> list[Issue]:
        """The faults of a resource by one profile. Raises KeyError for one that is not loaded."""
        return self._validator.validate(resource, canonical)

    def absent_must_support(self, resource: Resource, canonical: str) -> Issue | None:
        """Which elements that the profile marks mustSupport the resource leaves out, as one line of information."""
        absent = self._validator.absent_must_support(resource, canonical)
        if not absent:
            return None
        report = Report()
        report.inform("profile-must-support", resource["resourceType"], found=", ".join(absent), profile=canonical)
        return report.issues[0]

    def claim_faults(self, resource: Resource, path: str | None = None) -> list[Issue]:
        """The faults by every profile that the resource, and each resource inside it, claims in meta.profile.

        An error becomes a warning where the setting says so; a profile that is not loaded is told as information.
        """
        issues: list[Issue] = []
        for one, place in _with_claims(resource, path or resource["resourceType"], 0):
            for number, canonical in enumerate(one["meta"]["profile"]):
                issues += self._claim(one, canonical, place, number)
        return issues

    def _claim(self, resource: Resource, canonical: Any, place: str, number: int) -> Iterator[Issue]:
        severity = self._severities.for_profile(canonical) if isinstance(canonical, str) else "off"
        if severity == "off" or canonical.partition("|")[0].removeprefix(CORE) == resource["resourceType"]:
            return
        if self.profiles.get(canonical) is None:
            report = Report()
            report.inform("profile-unknown", f"{place}.meta.profile[{number}]", found=quote(canonical))
            yield from report.issues
            return
        for issue in self._validator.validate(resource, canonical, place):
            yield replace(issue, severity=severity) if issue.is_error else issue


def _with_claims(resource: Any, place: str, depth: int) -> Iterator[tuple[Resource, str]]:
    """(resource, its FHIRPath) of those that claim a profile: it, what it contains, what it bundles."""
    if not isinstance(resource, dict) or depth > _DEEPEST:
        return
    meta = resource.get("meta")
    if isinstance(meta, dict) and "profile" in meta:
        yield resource, place
    for number, one in enumerate(resource.get("contained", ())):
        yield from _with_claims(one, f"{place}.contained[{number}]", depth + 1)
    for name in _BUNDLING.get(resource["resourceType"], ()):
        for number, one in enumerate(resource.get(name, ())):
            yield from _with_claims(one.get("resource"), f"{place}.{name}[{number}].resource", depth + 1)


_BUNDLING = {"Bundle": ("entry",), "Parameters": ("parameter",)}


def _membership(terminology: Terminology) -> Any:
    @lru_cache(maxsize=_MOST_REMEMBERED)
    def membership(value_set: str, system: str | None, code: str) -> bool | None:
        found = terminology.value_set(value_set)
        if found is None:
            return None
        try:
            return is_member(terminology, found, system, code)
        except FhirError:  # a value set that cannot be told: without end, or by an unknown filter
            return None

    return membership
