"""What the readers give: one record after another, each with its place in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Bounds of what is read, for any container.
CHUNK = 1 << 18  # bytes read at once
RECORD_LIMIT = 32 << 20  # bytes of one record
DEPTH_LIMIT = 32
ELEMENT_LIMIT = 200_000

BOM = b"\xef\xbb\xbf"

# A record as read, the same for every container: element or member name -> text, tree, or a list of either.
Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands. record: number within the file, from 1; 0 speaks of the file itself. part: a table
    inside the record (`XML1`). line: in the file, from 1. key: the sender's own key of the record, where known, with
    personal numbers masked."""

    file: str
    record: int = 0
    line: int | None = None
    part: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong or worth telling about a record, in both languages.

    severity: error (the record is refused) | warning (it is stored, this is not, or not as sent) | information.
    rule: a short stable name of what was broken. field: the source field. found: the value, unmasked (`masking` masks).
    allowed: what would have been accepted. Texts: (English, Vietnamese).
    """

    severity: str
    rule: str
    text: tuple[str, str]
    field: str = ""
    found: str = ""
    allowed: tuple[str, str] = ("", "")
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One record of a file. content is None when it cannot be read; problems then hold the reason. is_taken: its bytes
    alone told that it is of the share that was asked for."""

    format: str
    place: Place
    content: Tree | None
    problems: tuple[Problem, ...] = ()
    kept_out: Mapping[str, int] = field(default_factory=dict)  # table or field -> how often, left out by the mapping
    is_taken: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """Which files and records one of several processes takes: every `of`-th, by a number. What speaks of a file itself
    (record 0) is told by the first process alone."""

    number: int = 0
    of: int = 1

    def takes(self, number: int) -> bool:
        return number % self.of == self.number


ALL_OF_IT = Share()


class UnreadableError(Exception):
    """A part of a file that cannot be read; the problem says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text[0])
        self.problem = problem


def refusal(rule: str, english: str, vietnamese: str, found: str = "", line: int | None = None) -> UnreadableError:
    """The error of a part that cannot be read, ready to raise. line: within the part."""
    place = Place("", 0, line) if line is not None else None
    return UnreadableError(Problem("error", rule, (english, vietnamese), found=found, place=place))


def within(place: Place, problem: Problem) -> Place:
    """The place of a record, with the line of what is wrong in it where that is known."""
    inner = problem.place
    if inner is None or inner.part or inner.line is None or place.line is None:
        return place
    return Place(place.file, place.record, place.line + inner.line - 1)
