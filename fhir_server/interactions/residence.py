"""Where a person lives, as the administrative units of both eras that certainly hold the address.

On 2025-07-01 the districts were abolished and wards and provinces merged, and codes of the old units were given to new
ones; so a unit is named with its list: `ward:14797`, `district-legacy:380`, `province:38`. A unit before or after the
recorded one counts only when it is the only possible one: of a ward that was divided nobody can tell the part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from fhir_server.model.resources import Resource
from fhir_server.terminology.load import Terminology
from fhir_server.terminology.translate import predecessors, successors

WARD, PROVINCE = "ward", "province"
WARD_BEFORE, DISTRICT_BEFORE, PROVINCE_BEFORE = "ward-legacy", "district-legacy", "province-legacy"
LISTS = (WARD, PROVINCE, WARD_BEFORE, DISTRICT_BEFORE, PROVINCE_BEFORE)
COUNTRY = "country:VN"
Unit = tuple[str, str]  # (list, code)


def unit_lists(root: Path) -> Iterator[bytes]:
    """All that the units of a residence are told by: the lists, and what became of each unit. root: of the data."""
    for name in LISTS:
        yield (root / "terminology" / "code_systems" / f"{name}.json").read_bytes()
    for name in ("ward", "district", "province"):
        yield (root / "terminology" / "concept_maps" / f"{name}-succession.json").read_bytes()


class Residence(msgspec.Struct, frozen=True):
    """ward: code of the ward of today; units: `list:code` of all that hold the address."""

    ward: str | None = None
    units: tuple[str, ...] = ()


NOWHERE = Residence()


class Residences:
    """Reads residences. elements: list family (`ward`, `district`, `province`) to the URLs of its extensions. systems:
    URIs of other guides to our lists."""

    def __init__(self, terminology: Terminology, elements: Mapping[str, Any], systems: Mapping[str, str]) -> None:
        self._terminology = terminology
        self._family = {url: family for family, urls in elements.items() for url in urls}
        self._systems = {**{self._url(name): name for name in LISTS}, **systems}
        self._around = lru_cache(maxsize=20_000)(self._look_around)

    def _url(self, name: str) -> str:
        found = self._terminology.entry("CodeSystem", name)
        return found.head.url if found else name

    def unit(self, text: str) -> str | None:
        """`ward:14797`, also for `<URI of the list>|14797`; None for what names no unit that is known."""
        if text == COUNTRY:
            return text
        system, bar, code = text.rpartition("|")
        name = self._systems.get(system) if bar else text.partition(":")[0]
        code = code if bar else text.partition(":")[2]
        return f"{name}:{code}" if name in LISTS and self._terminology.knows(self._url(name), code) else None

    def of(self, patient: Resource) -> Residence:
        """The residence by the first address in force that names a ward; else by the first that names any unit."""
        addresses = [list(self._coded(address)) for address in patient.get("address") or () if _in_force(address)]
        chosen = next((units for units in addresses if any(name in (WARD, WARD_BEFORE) for name, _ in units)), None)
        chosen = chosen or next((units for units in addresses if units), None)
        if not chosen:
            return NOWHERE
        units = tuple(dict.fromkeys(unit for one in chosen for unit in self._around(one)))
        wards = [code for name, code in units if name == WARD]
        return Residence(wards[0] if wards else None, tuple(f"{name}:{code}" for name, code in units))

    def _coded(self, address: Resource) -> Iterator[Unit]:
        for extension in _nested(address.get("extension") or []):
            family = self._family.get(extension.get("url", ""))
            coding = _coding(extension)
            if family and coding.get("code"):
                name = self._list_of(family, coding.get("system"), coding["code"])
                if name is not None:
                    yield name, coding["code"]

    def _list_of(self, family: str, system: str | None, code: str) -> str | None:
        """The list that a coding is of. Without a system it is the list of today, where that knows the code."""
        if system is not None:
            return self._systems.get(system)
        name = family if family in LISTS else f"{family}-legacy"
        return name if self._terminology.knows(self._url(name), code) else None

    def _look_around(self, unit: Unit) -> tuple[Unit, ...]:
        """The unit and those above it, of its own era, and those of the other era that hold all of it."""
        own = self._upwards(unit)
        others = [self._upwards(other) for other in self._across(unit)]
        shared = [one for one in others[0] if all(one in rest for rest in others)] if others else []
        if not shared and own[-1][0] == PROVINCE_BEFORE:
            shared = list(self._across(own[-1]))
        return tuple(dict.fromkeys((*own, *shared)))

    def _across(self, unit: Unit) -> Iterable[Unit]:
        """The units of the other era that hold all or a part of it."""
        step = predecessors if unit[0] in (WARD, PROVINCE) else successors
        found = step(self._terminology, self._url(unit[0]), unit[1])
        return [(self._systems[one.system], one.code) for one in found if one.system in self._systems]

    def _upwards(self, unit: Unit) -> list[Unit]:
        """The unit, then what its own list says is above it."""
        name, code = unit
        found = self._terminology.code_system(name)
        concept = found.get(code) if found else None
        above = [unit]
        for level in ("district", "province"):
            list_name = level if name == WARD else f"{level}-legacy"
            above += [(list_name, str(value)) for value in (concept.values(level) if concept else ())]
        return above


def _in_force(address: Resource) -> bool:
    return address.get("use") != "old" and "end" not in (address.get("period") or {})


def _nested(extensions: list[Resource]) -> Iterator[Resource]:
    for extension in extensions:
        yield extension
        yield from _nested(extension.get("extension") or [])


def _coding(extension: Resource) -> Resource:
    """The first coding of an extension's value, be it a code, a Coding or a CodeableConcept."""
    for name in ("valueCode", "valueString"):
        if name in extension:
            return {"code": str(extension[name])}
    coding: Resource = extension.get("valueCoding") or next(
        iter((extension.get("valueCodeableConcept") or {}).get("coding") or []), {}
    )
    return coding
