"""What a profile asks of a value by itself, compiled: fixed values, patterns, lengths, ranges and bindings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhir_server.definitions.profiles import ProfileElement
from fhir_server.definitions.structures import Binding
from fhir_server.model.resources import encode
from fhir_server.validation.elements import Item
from fhir_server.validation.items import compare
from fhir_server.validation.messages import quote
from fhir_server.validation.patterns import codes, has_pattern, is_equal
from fhir_server.validation.profile_walk import ItemCheck, Walk

_LONGEST_SHOWN = 120
_CODED = frozenset({"code", "Coding", "CodeableConcept"})


def value_checks(node: ProfileElement) -> Iterator[ItemCheck]:
    """The checks of one element's values; those of primitives that are only extensions are left alone."""
    if node.fixed is not None:
        yield _fixed(node.fixed)
    if node.pattern is not None:
        yield _pattern(node.pattern)
    if node.min_length is not None or node.max_length is not None:
        yield _length(node.min_length or 0, node.max_length)
    if node.min_value is not None or node.max_value is not None:
        yield _range(node.min_value, node.max_value)
    if node.binding is not None and node.binding.strength in _TOLD:
        yield _binding(node.binding)
    if node.max_value_set is not None:
        yield _binding(Binding("required", node.max_value_set))


def _fixed(fixed: Any) -> ItemCheck:
    shown = _shown(fixed)

    def check(item: Item, walk: Walk) -> None:
        if item.value is not None and not is_equal(item.value, fixed):
            walk.tell("profile-value", item.place, expected=shown)

    return check


def _pattern(pattern: Any) -> ItemCheck:
    shown = _shown(pattern)

    def check(item: Item, walk: Walk) -> None:
        if item.value is not None and not has_pattern(item.value, pattern):
            walk.tell("profile-pattern", item.place, expected=shown)

    return check


def _length(low: int, high: int | None) -> ItemCheck:
    most = "*" if high is None else high

    def check(item: Item, walk: Walk) -> None:
        if isinstance(item.value, str):
            length = len(item.value)
            if length < low or (high is not None and length > high):
                walk.tell("profile-length", item.place, found=length, min=low, max=most)

    return check


def _range(low: Any, high: Any) -> ItemCheck:
    least, most = _shown(low), _shown(high)

    def check(item: Item, walk: Walk) -> None:
        if item.value is not None and not _is_within(item.value, low, high):
            walk.tell("profile-range", item.place, found=quote(item.value), min=least, max=most)

    return check


def _is_within(value: Any, low: Any, high: Any) -> bool:
    """minValue and maxValue; what cannot be compared is within."""
    above = low is None or compare([value], [low], lambda order: order >= 0) is not False
    return above and (high is None or compare([value], [high], lambda order: order <= 0) is not False)


_TOLD = {"required": Walk.tell, "extensible": Walk.warn, "preferred": Walk.inform}


def _binding(binding: Binding) -> ItemCheck:
    """required: an error; extensible: a warning; preferred: information, both unless there is only text."""
    strength, value_set, tell = binding.strength, binding.value_set, _TOLD[binding.strength]

    def check(item: Item, walk: Walk) -> None:
        if item.value is None:
            return
        found = list(codes(item.value))
        if not found and (strength != "required" or item.type not in _CODED):
            return
        for system, code in found:
            if walk.known.membership(value_set, system, code) is not False:
                return
        near = walk.known.neighbours(value_set, *found[0]) if found else ("", "")
        tell(walk, "profile-code", item.place, value_set=value_set, strength=strength, near=near[0], near_vi=near[1])

    return check


def _shown(value: Any) -> str:
    if value is None:
        return "*"
    text = encode(value).decode()
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
