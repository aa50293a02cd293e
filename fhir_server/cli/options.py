"""The settings of a command, read when it runs."""

from __future__ import annotations

from typing import Any


def settings(**given: Any) -> Any:
    """Those of the environment, with what an option says in their place."""
    from fhir_server.cli.settings import read_settings

    return read_settings(**given)
