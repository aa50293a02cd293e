"""The envelope that sample dossiers and check-ups are sent in: HOSO of documents in base64."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape

from fhir_server.records.population import TODAY
from fhir_server.records.sample_tags import ymd

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"


def elements(fields: Iterable[tuple[str, object]]) -> str:
    """Elements of fields; one without a value is empty."""
    return "".join(
        f"<{name}>{escape(str(value))}</{name}>" if value not in (None, "") else f"<{name}/>" for name, value in fields
    )


def envelope_start(root: str, facility: str, count: int) -> bytes:
    """The beginning of a file of `count` records."""
    return (
        f"{DECLARATION}\n<{root}>\n<THONGTINDONVI><MACSKCB>{facility}</MACSKCB></THONGTINDONVI>\n"
        f"<THONGTINHOSO>\n<NGAYLAP>{ymd(TODAY)}</NGAYLAP>\n<SOLUONGHOSO>{count}</SOLUONGHOSO>\n<DANHSACHHOSO>\n"
    ).encode()


def envelope_end(root: str) -> bytes:
    return f"</DANHSACHHOSO>\n</THONGTINHOSO>\n<CHUKYDONVI></CHUKYDONVI>\n</{root}>\n".encode()


def hoso(documents: Mapping[str, str], odd: bool) -> bytes:
    """One HOSO of LOAIHOSO -> document. odd: a BOM, CRLF and blanks, as some senders have them."""
    files = "".join(
        f"<FILEHOSO><LOAIHOSO>{kind}</LOAIHOSO><NOIDUNGFILE>{_encoded(text, odd)}</NOIDUNGFILE></FILEHOSO>\n"
        for kind, text in documents.items()
    )
    return f"<HOSO>\n{files}</HOSO>\n".encode()


def _encoded(text: str, odd: bool) -> str:
    if not odd:
        return base64.b64encode(text.encode()).decode()
    whole = base64.b64encode((_BOM + text.replace("\n", "\r\n")).encode()).decode()
    return "\r\n    " + "\r\n    ".join(whole[at : at + 76] for at in range(0, len(whole), 76)) + "\r\n"
