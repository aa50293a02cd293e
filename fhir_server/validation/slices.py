"""Which slice an item belongs to: discriminators by value, pattern, exists, type and profile. R4 section 5.1.0.7."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from fhir_server.definitions.profiles import Discriminator, ProfileElement, Profiles
from fhir_server.model.references import literal
from fhir_server.validation.elements import Item

# (value set, system, code) → is it in; None when that cannot be told.
Membership = Callable[[str, str | None, str], bool | None]

# One thing that a slice asks of a value.
Ask = Callable[[Any], bool]

_STEP = re.compile(
    r"\.?(?:(?P<call>extension|ofType|resolve)\((?P<argument>[^)]*)\)|(?P<name>\$?[A-Za-z][A-Za-z0-9]*))"
)


@dataclass(frozen=True, slots=True)
class Matcher:
    """Matches items with slices. conforms: whether an item satisfies a slice's own rules, or a profile by canonical."""

    profiles: Profiles
    membership: Membership
    conforms: Callable[[Item, ProfileElement], bool]
    conforms_to: Callable[[Item, str], bool]
    # What each slice asks of the values at a discriminator's path, by the slice's identity; kept by the validator.
    asked: dict[tuple[int, str], tuple[Ask, ...]]

    def is_in(self, item: Item, slice: ProfileElement, discriminators: tuple[Discriminator, ...]) -> bool:
        """True when every discriminator tells so; without any, when the item satisfies the slice."""
        if not discriminators:
            return self.conforms(item, slice)
        return all(self._tells(item, slice, one) for one in discriminators)

    def _tells(self, item: Item, slice: ProfileElement, one: Discriminator) -> bool:
        steps = _steps(one.path)
        if one.type == "type":
            return self._is_of_type(item, slice, steps)
        if one.type == "profile":
            return any(self.conforms_to(item, url) for type in slice.types for url in type.profiles)
        found = _values(item, steps)
        if one.type == "exists":
            return bool(found) is not any(element.max == 0 for element in self._elements(slice, steps))
        asked = self.asked.get((id(slice), one.path))
        if asked is None:
            asked = self.asked[id(slice), one.path] = tuple(self._asks(slice, steps))
        return bool(asked) and all(any(ask(value) for value in found) for ask in asked)

    def _asks(self, slice: ProfileElement, steps: tuple[tuple[str, str], ...]) -> Iterator[Ask]:
        """By value or pattern: fixed, pattern or required binding of the slice at the path, or an extension's url."""
        found = [ask for element in self._elements(slice, steps) for ask in self._tests(element)]
        urls = {url.partition("|")[0] for type in slice.types for url in type.profiles}
        if not found and urls and steps == (("name", "url"),):
            yield lambda value: value in urls
        yield from found

    def _tests(self, element: ProfileElement) -> Iterator[Ask]:
        if element.fixed is not None:
            yield lambda value: is_equal(value, element.fixed)
        elif element.pattern is not None:
            yield lambda value: has_pattern(value, element.pattern)
        elif element.binding is not None and element.binding.strength == "required":
            bound = element.binding.value_set
            yield lambda value: any(self.membership(bound, system, code) is True for system, code in codes(value))
        elif element.children or element.slices:
            yield from (self._below(element)) if _is_pinned(element) else ()

    def _below(self, element: ProfileElement) -> Iterator[Ask]:
        """A complex value that is pinned by its children: `coding` with fixed system and code."""
        for name, child in element.children.items():
            for one in (child, *child.slices.values()):
                yield from (_some_part(name, test) for test in self._tests(one))

    def _elements(self, element: ProfileElement, steps: tuple[tuple[str, str], ...]) -> Iterator[ProfileElement]:
        """What the slice says at a path: of the element, of its slices, and in the profile of its type."""
        if not steps:
            yield element
            return
        (kind, name), rest = steps[0], steps[1:]
        if kind in ("resolve", "ofType", "this"):
            yield from self._elements(element, rest)
            return
        for root in (element, *self._profile_roots(element)):
            if kind == "extension":
                children = [child for child in _children(root, "extension") if _is_extension(child, name)]
            else:
                children = list(_children(root, name))
            for child in children:
                yield from self._elements(child, rest)

    def _profile_roots(self, element: ProfileElement) -> Iterator[ProfileElement]:
        for type in element.types:
            for url in (*type.profiles, *type.targets):
                profile = self.profiles.get(url)
                if profile is not None:
                    yield profile.root

    def _is_of_type(self, item: Item, slice: ProfileElement, steps: tuple[tuple[str, str], ...]) -> bool:
        if [kind for kind, _ in steps if kind != "this"] == ["resolve"]:
            parts = literal(str(item.content.get("reference")))
            targets = {self.profiles.type_of(url) for type in slice.types for url in type.targets}
            return parts is not None and parts.type in targets
        elements = list(self._elements(slice, steps))
        allowed = {type.code for element in elements for type in element.types}
        if not steps or steps == (("this", "$this"),):
            return item.type in allowed
        key = steps[-1][1]
        return any(name.removeprefix(key).casefold() in {code.casefold() for code in allowed} for name in item.content)


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[tuple[str, str], ...]:
    """(kind, name) of each step: this, name, extension (its url), ofType or resolve."""
    found: list[tuple[str, str]] = []
    for step in _STEP.finditer(path):
        if step["call"]:
            found.append((step["call"], step["argument"].strip("'\"")))
        elif step["name"] == "$this":
            found.append(("this", "$this"))
        else:
            found.append(("name", step["name"]))
    return tuple(found)


def _children(element: ProfileElement, name: str) -> Iterator[ProfileElement]:
    for key in (name, f"{name}[x]"):
        child = element.children.get(key)
        if child is not None:
            yield child
            yield from child.slices.values()


def _is_extension(child: ProfileElement, url: str) -> bool:
    if any(url in type.profiles for type in child.types):
        return True
    own = child.children.get("url")
    return own is not None and own.fixed == url


def _some_part(name: str, test: Ask) -> Ask:
    return lambda value: any(test(part) for part in _named(value, name))


def _is_pinned(element: ProfileElement) -> bool:
    """True when something below has a fixed value or a pattern."""
    return any(one.fixed is not None or one.pattern is not None for _, one in element.walk(""))


def _values(item: Item, steps: tuple[tuple[str, str], ...]) -> list[Any]:
    """What stands at a path below an item; the item itself for `$this`."""
    found: list[Any] = [item.content if item.value is None else item.value]
    for kind, name in steps:
        if kind == "name":
            found = [one for value in found for one in _named(value, name)]
        elif kind == "extension":
            found = [one for value in found for one in _named(value, "extension") if one.get("url") == name]
    return [value for value in found if value is not None]


def _named(value: Any, name: str) -> Iterator[Any]:
    """The values of a child, those of a choice by the name without its type."""
    if not isinstance(value, dict):
        return
    name = name.removesuffix("[x]")
    for key, found in value.items():
        if key == name or (key.startswith(name) and key[len(name) : len(name) + 1].isupper()):
            yield from found if isinstance(found, list) else (found,)


# --- values


def is_equal(value: Any, fixed: Any) -> bool:
    """Exactly equal, as fixed[x] asks: same members, same order in lists; numbers by value."""
    if isinstance(value, dict) and isinstance(fixed, dict):
        return value.keys() == fixed.keys() and all(is_equal(value[key], fixed[key]) for key in fixed)
    if isinstance(value, list) and isinstance(fixed, list):
        return len(value) == len(fixed) and all(is_equal(one, other) for one, other in zip(value, fixed, strict=True))
    return _is_same(value, fixed)


def has_pattern(value: Any, pattern: Any) -> bool:
    """At least what pattern[x] has: each member, and for each item of a list some item that has it."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in value and has_pattern(value[key], pattern[key]) for key in pattern
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(has_pattern(one, part) for one in value) for part in pattern)
    return _is_same(value, pattern)


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, int | float | Decimal) and isinstance(other, int | float | Decimal):
        return isinstance(one, bool) is isinstance(other, bool) and one == other
    return type(one) is type(other) and bool(one == other)


def codes(value: Any) -> Iterator[tuple[str | None, str]]:
    """(system, code) of a code, Coding, CodeableConcept or Quantity; a bare code has no system."""
    if isinstance(value, str):
        yield None, value
    elif isinstance(value, dict):
        for one in value["coding"] if isinstance(value.get("coding"), list) else (value,):
            if isinstance(one, dict) and isinstance(one.get("code"), str):
                system = one.get("system")
                yield system if isinstance(system, str) else "", one["code"]
