"""Bundles joined from stored bytes, so that no resource is parsed only to be written again. R4 Bundle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir_server.model.resources import Resource, encode


def bundle(
    type: str, entries: Iterable[bytes], *, total: int | None = None, links: Sequence[tuple[str, str]] = ()
) -> bytes:
    """The JSON of a Bundle. entries: the JSON of each entry; links: (relation, url) pairs."""
    head: Resource = {"resourceType": "Bundle", "type": type}
    if total is not None:
        head["total"] = total
    if links:
        head["link"] = [{"relation": relation, "url": url} for relation, url in links]
    start = encode(head)[:-1]
    joined = b",".join(entries)
    return b"".join((start, b',"entry":[', joined, b"]}") if joined else (start, b"}"))


def entry(
    *,
    full_url: str | None = None,
    raw: bytes = b"",
    search: Resource | None = None,
    request: Resource | None = None,
    response: Resource | None = None,
) -> bytes:
    """The JSON of one Bundle.entry around the bytes of its resource (b"" for none), in R4's order of elements."""
    parts = []
    if full_url is not None:
        parts.append(b'"fullUrl":' + encode(full_url))
    if raw:
        parts.append(b'"resource":' + raw)
    for name, value in (("search", search), ("request", request), ("response", response)):
        if value is not None:
            parts.append(b'"' + name.encode() + b'":' + encode(value))
    return b"{" + b",".join(parts) + b"}"
