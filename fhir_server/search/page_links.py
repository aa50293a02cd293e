"""Sealed page links: all that the next page needs, encrypted and authenticated, so that a link reveals nothing."""

from __future__ import annotations

import zlib

import msgspec

from fhir_server.errors import FhirError, Kind
from fhir_server.model import sealing
from fhir_server.search.paging import Cursor

PARAMETER = "_page"
LONGEST_QUERY = 4096  # bytes of query that a link carries itself; a longer one is kept in the store by its hash
_WORTH_PACKING = 400  # bytes; below, deflate takes longer to begin than all the rest and shortens a link little
_PACKED = b"\x78"  # how deflated bytes begin, and a page does not: it is a map
_PURPOSE = b"fhir search page 2"  # grows when the order of what is not sorted becomes another


class Page(msgspec.Struct, frozen=True):
    """One page of a search. path: segments below the base. query: its pairs, or query_hash: where they are kept.

    place: which of several types the cursor stands in. total: the number of matches, when it is known.
    """

    path: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    cursor: Cursor | None = None
    place: int = 0
    total: int | None = None
    strict: bool = False
    query_hash: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Page)


def seal(page: Page, key: bytes, reader: str = "") -> str:
    """A URL-safe text that only a holder of the key can read or make. key: 32 bytes. reader: whom the link is for:
    it carries what that caller was told, and nobody else can use it."""
    content = _encode(page)
    packed = zlib.compress(content, 1) if len(content) > _WORTH_PACKING else content
    return sealing.seal(packed, key, _PURPOSE + reader.encode())


def unseal(text: str, key: bytes, reader: str = "") -> Page:
    """Raises FhirError VALUE for anything that `seal` did not make with this key for this reader."""
    opened = sealing.unseal(text, key, _PURPOSE + reader.encode()) or b""
    try:
        return _decoder.decode(zlib.decompress(opened) if opened.startswith(_PACKED) else opened)
    except (zlib.error, msgspec.DecodeError):
        raise FhirError(Kind.VALUE, "this is no page link of this server", (PARAMETER,)) from None


def encode_query(pairs: tuple[tuple[str, str], ...]) -> bytes:
    """The bytes under which a long query is kept."""
    return _encode(pairs)


def decode_query(content: bytes) -> tuple[tuple[str, str], ...]:
    return msgspec.msgpack.decode(content, type=tuple[tuple[str, str], ...])
