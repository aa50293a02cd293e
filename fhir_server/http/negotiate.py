"""Which format a client wants and which it sent. R4 RESTful API, Content Types and encodings."""

from __future__ import annotations

from collections.abc import Iterable

from fhir_server.errors import FhirError, Kind
from fhir_server.model.remember import remembered

JSON = "application/fhir+json"
XML = "application/fhir+xml"
# The names that R4 and its clients use for the two formats.
_NAMES = {
    "json": JSON,
    "application/json": JSON,
    "application/fhir+json": JSON,
    "application/fhir json": JSON,  # a plus in a query that nobody encoded
    "text/json": JSON,
    "application/json+fhir": JSON,
    "xml": XML,
    "application/xml": XML,
    "application/fhir+xml": XML,
    "application/fhir xml": XML,
    "text/xml": XML,
    "application/xml+fhir": XML,
}
_ANY = ("*/*", "application/*", "text/*", "text/html")
# Patches, and a body whose type nobody named: it is read as JSON.
_BESIDE = ("application/json-patch+json", "application/merge-patch+json", "")


def wanted(accept: str, format: str | None) -> str:
    """The media type to answer in. `_format` goes before Accept; a browser gets JSON. Raises NOT_ACCEPTABLE."""
    if format is not None:
        return _named(format)
    if accept in ("", "*/*", JSON):
        return JSON
    ranges = sorted(map(_range, (accept or "*/*").split(",")), key=lambda pair: -pair[1])
    for name, quality in ranges:
        if quality > 0 and name in _NAMES:
            return _NAMES[name]
        if quality > 0 and name in _ANY:
            return JSON
    raise FhirError(Kind.NOT_ACCEPTABLE, f"this server answers in {JSON} or {XML}, not in {accept[:120]!r}")


@remembered(64)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding allows it."""
    return any(name == "gzip" and quality > 0 for name, quality in map(_range, accept_encoding.split(",")))


def is_fhir(text: str) -> bool:
    """True when an Accept, _format or Content-Type names one of the FHIR formats outright."""
    return any(_range(part)[0] in _NAMES for part in text.split(","))


def _named(format: str) -> str:
    name = format.partition(";")[0].strip().lower()
    if name in _NAMES:
        return _NAMES[name]
    raise FhirError(Kind.NOT_ACCEPTABLE, f"_format {format[:64]!r} is not known; json and xml are", ("_format",))


def _range(text: str) -> tuple[str, float]:
    """(media type, quality). One of another version of FHIR is not to be had (R4 RESTful API, fhirVersion)."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
    try:
        return name, 0.0 if _of_other_version(parameters) else float(quality)
    except ValueError:
        return name, 0.0


def _of_other_version(parameters: Iterable[str]) -> bool:
    versions = (value[12:].strip('"') for value in parameters if value.startswith("fhirversion="))
    return not all(version.startswith("4.0") for version in versions)


def sent(content_type: str) -> str:
    """The format of a body, JSON or XML. Raises MEDIA_TYPE unless it is one that is read here, in UTF-8."""
    name, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if name not in _NAMES and name not in _BESIDE:
        patches = "a patch also application/json-patch+json or application/merge-patch+json"
        raise FhirError(Kind.MEDIA_TYPE, f"send {JSON} or {XML} ({patches}), not {content_type[:80]!r}")
    charset = next((value[8:].strip('"') for value in parameters if value.startswith("charset=")), "utf-8")
    if _of_other_version(parameters):
        raise FhirError(Kind.MEDIA_TYPE, f"this server speaks FHIR 4.0 alone, not {content_type[:80]!r}")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise FhirError(Kind.MEDIA_TYPE, f"FHIR is exchanged in UTF-8 (R4 RESTful API), not in {charset[:32]!r}")
    return _NAMES.get(name, JSON)
