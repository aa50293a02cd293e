"""The durable short names of the search index: two characters a parameter, a number a code system."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class UnknownSystems(Exception):
    """Some system URIs have no number yet. The writer interns them (`store.registry`) and builds the keys again."""

    def __init__(self, uris: Iterable[str]) -> None:
        self.uris = frozenset(uris)
        super().__init__(f"{len(self.uris)} systems without a number")


@dataclass(slots=True)
class Registry:
    """A snapshot of the registry kept in the database, shared by all requests of a process and only ever added to.

    letters: {(resource type, parameter code): two characters}. Two characters always, so that no parameter's keys are
    a prefix of another's. systems: {URI after normalisation: number}. pending: the letters of a newer generation that
    is being built, {(type, code): two characters}; both are written until the re-index ends. taken_up: the announcement
    (`Store.announced`) until which this process has taken up the definitions and packages of the others.
    """

    letters: dict[tuple[str, str], str] = field(default_factory=dict)
    systems: dict[str, int] = field(default_factory=dict)
    pending: dict[tuple[str, str], str] = field(default_factory=dict)
    generation: int = 1
    taken_up: int = 0

    def numbers(self, uris: Iterable[str]) -> Mapping[str, int]:
        """The number of each URI. Raises UnknownSystems for those that have none."""
        wanted = set(uris)
        missing = wanted - self.systems.keys()
        if missing:
            raise UnknownSystems(missing)
        return {uri: self.systems[uri] for uri in wanted}
