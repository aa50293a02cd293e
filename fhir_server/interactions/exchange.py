"""What an interaction is made of: a request value, a response value, and the context it runs in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from fhir_server.audit.access import NOWHERE, Origin, Touched
from fhir_server.audit.trail import Trail
from fhir_server.config import Settings
from fhir_server.definitions.capabilities import Capability
from fhir_server.interactions.rights import ALL_RIGHTS, NOBODY, Caller, Rights
from fhir_server.model.resources import Resource
from fhir_server.store.contract import Store
from fhir_server.store.values import EVERYTHING, View

if TYPE_CHECKING:
    from fhir_server.definitions.load import Definitions
    from fhir_server.interactions.deferral import Deferrals
    from fhir_server.interactions.narrowing import NarrowingRules
    from fhir_server.interactions.once import Once
    from fhir_server.search.model import SearchModel
    from fhir_server.terminology.catalogue import Catalogue
    from fhir_server.validation.validate import Validator

Pairs = tuple[tuple[str, str], ...]


class FhirRequest(msgspec.Struct, frozen=True):
    """A FHIR request below the base URL.

    segments: the decoded path, `("Patient", "1", "_history")`. query: decoded pairs in the order sent. headers: names
    in lower case. body: the bytes, or resource: the parsed value (entries of a bundle carry only that).
    """

    method: str
    segments: tuple[str, ...] = ()
    query: Pairs = ()
    headers: Mapping[str, str] = {}
    body: bytes = b""
    resource: Resource | None = None


class Shown(msgspec.Struct, frozen=True):
    """What an answer shows or has changed, for the audit trail.

    resources: those that were read or written by name. patients: ids of the patients whose data are in it. query: what
    was searched for, where the request's own query does not say it. interaction: which it was, where method and path
    do not say it. is_recorded: it is on record already, with what was written.
    """

    resources: tuple[Touched, ...] = ()
    patients: tuple[str, ...] = ()
    query: Pairs | None = None
    interaction: str | None = None
    is_recorded: bool = False


NOTHING_SHOWN = Shown()


class FhirResponse(msgspec.Struct, frozen=True):
    """status, JSON bytes of a resource (b"" for none) and headers (`ETag`, `Location`, …).

    updated: lastUpdated of the resource that was read or written, ms since the epoch. shown: for the audit trail.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    media_type: str = "application/fhir+json"
    updated: int | None = None
    shown: Shown = NOTHING_SHOWN


Dispatch = Callable[["Context", FhirRequest], Awaitable[FhirResponse]]


class Context(msgspec.Struct, frozen=True):
    """All that an interaction may use.

    clock: ms since the epoch. new_id: a fresh logical id. rules: what narrows access. dispatch: the route table, for
    entries of a batch. base: the URL that clients reach the server by, without a trailing slash. caller: who asks,
    NOBODY when nobody is asked. rights: what the caller may do; view: the part of them that this interaction reads by.
    origin: where the request came from. trail: what puts accesses on record. pace: counts a request of a client, quota:
    people whose records it takes away; both raise FhirError THROTTLED. once: set when the request must not be carried
    out twice. smart: the SMART configuration, None when nobody is asked who they are.
    """

    settings: Settings
    definitions: Definitions
    capability: Capability
    store: Store
    search: SearchModel
    validator: Validator
    terminology: Catalogue
    clock: Callable[[], int]
    new_id: Callable[[], str]
    rules: NarrowingRules
    dispatch: Dispatch
    deferrals: Deferrals
    base: str
    trail: Trail
    view: View = EVERYTHING
    caller: Caller = NOBODY
    rights: Rights = ALL_RIGHTS
    origin: Origin = NOWHERE
    pace: Callable[[str], Awaitable[None]] | None = None
    quota: Callable[[str, int], Awaitable[None]] | None = None
    smart: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
    once: Once | None = None

    async def count_request(self) -> None:
        """Raises FhirError THROTTLED."""
        if self.pace is not None:
            await self.pace(self.caller.client or self.caller.key)

    async def count_people(self, number: int) -> None:
        """People whose records go out in one answer. Raises FhirError THROTTLED."""
        if self.quota is not None and number:
            await self.quota(self.caller.client or self.caller.key, number)

    def with_(self, **changes: Any) -> Context:
        return replace(self, **changes)
