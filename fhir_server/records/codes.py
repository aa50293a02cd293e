"""The code lists and code maps that mapping rows name, as they were on the day of the record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any

from fhir_server.terminology.code_systems import CodeSystem
from fhir_server.terminology.concept_maps import ConceptMap, Match
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.validate_code import NEIGHBOURS, named

Coding = Mapping[str, Any]


class Codes:
    """Lists by the name that rows use. families: name -> ids of the code systems that succeeded each other
    (`province`: those before and after 2025-07-01), under one URL or two; a name without a family is the id of its
    one code system."""

    def __init__(self, terminology: Terminology, families: Mapping[str, tuple[str, ...]]) -> None:
        self._terminology = terminology
        self._families = families
        # One process maps thousands of records with the same few hundred codes.
        self.find = lru_cache(maxsize=65_536)(self._find)
        self.by_name = lru_cache(maxsize=16_384)(self._by_name)
        self.translate = lru_cache(maxsize=16_384)(self._translate)
        self.neighbours = lru_cache(maxsize=4_096)(self._near)
        self._system = lru_cache(maxsize=4_096)(self._choose)

    def _choose(self, list: str, on: date | None) -> CodeSystem:
        """The code system in force on a day; the last one known when none was. Raises KeyError for an unknown name."""
        found = None
        for id in self._families.get(list, (list,)):
            system = self._terminology.code_system(id)
            if system is None:
                raise KeyError(f"no code system {id!r}")
            found = system
            if on is not None and system.period.holds(on):
                return system
        if found is None:
            raise KeyError(f"no code system for the list {list!r}")
        return found

    def uri(self, list: str, on: date | None) -> str:
        return self._system(list, on).url

    def uris(self, list: str) -> frozenset[str]:
        """The URIs of a list in all its times."""
        return frozenset(system.url for system in self._all(list))

    def sources_of(self, map: str) -> tuple[str, ...]:
        """Every code that a concept map translates, in its order. Raises KeyError for an unknown map."""
        found = self._terminology.concept_map(map)
        if found is None:
            raise KeyError(f"no concept map {map!r}")
        return tuple(code for group in found.groups for code in group.matches)

    def title(self, list: str) -> str:
        return self._system(list, None).title

    def complete(self, list: str, on: date | None) -> bool:
        """True when a code that the list does not have is wrong: the list is complete and was in force."""
        system = self._system(list, on)
        return system.complete and system.period.holds(on)

    def _near(self, list: str, found: str, on: date | None) -> str:
        """The nearest codes to one that the list does not have, for people: `14758 (Phường Hàm Rồng)`."""
        system = self._system(list, on)
        return ", ".join(map(named, system.neighbours(found, NEIGHBOURS)))

    def _find(self, list: str, code: str, on: date | None) -> Coding | None:
        """The Coding of a code. One that only an earlier list of the family has is of that list: senders go on with
        codes of before; a code that both have is of the list in force. Versions of one URL are no such family: there
        a code of before cannot be told from one of today."""
        chosen = self._system(list, on)
        earlier = (system for system in reversed(self._all(list)) if system.url != chosen.url)
        for system in (chosen, *earlier):
            concept = system.get(code)
            if concept is not None:
                return system.coding(concept).resource()
            if system.period.start is None and system is chosen:
                break  # the day is before the family's last change: later codes were not known then
        return None

    def _all(self, list: str) -> tuple[CodeSystem, ...]:
        found = (self._terminology.code_system(id) for id in self._families.get(list, (list,)))
        return tuple(system for system in found if system is not None)

    def _by_name(self, list: str, name: str, on: date | None) -> Coding | None:
        """The Coding of a name after folding, or of the code itself; None when none or several bear it."""
        system = self._system(list, on)
        concept = system.get(name) or system.find(name)
        return system.coding(concept).resource() if concept is not None else None

    def _translate(self, map: str, code: str, on: date | None) -> list[Coding]:
        """What a concept map makes of a code, best first; [] for none, and for a code that its list came to have at
        another time. Raises KeyError for an unknown map."""
        found = self._terminology.concept_map(map)
        if found is None:
            raise KeyError(f"no concept map {map!r}")
        whole = (
            {"system": one.system, "code": one.code, "display": one.display} for one in self._matches(found, code, on)
        )
        return [{name: value for name, value in coding.items() if value} for coding in whole]

    def _matches(self, map: ConceptMap, code: str, on: date | None) -> list[Match]:
        found: list[Match] = []
        for source in map.sources:
            system = self._terminology.code_system(source, on)
            if system is None or not system.period.holds(on) or system.has(code) is not False:
                found += map.matches(code, source)
        return sorted(found, key=lambda match: match.rank)

    def allowed(self, map: str) -> str:
        """The codes that a map takes, for people: `1 (Nam), 2 (Nữ)`."""
        found = self._terminology.concept_map(map)
        names = []
        for url in found.sources if found else ():
            system = self._terminology.code_system(url)
            if system is not None:
                names += [f"{one.code} ({one.display})" for one in system.concepts.values()]
        return ", ".join(names[:40])
