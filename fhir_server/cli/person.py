"""Who works at the command line: the person who logged in, also behind sudo, for the record of accesses."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from fhir_server.interactions.exchange import Context
from fhir_server.interactions.rights import Caller

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
