"""Which of several processes takes a record: one takes all of a key, told where it can be by the record's first bytes.

Every process reads every file, so that of two versions of a record, in whatever files, the later one is stored last.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from zlib import crc32

from fhir_server.records.formats import Format, Formats
from fhir_server.records.record import identify, key_of
from fhir_server.records.source import ALL_OF_IT, BOM, Share, SourceRecord
from fhir_server.records.xml_cuts import Parts, XmlContainer
from fhir_server.records.xml_files import Takes

# The bytes of a record -> its key; None when it takes reading to find.
Glance = Callable[[bytes], str | None]

_LEAVES = rb"(?:\s*<(?P<leaf>[\w.\-]+)>[^<&]*</(?P=leaf)>)*?"


def of_the_share(records: Iterable[SourceRecord], formats: Formats, share: Share) -> Iterator[SourceRecord]:
    """The records of a share. What has no key is told apart by what it says, or by its number where it says nothing."""
    return (one for one in records if share == ALL_OF_IT or one.is_taken or share.takes(_number(one, formats)))


def _number(record: SourceRecord, formats: Formats) -> int:
    format = formats.by_name.get(record.format)
    if record.content is None or format is None:
        return record.place.record
    return _number_of(key_of(format, record.content) or identify(format, record.content).digest)


def _number_of(key: str) -> int:
    return crc32(key.encode())


def takes(format: Format, share: Share) -> Takes:
    """Whether a share takes an XML record of these bytes; None when that takes reading it."""
    glance = _glance_of(format) if share != ALL_OF_IT else None

    def test(body: bytes) -> bool | None:
        key = glance(body) if glance is not None else None
        return None if key is None else share.takes(_number_of(key))

    return test


@lru_cache(maxsize=32)
def _glance_of(format: Format) -> Glance | None:
    paths = format.key.first
    if format.xml is None or len(paths) != 1:
        return None
    return compile_glance(format.xml, paths[0])


def compile_glance(container: XmlContainer, path: tuple[str, ...]) -> Glance | None:
    """Finds a key where senders put it: at the path, in the first element of each level, with nothing but plain texts
    before it. None for a container in which it cannot be looked for so.

    What is found is what `identify` finds in the record as it is read, if it can be read and is told from others in one
    way alone.
    """
    *above, name = (re.escape(step.encode()) for step in path)
    wanted = rb"<" + name + rb">([^<&\r]*)</" + name + rb">"
    if container.parts is None:
        start = b"".join(rb"\s*<" + step + rb">" for step in above)
        return _plain(re.compile(start + _LEAVES + rb"\s*" + wanted))
    if container.parts.named_by != "name" or len(above) != 1:
        return None
    inner = _plain(re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<[\w.\-]+>" + _LEAVES + rb"\s*" + wanted))
    return _in_first_part(container.record, above[0], container.parts, inner)


def _plain(pattern: re.Pattern[bytes]) -> Glance:
    def glance(body: bytes) -> str | None:
        found = pattern.match(body)
        return found[2].decode("utf-8", "replace").strip() or None if found else None

    return glance


def _in_first_part(record: str, name: bytes, parts: Parts, inner: Glance) -> Glance:
    around, element, title, content = (
        re.escape(tag.encode()) for tag in (record, parts.element, parts.name, parts.content)
    )
    pattern = re.compile(
        rb"<%b>\s*<%b>\s*<(%b)>%b</\1>\s*<%b>([A-Za-z0-9+/\s]{0,2048})" % (around, element, title, name, content)
    )

    def glance(body: bytes) -> str | None:
        found = pattern.match(body)
        if found is None:
            return None
        text = b"".join(found[2].split())
        return inner(a2b_base64(text[: len(text) // 4 * 4]).removeprefix(BOM))

    return glance
