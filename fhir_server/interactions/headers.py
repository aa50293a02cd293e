"""The HTTP headers that FHIR gives a meaning to: ETag, If-Match, If-None-Match, If-Modified-Since, Prefer, and
Accept-Language. R4 3.1.0."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

from fhir_server.errors import FhirError, Kind
from fhir_server.model.outcomes import ENGLISH, VIETNAMESE
from fhir_server.model.remember import remembered
from fhir_server.store.values import ANY_VERSION, Stored

_ETAG = re.compile(r'(?:W/)?"(?P<quoted>[A-Za-z0-9\-.]{1,64})"|(?P<bare>\d{1,18})')
_PREFER_RETURN = ("minimal", "representation", "OperationOutcome")


def version_headers(stored: Stored) -> dict[str, str]:
    """ETag and Last-Modified of a version."""
    return {"ETag": f'W/"{stored.version}"', "Last-Modified": http_date(stored.updated)}


def http_date(milliseconds: int) -> str:
    return _http_date(milliseconds // 1000)


@lru_cache(maxsize=256)
def _http_date(seconds: int) -> str:
    """What one transaction writes is of one second."""
    return formatdate(seconds, usegmt=True)


def if_match(headers: Mapping[str, str]) -> int | None:
    """The version that If-Match names; `*` is met by any, but not by nothing (RFC 9110 section 13.1.1). Raises
    FhirError INVALID when it names none."""
    text = headers.get("if-match", "").strip()
    return None if not text else ANY_VERSION if text == "*" else _version(text, "If-Match")


def is_create_only(headers: Mapping[str, str]) -> bool:
    """True for `If-None-Match: *` on a write: it must not exist yet (RFC 9110 section 13.1.2).

    Raises FhirError INVALID for versions: R4 gives them no meaning on a write, and to pass over a precondition would
    write what the caller did not want written.
    """
    text = headers.get("if-none-match", "").strip()
    if text not in ("", "*"):
        raise FhirError(Kind.INVALID, "If-None-Match on a write is *: it must not exist yet")
    return text == "*"


def is_unchanged(headers: Mapping[str, str], stored: Stored) -> bool:
    """True when the caller already has this version (R4 RESTful API, conditional read); ETags go first."""
    tags = headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or str(stored.version) in _tags(tags)
    since = headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return stored.updated // 1000 <= parsedate_to_datetime(since).timestamp()
    except (ValueError, TypeError, OverflowError):
        return False  # RFC 9110 section 13.1.3: a date that is none is ignored


def prefer_return(headers: Mapping[str, str], default: str) -> str:
    """minimal | representation | OperationOutcome; a value that R4 does not know is ignored, as R4 asks."""
    value = prefer(headers).get("return", default)
    return value if value in _PREFER_RETURN else default


def prefer(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The Prefer header as a table: `return=minimal, respond-async` is {return: minimal, respond-async: ""}."""
    return _prefer(headers["prefer"]) if "prefer" in headers else {}


@remembered(64)
def _prefer(text: str) -> Mapping[str, str]:
    """Every entry of a bundle asks for the same."""
    parts = re.split(r"[;,]", text)
    return {name.strip(): value.strip().strip('"') for name, _, value in (part.partition("=") for part in parts)}


def language(headers: Mapping[str, str]) -> str:
    """`vi` or `en`, whichever Accept-Language would rather read (RFC 9110 section 12.5.4); `vi` when it names none."""
    best, found = 0.0, VIETNAMESE
    for part in headers.get("accept-language", "").split(","):
        name, _, weight = part.partition(";")
        tag = name.strip().lower().partition("-")[0]
        quality = _quality(weight)
        if tag in (VIETNAMESE, ENGLISH) and quality > best:
            best, found = quality, tag
    return found


def _quality(text: str) -> float:
    name, _, value = text.strip().partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 0.0


def _tags(text: str) -> list[str]:
    return [found["quoted"] or found["bare"] for found in _ETAG.finditer(text)]


def version_of_tag(text: str, place: str) -> int:
    """The version an ETag names, as in Bundle.entry.request.ifMatch."""
    return _version(text.strip(), place)


def _version(text: str, place: str) -> int:
    found = _ETAG.fullmatch(text)
    version = (found["quoted"] or found["bare"]) if found else ""
    if not version.isdigit():
        raise FhirError(Kind.INVALID, f'{place} must be a version, W/"1", not {text[:80]!r}')
    return int(version)
