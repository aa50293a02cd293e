"""What provincial gateways of personal health records do: accounts, tokens, and a message taken in once.

Accounts are a JSON file that the setting `gateway_accounts` names: [{"username", "secret", "facility"}], the secret as
`model.passwords` makes it. A token is a JWT signed with a key of the store, so that any process knows it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from fhir_server.interactions.exchange import Context
from fhir_server.interactions.rights import Caller, Rights
from fhir_server.model.passwords import fits
from fhir_server.model.resources import decode
from fhir_server.records.files import read_stream
from fhir_server.records.ids import facility_id
from fhir_server.records.importing import formats_of, import_records
from fhir_server.records.masking import Masks
from fhir_server.records.report import ImportReport, problem_as_json
from fhir_server.records.requests import CONFLICT
from fhir_server.records.source import SourceRecord

FORMAT = "hssk831"
TOKEN_SECONDS = 10_800
BODY_LIMIT = 10 << 20
REGISTER = "gateway-requests"
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Account:
    """One sender. facility: the SENDER_CODE that it may send for."""

    username: str
    secret: str
    facility: str


@dataclass(frozen=True, slots=True)
class Answer:
    """status: of HTTP. code: the gateway's word. data: its data, {} is told as null."""

    status: int
    code: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        is_accepted = self.code.startswith("ACCEPTED") or self.code == "OK"
        return {"success": is_accepted, "code": self.code, "message": self.message, "data": dict(self.data) or None}


def read_accounts(path: Path) -> dict[str, Account]:
    """By username. Raises OSError, and ValueError for a file that is none."""
    try:
        rows = decode(path.read_bytes())
        accounts = [Account(row["username"], row["secret"], row["facility"]) for row in rows]
    except (KeyError, TypeError, AttributeError) as fault:
        raise ValueError(f"{path} holds no list of accounts ({type(fault).__name__}: {fault})") from None
    return {account.username: account for account in accounts}


def is_password(account: Account | None, password: str) -> bool:
    """Takes as long for an unknown account as for a wrong password."""
    return fits(account.secret if account is not None else None, password)


async def token_for(context: Context, account: Account) -> str:
    """A token that its account may use for TOKEN_SECONDS."""
    expires = context.clock() // 1000 + TOKEN_SECONDS
    return jwt.encode({"alg": "HS256"}, {"sub": account.username, "exp": expires}, await _key(context))


async def username_of(context: Context, token: str) -> str | None:
    """Whose token it is; None for one that is not ours or is over."""
    try:
        claims = jwt.decode(token, await _key(context), algorithms=["HS256"]).claims
    except (JoseError, ValueError):
        return None
    is_over = int(claims.get("exp", 0)) <= context.clock() // 1000
    return None if is_over else str(claims.get("sub", ""))


async def _key(context: Context) -> OctKey:
    return OctKey.import_key(await context.store.secret("gateway"))


async def accept(context: Context, account: Account, body: bytes) -> Answer:
    """Takes in one message: once for its REQUEST_ID, and only from the facility of the account."""
    refused, request_id = _refused(context, account, body)
    if refused is not None:
        return refused
    digest = hashlib.sha256(body).hexdigest()
    name = f"{account.facility}|{request_id}"
    entry = {"digest": digest, "tracking": context.new_id(), "done": False}
    if not await context.store.enter(REGISTER, name, entry):
        held = await context.store.entry(REGISTER, name) or entry
        if held["digest"] != digest:
            if held["done"] or not await context.store.replace(REGISTER, name, entry, held):
                text = "REQUEST_ID đã dùng cho nội dung khác"
                return Answer(409, "REQUEST_ID_CONFLICT", text, {"tracking_id": held["tracking"]})
        elif held["done"]:
            return Answer(200, "ACCEPTED_DUPLICATE", "Đã tiếp nhận trước đó", {"tracking_id": held["tracking"]})
        else:
            entry = dict(held)
    report = await _import(context, account, body)
    told = _told(report)
    if any(severity == "error" and rule == CONFLICT for severity, rule in report.rules):
        return Answer(409, "REQUEST_ID_CONFLICT", "REQUEST_ID đã dùng cho nội dung khác", told)
    if report.refused or not report.read:
        return Answer(422, "VALIDATION_FAILED", "Hồ sơ bị từ chối, xem errors", told)
    await context.store.replace(REGISTER, name, {**entry, "done": True}, entry)
    return Answer(200, "ACCEPTED", "Đã tiếp nhận", {"tracking_id": entry["tracking"], **told})


def _refused(context: Context, account: Account, body: bytes) -> tuple[Answer | None, str]:
    """(why the message is not looked at further, its REQUEST_ID)."""
    sources = list(read_stream(BytesIO(body), "message.xml", formats_of(context.settings)))
    read = [one for one in sources if one.content is not None]
    if not read or read[0].format != FORMAT:
        return Answer(400, "INVALID_XML", "Không đọc được thông điệp HSSK-831", _problems(sources)), ""
    header = (read[0].content or {}).get("HEADER", {})
    header = header if isinstance(header, dict) else {}
    if header.get("SENDER_CODE") != account.facility:
        return Answer(403, "ORG_MISMATCH", "SENDER_CODE không thuộc đơn vị của tài khoản"), ""
    request_id = header.get("REQUEST_ID", "")
    if not isinstance(request_id, str) or not _REQUEST_ID.fullmatch(request_id):
        return Answer(400, "INVALID_REQUEST_ID", "REQUEST_ID phải có 1 đến 100 ký tự"), ""
    return None, request_id


async def _import(context: Context, account: Account, body: bytes) -> ImportReport:
    """What a message brings bears the mark of its facility; of people whom others have sent, too, it adds what is
    missing, for the gateway is where the records of one person come together."""
    organisation = facility_id(account.facility)
    caller = Caller(
        key=f"gateway\n{account.username}",
        client="gateway",
        subject=account.username,
        organisation=organisation,
    )
    rights = Rights(sign=partial(context.rules.sent_by, organisation))
    with tempfile.TemporaryDirectory(prefix="fhir-gateway-") as folder:
        path = Path(folder) / "message.xml"
        path.write_bytes(body)
        return await import_records(context.with_(caller=caller, rights=rights), [path])


def _told(report: ImportReport) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, severity in (("errors", "error"), ("warnings", "warning")):
        found = [problem_as_json(p) for one in report.records for p in one.problems if p.severity == severity]
        if found:
            told[name] = found[:200]
    return told


def _problems(sources: list[SourceRecord]) -> dict[str, Any]:
    found = [problem_as_json(Masks().problem(problem)) for one in sources for problem in one.problems]
    return {"errors": found[:200]} if found else {}
