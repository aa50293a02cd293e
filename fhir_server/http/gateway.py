"""The paths of a provincial gateway of personal health records, so that a hospital system connects by its address.

POST /api/xac-thuc/token                                {"username", "password"} → a bearer token
POST /api/ho-so-suc-khoe/qd-831-2017/tiep-nhan          one HSSK-831 message → ACCEPTED with a tracking id
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.recording import note
from fhir_server.model.resources import decode
from fhir_server.records.gateway import (
    BODY_LIMIT,
    TOKEN_SECONDS,
    Account,
    Answer,
    accept,
    is_password,
    read_accounts,
    token_for,
    username_of,
)
from fhir_server.security.pace import Pace

TOKEN_PATH = "/api/xac-thuc/token"  # noqa: S105 - a path, no password
RECEIVE_PATH = "/api/ho-so-suc-khoe/qd-831-2017/tiep-nhan"
LOGINS_A_MINUTE = 10
_LOGIN_LIMIT = 4 << 10
_XML = ("application/xml", "text/xml")

log = structlog.get_logger("fhir_server.gateway")


def gateway(context_of: Callable[[Request], Context], accounts: Path, pace: int) -> APIRouter:
    """The routes of the gateway. accounts: the file of those who may send. pace: messages a minute of each."""
    router = APIRouter(tags=["gateway"])
    desk = _Desk(accounts, pace)

    @router.post(TOKEN_PATH, summary="A token of the gateway", openapi_extra=_LOGIN_BODY)
    async def post_token(request: Request) -> JSONResponse:
        """`data.access_token` is to be sent as a Bearer token; it is over after `data.expires_in` seconds."""
        return _response(await desk.log_in(context_of(request), request))

    @router.post(RECEIVE_PATH, summary="Take in one HSSK-831 message", openapi_extra=_XML_BODY)
    async def post_message(request: Request) -> JSONResponse:
        """ACCEPTED or ACCEPTED_DUPLICATE with `data.tracking_id`; 409 REQUEST_ID_CONFLICT, 403 ORG_MISMATCH, 422
        VALIDATION_FAILED with `data.errors`, 401 without a token that counts, 429 beyond the pace."""
        return _response(await desk.receive(context_of(request), request))

    return router


_LOGIN_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["username", "password"],
                    "properties": {"username": {"type": "string"}, "password": {"type": "string"}},
                }
            }
        },
    }
}
_XML_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/xml": {"schema": {"type": "string"}}}}
}


class _Desk:
    def __init__(self, accounts: Path, pace: int) -> None:
        self._path = accounts
        self._read_at = 0
        self._accounts: dict[str, Account] = {}
        self._pace = pace
        self._limits: dict[str, Pace] = {}

    def _known(self) -> dict[str, Account]:
        """The accounts, read again when the file has changed; with a broken file those of before stay."""
        try:
            changed = self._path.stat().st_mtime_ns
            if changed != self._read_at:
                self._accounts, self._read_at = read_accounts(self._path), changed
        except (OSError, ValueError, FhirError) as fault:
            log.error("the accounts of the gateway cannot be read", fault=str(fault))
        return self._accounts

    async def _may(self, context: Context, what: str, a_minute: int, name: str) -> bool:
        """False when it was too often, in whichever process."""
        if what not in self._limits:
            self._limits[what] = Pace(context.store, what, a_minute / 60, f"does too many {what}", context.clock, 60)
        try:
            await self._limits[what].spend(name)
        except FhirError as fault:
            if fault.kind is not Kind.THROTTLED:
                raise
            return False
        return True

    async def log_in(self, context: Context, request: Request) -> Answer:
        body = await _body(request, _LOGIN_LIMIT)
        try:
            asked = decode(body) if body is not None else None
        except FhirError:
            asked = None
        if not isinstance(asked, dict) or not all(isinstance(asked.get(k), str) for k in ("username", "password")):
            return Answer(400, "INVALID_REQUEST", "Gửi JSON {username, password}")
        account = self._known().get(asked["username"])
        # Whoever invents names shall neither fill the database nor use up the tries of those who have an account.
        invented = hashlib.sha256(asked["username"].encode("utf-8", "replace")).hexdigest()[:3]
        bucket = f"account {account.username}" if account is not None else invented
        if not await self._may(context, "gateway logins", LOGINS_A_MINUTE, bucket):
            return _TOO_MANY
        if not await asyncio.to_thread(is_password, account, asked["password"]) or account is None:
            return Answer(401, "UNAUTHORIZED", "Sai tên đăng nhập hoặc mật khẩu")
        token = await token_for(context, account)
        data = {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS}
        return Answer(200, "OK", "Thành công", data)

    async def receive(self, context: Context, request: Request) -> Answer:
        """The message, on record like every access."""
        asked = FhirRequest("POST", ("$import-records",))
        try:
            answer = await self._receive(context, request)
        except FhirError as fault:
            answer = Answer(fault.kind.status, "ERROR", fault.diagnostics)
        await note(context, asked, FhirResponse(answer.status))
        return answer

    async def _receive(self, context: Context, request: Request) -> Answer:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        username = await username_of(context, token.strip()) if scheme.lower() == "bearer" else None
        account = self._known().get(username) if username else None
        if account is None:
            return Answer(401, "UNAUTHORIZED", "Thiếu token, token sai hoặc đã hết hạn")
        if not await self._may(context, "gateway messages", self._pace, account.username):
            return _TOO_MANY
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _XML:
            return Answer(415, "UNSUPPORTED_MEDIA_TYPE", "Gửi application/xml")
        body = await _body(request, BODY_LIMIT)
        if body is None:
            return Answer(413, "PAYLOAD_TOO_LARGE", f"Thông điệp lớn hơn {BODY_LIMIT >> 20} MiB")
        return await accept(context, account, body)


_TOO_MANY = Answer(429, "TOO_MANY_REQUESTS", "Gửi quá nhanh, thử lại sau một phút")


async def _body(request: Request, limit: int) -> bytes | None:
    """None when it is larger than the limit."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            return None
    return bytes(body)


def _response(answer: Answer) -> JSONResponse:
    headers = {"Retry-After": "60"} if answer.status == 429 else {}
    if answer.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(answer.body(), answer.status, headers=headers)
