"""Who works at the command line: the person who logged in, also behind sudo; what that person does goes on record."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import uvloop

from fhir_server.audit.access import Access, Pairs
from fhir_server.cli.database import context, database
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.recording import agent_of
from fhir_server.interactions.rights import Caller

T = TypeVar("T")

_NOBODY = 0xFFFFFFFF  # the kernel's "no login"


def login() -> str:
    """The name of the account that logged in. The kernel keeps it through su and sudo where it audits logins; else
    sudo's own word counts, and then the account that runs the program."""
    number = _login_number()
    if number is None and os.environ.get("SUDO_UID", "").isdigit():
        number = int(os.environ["SUDO_UID"])
    number = os.getuid() if number is None else number
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def _login_number() -> int | None:
    try:
        number = int(Path("/proc/self/loginuid").read_text())
    except (OSError, ValueError):
        return None
    return None if number == _NOBODY else number


def acting(context: Context, command: str) -> Context:
    """The context in which this person works. command: of the program, `records import`."""
    return context.with_(caller=Caller(key=f"cli\n{login()}", client=f"fhir-server {command}", subject=login()))


def act(settings: Settings, command: str, work: Callable[[Context], Awaitable[T]]) -> T:
    """What this person's work gives, on the database of the settings, joined where a server runs. Raises CannotRun."""

    async def run(running: Settings) -> T:
        async with context(running) as opened:
            return await work(acting(opened, command))

    with database(settings, share=True) as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(running))


async def on_record(
    context: Context, kind: str, details: Pairs = (), patients: Iterable[str] = (), status: int = 200
) -> None:
    """Puts on record what a command does. kind: of `audit.event.KINDS`. Raises FhirError, and nothing must be done."""
    told = Access(kind, agent_of(context), status, context.clock(), patients=tuple(patients), details=details)
    await context.trail.note(told)
