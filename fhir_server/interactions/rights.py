"""Who asks and what they may do: made by the security layer once a caller, asked by every interaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from fhir_server.errors import FhirError, Kind
from fhir_server.model.resources import Resource
from fhir_server.store.values import EVERYTHING, NOTHING, View

# What SMART App Launch 2 calls c, r, u, d and s. History of a type or of the system is a search there.
Action = Literal["create", "read", "update", "delete", "search"]
ACTIONS: tuple[Action, ...] = ("create", "read", "update", "delete", "search")


class Caller(msgspec.Struct, frozen=True):
    """Who asks.

    key: the same for every token of one subject at one client. fingerprint: of all that the rights come from, so that
    what was answered to one is never given to another who may do less. user: a reference (`Practitioner/12`).
    organisation: id of an Organization. purposes: codes of v3-PurposeOfUse.
    """

    key: str = ""
    fingerprint: str = ""
    client: str = ""
    subject: str = ""
    user: str | None = None
    patient: str | None = None
    organisation: str | None = None
    unit: str | None = None
    purposes: tuple[str, ...] = ()


NOBODY = Caller()


def as_sent(resource: Resource) -> Resource:
    return resource


def any_change(before: Resource, after: Resource) -> None:
    """Raises FhirError FORBIDDEN for a change that the caller may not make; this one lets every change pass."""


class Rights(msgspec.Struct, frozen=True):
    """What a caller may do.

    views: what each action may be done to. operations: names without `$`; None is all. sign: puts the caller's mark on
    what is written. judge: raises FhirError FORBIDDEN when a resource may not become another. provenance: whether each
    write leaves a Provenance beside it. places_patients: whether only patients that are visible may get new members.
    """

    views: Mapping[Action, View] = msgspec.field(default_factory=lambda: dict.fromkeys(ACTIONS, EVERYTHING))
    operations: frozenset[str] | None = None
    sign: Callable[[Resource], Resource] = as_sent
    judge: Callable[[Resource, Resource], None] = any_change
    provenance: bool = False
    places_patients: bool = False

    def view(self, action: Action) -> View:
        return self.views[action]

    def may(self, action: Action, type: str) -> bool:
        """True when there can be something of the type that the action may be done to."""
        return self.views[action].of(type) != NOTHING

    def is_narrowed(self, action: Action, type: str) -> bool:
        """True when the action is not allowed on everything of the type."""
        return self.views[action].of(type) is not None

    def require(self, action: Action, type: str) -> None:
        """Raises FhirError FORBIDDEN: the type alone decides, so the answer tells nothing of what is stored."""
        if not self.may(action, type):
            raise insufficient(f"this access token does not allow to {action} {type}")

    def require_any(self, action: Action) -> None:
        """Raises FhirError FORBIDDEN when the action is allowed on no type at all."""
        view = self.views[action]
        if view.otherwise == NOTHING and all(allowed == NOTHING for allowed in view.by_type.values()):
            raise insufficient(f"this access token does not allow to {action} anything")

    def require_operation(self, name: str) -> None:
        if self.operations is not None and name not in self.operations:
            raise insufficient(f"this access token does not allow ${name}; its scope would be operation/{name}")


ALL_RIGHTS = Rights()


def insufficient(text: str) -> FhirError:
    """403 as RFC 6750 section 3.1 has it."""
    challenge = 'Bearer error="insufficient_scope"'
    return FhirError(Kind.FORBIDDEN, text, headers={"WWW-Authenticate": challenge})
