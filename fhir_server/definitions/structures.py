"""Structures: what R4 says about each element of a resource or datatype (R4 StructureDefinition)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec


class Type(msgspec.Struct, frozen=True, gc=False):
    """One type an element may have.

    code: `Quantity`, `Reference`, `string`, … targets: the resource types or profiles that a Reference or canonical may
    name, empty for any. profile: the profile the value must satisfy (`SimpleQuantity`), if any.
    """

    code: str
    targets: tuple[str, ...] = ()
    profile: str | None = None


class Binding(msgspec.Struct, frozen=True, gc=False):
    """strength: required | extensible | preferred | example. value_set: its canonical URL without a version."""

    strength: str
    value_set: str


class Constraint(msgspec.Struct, frozen=True, gc=False):
    """An invariant: expression is FHIRPath, told as `key: human` when it is false. severity: error | warning. human_vi:
    the same in Vietnamese: always of R4's own, of a profile's where its author wrote it."""

    key: str
    severity: str
    human: str
    expression: str
    human_vi: str = ""


class Element(msgspec.Struct, frozen=True, gc=False):
    """One element of a structure.

    path: below the type, `component.value[x]`. name: as FHIRPath names it, `value`. max: None for *. content: the path
    whose children this element shares (`Questionnaire.item`), in place of types. xml: attribute | xhtml | None (an
    element of its own).
    """

    path: str
    name: str
    min: int
    max: int | None
    types: tuple[Type, ...] = ()
    content: str | None = None
    binding: Binding | None = None
    constraints: tuple[Constraint, ...] = ()
    is_modifier: bool = False
    is_summary: bool = False
    max_length: int | None = None
    xml: str | None = None

    @property
    def is_choice(self) -> bool:
        return self.path.endswith("[x]")

    @property
    def is_list(self) -> bool:
        return self.max is None or self.max > 1

    def json_names(self) -> Iterator[tuple[str, Type]]:
        """The JSON property of each type: one for a plain element, `valueQuantity`, `valueString`, … for a choice."""
        for type in self.types:
            yield (self.name + type.code[0].upper() + type.code[1:] if self.is_choice else self.name), type


@dataclass(frozen=True)
class Structure:
    """A resource, datatype or primitive type with all its elements, inherited ones included, in the order of R4.

    kind: resource | complex-type | primitive-type. constraints: its own, without those of the parent.
    """

    type: str
    kind: str
    parent: str | None
    abstract: bool
    constraints: tuple[Constraint, ...]
    elements: Mapping[str, Element] = field(repr=False)

    @cached_property
    def _children(self) -> Mapping[str, tuple[Element, ...]]:
        found: dict[str, list[Element]] = {}
        for path, element in self.elements.items():
            found.setdefault(path.rpartition(".")[0], []).append(element)
        return {parent: tuple(elements) for parent, elements in found.items()}

    def children(self, path: str = "") -> tuple[Element, ...]:
        """The elements directly below a path, in the order of R4 (which is the order of XML); `""` is the type."""
        return self._children.get(path, ())

    @cached_property
    def summary_elements(self) -> tuple[str, ...]:
        """Paths of all elements that R4 marks with Σ, nested ones included: what `_summary=true` shows."""
        return tuple(path for path, element in self.elements.items() if element.is_summary)


def structure(type: str, row: Mapping[str, Any], vietnamese: Mapping[str, str]) -> Structure:
    """A row of structures.json as a Structure. vietnamese: the sentence of an invariant -> what it asks."""
    elements = (_element(type, vietnamese, *facts) for facts in row["elements"])
    return Structure(
        type,
        row["kind"],
        row.get("parent"),
        row.get("abstract", False),
        _constraints(row["constraints"], vietnamese),
        {element.path: element for element in elements},
    )


def _element(
    type: str,
    vietnamese: Mapping[str, str],
    path: str,
    cardinality: str,
    types: list[Any],
    facts: Mapping[str, Any] | None = None,
) -> Element:
    facts = facts or {}
    low, _, high = cardinality.partition("..")
    content: str | None = facts.get("content")
    # R4 says of Narrative.div only by its type that it is XHTML in XML.
    form = "xhtml" if types == ["xhtml"] else facts.get("xml", "")
    return Element(
        path=path,
        name=path.rpartition(".")[2].removesuffix("[x]"),
        min=int(low),
        max=None if high == "*" else int(high),
        types=tuple(_type(one) for one in types),
        content=content.removeprefix(f"{type}.") if content else None,
        binding=Binding(*facts["binding"]) if "binding" in facts else None,
        constraints=_constraints(facts.get("constraints", {}), vietnamese),
        is_modifier=facts.get("isModifier", False),
        is_summary=facts.get("isSummary", False),
        max_length=facts.get("maxLength"),
        xml={"xmlAttr": "attribute", "xhtml": "xhtml"}.get(form),
    )


def _type(row: str | list[str]) -> Type:
    if isinstance(row, str):
        return Type(row)
    code, *targets = row
    if code in ("Reference", "canonical"):
        return Type(code, () if targets == ["Resource"] else tuple(targets))
    return Type(code, profile=targets[0])


def _constraints(rows: Mapping[str, list[str]], vietnamese: Mapping[str, str]) -> tuple[Constraint, ...]:
    return tuple(
        Constraint(key, severity, human, expression, vietnamese.get(human, ""))
        for key, (severity, human, expression) in rows.items()
    )
