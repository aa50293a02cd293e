"""What this server declares: capability_statement.json is the input, and what it says is routed and indexed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fhir_server.config import Settings
from fhir_server.model.resources import Resource, decode


@dataclass(frozen=True, slots=True)
class Declared:
    """One resource type of the statement: its interactions, search parameter codes and operation names (no `$`)."""

    interactions: frozenset[str]
    search_params: tuple[str, ...]
    operations: frozenset[str]
    conditional_delete: str = "not-supported"


class Capability:
    """The statement as read; `statement` is the JSON itself (R4 CapabilityStatement)."""

    def __init__(self, statement: Resource) -> None:
        self.statement = statement

    @classmethod
    def load(cls, path: Path) -> Capability:
        """Raises OSError when the file is missing and FhirError when it is not JSON."""
        return cls(decode(path.read_bytes()))

    def under(self, settings: Settings) -> Capability:
        """What the operator has chosen of what a server may do with a type that is written."""
        chosen: Resource = {"updateCreate": settings.update_create, "conditionalDelete": settings.conditional_delete}
        policies = ["enforced"] if settings.check_references else []
        entries = [
            {**entry, **chosen, "referencePolicy": [*entry["referencePolicy"], *policies]}
            if "conditionalDelete" in entry
            else entry
            for entry in self._rest.get("resource", [])
        ]
        return Capability({**self.statement, "rest": [{**self._rest, "resource": entries}]})

    @cached_property
    def _rest(self) -> Resource:
        rest: list[Resource] = self.statement.get("rest") or [{}]
        return rest[0]

    @cached_property
    def types(self) -> Mapping[str, Declared]:
        return {entry["type"]: _declared(entry) for entry in self._rest.get("resource", [])}

    @cached_property
    def system_interactions(self) -> frozenset[str]:
        return frozenset(entry["code"] for entry in self._rest.get("interaction", []))

    @cached_property
    def system_operations(self) -> frozenset[str]:
        return frozenset(entry["name"] for entry in self._rest.get("operation", []))


def _declared(entry: Resource) -> Declared:
    return Declared(
        frozenset(item["code"] for item in entry.get("interaction", [])),
        tuple(item["name"] for item in entry.get("searchParam", [])),
        frozenset(item["name"] for item in entry.get("operation", [])),
        entry.get("conditionalDelete", "not-supported"),
    )
