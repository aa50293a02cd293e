"""One thing to write, the identity it settled on, and what became of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from fhir_server.errors import FhirError
from fhir_server.interactions.exchange import Pairs
from fhir_server.model.resources import Resource
from fhir_server.store.values import Stored

Change = Callable[[Resource], Resource]


class Write(msgspec.Struct, frozen=True):
    """One thing to write.

    method: POST | PUT | PATCH | DELETE. id: the logical id in the URL. criteria: search pairs of a conditional
    interaction. change: what a PATCH makes of the current resource. expected: version of If-Match. create_only:
    If-None-Match: *. full_url: the entry's fullUrl in a bundle. place: FHIRPath of the resource, "" outside a bundle.
    """

    method: str
    type: str
    id: str | None = None
    criteria: Pairs | None = None
    resource: Resource | None = None
    change: Change | None = None
    expected: int | None = None
    create_only: bool = False
    full_url: str | None = None
    place: str = ""

    def at(self) -> tuple[str, ...]:
        return (self.place,) if self.place else ()

    def located(self, fault: FhirError) -> FhirError:
        """The fault with the place of the entry, where it tells none in the bundle: then its condition is meant."""
        if not self.place:
            return fault
        asked = "ifNoneExist" if self.method == "POST" and self.criteria is not None else "url"
        where = (f"{self.place.removesuffix('.resource')}.request.{asked}",)
        issues = [
            issue
            if issue.expression[:1] and issue.expression[0].startswith("Bundle")
            else replace(issue, expression=where)
            for issue in fault.all_issues()
        ]
        return FhirError(fault.kind, fault.diagnostics, issues=tuple(issues), headers=fault.headers)


class Done(msgspec.Struct, frozen=True):
    """What became of a Write. stored: the version now current (None when a delete found nothing). more: the other
    resources that a conditional delete of several has removed."""

    stored: Stored | None
    created: bool = False
    changed: bool = False
    more: tuple[Stored, ...] = ()


class Target(msgspec.Struct, frozen=True):
    """The identity a Write settled on. found: the resource that a conditional create matched; nothing is written
    then."""

    write: Write
    id: str | None
    found: Stored | None = None
    more: tuple[str, ...] = ()  # further ids of a conditional delete of several

    @property
    def creates(self) -> bool:
        """True when a condition was satisfied by nothing, and so something new is written."""
        unsatisfied = self.write.criteria is not None and self.id is not None and self.found is None
        return unsatisfied and (self.write.method == "POST" or (self.write.method == "PUT" and self.write.create_only))
