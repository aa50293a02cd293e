"""Validation of a resource against a profile: what the profile adds to base R4, which is checked before.

Cardinality, types and targets, fixed values and patterns, lengths and ranges, bindings of all strengths, slices, the
profiles of types and extensions, and invariants. R4 Profiling FHIR.
"""

from __future__ import annotations

from collections.abc import Iterator

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import ProfileElement, Profiles
from fhir_server.errors import Issue
from fhir_server.model.resources import Resource
from fhir_server.validation.elements import Item, Reading
from fhir_server.validation.items import Environment
from fhir_server.validation.messages import Report
from fhir_server.validation.places import Place, render
from fhir_server.validation.profile_checks import ProfileChecks, Root
from fhir_server.validation.profile_walk import Known, Probe, Walk

_NOTHING = Known()


class ProfileValidator:
    """Validates against loaded profiles; what it compiles is kept, so one object serves all requests."""

    def __init__(self, definitions: Definitions, profiles: Profiles, known: Known = _NOTHING, zone: str = "Z") -> None:
        """known: of codes; a membership of None leaves a binding unchecked. zone: of `today()` in invariants."""
        self._known = known
        self._checks = ProfileChecks(definitions, profiles, zone)

    @property
    def not_evaluated(self) -> dict[tuple[str, str], str]:
        """(place, key) → why, of the invariants met so far that cannot be evaluated."""
        return self._checks.not_evaluated

    def problems(self, canonical: str) -> tuple[str, ...]:
        """What is wrong with a profile itself. Raises KeyError if it is not loaded."""
        root = self._root(canonical)
        return (*root.profile.problems, *root.problems)

    def _root(self, canonical: str) -> Root:
        root = self._checks.root(canonical)
        if root is None:
            raise KeyError(canonical)
        return root

    def validate(
        self, resource: Resource, canonical: str, path: str | None = None, known: Known | None = None
    ) -> list[Issue]:
        """The faults of a resource that base R4 has found well, by one profile. known: in place of what it was made
        with. Raises KeyError if the profile is not loaded, and what asking raises."""
        root = self._root(canonical)
        report = Report()
        type = resource["resourceType"]
        item = Item(resource, None, type, (type, ""), path or type)
        root.check(item, Environment(resource, resource), report, known or self._known)
        return report.told()

    def validate_extension(
        self, extension: Resource, canonical: str, place: Place, environment: Environment, known: Known, whole: Resource
    ) -> list[Issue]:
        """The faults of an extension by its definition, and of the place where it stands in the whole resource. Raises
        KeyError if the definition is not loaded; what asking raises."""
        report, root = Report(), self._root(canonical)
        item = Item(extension, None, "Extension", ("Extension", ""), place)
        root.check(item, environment, report, known)
        is_modifier = root.profile.root.is_modifier
        if is_modifier is not None and is_modifier is not (place[1] == "modifierExtension"):
            kind = "extension-modifier" if is_modifier else "extension-no-modifier"
            report.tell(kind, render(place), profile=root.name)
        holder = self._checks.holders.of(whole, place)
        if holder is not None:
            if not root.context.allows(holder, environment, known):
                allowed = ", ".join(root.profile.context.allowed)
                report.tell("extension-context", render(place), profile=root.name, allowed=allowed)
            for expression in root.context.broken(extension, holder, environment):
                report.tell("context-invariant", render(place), profile=root.name, expression=expression)
        return report.told()

    def absent_must_support(self, resource: Resource, canonical: str, known: Known | None = None) -> list[str]:
        """Paths of the elements and slices (`Patient.identifier:cccd`) that a profile marks mustSupport and the
        resource leaves out where they may stand. known: in place of what it was made with."""
        root, type = self._root(canonical), resource["resourceType"]
        walk = Walk(root.name, Environment(resource, resource), Probe(), known or self._known)
        item = Item(resource, None, type, (type, ""), type)
        return list(dict.fromkeys(self._absent_below(root, root.profile.root, item, type, walk)))

    def _absent_below(self, root: Root, node: ProfileElement, item: Item, path: str, walk: Walk) -> Iterator[str]:
        readings = self._checks.readings.of(*item.below)
        for name, child in node.children.items():
            reading = readings.get(name)
            if reading is not None:
                items = reading.items(item.content, item.place)
                yield from self._absent(root, child, reading, items, f"{path}.{reading.element.name}", walk)

    def _absent(
        self, root: Root, node: ProfileElement, reading: Reading, items: list[Item], path: str, walk: Walk
    ) -> Iterator[str]:
        """path: without the name of the slice that node is."""
        own = f"{path}:{node.slice}" if node.slice else path
        if not items and node.must_support:
            yield own
        for item in items:
            yield from self._absent_below(root, node, item, own, walk)
        places = root.places(node, reading)(items, walk) if node.slices else None
        if places is None:
            return
        for number, slice in enumerate(node.slices.values()):
            inside = [item for item, place in zip(items, places, strict=True) if place == number]
            yield from self._absent(root, slice, reading, inside, path, walk)
