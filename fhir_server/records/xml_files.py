"""XML files of records, cut into records by their tags and each parsed alone, hardened and in bounded memory.

A file is never parsed as a whole: the bytes are searched for the start and end of each record, so that a record that is
not well-formed harms no neighbour, and a file of any size needs the memory of one record. Document types are refused
and entities are never defined, so nothing expands.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from lxml import etree

from fhir_server.records.source import Place, Problem, SourceRecord, Tree, UnreadableError, refusal

CHUNK = 1 << 18
RECORD_LIMIT = 32 << 20  # bytes of one record
DEPTH_LIMIT = 32
ELEMENT_LIMIT = 200_000

_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
_ENCODING = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']+)[\"']")
_ROOT = re.compile(rb"<([A-Za-z_][\w.\-]*)((?:\s[^<>]*)?)>")
_NAMESPACE = re.compile(rb"\sxmlns(?::[\w.\-]+)?\s*=\s*(?:\"[^\"<]*\"|'[^'<]*')")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_BLANK = re.compile(rb"\s+")
_ACCEPTED_ENCODINGS = (b"utf-8", b"utf8", b"us-ascii", b"ascii")
_PREFIXES = (
    b' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    b' xmlns:ds="http://www.w3.org/2000/09/xmldsig#"'
)


@dataclass(frozen=True, slots=True)
class XmlContainer:
    """How records lie in an XML file, from the mapping's `container`.

    record: the tag of a record. stray: the tag of a part that may stand outside of any record, "" for none. context:
    tags before or between records whose content every following record shares. parts: when the record holds whole
    documents in base64: {"element", "name", "content"} tags of one part.
    """

    root: str
    record: str
    context: tuple[str, ...] = ()
    stray: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    count: str = ""


@dataclass(slots=True)
class _Cut:
    """A piece of the file: the bytes from a start tag to its end tag, or None when there is no end."""

    tag: str
    body: bytes | None
    line: int
    problem: Problem | None = None


def root_of(head: bytes) -> str | None:
    """The root element's name from the first bytes of a file, None when none is there."""
    found = _ROOT.search(_without_comments(head))
    return found[1].decode("ascii", "replace") if found else None


def _without_comments(head: bytes) -> bytes:
    return re.sub(rb"<!--.*?-->|<\?.*?\?>", b"", head, flags=re.DOTALL)


def check_prolog(head: bytes) -> None:
    """Raises UnreadableError for an encoding other than UTF-8 and for a document type declaration."""
    if head.startswith(_WIDE_BOMS) or b"\x00" in head[:64]:
        raise _encoding_refused("UTF-16")
    declared = _ENCODING.match(head.removeprefix(_BOM).lstrip())
    if declared and declared[1].lower() not in _ACCEPTED_ENCODINGS:
        raise _encoding_refused(declared[1].decode("ascii", "replace"))
    if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
        raise refusal(
            "document-type",
            "a document type or entity declaration is not read, for safety",
            "không đọc tệp có khai báo DOCTYPE hoặc ENTITY, vì an toàn",
        )


def _encoding_refused(name: str) -> UnreadableError:
    return refusal(
        "encoding",
        f"the file says it is encoded in {name}; only UTF-8 is read, convert it first",
        f"tệp khai báo bảng mã {name}; chỉ đọc UTF-8, hãy chuyển mã trước khi gửi",
        found=name,
    )


def read_xml(stream: IO[bytes], name: str, container: XmlContainer, format: str) -> Iterator[SourceRecord]:
    """Every record of an XML file in order. Raises nothing: what cannot be read is a record without content."""
    head = stream.read(CHUNK)
    try:
        check_prolog(head)
    except UnreadableError as fault:
        yield SourceRecord(format, Place(name), None, (fault.problem,))
        return
    yield from _Assembler(name, container, format, _prefixes(head)).records(_cuts(stream, head, container))


def _prefixes(head: bytes) -> bytes:
    """The namespace declarations of the root, which each record needs once it is cut out."""
    found = _ROOT.search(_without_comments(head[:65536]))
    declared = b"".join(_NAMESPACE.findall(found[2])) if found else b""
    wanted = [part for part in _NAMESPACE.findall(_PREFIXES) if part.partition(b"=")[0].strip() not in declared]
    return declared + b"".join(wanted)


def _cuts(stream: IO[bytes], head: bytes, container: XmlContainer) -> Iterator[_Cut]:
    """The pieces in file order. Memory: one piece and one chunk."""
    names = [container.record, *container.context, *((container.stray,) if container.stray else ())]
    opening = re.compile(rb"<(" + b"|".join(re.escape(name.encode()) for name in names) + rb")(?=[\s>/])")
    longest = max(len(name) for name in names) + 2
    scan = _Scan(stream, head)
    while True:
        found = scan.search(opening, longest)
        if found is None:
            yield _Cut("", scan.tail(), scan.line)
            return
        tag, line = found[1].decode(), scan.line
        yield _piece(scan, tag, line, opening if tag == container.record else None)


def _piece(scan: _Scan, tag: str, line: int, reopening: re.Pattern[bytes] | None) -> _Cut:
    closing = re.compile(rb"</" + re.escape(tag.encode()) + rb"\s*>|(?<=<)" + re.escape(tag.encode()) + rb"\s*/>")
    body, fits = scan.take(closing, len(tag) + 64)
    if body is None:
        reason = ("no end tag", "không có thẻ đóng") if fits else ("too large", "quá lớn")
        return _Cut(tag, None, line, _unclosed(tag, reason, fits))
    start = _last_start(body, tag) if reopening is not None else 0
    if start:  # the record before it was never closed: refuse that one alone, keep the one that is whole
        scan.push_back(body[start:])
        return _Cut(tag, None, line, _unclosed(tag, ("no end tag", "không có thẻ đóng"), True))
    return _Cut(tag, body, line)


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
        self._window = head.removeprefix(_BOM)
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


class _Assembler:
    """Makes records of the pieces: shared context, numbering, stray parts."""

    def __init__(self, name: str, container: XmlContainer, format: str, prefixes: bytes) -> None:
        self._name = name
        self._container = container
        self._format = format
        self._prefixes = prefixes
        self._context: Tree = {}
        self._number = 0
        self._strays: list[_Cut] = []

    def records(self, cuts: Iterator[_Cut]) -> Iterator[SourceRecord]:
        container = self._container
        for cut in cuts:
            if container.stray and cut.tag == container.stray:
                if self._strays and self._opens_a_record(cut):
                    yield self._from_strays()
                self._strays.append(cut)
                continue
            if self._strays and cut.tag != "":
                yield self._from_strays()
            if cut.tag in container.context:
                self._share(cut)
            elif cut.tag == container.record:
                yield self._record(cut)
            elif cut.tag == "":
                yield from self._end(cut)

    def _end(self, cut: _Cut) -> Iterator[SourceRecord]:
        if self._strays:
            yield self._from_strays()
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
        told = self._context.get(self._container.count, "")
        if isinstance(told, str) and told.isdigit() and int(told) != self._number:
            name = self._container.count
            text = (f"{name} says {told}, the file holds {self._number}", f"{name} ghi {told}, tệp có {self._number}")
            problem = Problem("warning", "wrong-count", text, field=name, found=told)
            yield SourceRecord(self._format, Place(self._name), None, (problem,))

    def _share(self, cut: _Cut) -> None:
        if cut.body is None:
            return
        try:
            self._context[cut.tag] = parse(cut.body, self._prefixes)
        except UnreadableError:
            self._context.pop(cut.tag, None)  # the records say what they miss

    def _opens_a_record(self, cut: _Cut) -> bool:
        name = self._container.parts.get("first", "").encode()
        return bool(name) and cut.body is not None and re.search(rb">\s*" + name + rb"\s*<", cut.body) is not None

    def _from_strays(self) -> SourceRecord:
        cuts, self._strays = self._strays, []
        tag = self._container.record.encode()
        broken = next((cut for cut in cuts if cut.body is None), None)
        if broken is not None:
            return self._record(_Cut(self._container.record, None, broken.line, broken.problem))
        body = b"<%s>%s</%s>" % (tag, b"".join(cut.body or b"" for cut in cuts), tag)
        return self._record(_Cut(self._container.record, body, cuts[0].line))

    def _record(self, cut: _Cut) -> SourceRecord:
        self._number += 1
        place = Place(self._name, self._number, cut.line)
        if cut.body is None:
            problems = (cut.problem,) if cut.problem else ()
            return SourceRecord(self._format, place, None, problems)
        try:
            tree = parse(cut.body, self._prefixes)
            parts = self._container.parts
            content: Tree = {**self._context, **(_open_parts(tree, parts) if parts else {cut.tag: tree})}
        except UnreadableError as fault:
            return SourceRecord(self._format, _within(place, fault.problem), None, (fault.problem,))
        return SourceRecord(self._format, place, content)


def _within(place: Place, problem: Problem) -> Place:
    inner = problem.place
    if inner is None or inner.part or inner.line is None or place.line is None:
        return place
    return Place(place.file, place.record, place.line + inner.line - 1)


def _cut_short(text: tuple[str, str]) -> Problem:
    return Problem("warning", "file-cut-short", text)


def parse(body: bytes, prefixes: bytes = b"") -> Any:
    """A whole element as Tree or text. Raises UnreadableError for what is not well-formed, too deep or too large."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise _not_utf8(body, fault) from None
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        check_prolog(body)
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(b"<_%s>%s</_>" % (prefixes, body), parser)
    except etree.XMLSyntaxError as fault:
        raise _malformed(body, fault) from None
    count = [0]
    return _tree(root[0], 1, count) if len(root) else {}


def _not_utf8(body: bytes, fault: UnicodeDecodeError) -> UnreadableError:
    line = body.count(b"\n", 0, fault.start) + 1
    return refusal(
        "encoding",
        "bytes that are not UTF-8; the file may be windows-1258 or TCVN3, convert it first",
        "có byte không phải UTF-8; tệp có thể dùng bảng mã windows-1258 hoặc TCVN3, hãy chuyển mã trước",
        found="0x" + body[fault.start : fault.start + 1].hex(),
        line=line,
    )


def _malformed(body: bytes, fault: etree.XMLSyntaxError) -> UnreadableError:
    control = _CONTROL.search(body)
    if control:
        return refusal(
            "control-character",
            "a control character, which XML does not allow",
            "có ký tự điều khiển, XML không cho phép",
            found="0x" + control[0].hex(),
            line=body.count(b"\n", 0, control.start()) + 1,
        )
    line = fault.lineno or 1
    reason = re.sub(r",? line \d+, column \d+.*$", "", fault.msg or "").strip()
    return refusal("not-well-formed", f"not well-formed XML: {reason}", f"XML không hợp lệ: {reason}", line=line)


def _tree(element: Any, depth: int, count: list[int]) -> Any:
    count[0] += 1
    if depth > DEPTH_LIMIT or count[0] > ELEMENT_LIMIT:
        raise refusal(
            "too-large",
            f"deeper than {DEPTH_LIMIT} levels or more than {ELEMENT_LIMIT} elements",
            f"lồng sâu quá {DEPTH_LIMIT} mức hoặc nhiều hơn {ELEMENT_LIMIT} phần tử",
        )
    if len(element) == 0:
        return (element.text or "").strip()
    tree: Tree = {}
    for child in element:
        if not isinstance(child.tag, str):
            raise refusal("entity", "an entity reference is not read", "không đọc tham chiếu thực thể")
        name = child.tag.rpartition("}")[2]
        value = _tree(child, depth + 1, count)
        if value == "" or value == {}:
            continue  # an empty element is an absent one
        held = tree.get(name)
        if held is None:
            tree[name] = value
        elif isinstance(held, list):
            held.append(value)
        else:
            tree[name] = [held, value]
    return tree


def _open_parts(record: Any, names: dict[str, str]) -> Tree:
    """The inner documents of a record by their part name; several of one name become a list."""
    opened: Tree = {}
    for part in _find(record, names["element"]):
        name = part.get(names["name"]) if isinstance(part, dict) else None
        if not isinstance(name, str):
            raise refusal(
                "part-without-name",
                f"a {names['element']} without {names['name']}",
                f"{names['element']} không có {names['name']}",
            )
        text = part.get(names["content"], "")
        document = _inner(name.upper(), text if isinstance(text, str) else "")
        held = opened.get(name.upper())
        if held is None:
            opened[name.upper()] = document
        elif isinstance(held, list):
            held.append(document)
        else:
            opened[name.upper()] = [held, document]
    return opened


def _find(value: Any, name: str) -> Iterator[Any]:
    """Every value under `name`, however deep: real files nest the parts in odd ways."""
    if isinstance(value, list):
        for item in value:
            yield from _find(item, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == name:
                yield from item if isinstance(item, list) else (item,)
            else:
                yield from _find(item, name)


def _inner(name: str, text: str) -> Any:
    try:
        body = base64.b64decode(_BLANK.sub(b"", text.encode()), validate=True)
        body = body.removeprefix(_BOM)
        check_prolog(body[:4096])
        return parse(_without_declaration(body))
    except (binascii.Error, ValueError):
        text_of = (f"{name}: the content is not base64", f"{name}: nội dung không phải base64")
        raise UnreadableError(Problem("error", "base64", text_of, place=Place("", part=name))) from None
    except UnreadableError as fault:
        inner = fault.problem
        texts = (f"{name}: {inner.text[0]}", f"{name}: {inner.text[1]}")
        line = inner.place.line if inner.place else None
        place = Place("", 0, line, part=name)
        raise UnreadableError(Problem("error", inner.rule, texts, found=inner.found, place=place)) from None


def _without_declaration(body: bytes) -> bytes:
    return re.sub(rb"\A\s*<\?xml.*?\?>", b"", body, count=1, flags=re.DOTALL)
