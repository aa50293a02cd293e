"""What the compilation of a search value may look up: numbers of systems, expansions, the zone, the time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from fhir_server.definitions.search_params import SearchParameter
from fhir_server.errors import FhirError, Kind
from fhir_server.model.registry import Registry
from fhir_server.search.path import Path

if TYPE_CHECKING:
    from fhir_server.search.tree import Leaf

# (system, code) pairs of a value set or of a part of a hierarchy; system "" for none.
Codes = Iterable[tuple[str, str]]
# `in`, `below` or `above`, and the value as it stands in the query: a value set's URL, or `system|code`.
Expand = Callable[[str, str], Codes]


# The same for a server: what a value stands for may have to be read first.
ReadCodes = Callable[[str, str], Awaitable[Codes]]


class Unexpanded(Exception):  # it says what happened
    """A value stands for codes that have not been read: the executor reads them and compiles again. place: the
    parameter with its modifier, for what is told of a value that stands for none."""

    place: str = ""

    def __init__(self, modifier: str, value: str) -> None:
        super().__init__(f":{modifier} {value[:200]!r}")
        self.modifier = modifier
        self.value = value


def expanded(read: Mapping[tuple[str, str], Codes]) -> Expand:
    """The Expand that gives what has been read, by modifier and value, and raises Unexpanded for the rest."""

    def expand(modifier: str, value: str) -> Codes:
        if (modifier, value) not in read:
            raise Unexpanded(modifier, value)
        return read[modifier, value]

    return expand


def no_codes(modifier: str, value: str) -> Codes:
    """The Expand of a server without terminology. Raises FhirError(UNSUPPORTED_PARAMETER)."""
    raise FhirError(Kind.UNSUPPORTED_PARAMETER, f":{modifier} needs a code system or value set for {value[:200]!r}")


def identity(uri: str) -> str:
    return uri


@dataclass(frozen=True, slots=True)
class Home:
    """A parameter with whose letters values are kept: those that point at the resource type `target` when it is given,
    all others when it is None."""

    code: str
    target: str | None = None


# The homes of a parameter of a type; never none.
HomesOf = Callable[[str, str], tuple[Home, ...]]


def at_home(type: str, code: str) -> tuple[Home, ...]:
    """Every parameter keeps its own keys."""
    return (Home(code),)


@dataclass(frozen=True, slots=True)
class Setting:
    """What key makers need beside the value: the same on the index side as on the query side."""

    zone: str
    base: str
    canonical_system: Callable[[str], str] = identity


class Lookup(msgspec.Struct, frozen=True):
    """zone: of dates without one. base: the server's own URL, without a trailing slash. now: ms since the epoch, for
    `ap`. paths: what a parameter's expression can yield (`Extractor.paths`). canonical_system: makes the known URIs of
    one naming system one. component: the parameter that a component of a composite stands for (`Extractor.component`).
    absent: systems that the database is known not to have. homes: where the keys of a parameter are
    kept (`Extractor.homes`).
    """

    registry: Registry
    zone: str
    base: str
    now: int
    paths: Callable[[str, SearchParameter], tuple[Path, ...]]
    component: Callable[[str, SearchParameter, int], SearchParameter]
    expand: Expand = no_codes
    canonical_system: Callable[[str], str] = identity
    absent: frozenset[str] = frozenset()
    homes: HomesOf = at_home

    def number(self, system: str) -> str | None:
        """The number of a system as it stands in keys, None for one that no stored resource has.

        Raises UnknownSystems for a system that this process has not met: the executor asks the database, adds what that
        does not know either to `absent`, and compiles again.
        """
        uri = self.canonical_system(system)
        if uri in self.absent:
            return None
        return str(self.registry.numbers((uri,))[uri])

    def letters(self, type: str, code: str, target: str | None = None) -> str:
        """What the keys of a parameter's values that point at a resource type begin with."""
        homes = self.homes(type, code)
        home = next((home for home in homes if home.target == target), homes[0])
        return self.registry.letters[type, home.code]

    @property
    def setting(self) -> Setting:
        return Setting(self.zone, self.base, self.canonical_system)


def unusable(param: str, value: str, why: str) -> FhirError:
    """A value that a parameter cannot be searched by."""
    return FhirError(Kind.INVALID, f"{param}: {value[:100]!r} {why}", (param,))


def unknown_modifier(leaf: Leaf) -> FhirError:
    code = leaf.param.code
    return FhirError(
        Kind.UNSUPPORTED_PARAMETER, f"{code} ({leaf.param.type}) has no modifier ':{leaf.modifier}'", (code,)
    )
