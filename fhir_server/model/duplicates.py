"""Finds a name that stands twice in one JSON object: a decoder would keep the last and drop the others in silence."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

_TOKEN = re.compile(rb'"(?P<text>(?:[^"\\]|\\.)*)"(?P<name>\s*:)?|(?P<mark>[{}\[\],])')


@dataclass(frozen=True, slots=True)
class Duplicate:
    """path: below the root, `.name[0].family`. line and column: of the second of the two, from 1; column in bytes."""

    path: str
    line: int
    column: int


@dataclass(slots=True)
class _Open:
    """An object or array that is not closed yet. place: of its current member in it."""

    is_object: bool
    place: str = ""
    names: set[str] = field(default_factory=set)
    count: int = 0


def first_duplicate(body: bytes) -> Duplicate | None:
    """The first name that comes twice. body: valid JSON in UTF-8."""
    inside: list[_Open] = []
    for token in _TOKEN.finditer(body):
        mark = token["mark"]
        if mark is None:
            if token["name"] is not None:
                name = json.loads(b'"' + token["text"] + b'"')
                inside[-1].place = f".{name}"
                if name in inside[-1].names:
                    return _told(body, token.start(), inside)
                inside[-1].names.add(name)
        elif mark == b"{":
            inside.append(_Open(True))
        elif mark == b"[":
            inside.append(_Open(False, "[0]"))
        elif mark == b",":
            _next(inside[-1])
        else:
            inside.pop()
    return None


def _next(parent: _Open) -> None:
    parent.count += 1
    if not parent.is_object:
        parent.place = f"[{parent.count}]"


def _told(body: bytes, start: int, inside: list[_Open]) -> Duplicate:
    return Duplicate("".join(parent.place for parent in inside), *line_and_column(body, start))


def line_and_column(body: bytes, offset: int) -> tuple[int, int]:
    """Of a byte, both from 1; columns count bytes."""
    return body.count(b"\n", 0, offset) + 1, offset - body.rfind(b"\n", 0, offset)
