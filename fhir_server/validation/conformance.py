"""What a resource is held against beside base R4: the profiles at hand, and what a fault against a claim counts for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from msgspec.structs import replace

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import CORE, Profiles
from fhir_server.errors import FhirError, Issue
from fhir_server.model.resources import Resource
from fhir_server.terminology.code_systems import Coding
from fhir_server.terminology.load import Index, Terminology
from fhir_server.terminology.membership import is_member
from fhir_server.terminology.unlisted import day_of_record
from fhir_server.terminology.validate_code import Asked, member
from fhir_server.validation.messages import Report
from fhir_server.validation.profile import ProfileValidator
from fhir_server.validation.profile_walk import Known
from fhir_server.validation.rules import Extended

# Codes of which it is remembered whether they are in a value set.
_MOST_REMEMBERED = 1 << 16
_LONGEST_CANONICAL = 200
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
        zone: str = "Z",
    ) -> None:
        """terminology: what is asked where a question brings none. shipped: StructureDefinitions that are there
        whatever packages are installed. zone: of moments that name none, and of `today()`."""
        self._definitions = definitions
        self._terminology = terminology
        self._shipped = tuple(shipped)
        self._severities = severities
        self._zone = zone
        self._memory = _Memory()
        self.adopt(())

    def beside(self, definitions: Iterable[bytes]) -> Conformance:
        """Another one with the same shipped profiles and these definitions, to see what would become of them."""
        other = Conformance(self._definitions, self._terminology, self._shipped, self._severities, self._zone)
        other.adopt(definitions)
        return other

    def adopt(self, definitions: Iterable[bytes], guides: Sequence[str] = (), edition: Sequence[str] = ()) -> None:
        """Takes the StructureDefinitions of packages, as JSON. guides: canonicals of their ImplementationGuides.
        edition: what tells this set of packages from another."""
        self.guides, self.edition = tuple(guides), tuple(edition)
        self.profiles = Profiles(self._definitions, [*self._shipped, *definitions])
        self._validator = ProfileValidator(self._definitions, self.profiles, zone=self._zone)
        # The canonical URLs of extensions that are defined here.
        self.extensions = frozenset(url for url in self.profiles.urls if self.profiles.type_of(url) == "Extension")
        # Resource type → canonical URLs of the profiles on it, for CapabilityStatement.rest.resource.
        self.supported = self._supported()

    def _supported(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for url in sorted(self.profiles.urls):
            type = self.profiles.type_of(url)
            if type in self._definitions.resource_types:
                found.setdefault(type, []).append(url)
        return found

    def problems(self, canonical: str) -> tuple[str, ...]:
        """What is wrong with a profile itself. Raises KeyError for one that is not loaded."""
        return self._validator.problems(canonical)

    def faults_by(self, resource: Resource, canonical: str, known: Terminology | None = None) -> list[Issue]:
        """The faults of a resource by one profile. Raises KeyError for one that is not loaded; and Unread."""
        codes = self._codes(resource, known)
        return self._validator.validate(resource, canonical, None, codes)

    def absent_must_support(self, resource: Resource, canonical: str, known: Terminology | None = None) -> Issue | None:
        """Which elements and slices that the profile marks mustSupport the resource leaves out, as one line of
        information. Raises KeyError for a profile that is not loaded; and Unread."""
        absent = self._validator.absent_must_support(resource, canonical, self._codes(resource, known))
        if not absent:
            return None
        report = Report()
        report.inform("profile-must-support", resource["resourceType"], found=", ".join(absent), profile=canonical)
        return report.issues[0]

    def claim_faults(
        self, resource: Resource, path: str | None = None, known: Terminology | None = None
    ) -> list[Issue]:
        """The faults by every profile that the resource, and each resource inside it, claims in meta.profile.

        An error becomes a warning where the setting says so; a profile that is not loaded is told as information.
        Raises Unread.
        """
        issues: list[Issue] = []
        for one, place in _with_claims(resource, path or resource["resourceType"], 0):
            codes = self._codes(one, known)
            for number, canonical in enumerate(one["meta"]["profile"]):
                issues += self._claim(one, canonical, place, number, codes)
        return issues

    def extension_faults(
        self, resource: Resource, extensions: Sequence[Extended], known: Terminology | None = None
    ) -> list[Issue]:
        """The faults of extensions by the definitions of their URLs, where those are loaded. Raises Unread."""
        issues: list[Issue] = []
        codes: Known | None = None
        for value, place, environment in extensions:
            url = value.get("url")
            if url in self.extensions and (severity := self._severities.for_profile(url)) != "off":
                codes = codes or self._codes(resource, known)
                found = self._validator.validate_extension(value, url, place, environment, codes, resource)
                issues += (replace(issue, severity=severity) if issue.is_error else issue for issue in found)
        return issues

    def _codes(self, resource: Resource, known: Terminology | None) -> Known:
        """What is known of codes on the day of a resource."""
        return self._memory.of(known or self._terminology, resource, self._zone)

    def _claim(self, resource: Resource, canonical: Any, place: str, number: int, codes: Known) -> list[Issue]:
        severity = self._severities.for_profile(canonical) if isinstance(canonical, str) else "off"
        if severity == "off" or canonical.partition("|")[0].removeprefix(CORE) == resource["resourceType"]:
            return []
        if self.profiles.get(canonical) is None:
            report = Report()
            report.inform(
                "profile-unknown", f"{place}.meta.profile[{number}]", found=f"'{canonical[:_LONGEST_CANONICAL]}'"
            )
            return report.issues
        issues = self._validator.validate(resource, canonical, place, codes)
        return [replace(issue, severity=severity) if issue.is_error else issue for issue in issues]


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


Key = tuple[str, str | None, str, date | None]


@dataclass
class _Memory:
    """Whether codes are in value sets, remembered as long as the terminology stays what it is."""

    index: Index | None = None
    verdicts: dict[Key, bool | None] = field(default_factory=dict)

    def of(self, terminology: Terminology, resource: Resource, zone: str) -> Known:
        """What is known now of codes on the day of a resource, which is looked up only when one is asked for: few
        resources have a bound one. Asking raises Unread where something must be read first."""
        if self.index is not terminology.index or len(self.verdicts) > _MOST_REMEMBERED:
            self.index, self.verdicts = terminology.index, {}
        verdicts = self.verdicts

        def membership(value_set: str, system: str | None, code: str) -> bool | None:
            key = (value_set, system, code, day_of_record(resource, zone))
            if key not in verdicts:
                verdicts[key] = _is_member(terminology, *key)
            return verdicts[key]

        def neighbours(value_set: str, system: str | None, code: str) -> tuple[str, str]:
            return _neighbours(terminology, value_set, system, code, day_of_record(resource, zone))

        return Known(membership, neighbours)


def _is_member(terminology: Terminology, value_set: str, system: str | None, code: str, on: date | None) -> bool | None:
    found = terminology.value_set(value_set, on)
    if found is None:
        return None
    try:
        return is_member(terminology, found, system, code, on)
    except FhirError:  # a value set that cannot be told: without end, or by an unknown filter
        return None


def _neighbours(
    terminology: Terminology, value_set: str, system: str | None, code: str, on: date | None
) -> tuple[str, str]:
    found = terminology.value_set(value_set, on)
    if found is None or not system:
        return "", ""
    near = member(terminology, found, Coding(system, code), Asked(on=on)).neighbours
    meant = ", ".join(f"{one.code} ({one.display})" for one in near)
    return (f"; {code!r} is near to {meant}", f"; {code!r} gần với {meant}") if meant else ("", "")
