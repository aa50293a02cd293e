"""Naming systems: every known URI of a number is one number. R4 NamingSystem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhir_server.config import DATA_ROOT
from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import decode

EXTENSION = "urn:vn-basic:StructureDefinition:"
# The guide whose URIs are used where the wanted guide has none for a kind of number.
OWN_GUIDE = "vn-basic"


@dataclass(frozen=True, slots=True)
class NamingSystem:
    """One kind of number, such as `cccd`.

    canonical: the URI that stands for all. uris: every known URI. by_guide: {guide: the URI it writes}. scoped: the
    number is unique within one facility only; then each URI is also known with `/` and a facility code appended.
    pattern: the shape of a value, where one is sure. apart: kinds that look alike and are other numbers.
    """

    kind: str
    title: str
    canonical: str
    uris: tuple[str, ...]
    by_guide: Mapping[str, str]
    scoped: bool = False
    pattern: re.Pattern[str] | None = None
    apart: frozenset[str] = frozenset()
    type: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamingSystems:
    """All kinds of numbers that are known; made by `load`."""

    by_kind: Mapping[str, NamingSystem]
    by_uri: Mapping[str, NamingSystem]

    @classmethod
    def load(cls, root: Path = DATA_ROOT) -> NamingSystems:
        """Reads root/terminology/naming_systems/*.json. root: the folder that holds terminology/.

        Raises FhirError(INVALID) when two kinds claim one URI, OSError when the folder is not there.
        """
        folder = root / "terminology" / "naming_systems"
        folder.stat()
        return cls.of(decode(path.read_bytes()) for path in sorted(folder.glob("*.json")))

    @classmethod
    def of(cls, resources: Iterable[Mapping[str, Any]]) -> NamingSystems:
        """The same from NamingSystem resources of kind `identifier`."""
        by_kind: dict[str, NamingSystem] = {}
        by_uri: dict[str, NamingSystem] = {}
        for resource in resources:
            system = _read(resource)
            by_kind[system.kind] = system
            for uri in system.uris:
                if by_uri.setdefault(uri, system) is not system:
                    raise FhirError(Kind.INVALID, f"{uri} is claimed by {by_uri[uri].kind} and by {system.kind}")
        return cls(by_kind, by_uri)

    def canonical(self, uri: str) -> str:
        """The one URI that stands for every known URI of the same number; an unknown URI is its own."""
        system = self.by_uri.get(uri)
        if system is not None:
            return system.canonical
        base, slash, facility = uri.rpartition("/")
        system = self.by_uri.get(base)
        return f"{system.canonical}{slash}{facility}" if system is not None and system.scoped else uri

    def same(self, uri: str) -> tuple[str, ...]:
        """Every known URI of the number that `uri` names, itself included; `(uri,)` for an unknown one."""
        system = self.by_uri.get(uri)
        if system is not None:
            return system.uris
        base, slash, facility = uri.rpartition("/")
        system = self.by_uri.get(base)
        return tuple(f"{one}{slash}{facility}" for one in system.uris) if system and system.scoped else (uri,)

    def kind(self, uri: str) -> str | None:
        """The local id of the kind of number (`cccd`, `bhyt`, `mrn`, …), None for an unknown URI."""
        system = self.by_uri.get(uri)
        if system is None:
            system = self.by_uri.get(uri.rpartition("/")[0])
            if system is None or not system.scoped:
                return None
        return system.kind

    def preferred_id(self, id: str, type: str = "uri") -> str | None:
        """R4 NamingSystem/$preferred-id: the preferred name of what `id` names; None for an unknown
        one and for a type (`oid`, `uuid`, `other`) in which nothing is named."""
        kind = self.kind(id)
        if kind is None:
            return None
        if type == "uri":
            return self.canonical(id)
        of_type = (uri for uri in self.same(id) if uri.startswith(f"urn:{type}:"))
        return next((uri.removeprefix(f"urn:{type}:") for uri in of_type), None)

    def uri(self, kind: str, guide: str = OWN_GUIDE, facility: str | None = None) -> str:
        """The URI that `guide` (`moh`, `vn-core` or `vn-basic`) writes for a kind of number.

        A guide without one gets our own, and where we have none either the canonical one. facility: the code of the
        facility, appended to the numbers that are unique within one only. Raises KeyError for an unknown kind.
        """
        system = self.by_kind[kind]
        base = system.by_guide.get(guide) or system.by_guide.get(OWN_GUIDE) or system.canonical
        return f"{base}/{facility}" if system.scoped and facility else base

    def kind_by_shape(self, value: str, kinds: Iterable[str]) -> str | None:
        """The first of `kinds` whose shape the value has; None when none fits: the caller must not guess."""
        for kind in kinds:
            pattern = self.by_kind[kind].pattern
            if pattern is not None and pattern.fullmatch(value):
                return kind
        return None


def preferred_of(resources: Iterable[Mapping[str, Any]], id: str, type: str) -> str | None:
    """NamingSystem/$preferred-id among resources of any kind: the preferred name of this type, else its first one.

    An OID or UUID is found with and without `urn:oid:` or `urn:uuid:` (R4 NamingSystem/$preferred-id).
    """
    wanted = _bare(id)
    for resource in resources:
        names = resource.get("uniqueId") or ()
        if any(_bare(one["value"]) == wanted for one in names):
            of_type = sorted(
                (one for one in names if one.get("type") == type), key=lambda one: not one.get("preferred", False)
            )
            if of_type:
                return str(of_type[0]["value"])
    return None


def _bare(id: str) -> str:
    return id.removeprefix("urn:oid:").removeprefix("urn:uuid:")


def _read(resource: Mapping[str, Any]) -> NamingSystem:
    ids = resource["uniqueId"]
    preferred = [one["value"] for one in ids if one.get("preferred")]
    pattern = _extensions(resource, "identifier-pattern")
    guides = {guide: one["value"] for one in ids for guide in _extensions(one, "identifier-guide")}
    return NamingSystem(
        kind=resource["id"],
        title=resource.get("type", {}).get("text") or resource["name"],
        canonical=(preferred or [ids[0]["value"]])[0],
        uris=tuple(one["value"] for one in ids),
        by_guide=guides,
        scoped="facility" in _extensions(resource, "identifier-scope"),
        # The pattern is data of this program or of its operator, not of a user.
        pattern=re.compile(pattern[0], re.ASCII) if pattern else None,
        apart=frozenset(_extensions(resource, "identifier-not-same-as")),
        type=resource.get("type", {}),
    )


def _extensions(element: Mapping[str, Any], name: str) -> list[str]:
    found = (one for one in element.get("extension", ()) if one["url"] == EXTENSION + name)
    return [one.get("valueCode") or one["valueString"] for one in found]
