"""Binary in its own content type, when the client does not ask for a FHIR format. R4 Binary."""

from __future__ import annotations

import base64
import binascii
import re

from msgspec.structs import replace

from fhir_server.errors import FhirError, Kind
from fhir_server.http.negotiate import is_fhir
from fhir_server.interactions.exchange import FhirRequest, FhirResponse
from fhir_server.model.resources import Resource, decode

_MEDIA_TYPE = re.compile(r"[\w!#$&^.+\-]{1,64}/[\w!#$&^.+\-]{1,64}(?:\s*;[^\r\n]{0,200})?", re.ASCII)
# What a stranger stored is shown, never run, under this server's name.
_GUARDS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}


def wants_content(method: str, segments: tuple[str, ...], accept: str, format: str | None) -> bool:
    """True for a read of a Binary that names no FHIR format: the content itself is meant then."""
    is_read = segments[:1] == ("Binary",) and (
        len(segments) == 2 or (segments[2:3] == ("_history",) and len(segments) == 4)
    )
    return is_read and method in ("GET", "HEAD") and not is_fhir(format or accept)


def content(response: FhirResponse) -> FhirResponse:
    """The response with the content of its Binary in place of the resource."""
    if response.status != 200:
        return response
    binary: Resource = decode(response.body)
    try:
        body = base64.b64decode(binary.get("data") or "")
    except (binascii.Error, ValueError):
        raise FhirError(Kind.UNPROCESSABLE, "the data of this Binary is no base64", ("Binary.data",)) from None
    headers = {**response.headers, **_GUARDS}
    return replace(response, body=body, headers=headers, media_type=str(binary.get("contentType")))


def sends_content(method: str, segments: tuple[str, ...], content_type: str) -> bool:
    """True for a create or update of a Binary whose body is the content itself."""
    return (
        segments[:1] == ("Binary",)
        and (method, len(segments)) in (("POST", 1), ("PUT", 2))
        and not is_fhir(content_type)
    )


def as_resource(request: FhirRequest) -> FhirRequest:
    """The request with a Binary made of its body, its Content-Type and its X-Security-Context."""
    content_type = request.headers.get("content-type", "").strip()
    if not _MEDIA_TYPE.fullmatch(content_type):
        raise FhirError(Kind.MEDIA_TYPE, "a Binary needs a Content-Type")
    binary: Resource = {"resourceType": "Binary", "contentType": content_type}
    if len(request.segments) == 2:
        binary["id"] = request.segments[1]
    if "x-security-context" in request.headers:
        binary["securityContext"] = {"reference": request.headers["x-security-context"]}
    binary["data"] = base64.b64encode(request.body).decode()
    return replace(request, body=b"", resource=binary)
