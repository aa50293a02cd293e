"""Beside FHIR: the token endpoint for registered systems, and the SMART configuration at the root of the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import structlog
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from fhir_server.errors import FhirError
from fhir_server.http.errors import refusal
from fhir_server.interactions.capabilities import smart_configuration, token_endpoint
from fhir_server.interactions.exchange import Context, FhirRequest
from fhir_server.interactions.recording import token_asked
from fhir_server.security.gate import Gate
from fhir_server.security.grants import Denied

log = structlog.get_logger("fhir_server.security")

LARGEST = 64 * 1024  # bytes of a token request
_FORM = "application/x-www-form-urlencoded"
_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}


def authorization(context_of: Callable[[Request], Context], gate_of: Callable[[], Gate | None]) -> APIRouter:
    """Both are answered with 404 in open mode."""
    router = APIRouter()

    @router.post("/token", summary="An access token for a registered system (SMART Backend Services)")
    async def token(request: Request) -> Response:
        """A form with grant_type client_credentials, scope, client_assertion_type and client_assertion."""
        gate = gate_of()
        if gate is None:
            return _denied(Denied("unsupported_grant_type", "nobody is asked who they are: no token is needed"), 404)
        context = context_of(request)
        try:
            return await _granted(context, gate, request)
        except FhirError as fault:  # it cannot be put on record: then nothing is given
            log.warning("no token was given", error=fault.kind.name)
            return JSONResponse({"error": "temporarily_unavailable"}, fault.kind.status, headers=_NO_STORE)

    @router.get("/.well-known/smart-configuration", summary="How an app is let in (SMART App Launch)")
    async def configuration(request: Request) -> Response:
        try:
            found = await smart_configuration(context_of(request), FhirRequest("GET"))
        except FhirError as fault:
            found = refusal(fault, request.headers)
        return Response(found.body, found.status, media_type=found.media_type)

    return router


async def _granted(context: Context, gate: Gate, request: Request) -> Response:
    """The answer, once it is on record. Raises FhirError."""
    try:
        told = await gate.grant(await _form(request), token_endpoint(context))
    except Denied as fault:
        log.warning("no token was given", error=fault.error, why=str(fault))
        status = 401 if fault.error == "invalid_client" else 400
        await token_asked(context, fault.client, status, (("error", fault.error),))
        return _denied(fault, status)
    await token_asked(context, told.client, 200, (("scope", told.scope),))
    return JSONResponse(told.response, headers=_NO_STORE)


def _denied(fault: Denied, status: int) -> Response:
    """RFC 6749 section 5.2."""
    return JSONResponse({"error": fault.error, "error_description": str(fault)}, status, headers=_NO_STORE)


async def _form(request: Request) -> Mapping[str, str]:
    """Each name once, as RFC 6749 section 3.2 has it. Raises Denied."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Denied("invalid_request", f"a token is asked for by a form, {_FORM}")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise Denied("invalid_request", f"the form is larger than {LARGEST} bytes")
    try:
        pairs = parse_qsl(body.decode("ascii"), strict_parsing=True, max_num_fields=20)
    except ValueError:
        raise Denied("invalid_request", "this is no form") from None
    if len(dict(pairs)) < len(pairs):
        raise Denied("invalid_request", "a parameter is there twice")
    return dict(pairs)
