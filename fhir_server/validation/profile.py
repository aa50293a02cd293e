"""Validation of a resource against a profile: what the profile adds to base R4, which is checked before.

Cardinality, types and targets, fixed values and patterns, lengths and ranges, bindings of all strengths, slices, the
profiles of types and extensions, and invariants. R4 section 5.1 (Profiling FHIR).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhir_server.definitions.fhirpath import FhirPathError
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import CORE, Profile, ProfileElement, Profiles, ProfileType
from fhir_server.definitions.structures import Constraint
from fhir_server.errors import Issue
from fhir_server.model.references import literal
from fhir_server.model.resources import Resource, encode
from fhir_server.validation.elements import Item, Reading, Readings
from fhir_server.validation.fhirpath import compile_condition
from fhir_server.validation.items import Environment, Test, compare
from fhir_server.validation.messages import Report, quote
from fhir_server.validation.places import Place, render
from fhir_server.validation.slices import Ask, Matcher, Membership, codes, has_pattern, is_equal

_LONGEST_SHOWN = 120


def _unknown(value_set: str, system: str | None, code: str) -> bool | None:
    return None


@dataclass(frozen=True, slots=True)
class _Walk:
    """One resource being held against one profile."""

    profile: Profile
    environment: Environment
    report: Report

    @property
    def name(self) -> str:
        return self.profile.url.rpartition("/")[2]

    def tell(self, kind: str, place: Place, **facts: Any) -> None:
        self.report.tell(kind, render(place), profile=self.name, **facts)

    def warn(self, kind: str, place: Place, **facts: Any) -> None:
        self.report.warn(kind, render(place), profile=self.name, **facts)


class ProfileValidator:
    """Validates against loaded profiles; what it compiles is kept, so one object serves all requests."""

    def __init__(self, definitions: Definitions, profiles: Profiles, membership: Membership = _unknown) -> None:
        """membership: whether a code is in a value set; None from it leaves a binding unchecked."""
        self._definitions = definitions
        self._profiles = profiles
        self._membership = membership
        self._readings = Readings(definitions)
        self._tests: dict[tuple[str, str, str], Test | None] = {}
        self._asked: dict[tuple[int, str], tuple[Ask, ...]] = {}
        # Invariants that cannot be evaluated: (place, key) → why.
        self.not_evaluated: dict[tuple[str, str], str] = {}

    def validate(self, resource: Resource, canonical: str, path: str | None = None) -> list[Issue]:
        """The faults of a resource that base R4 has found well, by one profile. Raises KeyError if it is not loaded."""
        profile = self._profiles.get(canonical)
        if profile is None:
            raise KeyError(canonical)
        report = Report()
        type = resource["resourceType"]
        place = path or type
        self._root(Item(resource, None, type, (type, ""), place), profile, Environment(resource, resource), report)
        return report.told()

    def validate_claims(self, resource: Resource, path: str | None = None) -> list[Issue]:
        """The faults by every profile that meta.profile claims; one that is not loaded is told as a warning."""
        place = path or resource["resourceType"]
        issues: list[Issue] = []
        for number, canonical in enumerate((resource.get("meta") or {}).get("profile", ())):
            if self._profiles.get(canonical) is not None:
                issues += self.validate(resource, canonical, path)
            elif canonical.partition("|")[0].removeprefix(CORE) != resource["resourceType"]:
                report = Report()
                report.warn("profile-unknown", f"{place}.meta.profile[{number}]", found=quote(canonical))
                issues += report.told()
        return issues

    def _root(self, item: Item, profile: Profile, environment: Environment, report: Report) -> None:
        walk = _Walk(profile, environment, report)
        if item.type != profile.type and profile.type not in self._definitions.lineage(item.type):
            walk.tell("profile-other-type", item.place, expected=profile.type, found=item.type)
            return
        self._rules(profile.root, profile.type, "", item, walk)
        self._children(profile.root, item, walk)

    # --- elements

    def _children(self, node: ProfileElement, item: Item, walk: _Walk) -> None:
        readings = self._readings.of(*item.below) if node.children else {}
        for name, child in node.children.items():
            reading = readings.get(name)
            if reading is not None:
                items = reading.items(item.content, item.place)
                self._element(child, items, reading, (item.place, reading.element.name, None), walk)
        for reading in self._readings.shared(*item.below):
            self._shared(reading, item, walk)

    def _shared(self, reading: Reading, item: Item, walk: _Walk) -> None:
        """An element with the content of another one is held to what is said of that: `item.item` to `item`."""
        node: ProfileElement | None = walk.profile.root if reading.owner == walk.profile.type else None
        for name in (reading.element.content or "").split("."):
            node = node.children.get(name) if node is not None else None
        if node is not None:
            for one in reading.items(item.content, item.place):
                self._rules(node, reading.owner, reading.element.content or "", one, walk)
                self._children(node, one, walk)

    def _element(self, node: ProfileElement, items: list[Item], reading: Reading, place: Place, walk: _Walk) -> None:
        label = f"{node.name}:{node.slice}" if node.slice else node.name
        if len(items) < node.min:
            walk.tell("profile-min", place, element=label, min=node.min, found=len(items))
        if node.max is not None and len(items) > node.max:
            walk.tell("profile-max", place, element=label, max=node.max, found=len(items))
        for item in items:
            self._item(node, item, reading, walk)
        if node.slices:
            self._slices(node, items, reading, place, walk)

    def _item(self, node: ProfileElement, item: Item, reading: Reading, walk: _Walk) -> None:
        if node.types:
            self._types(node.types, item, walk)
        if item.value is not None:
            self._values(node, item, walk)
        self._rules(node, reading.owner, reading.element.path, item, walk)
        self._children(node, item, walk)

    def _values(self, node: ProfileElement, item: Item, walk: _Walk) -> None:
        if node.fixed is not None and not is_equal(item.value, node.fixed):
            walk.tell("profile-value", item.place, expected=_shown(node.fixed))
        if node.pattern is not None and not has_pattern(item.value, node.pattern):
            walk.tell("profile-pattern", item.place, expected=_shown(node.pattern))
        if isinstance(item.value, str) and not self._has_length(node, len(item.value)):
            most = "*" if node.max_length is None else node.max_length
            walk.tell("profile-length", item.place, found=len(item.value), min=node.min_length or 0, max=most)
        if not _is_within(item.value, node.min_value, node.max_value):
            low, high = _shown(node.min_value), _shown(node.max_value)
            walk.tell("profile-range", item.place, found=quote(item.value), min=low, max=high)
        if node.binding is not None:
            self._binding(node.binding.strength, node.binding.value_set, item, walk)

    @staticmethod
    def _has_length(node: ProfileElement, length: int) -> bool:
        return (node.min_length or 0) <= length <= (length if node.max_length is None else node.max_length)

    def _binding(self, strength: str, value_set: str, item: Item, walk: _Walk) -> None:
        """required: an error; extensible: a warning, unless there is only text; preferred, example: nothing."""
        if strength not in ("required", "extensible"):
            return
        found = list(codes(item.value))
        if not found and (strength == "extensible" or item.type not in ("code", "Coding", "CodeableConcept")):
            return
        verdicts = [self._membership(value_set, system, code) for system, code in found]
        if True in verdicts or None in verdicts:
            return
        tell = walk.tell if strength == "required" else walk.warn
        tell("profile-code", item.place, value_set=value_set, strength=strength)

    # --- types

    def _types(self, types: tuple[ProfileType, ...], item: Item, walk: _Walk) -> None:
        fitting = [one for one in types if one.code in (item.type, "Resource", "Element")]
        if not fitting:
            allowed = ", ".join(dict.fromkeys(one.code for one in types))
            walk.tell("profile-type", item.place, found=item.type, allowed=allowed)
            return
        profiles = [url for one in fitting for url in one.profiles]
        if profiles and all(one.profiles for one in fitting):
            self._type_profiles(profiles, item, walk)
        targets = [url for one in fitting for url in one.targets]
        if targets and item.type == "Reference":
            self._target(targets, item, walk)

    def _type_profiles(self, canonicals: list[str], item: Item, walk: _Walk) -> None:
        """The value must satisfy one of them; one that is not loaded cannot be told to be broken."""
        loaded = [profile for profile in map(self._profiles.get, canonicals) if profile is not None]
        if len(loaded) < len(canonicals):
            return
        if len(loaded) == 1:
            self._root(item, loaded[0], walk.environment, walk.report)
        elif not any(self._conforms_to(item, profile.url, walk.environment) for profile in loaded):
            names = ", ".join(profile.url.rpartition("/")[2] for profile in loaded)
            walk.tell("profile-type", item.place, found=item.type, allowed=names)

    def _target(self, targets: list[str], item: Item, walk: _Walk) -> None:
        text = item.content.get("reference")
        allowed = {self._profiles.type_of(url) for url in targets}
        if not isinstance(text, str) or allowed & {None, "Resource", "DomainResource"}:
            return
        contained = self._contained(text, walk.environment.root)
        parts = literal(text)
        found = contained["resourceType"] if contained else parts.type if parts and parts.base is None else None
        if found is not None and found not in allowed:
            names = ", ".join(sorted(name for name in allowed if name))
            walk.tell("profile-target", (item.place, "reference", None), found=found, allowed=names)
        elif contained is not None and all(self._profiles.get(url) is not None for url in targets):
            inside = Item(contained, None, contained["resourceType"], (contained["resourceType"], ""), item.place)
            environment = Environment(contained, walk.environment.root)
            if not any(self._conforms_to(inside, url, environment) for url in targets):
                names = ", ".join(url.rpartition("/")[2] for url in targets)
                walk.tell("profile-target", (item.place, "reference", None), found=text, allowed=names)

    @staticmethod
    def _contained(text: str, root: Resource) -> Resource | None:
        found = (one for one in root.get("contained", ()) if text[:1] == "#" and one.get("id") == text[1:])
        return next(found, None)

    def _conforms_to(self, item: Item, canonical: str, environment: Environment) -> bool:
        profile = self._profiles.get(canonical)
        if profile is None:
            return False
        report = Report()
        self._root(item, profile, environment, report)
        return not any(issue.is_error for issue in report.issues)

    # --- slices

    def _slices(self, node: ProfileElement, items: list[Item], reading: Reading, place: Place, walk: _Walk) -> None:
        slicing = node.slicing
        discriminators = slicing.discriminators if slicing else ()
        matcher = self._matcher(reading, walk)
        names = list(node.slices)
        places = [
            next((at for at, name in enumerate(names) if matcher.is_in(item, node.slices[name], discriminators)), None)
            for item in items
        ]
        for at, name in enumerate(names):
            found = [item for item, own in zip(items, places, strict=True) if own == at]
            self._element(node.slices[name], found, reading, place, walk)
        if slicing is not None:
            self._order(slicing.rules, slicing.ordered, names, items, places, walk)

    def _order(
        self, rules: str, ordered: bool, names: list[str], items: list[Item], places: list[int | None], walk: _Walk
    ) -> None:
        """closed: every item in a slice; openAtEnd: those in none come last; ordered: slices one after another."""
        allowed, last = ", ".join(names), -1
        for number, (item, own) in enumerate(zip(items, places, strict=True)):
            if own is None:
                follows = any(later is not None for later in places[number + 1 :])
                if rules == "closed":
                    walk.tell("profile-closed", item.place, allowed=allowed)
                elif rules == "openAtEnd" and follows:
                    walk.tell("profile-order", item.place, allowed=allowed)
            else:
                if ordered and own < last:
                    walk.tell("profile-order", item.place, allowed=allowed)
                last = max(last, own)

    def _matcher(self, reading: Reading, walk: _Walk) -> Matcher:
        def conforms(item: Item, slice: ProfileElement) -> bool:
            report = Report()
            self._item(slice, item, reading, _Walk(walk.profile, walk.environment, report))
            return not any(issue.is_error for issue in report.issues)

        def conforms_to(item: Item, canonical: str) -> bool:
            return self._conforms_to(item, canonical, walk.environment)

        return Matcher(self._profiles, self._membership, conforms, conforms_to, self._asked)

    # --- invariants

    def _rules(self, node: ProfileElement, owner: str, path: str, item: Item, walk: _Walk) -> None:
        for constraint in node.constraints.values():
            test = self._test(constraint, owner, path)
            if test is None:
                continue
            focus = item.value if item.value is not None else item.content
            if test([focus], walk.environment) is not True:
                tell = walk.tell if constraint.severity == "error" else walk.warn
                tell("profile-invariant", item.place, key=constraint.key, human=constraint.human)

    def _test(self, constraint: Constraint, owner: str, path: str) -> Test | None:
        key = (constraint.expression, owner, path)
        if key not in self._tests:
            try:
                self._tests[key] = compile_condition(self._definitions, constraint.expression, owner, path)
            except FhirPathError as reason:
                self._tests[key] = None
                self.not_evaluated[f"{owner}.{path}".rstrip("."), constraint.key] = str(reason)
        return self._tests[key]


def _is_within(value: Any, low: Any, high: Any) -> bool:
    """minValue and maxValue; what cannot be compared is within."""
    above = low is None or compare([value], [low], lambda order: order >= 0) is not False
    return above and (high is None or compare([value], [high], lambda order: order <= 0) is not False)


def _shown(value: Any) -> str:
    if value is None:
        return "*"
    text = encode(value).decode()
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
