"""One access to the server, as it goes on record: begun by the route table, filled by what happens, ended with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fhir_server.errors import FhirError
    from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
    from fhir_server.store.contract import Stored, Transaction, Written


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from. peer: address of who is connected; request_id: as in the log. emergency: the reason
    for which the glass was broken."""

    peer: str = ""
    request_id: str = ""
    emergency: str = ""


NOWHERE = Origin()


@dataclass(slots=True)
class Access:
    """interaction: its name in R4 (`search-type`), or that of an operation with `$`. event: what was written of it
    inside the transaction of a write. at: ms since the epoch."""

    context: Context
    request: FhirRequest
    interaction: str
    at: int
    event: Stored | None = field(default=None)


def interaction_of(method: str, segments: Sequence[str]) -> str:
    """The code of R4's restful-interaction that a request asks for; an operation by its name, with `$`."""
    last = segments[-1] if segments else ""
    if last.startswith("$") or segments[:1] == ("_async",):
        return last if last.startswith("$") else "$async"
    if "_history" in segments:
        level = ("system", "type", "instance")[min(len(segments) - 1, 2)]
        return "vread" if len(segments) == 4 else f"history-{level}"
    if last == "_search" or (method in ("GET", "HEAD") and len(segments) != 2):
        return "search-type" if segments and segments[0] != "_search" else "search-system"
    if method == "POST" and not segments:
        return "batch"
    return {"GET": "read", "HEAD": "read", "POST": "create", "PUT": "update", "PATCH": "patch"}.get(method, "delete")


class Audit(Protocol):
    """Puts accesses on record; see security.audit."""

    async def inside(self, access: Access, transaction: Transaction, written: Sequence[Written]) -> None:
        """Records a write in its own transaction, so that neither is there without the other."""
        ...

    async def done(self, access: Access, response: FhirResponse) -> None:
        """Records what was answered. Raises FhirError UNAVAILABLE when it cannot; it is not answered then."""
        ...

    async def refused(self, access: Access, fault: FhirError) -> None: ...

    async def stranger(self, access: Access, fault: FhirError) -> None:
        """Records one who was not let in."""
        ...
