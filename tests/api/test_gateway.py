"""The provincial gateway: what a hospital system that was written for one meets here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from itertools import count
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from typer.testing import CliRunner

from fhir_server.cli.commands import app
from fhir_server.config import Settings
from fhir_server.http.gateway import RECEIVE_PATH, TOKEN_PATH
from fhir_server.model.passwords import hashed
from fhir_server.records.gateway import BODY_LIMIT, is_password
from tests.api.conftest import Client, serving
from tests.conftest import new_database


def message(
    request_id: str = "R1", sender: str = "38280", name: str = "Nguyễn Văn An", born: str = "02/03/1985"
) -> bytes:
    return (
        f"<DATA><HEADER><MESSAGE_VERSION>1.0</MESSAGE_VERSION><SENDER_CODE>{sender}</SENDER_CODE>"
        f"<TRANSACTION_DATE>02/03/2026</TRANSACTION_DATE><REQUEST_ID>{request_id}</REQUEST_ID></HEADER><BODY><HOSOSUCKHOE>"
        f"<THONGTINCHUNG><MADINHDANH>038085000123</MADINHDANH><HOTEN>{name}</HOTEN><GIOITINH>1</GIOITINH>"
        f"<NGAYSINH>{born}</NGAYSINH></THONGTINCHUNG></HOSOSUCKHOE></BODY><SECURITY/></DATA>"
    ).encode()


@pytest.fixture(scope="module")
async def gateway(
    mongodb_uri: str, mongodb: MongoClient[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Client]:
    accounts = tmp_path_factory.mktemp("gateway") / "accounts.json"
    rows = [{"username": "tyt", "secret": hashed("mật khẩu"), "facility": "38280"}]
    accounts.write_text(json.dumps(rows), "utf-8")
    with new_database(mongodb) as database:
        settings = Settings(
            mongodb_uri=mongodb_uri,
            mongodb_database=database,
            gateway_accounts=accounts,
            gateway_pace=40,
            number_changes=False,
        )
        async with serving(settings) as made:
            yield made


async def log_in(gateway: Client, username: str = "tyt", password: str = "mật khẩu") -> httpx.Response:
    return await gateway.http.post(TOKEN_PATH, json={"username": username, "password": password})


async def token(gateway: Client) -> str:
    answer = await log_in(gateway)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["success"], told["data"]["expires_in"], told["data"]["token_type"]) == (True, 10_800, "Bearer")
    return str(told["data"]["access_token"])


@pytest.fixture(scope="module")
async def bearer(gateway: Client) -> dict[str, str]:
    return {"authorization": f"Bearer {await token(gateway)}", "content-type": "application/xml"}


async def send(gateway: Client, bearer: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
    answer = await gateway.http.post(RECEIVE_PATH, content=body, headers=bearer)
    return answer.status_code, answer.json()


async def test_a_message_is_accepted_once_and_its_person_found(gateway: Client, bearer: dict[str, str]) -> None:
    status, first = await send(gateway, bearer, message("once"))
    assert (status, first["success"], first["code"]) == (200, True, "ACCEPTED")
    tracking = first["data"]["tracking_id"]
    status, again = await send(gateway, bearer, message("once"))
    assert (status, again["code"], again["data"]["tracking_id"]) == (200, "ACCEPTED_DUPLICATE", tracking)
    found = (await gateway.get("Patient?identifier=038085000123")).json()
    person = found["entry"][0]["resource"]
    assert person["name"][0]["text"] == "Nguyễn Văn An"
    senders = [tag["code"] for tag in person["meta"]["tag"] if tag["system"] == "urn:vn-basic:CodeSystem:sender"]
    assert (await gateway.get(f"Organization/{senders[0]}")).json()["identifier"][0]["value"] == "38280"


async def test_a_request_id_with_other_content_is_a_conflict(gateway: Client, bearer: dict[str, str]) -> None:
    await send(gateway, bearer, message("other"))
    status, told = await send(gateway, bearer, message("other", name="Người khác"))
    assert (status, told["success"], told["code"]) == (409, False, "REQUEST_ID_CONFLICT")


async def test_a_request_id_of_an_earlier_file_is_a_conflict_too(gateway: Client, bearer: dict[str, str]) -> None:
    answer = await gateway.send("POST", "$import-records", message("file"), content_type="application/xml")
    assert answer.status_code == 200, answer.text
    status, told = await send(gateway, bearer, message("file", name="Người khác"))
    assert (status, told["code"], told["data"]["errors"][0]["rule"]) == (
        409,
        "REQUEST_ID_CONFLICT",
        "request-id-conflict",
    )
    again = await gateway.send("POST", "$import-records", message("file", name="Khác"), content_type="application/xml")
    assert again.status_code == 409
    assert "REQUEST_ID" in again.text


async def test_a_message_of_another_facility_is_refused(gateway: Client, bearer: dict[str, str]) -> None:
    status, told = await send(gateway, bearer, message("org", sender="38281"))
    assert (status, told["code"], told["data"]) == (403, "ORG_MISMATCH", None)


async def test_a_faulty_record_is_told_with_field_and_advice_and_may_be_sent_again(
    gateway: Client, bearer: dict[str, str]
) -> None:
    status, told = await send(gateway, bearer, message("faulty", born="31/02/1985"))
    assert (status, told["code"]) == (422, "VALIDATION_FAILED")
    (fault,) = told["data"]["errors"]
    assert (fault["field"], fault["rule"]) == ("NGAYSINH", "value")
    assert fault["do_vi"]
    status, told = await send(gateway, bearer, message("faulty"))
    assert (status, told["code"]) == (200, "ACCEPTED")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"<DATA><HEADER>", 400, "INVALID_XML"),
        (b"not xml", 400, "INVALID_XML"),
        (message(""), 400, "INVALID_REQUEST_ID"),
        (message("x" * 101), 400, "INVALID_REQUEST_ID"),
        (b"<DATA>" + b" " * (BODY_LIMIT + 1), 413, "PAYLOAD_TOO_LARGE"),
    ],
)
async def test_what_is_no_message_is_refused(
    gateway: Client, bearer: dict[str, str], body: bytes, status: int, code: str
) -> None:
    told = await send(gateway, bearer, body)
    assert (told[0], told[1]["code"]) == (status, code)


async def test_only_a_token_of_this_gateway_counts(gateway: Client, bearer: dict[str, str]) -> None:
    for sent in ({}, {"authorization": "Bearer x.y.z"}, {"authorization": bearer["authorization"] + "x"}):
        answer = await gateway.http.post(RECEIVE_PATH, content=message(), headers={"content-type": "text/xml", **sent})
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
    answer = await gateway.http.post(RECEIVE_PATH, content=b"{}", headers={**bearer, "content-type": "text/plain"})
    assert answer.status_code == 415


async def test_a_password_is_tried_only_so_often(gateway: Client) -> None:
    # A minute may end in between: of 21 tries one minute has more than ten.
    answers = [await log_in(gateway, "guess", "x") for _ in range(21)]
    assert [answer.status_code for answer in answers[:10]] == [401] * 10
    refused = [answer for answer in answers if answer.status_code != 401]
    assert {(answer.status_code, answer.headers["retry-after"]) for answer in refused} == {(429, "60")}
    assert (await gateway.http.post(TOKEN_PATH, content=b"[]")).status_code == 400


async def test_invented_names_use_up_no_try_of_an_account(gateway: Client) -> None:
    shared = sha256(b"tyt").hexdigest()[:3]  # invented names share few buckets: this one would be the account's
    invented = next(name for name in map(str, count()) if sha256(name.encode()).hexdigest()[:3] == shared)
    answers = [await log_in(gateway, invented, "x") for _ in range(21)]
    assert 429 in [answer.status_code for answer in answers]
    assert (await log_in(gateway)).status_code == 200


async def test_messages_beyond_the_pace_wait(gateway: Client, bearer: dict[str, str]) -> None:
    answers = [
        (await send(gateway, bearer, b"x"))[0] for _ in range(81)
    ]  # more than a pace of 40 in one of two minutes
    assert 429 in answers


def test_a_secret_does_not_tell_its_password() -> None:
    from fhir_server.records.gateway import Account

    account = Account("a", hashed("secret"), "38280")
    assert "secret" not in account.secret
    assert hashed("secret") != account.secret  # salted
    assert is_password(account, "secret")
    assert not is_password(account, "Secret")
    assert not is_password(Account("a", "plain", "38280"), "plain")
    assert not is_password(None, "")


def test_the_line_of_an_account_stands_alone_on_stdout_though_the_password_is_asked_for() -> None:
    from fhir_server.records.gateway import Account

    asked = CliRunner().invoke(app, ["records", "account", "tyt", "--facility", "38280"], input="secret\n")
    line = json.loads(asked.stdout)
    assert (line["username"], asked.stderr) == ("tyt", "Password:")
    assert is_password(Account(**line), "secret")
