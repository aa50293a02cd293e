"""What a mapped resource gets by the setting of guides: the profiles it claims, and the URIs of a second guide."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from fhir_server.definitions.load import Definitions
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.records.targets import copied
from fhir_server.terminology.naming import EXTENSION, NamingSystems
from fhir_server.validation.fhirpath import compile_condition
from fhir_server.validation.items import Environment, Test

Chain = tuple[str, ...]
_WORD = re.compile(r"\w+")
_MOST_KEPT = 4_096  # different resources of a type, as far as its rules look at them


def guides(setting: str) -> tuple[str, ...]:
    """The guides that a setting stands for; the rows of a mapping write the URIs of the first one."""
    return ("moh", "vn-core") if setting == "both" else (setting,)


@dataclass(frozen=True, slots=True)
class Claim:
    """A profile, and whether a resource of its type keeps its rules (None: it always does)."""

    profile: str
    tests: tuple[Test, ...]

    def holds(self, resource: Resource) -> bool:
        environment = Environment(resource, resource)
        return all(test([resource], environment) is True for test in self.tests)


class Claims:
    """The claims of one type, in the order they are written. What was found is kept by the elements that the rules
    speak of: most resources of a type are alike in them."""

    def __init__(self, claims: Sequence[Claim], rules: Iterable[str]) -> None:
        """rules: the texts of the tests."""
        self._claims = claims
        words = tuple(set(_WORD.findall(" ".join(rules))))
        self._has_rules = bool(words)
        self._speak_of = lru_cache(lambda name: name.startswith(words))  # `value` speaks of valueQuantity
        self._kept: dict[bytes, list[str]] = {}

    def of(self, resource: Resource) -> list[str]:
        """The canonical URLs of the profiles."""
        speak_of, spoken_of = self._speak_of, b""
        if self._has_rules:
            spoken_of = encode([(name, value) for name, value in resource.items() if speak_of(name)])
        found = self._kept.get(spoken_of)
        if found is None:
            if len(self._kept) > _MOST_KEPT:
                self._kept.clear()
            found = self._kept[spoken_of] = [one.profile for one in self._claims if one.holds(resource)]
        return list(found)


@lru_cache(maxsize=2)
def _definitions(root: Path) -> Definitions:
    return Definitions.load(root)


@dataclass
class Finish:
    """Completes resources whose rows are done. twins: chains of extension URLs of the first guide and of the second;
    both are empty unless the setting asks for both guides."""

    root: Path
    guides: tuple[str, ...]
    naming: NamingSystems
    twins: tuple[tuple[Chain, Chain], ...]

    @classmethod
    def load(
        cls, root: Path, setting: str, naming: NamingSystems, extensions: Mapping[str, Mapping[str, list[str]]]
    ) -> Finish:
        """extensions: kind → guide → chain of URLs, as in profiles/vn_basic/extensions.json. What the second guide
        does not name, and HL7 neither, is written once."""
        written = guides(setting)
        pairs = (
            tuple(tuple(row.get(guide) or row["vn-basic"]) for guide in written)
            for row in extensions.values()
            if len(written) == 2
        )
        twins = ((one, other) for one, other in pairs if one != other and not other[0].startswith(EXTENSION))
        return cls(root, written, naming, tuple(twins))

    # --- claims

    @cached_property
    def _claims(self) -> Mapping[str, Claims]:
        """By resource type."""
        rows = decode((self.root / "profiles" / "vn_basic" / "claims.json").read_bytes())["claims"]
        told: dict[str, list[tuple[str, list[str]]]] = defaultdict(list)
        for row in rows:
            of_guides = (row[guide] for guide in self.guides if guide in row)
            for one in ({"profile": row["profile"]}, *of_guides):
                rules = [text for text in (row.get("when"), one.get("when")) if text]
                told[row["type"]].append((one["profile"], rules))
        return {type: self._claims_of(type, several) for type, several in told.items()}

    def _claims_of(self, type: str, told: Sequence[tuple[str, list[str]]]) -> Claims:
        definitions = _definitions(self.root)
        made = [
            Claim(profile, tuple(compile_condition(definitions, rule, type) for rule in rules))
            for profile, rules in told
        ]
        return Claims(made, [rule for _, rules in told for rule in rules])

    def claims(self, resource: Resource) -> list[str]:
        """Canonical URLs for meta.profile: ours, then those of the guides whose rules the resource keeps."""
        claims = self._claims.get(resource["resourceType"])
        return claims.of(resource) if claims is not None else []

    # --- the second guide

    def complete(self, resource: Resource) -> None:
        """With both guides: each identifier and extension that the second guide names otherwise, once more so. Done
        again it adds nothing."""
        if self.twins:
            for node in list(_nodes(resource)):
                self._twin_extensions(node)
                self._twin_identifiers(node)

    def _twin_extensions(self, node: Resource) -> None:
        for first, second in self.twins if "extension" in node else ():
            for found in list(_at(node, first)):
                value = {name: item for name, item in found.items() if name.startswith("value")}
                if value and not any(value.items() <= one.items() for one in _at(node, second)):
                    _put(node, second, value)

    def _twin_identifiers(self, node: Resource) -> None:
        held = node.get("identifier")
        if not isinstance(held, list):  # that of a Reference stands alone
            return
        for one in list(held):
            other = self._second_system(one.get("system"))
            twin = {**one, "system": other}
            if other is not None and not any(_is_same(twin, known) for known in held):
                held.append(copied(twin))

    def _second_system(self, system: Any) -> str | None:
        kind = self.naming.kind(system) if isinstance(system, str) else None
        if kind is None:
            return None
        known = self.naming.by_kind[kind]
        facility = None if system in known.uris else system.rpartition("/")[2]
        if self.guides[1] not in known.by_guide or self.naming.uri(kind, self.guides[0], facility) != system:
            return None
        return self.naming.uri(kind, self.guides[1], facility)


def _nodes(value: Any) -> Iterator[Resource]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item)


def _at(node: Resource, chain: Chain) -> Iterator[Resource]:
    """The innermost extensions of a chain of URLs."""
    for one in node.get("extension", ()):
        if one["url"] == chain[0]:
            yield from _at(one, chain[1:]) if len(chain) > 1 else (one,)


def _put(node: Resource, chain: Chain, value: Mapping[str, Any]) -> None:
    for url in chain[:-1]:
        outer = next((one for one in node.get("extension", ()) if one["url"] == url), None)
        if outer is None:
            outer = {"url": url}
            node.setdefault("extension", []).append(outer)
        node = outer
    node.setdefault("extension", []).append({"url": chain[-1], **copied(dict(value))})


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one.get("value") == other.get("value") and one["system"] == other.get("system"))
