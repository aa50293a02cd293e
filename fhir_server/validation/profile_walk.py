"""One resource on its way through the checks of a profile: what they may ask for, and where faults go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from fhir_server.validation.elements import Item
from fhir_server.validation.items import Environment
from fhir_server.validation.places import Place, render

# (value set, system, code) → is it in; None when that cannot be told.
Membership = Callable[[str, str | None, str], bool | None]
# (value set, system, code) → the codes that may have been meant, as one text in English and one in Vietnamese.
Neighbours = Callable[[str, str | None, str], tuple[str, str]]


class Known(msgspec.Struct, frozen=True):
    """What is known of codes at the time of asking."""

    membership: Membership = lambda value_set, system, code: None
    neighbours: Neighbours = lambda value_set, system, code: ("", "")


class Told(Protocol):
    """Where faults go: a Report, or a Probe that only wants to know whether there are any."""

    def tell(self, kind: str, path: str, **facts: Any) -> None: ...

    def warn(self, kind: str, path: str, **facts: Any) -> None: ...

    def inform(self, kind: str, path: str, **facts: Any) -> None: ...


class Probe(msgspec.Struct):
    """Notes that there was an error, and nothing else."""

    failed: bool = False

    def tell(self, kind: str, path: str, **facts: Any) -> None:
        self.failed = True

    def warn(self, kind: str, path: str, **facts: Any) -> None:
        """A warning is no failure."""

    inform = warn


class Walk(msgspec.Struct, frozen=True):
    """One resource being held against one profile."""

    name: str
    environment: Environment
    report: Told
    known: Known

    def tell(self, kind: str, place: Place, **facts: Any) -> None:
        self.report.tell(kind, render(place), profile=self.name, **facts)

    def warn(self, kind: str, place: Place, **facts: Any) -> None:
        self.report.warn(kind, render(place), profile=self.name, **facts)

    def inform(self, kind: str, place: Place, **facts: Any) -> None:
        self.report.inform(kind, render(place), profile=self.name, **facts)


ItemCheck = Callable[[Item, Walk], None]
