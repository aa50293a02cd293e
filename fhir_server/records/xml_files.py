"""XML files of records, cut into records by their tags and each parsed alone, hardened and in bounded memory.

A file is never parsed as a whole: the bytes are searched for the start and end of each record, so that a record that is
not well-formed harms no neighbour, and a file of any size needs the memory of one record. Document types are refused
and entities are never defined, so nothing expands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO

from fhir_server.records.source import CHUNK, Place, Problem, SourceRecord, Tree, UnreadableError, within
from fhir_server.records.xml_cuts import Cut, XmlContainer, cuts
from fhir_server.records.xml_tree import beside_parts, check_prolog, open_parts, parse

# A comment, an instruction, or a tag with its attributes.
_MARKUP = re.compile(rb"<!--.*?-->|<\?.*?\?>|<([A-Za-z_][\w.\-]*)((?:\s[^<>]*)?)>", re.DOTALL)
_NAMESPACE = re.compile(rb"\sxmlns(?::[\w.\-]+)?\s*=\s*(?:\"[^\"<]*\"|'[^'<]*')")
_PREFIXES = (
    b' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    b' xmlns:ds="http://www.w3.org/2000/09/xmldsig#"'
)


def root_of(head: bytes) -> str | None:
    """The root element's name from the first bytes of a file, None when none is there."""
    found = _root(head)
    return found[1].decode("ascii", "replace") if found else None


def _root(head: bytes) -> re.Match[bytes] | None:
    return next((found for found in _MARKUP.finditer(head) if found[1]), None)


# Whether a record of these bytes is to be read: of another process it is not; None when only reading tells.
Takes = Callable[[bytes], bool | None]


def read_xml(
    stream: IO[bytes], name: str, container: XmlContainer, format: str, takes: Takes = lambda body: None
) -> Iterator[SourceRecord]:
    """Every record in order. Raises nothing: what cannot be read is a record without content."""
    head = stream.read(CHUNK)
    try:
        check_prolog(head)
    except UnreadableError as fault:
        yield SourceRecord(format, Place(name), None, (fault.problem,))
        return
    yield from _Assembler(name, container, format, _prefixes(head), takes).records(cuts(stream, head, container))


def _prefixes(head: bytes) -> bytes:
    """The namespace declarations of the root, which each record needs once it is cut out."""
    found = _root(head[:65536])
    declared = b"".join(_NAMESPACE.findall(found[2])) if found else b""
    wanted = [part for part in _NAMESPACE.findall(_PREFIXES) if part.partition(b"=")[0].strip() not in declared]
    return declared + b"".join(wanted)


class _Assembler:
    """Makes records of the pieces: shared context, numbering, stray parts."""

    def __init__(self, name: str, container: XmlContainer, format: str, prefixes: bytes, takes: Takes) -> None:
        self._name = name
        self._container = container
        self._format = format
        self._prefixes = prefixes
        self._takes = takes
        self._context: Tree = {}
        self._unread: dict[str, bytes] = {}  # of the context: read for the first record that is wanted
        self._number = 0
        self._strays: list[Cut] = []

    def records(self, cuts: Iterator[Cut]) -> Iterator[SourceRecord]:
        container = self._container
        for cut in cuts:
            if container.stray and cut.tag == container.stray:
                if self._strays and self._opens_a_record(cut):
                    yield from self._from_strays()
                self._strays.append(cut)
                continue
            if self._strays and cut.tag != "":
                yield from self._from_strays()
            if cut.tag in container.context and cut.body is not None:
                self._unread[cut.tag] = cut.body
            elif cut.tag == container.record:
                yield from self._record(cut)
            elif cut.tag == "":
                yield from self._end(cut)

    def _end(self, cut: Cut) -> Iterator[SourceRecord]:
        if self._strays:
            yield from self._from_strays()
        closed = re.search(rb"</" + re.escape(self._container.root.encode()) + rb"\s*>\s*$", cut.body or b"")
        if not closed:
            text = (f"the file ends before </{self._container.root}>", f"tệp kết thúc trước </{self._container.root}>")
            yield SourceRecord(self._format, Place(self._name, 0, cut.line), None, (_cut_short(text),))
        yield from self._check_count()
        if closed and self._number == 0:
            text = (f"the file holds no <{self._container.record}>", f"tệp không có <{self._container.record}> nào")
            problem = Problem("error", "no-record", text)
            yield SourceRecord(self._format, Place(self._name), None, (problem,))

    def _check_count(self) -> Iterator[SourceRecord]:
        name = self._container.count
        told = self._known().get(name) if name else None
        if isinstance(told, str) and told.isdigit() and int(told) != self._number:
            text = (f"{name} says {told}, the file holds {self._number}", f"{name} ghi {told}, tệp có {self._number}")
            problem = Problem("warning", "wrong-count", text, field=name, found=told)
            yield SourceRecord(self._format, Place(self._name), None, (problem,))

    def _known(self) -> Tree:
        """What every record shares, as far as it came."""
        for tag, body in self._unread.items():
            try:
                self._context[tag] = parse(body, self._prefixes)
            except UnreadableError:
                self._context.pop(tag, None)  # the records say what they miss
        self._unread.clear()
        return self._context

    def _opens_a_record(self, cut: Cut) -> bool:
        name = self._container.parts.first.encode() if self._container.parts else b""
        return bool(name) and cut.body is not None and re.search(rb">\s*" + name + rb"\s*<", cut.body) is not None

    def _from_strays(self) -> Iterator[SourceRecord]:
        cuts, self._strays = self._strays, []
        tag = self._container.record.encode()
        broken = next((cut for cut in cuts if cut.body is None), None)
        if broken is not None:
            yield from self._record(Cut(self._container.record, None, broken.line, broken.problem))
            return
        body = b"<%s>%s</%s>" % (tag, b"".join(cut.body or b"" for cut in cuts), tag)
        yield from self._record(Cut(self._container.record, body, cuts[0].line))

    def _record(self, cut: Cut) -> Iterator[SourceRecord]:
        self._number += 1
        is_taken = self._takes(cut.body) if cut.body is not None else None
        if is_taken is not False:
            record = self._read(cut, Place(self._name, self._number, cut.line))
            yield replace(record, is_taken=True) if is_taken else record

    def _read(self, cut: Cut, place: Place) -> SourceRecord:
        if cut.body is None:
            problems = (cut.problem,) if cut.problem else ()
            return SourceRecord(self._format, place, None, problems)
        try:
            tree = parse(cut.body, self._prefixes)
            parts = self._container.parts
            content: Tree = {**self._known(), **(open_parts(tree, parts) if parts else {})}
            beside = beside_parts(tree, parts) if parts else tree
            if beside:
                content[cut.tag] = beside
        except UnreadableError as fault:
            return SourceRecord(self._format, within(place, fault.problem), None, (fault.problem,))
        return SourceRecord(self._format, place, content)


def _cut_short(text: tuple[str, str]) -> Problem:
    return Problem("warning", "file-cut-short", text)
