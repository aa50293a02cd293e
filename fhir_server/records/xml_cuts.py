"""An XML file cut into records by their tags, in bounded memory, before anything of it is parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO

from fhir_server.records.source import BOM, CHUNK, RECORD_LIMIT, Problem


@dataclass(frozen=True, slots=True)
class Parts:
    """Whole documents within a record, in base64 or as they are.

    element, name, content: tags of one part, of its name and of what it holds. first: the name of the part that begins
    a record. single: the parts that a record has once. named_by: "name", or "root" when a part is known by its root
    element, whatever name was given to it. aliases: root element -> the one that it stands for.
    """

    element: str
    name: str
    content: str
    first: str = ""
    named_by: str = "name"
    aliases: Mapping[str, str] = field(default_factory=dict)
    single: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class XmlContainer:
    """How records lie in an XML file, from the mapping's `container`.

    record: the tag of a record. stray: the tag of a part that may stand outside of any record, "" for none. context:
    tags before or between records whose content every following record shares. parts: when the record holds whole
    documents. signature: the tag that holds the file's signature, "" for none.
    """

    root: str
    record: str
    context: tuple[str, ...] = ()
    stray: str = ""
    parts: Parts | None = None
    count: str = ""
    signature: str = ""


@dataclass(slots=True)
class Cut:
    """A piece of the file: the bytes from a start tag to its end tag, or None when there is no end."""

    tag: str
    body: bytes | None
    line: int
    problem: Problem | None = None


def cuts(stream: IO[bytes], head: bytes, container: XmlContainer) -> Iterator[Cut]:
    """The pieces in file order. Memory: one piece and one chunk."""
    names = [container.record, *container.context, *((container.stray,) if container.stray else ())]
    opening = re.compile(rb"<(" + b"|".join(re.escape(name.encode()) for name in names) + rb")(?=[\s>/])")
    tags = {name: _tag(name) for name in names}
    longest = max(len(name) for name in names) + 2
    scan = _Scan(stream, head)
    while True:
        found = scan.search(opening, longest)
        if found is None:
            yield Cut("", scan.tail(), scan.line)
            return
        name = found[1].decode()
        yield _piece(scan, tags[name], repeats=name == container.record)


@dataclass(frozen=True, slots=True)
class _Tag:
    """How an element begins, ends, and stands empty."""

    name: str
    start: re.Pattern[bytes]
    end: re.Pattern[bytes]
    empty: re.Pattern[bytes]


@lru_cache(maxsize=64)
def _tag(name: str) -> _Tag:
    tag = re.escape(name.encode())
    return _Tag(
        name,
        re.compile(rb"<" + tag + rb"(?=[\s>])"),
        re.compile(rb"</" + tag + rb"\s*>"),
        re.compile(rb"<" + tag + rb"(?:\s[^<>]*)?/>"),
    )


def _piece(scan: _Scan, tag: _Tag, repeats: bool) -> Cut:
    line = scan.line
    empty = scan.take_empty(tag.empty)
    if empty is not None:
        return Cut(tag.name, empty, line)
    body, fits = scan.take(tag.end, len(tag.name) + 64)
    if body is None:
        reason = ("no end tag", "không có thẻ đóng") if fits else ("too large", "quá lớn")
        return Cut(tag.name, None, line, _unclosed(tag.name, reason, fits))
    again = tag.start.search(body, 1) if repeats else None
    if again is not None:  # the record before it was never closed: refuse that one alone, keep the one that is whole
        scan.go_back_over(body[again.start() :])
        return Cut(tag.name, None, line, _unclosed(tag.name, ("no end tag", "không có thẻ đóng"), True))
    return Cut(tag.name, body, line)


def _unclosed(tag: str, reason: tuple[str, str], fits: bool) -> Problem:
    limit = "" if fits else f" ({RECORD_LIMIT >> 20} MB)"
    rule = "not-closed" if fits else "too-large"
    return Problem("error", rule, (f"<{tag}>: {reason[0]}{limit}", f"<{tag}>: {reason[1]}{limit}"))


class _Scan:
    """A forward search through a stream with one window of bytes, counting lines."""

    def __init__(self, stream: IO[bytes], head: bytes) -> None:
        self._stream = stream
        self._window = head.removeprefix(BOM)
        self._front = 0  # what lies before it in the window is done
        self.line = 1
        self._ended = False

    def _go_to(self, place: int) -> None:
        self.line += self._window.count(b"\n", self._front, place)
        self._front = place

    def _more(self) -> bool:
        rest = self._window[self._front :]
        # Twice as much each time a record does not fit, so that a long one costs no quadratic copying.
        chunk = b"" if self._ended else self._stream.read(max(CHUNK, len(rest)))
        self._ended = not chunk
        self._window, self._front = rest + chunk, 0
        return bool(chunk)

    def search(self, pattern: re.Pattern[bytes], longest: int) -> re.Match[bytes] | None:
        """Moves to the next match and leaves it at the front."""
        while True:
            found = pattern.search(self._window, self._front)
            if found is not None and (found.end() < len(self._window) or self._ended):
                self._go_to(found.start())
                return found
            self._go_to(max(self._front, len(self._window) - longest))
            if not self._more():
                return found

    def take_empty(self, empty: re.Pattern[bytes]) -> bytes | None:
        """The element at the front, when it has no content."""
        if self._window.find(b">", self._front) < 0:
            self._more()
        found = empty.match(self._window, self._front)
        if found is None:
            return None
        self._go_to(found.end())
        return found[0]

    def take(self, closing: re.Pattern[bytes], longest: int) -> tuple[bytes | None, bool]:
        """The bytes up to and with the match. (None, True) at the end of the file; (None, False) over the limit."""
        searched = 0
        while True:
            found = closing.search(self._window, self._front + searched)
            if found is not None:
                body = self._window[self._front : found.end()]
                self._go_to(found.end())
                return body, True
            length = len(self._window) - self._front
            searched = max(0, length - longest)
            if length > RECORD_LIMIT:
                self._skip(closing, longest)
                return None, False
            if not self._more():
                self._go_to(len(self._window))
                return None, True

    def _skip(self, closing: re.Pattern[bytes], longest: int) -> None:
        while True:
            found = closing.search(self._window, self._front)
            if found is not None:
                self._go_to(found.end())
                return
            self._go_to(max(self._front, len(self._window) - longest))
            if not self._more():
                return

    def go_back_over(self, body: bytes) -> None:
        """The end of what was just taken is to be taken again."""
        self.line -= body.count(b"\n")
        self._front -= len(body)

    def tail(self) -> bytes:
        return self._window[self._front :]
