"""What a transform may know of the record it works in, and the error it raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from fhir_server.records.codes import Codes
from fhir_server.records.source import Problem
from fhir_server.terminology.naming import NamingSystems


class WrongValue(Exception):
    """A source value that its transform cannot take. allowed: what it could, (English, Vietnamese)."""

    def __init__(self, found: object, allowed: tuple[str, str]) -> None:
        super().__init__(str(found))
        self.found = str(found)
        self.allowed = allowed


@dataclass(slots=True)
class Facts:
    """naming and codes: the terminology. guide: whose URIs are written. systems: code system URIs by the guide.
    extensions: extension kind -> the chain of URLs by the guide. zone: of local times. facility: the sender's code.
    on: the day whose code lists apply. at: the source field at hand. problems: what was told so far."""

    naming: NamingSystems
    codes: Codes
    guide: str
    systems: Mapping[str, tuple[str, ...]]
    extensions: Mapping[str, tuple[str, ...]]
    zone: str
    facility: str = ""
    on: date | None = None
    at: str = ""
    problems: list[Problem] = field(default_factory=list)

    def tell_unknown(self, list: str, found: str) -> None:
        """Notes a code or name that its list does not have; it is kept as it was."""
        title = self.codes.title(list)
        text = (f"not in the list «{title}» on the record's day", f"không có trong danh mục «{title}» vào ngày hồ sơ")
        self.tell("unknown-code", text, found, self.codes.neighbours(list, found, self.on))

    def tell(self, rule: str, text: tuple[str, str], found: str, near: str = "") -> None:
        """A warning about the field at hand. near: what may have been meant, for the reader to choose."""
        self.problems.append(Problem("warning", rule, text, self.at, found, (near, near)))
