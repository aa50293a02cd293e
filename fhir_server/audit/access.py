"""One access as a value, before it becomes an AuditEvent: who asked for what, and how it ended."""

from __future__ import annotations

import msgspec

Pairs = tuple[tuple[str, str], ...]


class Agent(msgspec.Struct, frozen=True):
    """Who asks, and why.

    name: of a person or system, for readers. user: a reference (`Practitioner/12`). subject: the name that the
    authorization server knows a user by. client: the id of the application. purposes: codes of v3-PurposeOfUse.
    emergency: the reason of a break-glass access. address: IP address of the caller.
    """

    name: str = ""
    user: str | None = None
    subject: str = ""
    client: str = ""
    roles: tuple[str, ...] = ()
    organisation: str | None = None
    purposes: tuple[str, ...] = ()
    emergency: str | None = None
    address: str | None = None

    @property
    def is_known(self) -> bool:
        return bool(self.name or self.user or self.subject or self.client)


class Origin(msgspec.Struct, frozen=True):
    """Where a request came from. address: IP address of the caller, None when it came from no network. request: its
    id, as in the log. emergency: the reason for which the glass was broken."""

    address: str | None = None
    request: str = ""
    emergency: str | None = None


NOWHERE = Origin()

# Where nobody is asked who they are, and where somebody has not said it.
OPEN = Agent("open")
UNKNOWN = Agent()


class Touched(msgspec.Struct, frozen=True):
    """A resource that was read or written; version None where it is not known or none was."""

    type: str
    id: str
    version: int | None = None


class Access(msgspec.Struct, frozen=True):
    """What an agent did, or was refused.

    interaction: a code of restful-interaction (R4 Code Systems), or one of `event.KINDS`. status: HTTP status of the
    answer. at: ms since the epoch. patients: ids of all whose data were shown or written. path: below the base URL.
    query: what was asked beside the path; None where the resources say all. operation: its name, without `$`.
    request: the request id. details: facts to tell, (name, value).
    """

    interaction: str
    agent: Agent
    status: int
    at: int
    request: str = ""
    resources: tuple[Touched, ...] = ()
    patients: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    query: Pairs | None = None
    operation: str | None = None
    details: tuple[tuple[str, str], ...] = ()
