"""The fields of a stored document that access control narrows by, told from the resource by data.

`profiles/vn_basic/narrowing.json` names the extensions that hold the units of a residence, the elements that name the
caring or sending organisation, and the labels and codes that make a resource restricted (Law 91/2025: sensitive
personal data).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhir_server.interactions.residence import Residences, unit_lists
from fhir_server.model.references import Literal, literal
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.store.values import Narrowing
from fhir_server.terminology.load import Terminology

# Raised when the same rules would narrow what is stored otherwise than before.
MAKING = 2


@dataclass(frozen=True, slots=True)
class Restricted:
    """One class of sensitivity. scope: which a caller needs (`sens/HIV`). bit: in Narrowing.sensitivity. labels:
    (system, code) of meta.security. codes: system to code prefixes, for any coding of the resource."""

    scope: str
    bit: int
    labels: frozenset[tuple[str, str]]
    codes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class NarrowingRules:
    """party_elements: element names that hold the Organization in charge. care_elements: those of a Patient whose
    Organization cares for the person, and so sees the whole compartment. sender_system: of the tag in meta that names
    the organisation that sent a resource. apart: types that are about patients and in nobody's compartment: the record
    of accesses. fingerprint: of all that these rules come from. base: the server's own URL, without a slash at its
    end."""

    residences: Residences
    party_elements: frozenset[str]
    care_elements: frozenset[str]
    sender_system: str
    restricted: tuple[Restricted, ...]
    apart: frozenset[str]
    fingerprint: str
    base: str
    _suspect: re.Pattern[bytes] = field(init=False)

    def __post_init__(self) -> None:
        codes = {prefix for one in self.restricted for prefixes in one.codes.values() for prefix in prefixes}
        texts = b"|".join(re.escape(encode(prefix)[:-1]) for prefix in sorted(codes)) or b"(?!)"
        object.__setattr__(self, "_suspect", re.compile(b'"code":(?:' + texts + b")"))

    @classmethod
    def load(
        cls, path: Path, terminology: Terminology, classes: Iterable[str] | None = None, base: str = ""
    ) -> NarrowingRules:
        """classes: scopes of the classes of sensitivity that are in force; None is all of them."""
        content = path.read_bytes()
        data = decode(content)
        in_force = {row["scope"] for row in data["restricted"]} if classes is None else set(classes)
        return cls(
            Residences(terminology, data["residence"], data["unitSystems"]),
            frozenset(data["partyElements"]),
            frozenset(data["careElements"]),
            data["senderSystem"],
            tuple(
                _restricted(1 << place, row) for place, row in enumerate(data["restricted"]) if row["scope"] in in_force
            ),
            frozenset(data["apart"]),
            _fingerprint(content, repr((sorted(in_force), MAKING)).encode(), *unit_lists(path.parents[2])),
            base,
        )

    def here(self, reference: Any) -> Literal | None:
        """What a Reference element points at; None for what is not on this server, though it may bear an id of ours."""
        found = literal(reference.get("reference") or "") if isinstance(reference, dict) else None
        return found if found and (found.base is None or found.base == f"{self.base}/") else None

    def narrow(self, resource: Resource, id: str, patients: Sequence[str], content: bytes) -> Narrowing:
        """patients: ids of the patient compartments the resource is in, the closest first. content: by `content_of`."""
        is_patient = resource["resourceType"] == "Patient"
        if resource["resourceType"] in self.apart:
            return Narrowing()
        residence = self.residences.of(resource) if is_patient else None
        parties = set(self._parties(resource))
        if residence is not None:
            parties.update((*residence.units, *self._carers(resource)))
        return Narrowing(
            patient=id if is_patient else next(iter(patients), None),
            ward=residence.ward if residence else None,
            sensitivity=self._sensitivity(resource, content),
            parties=tuple(sorted(parties)),
        )

    def allowed_sensitivities(self, scopes: Iterable[str]) -> list[int]:
        """Every value of Narrowing.sensitivity that needs no more than these scopes; [0] for none of them."""
        values = [0]
        for one in self.restricted:
            if one.scope in scopes:
                values += [value | one.bit for value in values]
        return values

    def sent_by(self, organisation: str, resource: Resource) -> Resource:
        """The resource with the mark of the Organization that sends it, and no other's. organisation: its id."""
        meta = resource.get("meta") or {}
        others = [tag for tag in meta.get("tag") or () if tag.get("system") != self.sender_system]
        return {**resource, "meta": {**meta, "tag": [*others, {"system": self.sender_system, "code": organisation}]}}

    def _parties(self, resource: Resource) -> Iterator[str]:
        for name in self.party_elements:
            if name in resource:
                yield from map(party, self._organisations(resource[name]))
        for tag in (resource.get("meta") or {}).get("tag") or ():
            if tag.get("system") == self.sender_system and tag.get("code"):
                yield sender(tag["code"])

    def _carers(self, patient: Resource) -> Iterator[str]:
        for name in self.care_elements:
            if name in patient:
                yield from map(carer, self._organisations(patient[name]))

    def _organisations(self, value: Any) -> Iterator[str]:
        """The ids of the Organizations here that a Reference, or each of a list, points at."""
        for reference in value if isinstance(value, list) else [value]:
            target = self.here(reference)
            if target and target.type == "Organization":
                yield target.id

    def _sensitivity(self, resource: Resource, content: bytes) -> int:
        found = 0
        for label in (resource.get("meta") or {}).get("security") or ():
            named = (label.get("system"), label.get("code"))
            for one in self.restricted:
                found |= one.bit if named in one.labels else 0
        # Almost none has such a code: of those its text is searched, which takes a fifth of a walk through it.
        return found | self._by_codes(resource) if self._suspect.search(content) else found

    def _by_codes(self, resource: Resource) -> int:
        found = 0
        waiting: list[Any] = [resource]
        for value in waiting:
            if value.__class__ is dict:
                code = value.get("code")
                if code.__class__ is str:
                    system = value.get("system", "")
                    found |= sum(one.bit for one in self.restricted if code.startswith(one.codes.get(system, ())))
                value = value.values()
            waiting.extend([item for item in value if item.__class__ is dict or item.__class__ is list])
        return found


def _fingerprint(*contents: bytes) -> str:
    return hashlib.sha256(b"".join(contents)).hexdigest()


def party(organisation: str) -> str:
    """How Narrowing.parties name an organisation that a resource names. organisation: its id."""
    return f"Organization/{organisation}"


def sender(organisation: str) -> str:
    """How they name the organisation that sent the resource."""
    return f"sent/{organisation}"


def carer(organisation: str) -> str:
    """How they name one that cares for the patient: without a slash, so that the whole compartment has it."""
    return f"care:{organisation}"


def _restricted(bit: int, row: Mapping[str, Any]) -> Restricted:
    labels = frozenset((label["system"], label["code"]) for label in row["labels"])
    return Restricted(
        row["scope"], bit, labels, {one["system"]: tuple(one["prefixes"]) for one in row.get("codes", ())}
    )
