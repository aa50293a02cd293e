"""What structure alone does not say, walked after it: R4's invariants, references, narrative, contained resources.

The walk knows beforehand, for each type, which properties lead to something that has a rule; it never fails on a value
of the wrong shape, so it runs after a faulty structure too and all faults are told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from fhir_server.definitions.fhirpath import FhirPathError
from fhir_server.definitions.load import Definitions
from fhir_server.definitions.structures import Constraint, Element, Type
from fhir_server.model.resources import Resource
from fhir_server.validation.fhirpath import compile_condition
from fhir_server.validation.items import Environment, Test
from fhir_server.validation.leftover import HELD, evaluated, leads_to_rules
from fhir_server.validation.links import check_contained, check_full_url, contained_types, reference_faults
from fhir_server.validation.messages import Report, asked
from fhir_server.validation.narrative import narrative_faults
from fhir_server.validation.places import Place, render
from fhir_server.validation.primitives import PRIMITIVES
from fhir_server.validation.structure import MOST_LEVELS

# Expressions that say something else than the sentence of the rule: con-3 compares a CodeableConcept with a string,
# tim-9 asks `in` of an element that repeats.
_CORRECTED = {
    "tim-9": "offset.empty() or (when.exists() and when.where($this in ('C' | 'CM' | 'CD' | 'CV')).empty())",
    "con-3": "clinicalStatus.exists() or verificationStatus.coding.where(system="
    "'http://terminology.hl7.org/CodeSystem/condition-ver-status' and code = 'entered-in-error').exists() or "
    "category.coding.where(system='http://terminology.hl7.org/CodeSystem/condition-category' and "
    "code = 'problem-list-item').empty()",
}


# An extension, its place, and what its definition may ask for.
Extended = tuple[Resource, Place, Environment]


class _Walk(msgspec.Struct, frozen=True):
    """One resource being walked: what its rules may ask for, and where faults go."""

    environment: Environment
    contained: Mapping[str, str]
    report: Report
    extensions: list[Extended]


@dataclass(frozen=True, slots=True)
class _Condition:
    constraint: Constraint
    test: Test


Special = Callable[[Resource, Place, _Walk], None]


@dataclass
class _Node:
    """The rules of one kind of object, and of its children by JSON name (made at the first visit)."""

    conditions: tuple[_Condition, ...]
    specials: tuple[Special, ...]
    make_children: Callable[[], Mapping[str, Visit]]

    @cached_property
    def children(self) -> Mapping[str, Visit]:
        return self.make_children()

    @cached_property
    def leading(self) -> frozenset[str]:
        """The names that lead to a rule: an object without rules of its own and without these is passed over."""
        return frozenset(self.children)

    def as_child(self, name: str) -> Visit:
        return name, self.visit, None if self.conditions or self.specials else self

    def visit(self, value: Any, place: Place, level: int, walk: _Walk) -> None:
        if not isinstance(value, dict):
            return
        if level > MOST_LEVELS:
            walk.report.tell("too-deep", render(place), most=MOST_LEVELS)
            return
        if self.conditions:
            focus = [value]
            for condition in self.conditions:
                if condition.test(focus, walk.environment) is not True:
                    _tell(condition, focus, place, walk)
        for special in self.specials:
            special(value, place, walk)
        below = self.children.get
        for key, item in value.items():
            found = below(key)
            if found is None:
                continue
            name, visit, plain = found
            if item.__class__ is list:
                for number, one in enumerate(item):
                    if plain is None or one.__class__ is not dict or not plain.leading.isdisjoint(one):
                        visit(one, (place, name, number), level + 1, walk)
            elif plain is None or item.__class__ is not dict or not plain.leading.isdisjoint(item):
                visit(item, (place, name, None), level + 1, walk)


# (value, its place, level, walk)
Visitor = Callable[[Any, Place, int, _Walk], None]
# The name in FHIRPath, what is done with a value, and its node when that has no rules of its own.
Visit = tuple[str, Visitor, "_Node | None"]


def _tell(condition: _Condition, focus: list[Any], place: Place, walk: _Walk) -> None:
    """Tells a constraint that does not hold. Empty is no fault for a warning (`name.matches(…)` of one unnamed)."""
    constraint = condition.constraint
    if constraint.severity == "error":
        walk.report.tell("invariant", render(place), **asked(constraint))
    elif condition.test(focus, walk.environment) is False:
        walk.report.warn("invariant", render(place), **asked(constraint))


@dataclass
class RuleChecks:
    """The rules of all types, made when a type is first met and kept."""

    definitions: Definitions
    # All rules; with it these are only those that are left in a resource that the gate has accepted.
    whole: RuleChecks | None = None
    # Invariants that cannot be evaluated: (type.path, key, why).
    not_evaluated: list[tuple[str, str, str]] = field(default_factory=list)
    _nodes: dict[tuple[str, str, str], _Node] = field(default_factory=dict)

    def check(self, resource: Resource, path: str, report: Report) -> list[Extended]:
        """Tells every broken rule of a resource whose resourceType R4 has, and of the resources inside it. Gives the
        extensions that it met on the way, which their definitions have more to say of."""
        extensions: list[Extended] = []
        self._enter(resource, path, 0, report, extensions)
        return extensions

    def _enter(
        self,
        resource: Any,
        place: Place,
        level: int,
        report: Report,
        extensions: list[Extended],
        container: _Walk | None = None,
    ) -> None:
        """Walks a resource; container: the walk of the one that contains it, whose ids it shares."""
        type = resource.get("resourceType") if isinstance(resource, dict) else None
        if isinstance(type, str) and type in self.definitions.concrete_types:
            if container is None:
                root, contained = resource, contained_types(resource)
            else:
                root, contained = container.environment.root, container.contained
            rules = self.whole if self.whole is not None and "contained" in resource else self
            walk = _Walk(Environment(resource, root), contained, report, extensions)
            rules.node(type).visit(resource, place, level, walk)

    def not_evaluated_of_all(self) -> list[tuple[str, str, str]]:
        """(place, key, reason) of each invariant that cannot be evaluated, all types having been made."""
        for type in self.definitions.concrete_types | self.definitions.complex_types:
            structure = self.definitions.structure(type)
            for path in ("", *structure.elements):
                if not path or structure.children(path):
                    assert self.node(type, path).children is not None
        return sorted(set(self.not_evaluated))

    def node(self, type: str, path: str = "") -> _Node:
        """The rules of a type, or of an element of it that has children of its own."""
        return self._kept((type, path, ""), type, path)

    def _kept(
        self, key: tuple[str, str, str], type: str, path: str, within: tuple[str, Element] | None = None
    ) -> _Node:
        found = self._nodes.get(key)
        if found is None:
            found = self._nodes[key] = self._make_node(type, path, within)
        return found

    def _make_node(self, type: str, path: str, within: tuple[str, Element] | None) -> _Node:
        """within: the structure and element that a value of the type stands in, when that has rules of its own."""
        conditions = list(self._conditions(type, path))
        specials = list(self._specials(type, path))
        if within is not None:
            owner, element = within
            conditions += self._compiled(owner, element.path, element.constraints)
            targets = frozenset(target for one in element.types if one.code == "Reference" for target in one.targets)
            if type == "Reference" and targets and self.whole is None:
                specials = [self._reference(targets)]
        return _Node(tuple(conditions), tuple(specials), lambda: dict(self._children(type, path)))

    # --- what is held for one object

    def _conditions(self, type: str, path: str) -> Iterator[_Condition]:
        if path:
            yield from self._compiled(type, path, self.definitions.structure(type).elements[path].constraints)
            return
        for ancestor in self.definitions.lineage(type):
            if ancestor != "DomainResource":  # dom-2 to dom-5 are about contained resources only
                yield from self._compiled(type, "", self.definitions.structure(ancestor).constraints)

    def _compiled(self, type: str, path: str, constraints: tuple[Constraint, ...]) -> Iterator[_Condition]:
        for one in evaluated(constraints):
            expression = _CORRECTED.get(one.key, one.expression)
            try:
                yield _Condition(one, compile_condition(self.definitions, expression, type, path))
            except FhirPathError as reason:
                self.not_evaluated.append((f"{type}.{path}".rstrip("."), one.key, str(reason)))

    def _specials(self, type: str, path: str) -> Iterator[Special]:
        if (type, path) == ("Bundle", "entry"):
            yield _check_full_url
        if path:
            return
        if type == "Narrative":
            yield _check_narrative
        elif self.whole is not None:
            return
        elif type == "Extension":
            yield _check_extension
        elif type == "Reference":
            yield self._reference(frozenset())
        elif type in self.definitions.domain_resource_types:
            yield self._contained(type)

    def _reference(self, targets: frozenset[str]) -> Special:
        types = self.definitions.concrete_types

        def check(value: Resource, place: Place, walk: _Walk) -> None:
            for kind, name, facts in reference_faults(value, targets, types, walk.contained):
                walk.report.tell(kind, f"{render(place)}.{name}", **facts)

        return check

    def _contained(self, type: str) -> Special:
        """dom-2 to dom-5, for a resource that contains others."""
        conditions = tuple(self._compiled(type, "", self.definitions.structure("DomainResource").constraints))

        def check(value: Resource, place: Place, walk: _Walk) -> None:
            if "contained" in value:
                check_contained(value, render(place), walk.report)
                for condition in conditions:
                    if condition.test([value], walk.environment) is not True:
                        _tell(condition, [value], place, walk)

        return check

    # --- what is below

    def _children(self, type: str, path: str) -> Iterator[tuple[str, Visit]]:
        for element in self.definitions.structure(type).children(path):
            if element.content is not None:
                if self._may_break(type, element.content):
                    yield element.name, self.node(type, element.content).as_child(element.name)
            elif element.types and element.types[0].code == "Resource":
                yield element.name, (element.name, self._nested(element.name == "contained"), None)
            else:
                yield from self._typed_children(type, element)

    def _typed_children(self, type: str, element: Element) -> Iterator[tuple[str, Visit]]:
        own = bool(self.definitions.structure(type).children(element.path))
        for key, one in element.json_names():
            if one.code in PRIMITIVES:
                yield from self._primitive_children(type, element, key)
            elif own:
                if self._may_break(type, element.path):
                    yield key, self.node(type, element.path).as_child(element.name)
            elif evaluated(element.constraints) or self._may_break(one.code):
                yield key, self._value_node(type, element, one).as_child(element.name)

    def _may_break(self, type: str, path: str = "") -> bool:
        """Whether there is a rule here for an object or for what is below it."""
        held = self.whole is not None and type in HELD
        return not held and (self.whole is None or leads_to_rules(self.definitions, type, path))

    def _value_node(self, owner: str, element: Element, type: Type) -> _Node:
        if not element.constraints and not type.targets:
            return self.node(type.code)
        key = (owner, element.path, type.code)
        return self._kept(key, type.code, "", (owner, element))

    def _primitive_children(self, owner: str, element: Element, key: str) -> Iterator[tuple[str, Visit]]:
        conditions = tuple(self._compiled(owner, element.path, element.constraints))
        if conditions:
            yield key, (element.name, _primitive_visit(conditions), None)
        if not element.xml and self.whole is None:
            yield f"_{key}", self.node("Element").as_child(element.name)

    def _nested(self, contained: bool) -> Visitor:
        """A resource inside a resource: a contained one shares the ids of its container."""

        def visit(value: Any, place: Place, level: int, walk: _Walk) -> None:
            self._enter(value, place, level, walk.report, walk.extensions, walk if contained else None)

        return visit


def _primitive_visit(conditions: tuple[_Condition, ...]) -> Visitor:
    def visit(value: Any, place: Place, level: int, walk: _Walk) -> None:
        if value is not None:
            for condition in conditions:
                if condition.test([value], walk.environment) is not True:
                    _tell(condition, [value], place, walk)

    return visit


# --- rules in code, where R4's expression cannot be run as it is


_VALUE = ("value", "_value")
_EXT_1 = Constraint(
    "ext-1", "error", "Must have either extensions or value[x], not both", "",
    "Phần mở rộng phải có extension hoặc value[x], không được có cả hai",
)  # fmt: skip


def _check_extension(value: Resource, place: Place, walk: _Walk) -> None:
    """ext-1: either extensions or a value. What the extension's own definition asks is looked at later."""
    walk.extensions.append((value, place, walk.environment))
    has_value = False
    for key in value:
        if key.startswith(_VALUE):
            has_value = True
            break
    if has_value == ("extension" in value):
        walk.report.tell("invariant", render(place), **asked(_EXT_1))


def _check_full_url(value: Resource, place: Place, walk: _Walk) -> None:
    check_full_url(value, render(place), walk.report)


def _check_narrative(value: Resource, place: Place, walk: _Walk) -> None:
    div = value.get("div")
    if isinstance(div, str):
        for kind, facts in narrative_faults(div):
            walk.report.tell(kind, f"{render(place)}.div", **facts)
