"""Which types a profile allows, compiled: those of a choice, the profiles of types, and what references may name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_server.definitions.load import Definitions
from fhir_server.definitions.profiles import Profiles, ProfileType
from fhir_server.definitions.structures import Element
from fhir_server.model.references import literal
from fhir_server.validation.elements import Item
from fhir_server.validation.items import Environment, around, inside
from fhir_server.validation.profile_walk import ItemCheck, Known, Probe, Walk

if TYPE_CHECKING:
    from fhir_server.validation.profile_checks import Root

# Profiles say so where any type or resource will do.
_ANY = frozenset({"Element", "Resource"})
_ANY_TARGET = frozenset({None, "Resource", "DomainResource"})


@dataclass(frozen=True)
class TypeChecks:
    """root: the compiled profile of a canonical, None when it is not loaded."""

    definitions: Definitions
    profiles: Profiles
    root: Callable[[str], Root | None]

    def checks(self, types: tuple[ProfileType, ...], element: Element) -> Iterator[ItemCheck]:
        """What a profile's types of an element ask beyond R4's own: nothing, or one check."""
        if not types:
            return
        by_type = {one.code: self._of_type(types, one.code) for one in element.types}
        if by_type and not any(by_type.values()):
            return
        made = {code: tuple(checks) for code, checks in by_type.items()}

        def check(item: Item, walk: Walk) -> None:
            checks = made.get(item.type)
            if checks is None:
                checks = made[item.type] = tuple(self._of_type(types, item.type))
            for one in checks:
                one(item, walk)

        yield check

    def _of_type(self, types: tuple[ProfileType, ...], type: str) -> list[ItemCheck]:
        fitting = [one for one in types if one.code == type or one.code in _ANY]
        if not fitting:
            return [_refuse(", ".join(dict.fromkeys(one.code for one in types)))]
        found: list[ItemCheck] = []
        profiles = [url for one in fitting for url in one.profiles]
        if profiles and all(one.profiles for one in fitting) and all(map(self.profiles.get, profiles)):
            found.append(self._profiled(profiles))
        targets = [url for one in fitting for url in one.targets]
        allowed = {self.profiles.type_of(url) for url in targets}
        if targets and type == "Reference" and not allowed & _ANY_TARGET:
            found.append(self._target(targets, frozenset(name for name in allowed if name)))
        return found

    def _profiled(self, canonicals: Sequence[str]) -> ItemCheck:
        """The value satisfies one of them. (Where one is not loaded, none can be told to be broken.)"""
        names = ", ".join(canonical.rpartition("/")[2] for canonical in canonicals)

        def check_only(item: Item, walk: Walk) -> None:
            root = self.root(canonicals[0])
            if root is not None:
                root.check(item, walk.environment, walk.report, walk.known)

        def check_any(item: Item, walk: Walk) -> None:
            if not any(self.conforms(item, canonical, walk.environment, walk.known) for canonical in canonicals):
                walk.tell("profile-type", item.place, found=item.type, allowed=names)

        return check_only if len(canonicals) == 1 else check_any

    def conforms(self, item: Item, canonical: str, environment: Environment, known: Known) -> bool:
        root = self.root(canonical)
        probe = Probe()
        if root is not None:
            root.check(item, environment, probe, known)
        return root is not None and not probe.failed

    def _target(self, targets: Sequence[str], allowed: frozenset[str]) -> ItemCheck:
        """What a reference names by its own text, and a resource inside this one itself."""
        all_loaded = all(self.profiles.get(url) is not None for url in targets)
        types = ", ".join(sorted(allowed))
        names = ", ".join(url.rpartition("/")[2] for url in targets)

        def check(item: Item, walk: Walk) -> None:
            text = item.content.get("reference")
            if not isinstance(text, str):
                return
            target = inside(text, walk.environment)
            if target is None and text.partition("/")[0] in allowed:
                return
            parts = literal(text) if target is None else None
            found = target["resourceType"] if target else parts.type if parts and parts.base is None else None
            if found is not None and found not in allowed:
                walk.tell("profile-target", (item.place, "reference", None), found=found, allowed=types)
            elif target is not None and all_loaded:
                type = target["resourceType"]
                one = Item(target, None, type, (type, ""), item.place)
                environment = around(target, walk.environment)
                if not any(self.conforms(one, url, environment, walk.known) for url in targets):
                    walk.tell("profile-target", (item.place, "reference", None), found=text, allowed=names)

        return check


def _refuse(allowed: str) -> ItemCheck:
    return lambda item, walk: walk.tell("profile-type", item.place, found=item.type, allowed=allowed)
