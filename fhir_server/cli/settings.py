"""Reads the settings for a command, and shows each with its meaning, default and current value."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.config import Settings

_PREFIX = "FHIR_"
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")
# URI options of the driver whose values are secrets (`tlsCertificateKeyFilePassword`, `authMechanismProperties`).
_SECRET_OPTION = re.compile(r"((?:password|properties|token|secret)[^=&]*)=[^&]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as a person reads it; changed: its value is not the default."""

    name: str
    meaning: str
    default: str
    value: str
    changed: bool


def read_settings(**given: Any) -> Settings:
    """Settings from the environment, and from options of the command where they are not None.

    Raises CannotRun that names each variable that is wrong, without its value: it may hold a password.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as fault:
        told = (f"{_PREFIX}{str(error['loc'][0]).upper()}: {error['msg']}" for error in fault.errors())
        raise CannotRun("; ".join(told), WRONG_USE) from None


def pass_on(settings: Settings, *names: str) -> None:
    """Writes settings into the environment, for the worker processes that this one starts."""
    for name in names:
        os.environ[_PREFIX + name.upper()] = str(getattr(settings, name))


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none: most likely misspelt."""
    known = {_PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in environment if name.startswith(_PREFIX) and name not in known)


def rows(settings: Settings) -> Iterator[Row]:
    for name, field in Settings.model_fields.items():
        value, default = getattr(settings, name), _default(field)
        yield Row(_PREFIX + name.upper(), _meaning(field), _text(default), _text(value), value != default)


def _meaning(field: FieldInfo) -> str:
    """What the setting is for, and what it may be where that is a list."""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return f"{field.description}; one of {', '.join(choices)}" if choices else str(field.description)


def _default(field: FieldInfo) -> object:
    default = field.get_default(call_default_factory=True, validated_data={})
    return None if default is PydanticUndefined else default


def _text(value: object) -> str:
    if value is None or value == "":
        return "unset"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return without_secrets(str(value))


def without_secrets(text: str) -> str:
    """The text with passwords of URIs, in user information and in options, replaced by `***`."""
    return _SECRET_OPTION.sub(r"\1=***", _PASSWORD.sub(r"\1:***@", text))


def show(settings: Settings) -> None:
    """Writes every setting to stdout: a table in a terminal, tab-separated lines elsewhere."""
    table = list(rows(settings))
    if sys.stdout.isatty():
        _show_in_terminal(table)
    else:
        for row in table:
            print(row.name, row.meaning, row.default, row.value, sep="\t")


def _show_in_terminal(table: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table("variable", "meaning", "default", "now", box=None, pad_edge=False)
    for row in table:
        value = Text(row.value, style="bold" if row.changed else "")
        shown.add_row(row.name, Text(row.meaning), Text(row.default), value)
    Console().print(shown)
