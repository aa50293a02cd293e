"""What the transforms of mapping rows, read backwards, know of the record to be written, and how they say that a value
is not theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from fhir_server.records.codes import Codes
from fhir_server.terminology.naming import NamingSystems

Options = Mapping[str, Any]
Text = tuple[str, int]
UNSURE = 60  # the rank of a code that is one of several
FIRST = -2  # the rank of what the record itself wrote
LAST = 90  # the rank of a row that would take nearly anything


class NotMade(Exception):
    """The value is not one that the transform makes."""


@dataclass(slots=True)
class Known:
    """naming and codes: the terminology. systems: kind of code list -> its URIs in any guide. chains: extension kind ->
    its chains of URLs in any guide. zone: of local times. facility: whose record is written. on: the record's day."""

    naming: NamingSystems
    codes: Codes
    systems: Mapping[str, frozenset[str]]
    chains: Mapping[str, tuple[tuple[str, ...], ...]]
    zone: str
    facility: str = ""
    on: date | None = None
    facilities: Mapping[str, str] = field(default_factory=dict)  # `Organization/id` -> its code


Inverse = Callable[[Any, Options, Known], Text]


def text_of(value: Any) -> str:
    """Raises NotMade for what is no text, or an empty one."""
    if not isinstance(value, str) or not value:
        raise NotMade
    return value
