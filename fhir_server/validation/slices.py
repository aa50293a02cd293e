"""Which slice an item belongs to: discriminators by value, pattern, exists, type, profile. R4 Profiling FHIR."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fhir_server.definitions.profiles import Discriminator, ProfileElement, Profiles
from fhir_server.model.references import literal
from fhir_server.model.resources import Resource
from fhir_server.validation.elements import Item
from fhir_server.validation.items import Environment, around, inside
from fhir_server.validation.patterns import codes, has_pattern, is_equal
from fhir_server.validation.profile_walk import Probe, Walk
from fhir_server.validation.questions import CannotTellError

if TYPE_CHECKING:
    from fhir_server.validation.profile_checks import Root

# One thing that a slice asks of a value.
Ask = Callable[[Any, Walk], bool]

_STEP = re.compile(
    r"\.?(?:(?P<call>extension|ofType|resolve)\((?P<argument>[^)]*)\)|(?P<name>\$?[A-Za-z][A-Za-z0-9]*))"
)


Steps = tuple[tuple[str, str], ...]
# Whether an item is in a slice, and the place of the slice that an item is in (None: in none of them).
IsIn = Callable[[Item, Walk], bool]
Classify = Callable[[Item, Walk], int | None]
# The places of the slices that the items are in; None where only a reference that cannot be followed would tell.
Places = Callable[[list[Item], Walk], list[int | None] | None]
# The items of an element, the place of the slice that each is in.
OrderCheck = Callable[[list[Item], list[int | None], Walk], None]


@dataclass(frozen=True)
class Slicer:
    """Compiles slicings. root: the compiled profile of a canonical, None when it is not loaded."""

    profiles: Profiles
    root: Callable[[str], Root | None]

    def places(self, node: ProfileElement, conforms: Mapping[str, IsIn], problems: list[str]) -> Places:
        """Which slices of an element its items are in, each in the first that it fits.

        conforms: by slice name whether an item satisfies the slice's own rules, which tells where there is no
        discriminator. problems: gets what makes a slice impossible to tell.
        """
        classify = self._classify(node, conforms, problems)

        def places(items: list[Item], walk: Walk) -> list[int | None] | None:
            try:
                return [classify(item, walk) for item in items]
            except CannotTellError:
                return None

        return places

    def _classify(self, node: ProfileElement, conforms: Mapping[str, IsIn], problems: list[str]) -> Classify:
        discriminators = node.slicing.discriminators if node.slicing else ()
        table = self._table(node, discriminators)
        if table is not None:
            return table
        tests: list[tuple[IsIn, ...] | None] = []
        for name, slice in node.slices.items():
            if not discriminators:
                tests.append((conforms[name],))
                continue
            told = [test for one in discriminators if (test := self._test(slice, one)) is not None]
            if len(told) < len(discriminators):
                problems.append(f"the slice {node.name}:{name} is not told by each of its discriminators")
            tests.append(tuple(told) or None)
        found = tuple((number, some) for number, some in enumerate(tests) if some is not None)

        def classify(item: Item, walk: Walk) -> int | None:
            return next((number for number, some in found if all(test(item, walk) for test in some)), None)

        return classify

    def _table(self, node: ProfileElement, discriminators: tuple[Discriminator, ...]) -> Classify | None:
        """A look-up, for the commonest slicing: by one text, such as `system` or `url`, that each slice fixes."""
        if len(discriminators) != 1 or discriminators[0].type not in ("value", "pattern"):
            return None
        steps = _steps(discriminators[0].path)
        if len(steps) != 1 or steps[0][0] != "name":
            return None
        places: dict[str, int] = {}
        for number, slice in enumerate(node.slices.values()):
            texts = self._texts(slice, steps)
            if texts is None:
                return None
            for text in texts:
                places.setdefault(text, number)
        key = steps[0][1]

        def classify(item: Item, walk: Walk) -> int | None:
            value = item.content.get(key)
            return places.get(value) if isinstance(value, str) else None

        return classify

    def _texts(self, slice: ProfileElement, steps: Steps) -> frozenset[str] | None:
        """The texts of which a slice's value must be one; None where it is told in another way."""
        elements = list(self._elements(slice, steps))
        pinned = [one.fixed if one.fixed is not None else one.pattern for one in elements]
        if len(pinned) == 1 and isinstance(pinned[0], str):
            return frozenset({pinned[0]})
        urls = _profile_urls(slice)
        return urls if urls and not elements and steps == (("name", "url"),) else None

    def _test(self, slice: ProfileElement, one: Discriminator) -> IsIn | None:
        """What a discriminator asks of an item of a slice; None when the slice says nothing at its path."""
        steps = _steps(one.path)
        if one.type == "type":
            return self._by_type(slice, steps)
        if one.type == "profile":
            types = [type for element in self._elements(slice, steps) for type in element.types]
            urls = tuple(url for type in types for url in (*type.profiles, *type.targets))
            return self._by_profile(urls, steps) if urls else None
        if one.type == "exists":
            wanted = not any(element.max == 0 for element in self._elements(slice, steps))
            return lambda item, walk: bool(_values(item, steps, walk)) is wanted
        asked = tuple(self._asks(slice, steps))
        if not asked:
            return None

        def by_value(item: Item, walk: Walk) -> bool:
            found = _values(item, steps, walk)
            return all(any(ask(value, walk) for value in found) for ask in asked)

        return by_value

    def _by_profile(self, urls: tuple[str, ...], steps: Steps) -> IsIn:
        """What stands at the path, or the resource inside this one that it refers to, satisfies one of the profiles."""

        def satisfies(value: Any, item: Item, root: Root, walk: Walk) -> bool:
            is_followed = bool(steps) and steps[-1][0] == "resolve"
            if is_followed and _type_referred_to(value, walk) not in root.types:
                return False
            found = _followed(value, walk) if is_followed else _referred(value, walk) or value
            environment, probe = walk.environment, Probe()
            if isinstance(found, dict) and "resourceType" in found:
                type = found["resourceType"]
                environment = Environment(found, found) if found is value else around(found, environment)
                item = Item(found, None, type, (type, ""), item.place)
            elif value is not item.value:
                item = Item(value, None, root.profile.type, (root.profile.type, ""), item.place)
            root.check(item, environment, probe, walk.known)
            return not probe.failed

        def conforms(item: Item, walk: Walk) -> bool:
            roots = [root for url in urls if (root := self.root(url)) is not None]
            found = _values(item, _unresolved(steps), walk)
            return any(satisfies(value, item, root, walk) for value in found for root in roots)

        return conforms

    def _asks(self, slice: ProfileElement, steps: Steps) -> Iterator[Ask]:
        """By value or pattern: fixed, pattern or required binding of the slice at the path, or an extension's url."""
        found = [ask for element in self._elements(slice, steps) for ask in self._tests(element)]
        urls = _profile_urls(slice)
        if not found and urls and steps == (("name", "url"),):
            yield lambda value, walk: value in urls
        yield from found

    def _tests(self, element: ProfileElement) -> Iterator[Ask]:
        if element.fixed is not None:
            yield lambda value, walk: is_equal(value, element.fixed)
        elif element.pattern is not None:
            yield lambda value, walk: has_pattern(value, element.pattern)
        elif element.binding is not None and element.binding.strength == "required":
            bound = element.binding.value_set
            yield lambda value, walk: any(
                walk.known.membership(bound, system, code) is True for system, code in codes(value)
            )
        elif element.children or element.slices:
            yield from (self._below(element)) if _is_pinned(element) else ()

    def _below(self, element: ProfileElement) -> Iterator[Ask]:
        """A complex value that is pinned by its children: `coding` with fixed system and code."""
        for name, child in element.children.items():
            for one in (child, *child.slices.values()):
                yield from (_some_part(name, test) for test in self._tests(one))

    def _elements(self, element: ProfileElement, steps: Steps) -> Iterator[ProfileElement]:
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
            if not children and kind == "name":
                yield from _pinned_below(root, steps)

    def _profile_roots(self, element: ProfileElement) -> Iterator[ProfileElement]:
        for type in element.types:
            for url in (*type.profiles, *type.targets):
                profile = self.profiles.get(url)
                if profile is not None:
                    yield profile.root

    def _by_type(self, slice: ProfileElement, steps: Steps) -> IsIn:
        """The type of what stands at the path, a choice or a resource, or of what is referred to there."""
        types = [type for element in self._elements(slice, steps) for type in element.types]
        codes = {type.code for type in types}
        *above, (kind, name) = steps or (("this", "$this"),)
        if kind == "resolve":
            targets = {self.profiles.type_of(url) for type in types for url in type.targets}
            return lambda item, walk: any(
                _type_referred_to(value, walk) in targets for value in _values(item, tuple(above), walk)
            )
        if kind == "this":
            return lambda item, walk: item.type in codes
        keys = {name + code[0].upper() + code[1:] for code in codes}

        def is_of_type(item: Item, walk: Walk) -> bool:
            parents = [value for value in _values(item, tuple(above), walk) if isinstance(value, dict)]
            resources = (value for parent in parents for value in _named(parent, name) if isinstance(value, dict))
            return any(not keys.isdisjoint(parent) for parent in parents) or any(
                value.get("resourceType") in codes for value in resources
            )

        return is_of_type


def _referred(value: Any, walk: Walk) -> Resource | None:
    """The resource inside the one around it that a value refers to."""
    text = value.get("reference") if isinstance(value, dict) else None
    return inside(text, walk.environment) if isinstance(text, str) else None


def _followed(value: Any, walk: Walk) -> Resource | None:
    """The same; raises CannotTellError for a reference to what is not inside."""
    found = _referred(value, walk)
    if found is None and isinstance(value, dict) and "reference" in value:
        raise CannotTellError(value["reference"])
    return found


def _type_referred_to(value: Any, walk: Walk) -> str | None:
    """Raises CannotTellError where the reference does not say it, as `urn:uuid:` does not."""
    inside = _referred(value, walk)
    if inside is not None:
        return str(inside["resourceType"])
    text = value.get("reference") if isinstance(value, dict) else None
    if not isinstance(text, str):
        return None
    parts = literal(text)
    if parts is None:
        raise CannotTellError(text)
    return parts.type


def order_check(rules: str, ordered: bool, allowed: str) -> OrderCheck | None:
    """closed: every item in a slice; openAtEnd: those in none come last; ordered: slices one after another."""
    if rules == "open" and not ordered:
        return None

    def check(items: list[Item], places: list[int | None], walk: Walk) -> None:
        last = -1
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

    return check


def _pinned_below(element: ProfileElement, steps: Steps) -> Iterator[ProfileElement]:
    """What the fixed value or pattern of an element says at a path below it."""
    values = [element.pattern if element.fixed is None else element.fixed]
    for kind, name in steps:
        values = [one for value in values for one in _named(value, name)] if kind == "name" else values
    yield from (ProfileElement(steps[-1][1], fixed=value) for value in values if value is not None)


def _profile_urls(slice: ProfileElement) -> frozenset[str]:
    return frozenset(url.partition("|")[0] for type in slice.types for url in type.profiles)


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
    return lambda value, walk: any(test(part, walk) for part in _named(value, name))


def _is_pinned(element: ProfileElement) -> bool:
    """True when something below has a fixed value or a pattern."""
    return any(one.fixed is not None or one.pattern is not None for _, one in element.walk(""))


def _unresolved(steps: Steps) -> Steps:
    """The path to the references that its last step would follow."""
    return steps[:-1] if steps and steps[-1][0] == "resolve" else steps


def _values(item: Item, steps: Steps, walk: Walk) -> list[Any]:
    """What stands at a path below an item, references followed to what is inside; the item itself for `$this`."""
    found: list[Any] = [item.content if item.value is None else item.value]
    for kind, name in steps:
        if kind == "name":
            found = [one for value in found for one in _named(value, name)]
        elif kind == "extension":
            found = [one for value in found for one in _named(value, "extension") if one.get("url") == name]
        elif kind == "resolve":
            found = [_followed(value, walk) for value in found]
    return [value for value in found if value is not None]


def _named(value: Any, name: str) -> Iterator[Any]:
    """The values of a child, those of a choice by the name without its type."""
    if not isinstance(value, dict):
        return
    name = name.removesuffix("[x]")
    for key, found in value.items():
        if key == name or (key.startswith(name) and key[len(name) : len(name) + 1].isupper()):
            yield from found if isinstance(found, list) else (found,)
