"""An XML file cut into records by their tags, in bounded memory, before anything of it is parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    longest = max(len(name) for name in names) + 2
    scan = _Scan(stream, head)
    while True:
        found = scan.search(opening, longest)
        if found is None:
            yield Cut("", scan.tail(), scan.line)
            return
        tag, line = found[1].decode(), scan.line
        yield _piece(scan, tag, line, opening if tag == container.record else None)


def _piece(scan: _Scan, tag: str, line: int, reopening: re.Pattern[bytes] | None) -> Cut:
    name = re.escape(tag.encode())
    empty = scan.take_empty(re.compile(rb"<" + name + rb"(?:\s[^<>]*)?/>"))
    if empty is not None:
        return Cut(tag, empty, line)
    body, fits = scan.take(re.compile(rb"</" + name + rb"\s*>"), len(tag) + 64)
    if body is None:
        reason = ("no end tag", "không có thẻ đóng") if fits else ("too large", "quá lớn")
        return Cut(tag, None, line, _unclosed(tag, reason, fits))
    start = _last_start(body, tag) if reopening is not None else 0
    if start:  # the record before it was never closed: refuse that one alone, keep the one that is whole
        scan.push_back(body[start:])
        return Cut(tag, None, line, _unclosed(tag, ("no end tag", "không có thẻ đóng"), True))
    return Cut(tag, body, line)


def _last_start(body: bytes, tag: str) -> int:
    found = re.compile(rb"<" + re.escape(tag.encode()) + rb"(?=[\s>])").search(body, 1)
    return found.start() if found else 0


def _unclosed(tag: str, reason: tuple[str, str], fits: bool) -> Problem:
    limit = "" if fits else f" ({RECORD_LIMIT >> 20} MB)"
    rule = "not-closed" if fits else "too-large"
    return Problem("error", rule, (f"<{tag}>: {reason[0]}{limit}", f"<{tag}>: {reason[1]}{limit}"))


class _Scan:
    """A forward search through a stream with one window of bytes, counting lines."""

    def __init__(self, stream: IO[bytes], head: bytes) -> None:
        self._stream = stream
        self._window = head.removeprefix(BOM)
        self.line = 1
        self._ended = False

    def _drop(self, count: int) -> None:
        self.line += self._window.count(b"\n", 0, count)
        self._window = self._window[count:]

    def _more(self) -> bool:
        # Twice as much each time a record does not fit, so that a long one costs no quadratic copying.
        chunk = b"" if self._ended else self._stream.read(max(CHUNK, len(self._window)))
        self._ended = not chunk
        self._window += chunk
        return bool(chunk)

    def search(self, pattern: re.Pattern[bytes], longest: int) -> re.Match[bytes] | None:
        """Moves to the next match and leaves it at the front of the window."""
        while True:
            found = pattern.search(self._window)
            if found is not None and (found.end() < len(self._window) or self._ended):
                self._drop(found.start())
                return found
            self._drop(max(0, len(self._window) - longest))
            if not self._more():
                return found

    def take_empty(self, empty: re.Pattern[bytes]) -> bytes | None:
        """The element at the front, when it has no content."""
        if b">" not in self._window:
            self._more()
        found = empty.match(self._window)
        if found is None:
            return None
        self._drop(found.end())
        return found[0]

    def take(self, closing: re.Pattern[bytes], longest: int) -> tuple[bytes | None, bool]:
        """The bytes up to and with the match. (None, True) at the end of the file; (None, False) over the limit."""
        start = 0
        while True:
            found = closing.search(self._window, start)
            if found is not None:
                body = self._window[: found.end()]
                self._drop(found.end())
                return body, True
            start = max(0, len(self._window) - longest)
            if len(self._window) > RECORD_LIMIT:
                self._skip(closing, longest)
                return None, False
            if not self._more():
                return self._rest_is_open()

    def _rest_is_open(self) -> tuple[None, bool]:
        self._drop(len(self._window))
        return None, True

    def _skip(self, closing: re.Pattern[bytes], longest: int) -> None:
        while True:
            found = closing.search(self._window)
            if found is not None:
                self._drop(found.end())
                return
            self._drop(max(0, len(self._window) - longest))
            if not self._more():
                return

    def push_back(self, body: bytes) -> None:
        self.line -= body.count(b"\n")
        self._window = body + self._window

    def tail(self) -> bytes:
        return self._window
