"""Profiles compiled to closures: each element that a profile says something of becomes one check of its values.

What a profile says no more of than base R4 is left out, and a check is looked up by the names that a resource has, so
that the cost follows the resource and not the profile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from fhir_server.definitions.fhirpath import FhirPathError
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import Profile, ProfileElement, Profiles
from fhir_server.definitions.structures import Constraint
from fhir_server.model.resources import Resource
from fhir_server.validation.contexts import ContextCheck, Holders
from fhir_server.validation.elements import Item, Reading, Readings
from fhir_server.validation.fhirpath import compile_condition
from fhir_server.validation.items import Environment, Test
from fhir_server.validation.messages import asked
from fhir_server.validation.places import Place
from fhir_server.validation.profile_types import TypeChecks
from fhir_server.validation.profile_values import value_checks
from fhir_server.validation.profile_walk import ItemCheck, Known, Probe, Told, Walk
from fhir_server.validation.questions import QUESTIONS, CannotTellError
from fhir_server.validation.slices import OrderCheck, Places, Slicer, order_check

# The values of one element, and where it stands.
ItemsCheck = Callable[[list[Item], Place, Walk], None]
# An object, its place: all of its elements.
ContentCheck = Callable[[Resource, Place, Walk], None]


@dataclass(frozen=True, slots=True)
class _Element:
    """The check of an element; needed: it has something to say when there is no value."""

    run: ItemsCheck
    needed: bool


@dataclass(frozen=True)
class Root:
    """A compiled profile."""

    profile: Profile
    name: str
    types: frozenset[str]
    run: ItemCheck
    context: ContextCheck
    # Which slices of an element its items are in, by their places among them.
    places: Callable[[ProfileElement, Reading], Places]
    # What is wrong with the profile that only compiling it finds.
    problems: tuple[str, ...] = ()

    def check(self, item: Item, environment: Environment, report: Told, known: Known) -> None:
        walk = Walk(self.name, environment, report, known)
        if item.type in self.types:
            self.run(item, walk)
        else:
            walk.tell("profile-other-type", item.place, expected=self.profile.type, found=item.type)


@dataclass
class ProfileChecks:
    """The checks of all profiles, made when a profile is first asked for and kept."""

    definitions: Definitions
    profiles: Profiles
    # Of `today()` in invariants.
    zone: str
    # Invariants that cannot be evaluated: (place, key) → why.
    not_evaluated: dict[tuple[str, str], str] = field(default_factory=dict)
    _roots: dict[str, Root | None] = field(default_factory=dict)
    _tests: dict[tuple[str, str, str], Test | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.readings = Readings(self.definitions)
        self.holders = Holders(self.definitions, self.readings)
        self.types = TypeChecks(self.definitions, self.profiles, self.root)
        self.slicer = Slicer(self.profiles, self.root)

    def root(self, canonical: str) -> Root | None:
        """The compiled profile of a canonical; None when it is not loaded."""
        if canonical not in self._roots:
            profile = self.profiles.get(canonical)
            self._roots[canonical] = None if profile is None else self._root(profile)
        return self._roots[canonical]

    def _root(self, profile: Profile) -> Root:
        types = frozenset(
            type for type in self.definitions.structure_names if profile.type in self.definitions.lineage(type)
        )
        compiler = _Compiler(self, profile)
        run, context = compiler.root(), ContextCheck(self.definitions, profile.context, self.root, self.zone)
        problems = (*compiler.problems, *context.problems())
        return Root(profile, name_of(profile.url), types, run, context, compiler.places, problems)

    def test(self, constraint: Constraint, owner: str, path: str) -> Test | None:
        key = (constraint.expression, owner, path)
        if key not in self._tests:
            try:
                self._tests[key] = compile_condition(self.definitions, constraint.expression, owner, path, self.zone)
            except FhirPathError as reason:
                self._tests[key] = None
                self.not_evaluated[f"{owner}.{path}".rstrip("."), constraint.key] = str(reason)
        return self._tests[key]


def name_of(canonical: str) -> str:
    """What a profile is called in messages: the last part of its URL or URN."""
    return canonical.partition("|")[0].rpartition("/")[2].rpartition(":")[2]


def _nothing(item: Item, walk: Walk) -> None:
    """The check of a profile that adds nothing."""


@dataclass
class _Compiler:
    """Compiles the tree of one profile."""

    kept: ProfileChecks
    profile: Profile
    problems: list[str] = field(default_factory=list)
    _contents: dict[tuple[int, tuple[str, str]], ContentCheck | None] = field(default_factory=dict)
    _places: dict[int, Places] = field(default_factory=dict)

    def root(self) -> ItemCheck:
        node, type = self.profile.root, self.profile.type
        return _all([*self._rules(node, type, ""), *self._children(node, ((type, ""),))]) or _nothing

    # --- objects

    def _children(self, node: ProfileElement, belows: tuple[tuple[str, str], ...]) -> Iterator[ItemCheck]:
        """The check of what stands below an item. belows: where its children may be defined, by its type."""
        if len(belows) == 1 and belows[0][0] not in _ABSTRACT:
            check = self._content(node, belows[0])
            if check is not None:
                only = check
                yield lambda item, walk: only(item.content, item.place, walk)
        elif node.children:

            def check_by_type(item: Item, walk: Walk) -> None:
                found = self._content(node, item.below)
                if found is not None:
                    found(item.content, item.place, walk)

            yield check_by_type

    def _content(self, node: ProfileElement, below: tuple[str, str]) -> ContentCheck | None:
        key = (id(node), below)
        if key not in self._contents:
            self._contents[key] = None  # content that holds itself ends here
            self._contents[key] = self._make_content(node, below)
        return self._contents[key]

    def _make_content(self, node: ProfileElement, below: tuple[str, str]) -> ContentCheck | None:
        by_key: dict[str, tuple[Reading, _Element]] = {}
        needed: list[tuple[Reading, _Element]] = []
        readings = self.kept.readings.of(*below)
        found = [(readings[name], self._element(child, readings[name])) for name, child in _known(node, readings)]
        found += [(reading, self._shared(reading)) for reading in self.kept.readings.shared(*below)]
        for reading, element in found:
            if element is not None:
                by_key.update((name, (reading, element)) for name in reading.by_name)
                if element.needed:
                    needed.append((reading, element))
        return _check_content(by_key, tuple(needed)) if by_key else None

    def _shared(self, reading: Reading) -> _Element | None:
        """An element with the content of another one is held to what is said of that: `item.item` to `item`."""
        node: ProfileElement | None = self.profile.root if reading.owner == self.profile.type else None
        path = reading.element.content or ""
        for name in path.split("."):
            node = node.children.get(name) if node is not None else None
        if node is None:
            return None
        target, made = node, list[ItemCheck]()

        def run(items: list[Item], place: Place, walk: Walk) -> None:
            if not made:  # made at the first use, since content may hold itself
                below = ((reading.owner, path),)
                made.append(_all([*self._rules(target, reading.owner, path), *self._later(target, below)]) or _nothing)
            for item in items:
                made[0](item, walk)

        return _Element(run, False)

    def _later(self, node: ProfileElement, below: tuple[tuple[str, str], ...]) -> Iterator[ItemCheck]:
        """The same as `_children`, looked up at each use."""

        def check(item: Item, walk: Walk) -> None:
            found = self._content(node, below[0])
            if found is not None:
                found(item.content, item.place, walk)

        yield check

    # --- elements

    def _element(self, node: ProfileElement, reading: Reading, is_slice: bool = False) -> _Element | None:
        """None when the profile says nothing that base R4 does not."""
        label = f"{node.name}:{node.slice}" if node.slice else node.name
        base = reading.element
        low = node.min if is_slice or node.min > base.min else 0
        high = node.max if is_slice or base.max is None or (node.max or 0) < base.max else None
        each, slices = self._item(node, reading), self._slices(node, reading)
        if not low and high is None and each is None and slices is None:
            return None

        def run(items: list[Item], place: Place, walk: Walk) -> None:
            count = len(items)
            if count < low:
                walk.tell("profile-min", place, element=label, min=low, found=count)
            if high is not None and count > high:
                walk.tell("profile-max", place, element=label, max=high, found=count)
            if each is not None:
                for item in items:
                    each(item, walk)
            if slices is not None:
                slices.run(items, place, walk)

        return _Element(run, bool(low) or (slices is not None and slices.needed))

    def _item(self, node: ProfileElement, reading: Reading) -> ItemCheck | None:
        belows = tuple(dict.fromkeys(form.below for form in reading.forms))
        return _all(
            [
                *self.kept.types.checks(node.types, reading.element),
                *value_checks(node),
                *self._rules(node, reading.owner, reading.element.path),
                *self._children(node, belows),
            ]
        )

    def _rules(self, node: ProfileElement, owner: str, path: str) -> Iterator[ItemCheck]:
        for constraint in node.constraints.values():
            test = self.kept.test(constraint, owner, path)
            if test is None:
                self.problems.append(f"the invariant {constraint.key} cannot be evaluated here")
            else:
                asks = any(f"{name}(" in constraint.expression for name in QUESTIONS)
                yield _rule(constraint, test, self._asking if asks else None)

    def _asking(self, walk: Walk) -> Environment:
        """For conditions with memberOf() or conformsTo()."""
        known = walk.known

        def conforms(value: Any, spot: tuple[str, str], canonical: str, environment: Environment) -> bool | None:
            type, path = spot
            if "resourceType" in value:
                type, environment = value["resourceType"], replace(environment, resource=value)
            if self.kept.root(canonical) is None:
                return None
            item = Item(value, None, "BackboneElement" if path else type, (type, path), "")
            return self.kept.types.conforms(item, canonical, environment, known)

        return replace(walk.environment, membership=known.membership, conforms=conforms)

    # --- slices

    def _slices(self, node: ProfileElement, reading: Reading) -> _Element | None:
        if not node.slices:
            return None
        names = list(node.slices)
        made = [self._element(one, reading, is_slice=True) for one in node.slices.values()]
        slicing = node.slicing
        order = order_check(slicing.rules, slicing.ordered, ", ".join(names)) if slicing else None
        if order is None and not any(made):
            return None
        return _Element(
            _check_slices(self.places(node, reading), made, order), any(one is not None and one.needed for one in made)
        )

    def places(self, node: ProfileElement, reading: Reading) -> Places:
        if id(node) not in self._places:
            conforms = {name: self._conforms(one, reading) for name, one in node.slices.items()}
            self._places[id(node)] = self.kept.slicer.places(node, conforms, self.problems)
        return self._places[id(node)]

    def _conforms(self, slice: ProfileElement, reading: Reading) -> Callable[[Item, Walk], bool]:
        """Whether an item satisfies a slice's own rules."""
        made: list[ItemCheck] = []

        def conforms(item: Item, walk: Walk) -> bool:
            if not made:
                made.append(self._item(slice, reading) or _nothing)
            probe = Probe()
            made[0](item, Walk(walk.name, walk.environment, probe, walk.known))
            return not probe.failed

        return conforms


_ABSTRACT = frozenset({"Resource", "DomainResource"})


def _known(node: ProfileElement, readings: Mapping[str, Reading]) -> Iterator[tuple[str, ProfileElement]]:
    return ((name, child) for name, child in node.children.items() if name in readings)


def _all(checks: list[ItemCheck]) -> ItemCheck | None:
    """One check for several; None for none."""
    if len(checks) < 2:
        return checks[0] if checks else None
    several = tuple(checks)

    def check(item: Item, walk: Walk) -> None:
        for one in several:
            one(item, walk)

    return check


def _check_content(
    by_key: Mapping[str, tuple[Reading, _Element]], needed: tuple[tuple[Reading, _Element], ...]
) -> ContentCheck:
    get = by_key.get

    def check(content: Resource, place: Place, walk: Walk) -> None:
        for key in content:
            found = get(key)
            if found is not None and (key[0] != "_" or key[1:] not in content):
                reading, element = found
                element.run(reading.items(content, place), (place, reading.element.name, None), walk)
        for reading, element in needed:
            if content.keys().isdisjoint(reading.by_name.keys()):
                element.run([], (place, reading.element.name, None), walk)

    return check


def _rule(constraint: Constraint, test: Test, asking: Callable[[Walk], Environment] | None) -> ItemCheck:
    is_error, facts = constraint.severity == "error", asked(constraint)

    def check(item: Item, walk: Walk) -> None:
        try:
            environment = walk.environment if asking is None else asking(walk)
            held = test([item.content if item.value is None else item.value], environment)
        except CannotTellError:
            return
        if held is not True and (is_error or held is False):
            tell = walk.tell if is_error else walk.warn
            tell("profile-invariant", item.place, **facts)

    return check


def _check_slices(places_of: Places, slices: list[_Element | None], order: OrderCheck | None) -> ItemsCheck:
    def check(items: list[Item], place: Place, walk: Walk) -> None:
        places = places_of(items, walk)
        if places is None:
            return
        for number, one in enumerate(slices):
            if one is not None:
                found = [item for item, own in zip(items, places, strict=True) if own == number]
                if found or one.needed:
                    one.run(found, place, walk)
        if order is not None:
            order(items, places, walk)

    return check
