"""One XML element as a tree, parsed hardened: no document types, no entities, no network, bounded depth and count."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from lxml import etree

from fhir_server.records.source import BOM, DEPTH_LIMIT, ELEMENT_LIMIT, Place, Problem, Tree, UnreadableError, refusal
from fhir_server.records.xml_cuts import Parts

_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
_ENCODING = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']+)[\"']")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_BLANKS = " \t\r\n"
_ACCEPTED_ENCODINGS = (b"utf-8", b"utf8", b"us-ascii", b"ascii")

_PARSER = etree.XMLParser(
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


def check_prolog(head: bytes) -> None:
    """Raises UnreadableError for an encoding other than UTF-8 and for a document type declaration."""
    if head.startswith(_WIDE_BOMS) or b"\x00" in head[:64]:
        raise _encoding_refused("UTF-16")
    declared = _ENCODING.match(head.removeprefix(BOM).lstrip())
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


def parse(body: bytes, prefixes: bytes = b"") -> Any:
    """A whole element as Tree or text. Raises UnreadableError for what is not well-formed, too deep or too large."""
    return _parse(body, prefixes)[1]


def _parse(body: bytes, prefixes: bytes = b"") -> tuple[str, Any]:
    """(name of the element, its content)"""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise _not_utf8(body, fault) from None
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        check_prolog(body)
    try:
        root = etree.fromstring(b"<_%s>%s</_>" % (prefixes, body), _PARSER)
    except etree.XMLSyntaxError as fault:
        raise _malformed(body, fault) from None
    if not len(root):
        return "", {}
    element = root[0]
    if len(root) > 1 or _says_more(root.text) or _says_more(element.tail):
        raise _stray()
    return _local(element.tag), _value(element, 1, [1])


@lru_cache(maxsize=4_096)
def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


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


def _says_more(text: str | None) -> bool:
    """True for text beside elements, which a tree has no place for."""
    return text is not None and text.strip(_BLANKS) != ""


def _stray() -> UnreadableError:
    return refusal(
        "not-well-formed",
        "text or a second document beside elements",
        "có chữ hoặc văn bản thứ hai nằm ngoài phần tử",
    )


def _value(element: Any, depth: int, count: list[int]) -> Any:
    return _tree(element, depth, count) if len(element) else (element.text or "").strip()


def _tree(element: Any, depth: int, count: list[int]) -> Tree:
    """An element that has others in it. count: of the elements so far, these others not among them."""
    count[0] += len(element)
    if depth >= DEPTH_LIMIT or count[0] > ELEMENT_LIMIT:
        raise refusal(
            "too-large",
            f"deeper than {DEPTH_LIMIT} levels or more than {ELEMENT_LIMIT} elements",
            f"lồng sâu quá {DEPTH_LIMIT} mức hoặc nhiều hơn {ELEMENT_LIMIT} phần tử",
        )
    if _says_more(element.text):
        raise _stray()
    tree: Tree = {}
    for child in element:
        tag = child.tag
        if tag.__class__ is not str:
            raise refusal("entity", "an entity reference is not read", "không đọc tham chiếu thực thể")
        tail = child.tail
        if tail is not None and _says_more(tail):
            raise _stray()
        value = _value(child, depth + 1, count)
        if not value:
            continue  # an empty element is an absent one
        name = _local(tag)
        held = tree.get(name)
        if held is None:
            tree[name] = value
        elif isinstance(held, list):
            held.append(value)
        else:
            tree[name] = [held, value]
    return tree


def open_parts(record: Any, parts: Parts) -> Tree:
    """The inner documents of a record by their name or root element; several of one name become a list."""
    opened: Tree = {}
    for part in _find(record, parts.element):
        name = part.get(parts.name) if isinstance(part, dict) else None
        if not isinstance(name, str):
            raise refusal(
                "part-without-name",
                f"a {parts.element} without {parts.name}",
                f"{parts.element} không có {parts.name}",
            )
        root, document = _inner(name.upper(), part.get(parts.content, ""))
        key = parts.aliases.get(root, root) if parts.named_by == "root" else name.upper()
        held = opened.get(key)
        if held is not None and key in parts.single:
            raise refusal("duplicate-part", f"{key} stands twice in one record", f"{key} có hai lần trong một hồ sơ")
        if held is None:
            opened[key] = document
        elif isinstance(held, list):
            held.append(document)
        else:
            opened[key] = [held, document]
    return opened


def beside_parts(value: Any, parts: Parts, in_part: bool = False) -> Any:
    """What a record holds beside the names and contents of its parts, which nothing reads; falsy for nothing."""
    if isinstance(value, list):
        return [held for item in value if (held := beside_parts(item, parts, in_part))]
    if not isinstance(value, dict):
        return value
    read = (parts.name, parts.content) if in_part else ()
    return {
        name: held
        for name, item in value.items()
        if name not in read and (held := beside_parts(item, parts, name == parts.element))
    }


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


def _inner(name: str, content: Any) -> tuple[str, Any]:
    """(root element, its content) of a part: base64 of a document, or the document as it is."""
    if isinstance(content, dict) and len(content) == 1:
        return next(iter(content.items()))
    text = content if isinstance(content, str) else ""
    try:
        body = base64.b64decode("".join(text.split()), validate=True)
        body = body.removeprefix(BOM)
        check_prolog(body[:4096])
        return _parse(_without_declaration(body))
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
