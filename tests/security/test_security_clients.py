"""Systems that are registered with their public keys get access tokens here, and only they (SMART Backend Services)."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, RSAKey

from fhir_server.cli.clients import add, disable, every, organisation_of, rotate, shown
from fhir_server.cli.faults import CannotRun
from fhir_server.cli.person import login as login_name
from fhir_server.config import Settings
from fhir_server.records.ids import facility_id
from fhir_server.security.clients import Client
from fhir_server.security.grants import ASSERTION_TYPE, granted
from tests.builders import a_patient
from tests.security.callers import Caller

TOKEN = "http://test/token"


@pytest.fixture(scope="module")
def open_to_clients(guarded: Settings) -> Settings:
    return guarded


@pytest.fixture(scope="module")
def host(http: httpx.AsyncClient, admin: Caller) -> httpx.AsyncClient:
    return http


@pytest.fixture(scope="module")
def key() -> Key:
    return ECKey.generate_key("P-384", {"kid": "of-the-hospital"})


@pytest.fixture(scope="module")
async def registered(open_to_clients: Settings, key: Key, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a client that sees everything of Patients."""
    keys = write(tmp_path_factory.mktemp("keys"), key)
    client = Client("Bệnh viện", "system/Patient.cruds conf/R sens/HIV sens/PSY", everything=True)
    return await asyncio.to_thread(add, open_to_clients, client, keys)


def write(folder: Path, *keys: Key) -> Path:
    path = folder / "keys.json"
    path.write_text(json.dumps({"keys": [key.as_dict(private=False) for key in keys]}))
    return path


def assertion(client: str, key: Key, header: dict[str, Any] | None = None, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": client, "sub": client, "aud": TOKEN, "exp": now + 240, "iat": now, "jti": str(uuid4())}
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    named = {"alg": "ES384", "kid": "of-the-hospital", **(header or {})}
    return jwt.encode(named, claims, key, algorithms=[named["alg"]])


async def asked(host: httpx.AsyncClient, signed: str, scope: str = "system/Patient.rs", **more: str) -> httpx.Response:
    form = {
        "grant_type": "client_credentials",
        "scope": scope,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": signed,
    }
    return await host.post("/token", data={**form, **more})


async def test_a_registered_system_gets_a_token_and_is_let_in(
    host: httpx.AsyncClient, registered: str, key: Key
) -> None:
    answer = await asked(host, assertion(registered, key), "system/Patient.cruds conf/R sens/HIV sens/PSY")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["token_type"], told["expires_in"]) == ("bearer", 300)
    assert answer.headers["cache-control"] == "no-store"
    caller = Caller(host, told["access_token"])
    assert (await caller.put(a_patient(id="p1"))).status_code == 201
    assert await caller.ids("Patient") == {"Patient/p1"}
    assert (await caller.get("Condition")).status_code == 403


async def events(admin: Caller, query: str) -> list[dict[str, Any]]:
    """Those of one second stand in no certain order."""
    bundle = (await admin.get(f"AuditEvent?{query}&_count=1000")).json()
    assert not any(link["relation"] == "next" for link in bundle["link"])
    return [entry["resource"] for entry in bundle["entry"]]


async def test_tokens_given_and_refused_and_new_clients_are_on_record(
    host: httpx.AsyncClient, registered: str, key: Key, admin: Caller
) -> None:
    assert (await asked(host, assertion(registered, key), "system/Patient.r")).status_code == 200
    assert (await asked(host, assertion(registered, key), "system/Task.r")).status_code == 400
    assert (await asked(host, "no.assertion.at-all")).status_code == 401
    login = "type=http://dicom.nema.org/resources/ontology/DCM|110114"
    own = await events(admin, f"{login}&altid={registered}")
    told = [(one["outcome"], one["entity"][0]["detail"][0]) for one in own]
    assert ("4", {"type": "error", "valueString": "invalid_scope"}) in told
    assert ("0", {"type": "scope", "valueString": "system/Patient.r"}) in told
    assert "401" in [one["outcomeDesc"] for one in await events(admin, f"{login}&outcome=4")]
    client = {"type": "client", "valueString": registered}
    (added,) = [one for one in await events(admin, "subtype=110137") if client in one["entity"][0]["detail"]]
    assert added["agent"][0]["altId"] == login_name()
    assert added["agent"][1]["altId"] == "fhir-server clients add"


async def test_the_way_in_is_told_to_apps(host: httpx.AsyncClient) -> None:
    for path in ("/.well-known/smart-configuration", "/fhir/.well-known/smart-configuration"):
        told = (await host.get(path)).json()
        assert told["token_endpoint"] == TOKEN
        assert told["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
        assert "client-confidential-asymmetric" in told["capabilities"]
    security = (await host.get("/fhir/metadata")).json()["rest"][0]["security"]
    assert security["extension"][0]["extension"] == [{"url": "token", "valueUri": TOKEN}]


async def test_an_assertion_is_good_once(host: httpx.AsyncClient, registered: str, key: Key) -> None:
    signed = assertion(registered, key)
    assert (await asked(host, signed)).status_code == 200
    again = await asked(host, signed)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example/token"},
        {"aud": "http://test/fhir"},
        {"exp": 1},
        {"exp": int(time.time()) + 3600},
        {"exp": None},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 300},
        {"sub": "another"},
        {"iss": "nobody", "sub": "nobody"},
        {"iss": None, "sub": None},
    ],
)
async def test_an_assertion_that_does_not_fit_gets_nothing(
    host: httpx.AsyncClient, registered: str, key: Key, changes: dict[str, Any]
) -> None:
    answer = await asked(host, assertion(registered, key, **changes))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text


async def test_an_assertion_of_another_key_gets_nothing(host: httpx.AsyncClient, registered: str, key: Key) -> None:
    other = ECKey.generate_key("P-384", {"kid": "of-the-hospital"})
    for header in ({}, {"kid": "unknown"}, {"jwk": other.as_dict(private=False)}, {"jku": "http://127.0.0.1:1/"}):
        answer = await asked(host, assertion(registered, other, header))
        assert answer.json()["error"] == "invalid_client"
    secret = OctKey.import_key(json.dumps(key.as_dict(private=False)))
    answer = await asked(host, assertion(registered, secret, {"alg": "HS384"}))
    assert answer.json()["error"] == "invalid_client"


async def test_requests_that_are_no_token_requests_are_refused(
    host: httpx.AsyncClient, registered: str, key: Key
) -> None:
    good = assertion(registered, key)
    for changes, error in (
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion_type": "x"}, "invalid_request"),
        ({"scope": "system/Condition.rs"}, "invalid_scope"),
        ({"scope": "patient/*.rs"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
    ):
        answer = await asked(host, good if error != "invalid_scope" else assertion(registered, key), **changes)
        assert (answer.status_code, answer.json()["error"]) == (400, error)
    for content, kind in (
        (b"{}", "application/json"),
        (b"grant_type=client_credentials&grant_type=x", "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=b" % n for n in range(100)), "application/x-www-form-urlencoded"),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded"),
        ("grant_type=ă".encode(), "application/x-www-form-urlencoded"),
    ):
        answer = await host.post("/token", content=content, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_token_that_we_did_not_seal_lets_nobody_in(host: httpx.AsyncClient, registered: str, key: Key) -> None:
    token = (await asked(host, assertion(registered, key))).json()["access_token"]
    for forged in (
        token[:-2] + "AA",
        token + "A",
        "fhir_",
        "fhir_AAAA",
        "fhir_" + "A" * 200,
        token.removeprefix("fhir_"),
    ):
        assert (await Caller(host, forged).get("Patient")).status_code == 401


async def test_a_system_that_is_disabled_is_let_in_no_more(
    host: httpx.AsyncClient, open_to_clients: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = ECKey.generate_key("P-384", {"kid": "of-the-hospital"})
    client = Client("Trạm", "system/*.rs", organisation="h1")
    id = await asyncio.to_thread(add, open_to_clients, client, write(tmp_path, key))
    token = (await asked(host, assertion(id, key))).json()["access_token"]
    await asyncio.to_thread(disable, open_to_clients, id)
    assert (await Caller(host, token).get("Patient")).status_code == 401
    assert (await asked(host, assertion(id, key))).json()["error"] == "invalid_client"
    new = RSAKey.generate_key(2048, {"kid": "new"})
    await asyncio.to_thread(rotate, open_to_clients, id, write(tmp_path, new), None, False)
    assert (await asked(host, assertion(id, key))).json()["error"] == "invalid_client"
    answer = await asked(host, assertion(id, new, {"alg": "RS384", "kid": "new"}))
    assert answer.status_code == 200
    told = json.loads(shown(id, (await asyncio.to_thread(every, open_to_clients))[id]))
    assert (told["organisation"], told["keys"], told["disabled"]) == ("h1", ["new"], False)


async def test_old_keys_count_on_when_they_are_kept(
    host: httpx.AsyncClient, open_to_clients: Settings, tmp_path: Path
) -> None:
    old, new = (ECKey.generate_key("P-384", {"kid": kid}) for kid in ("of-the-hospital", "second"))
    client = Client("Sở", "system/*.rs", unit="province:38")
    id = await asyncio.to_thread(add, open_to_clients, client, write(tmp_path, old))
    await asyncio.to_thread(rotate, open_to_clients, id, write(tmp_path, new), None, True)
    assert (await asked(host, assertion(id, old))).status_code == 200
    assert (await asked(host, assertion(id, new, {"kid": "second"}))).status_code == 200


def test_a_facility_is_told_by_its_code_or_its_id() -> None:
    assert organisation_of("h1", None) == "h1"
    assert organisation_of(None, "38280") == facility_id("38280")
    assert organisation_of(None, None) is None
    with pytest.raises(CannotRun, match="one of the two"):
        organisation_of("h1", "38280")


@pytest.mark.parametrize(
    ("client", "why"),
    [
        (Client("x", "system/*.rs"), "organisation"),
        (Client("x", "system/*.rs", organisation="h", everything=True), "organisation"),
        (Client("x", "system/*.rs", organisation="h 1"), "Organization"),
        (Client("x", "system/*.rs", unit="ward:0"), "ward:14797"),
        (Client("x", "patient/*.rs", everything=True), "scope"),
        (Client("x", "nonsense", everything=True), "scope"),
        (Client("x", "system/*.rs", keys_url="https://a.example", everything=True), "one of the two"),
    ],
)
async def test_a_registration_that_would_let_in_too_much_or_nobody_is_refused(
    open_to_clients: Settings, tmp_path: Path, key: Key, client: Client, why: str
) -> None:
    with pytest.raises(CannotRun, match=why):
        await asyncio.to_thread(add, open_to_clients, client, write(tmp_path, key))


async def test_a_private_key_is_never_taken(open_to_clients: Settings, tmp_path: Path, key: Key) -> None:
    client = Client("x", "system/*.rs", everything=True)
    jwk, pem, public = tmp_path / "private.json", tmp_path / "private.pem", tmp_path / "public.pem"
    jwk.write_text(json.dumps(key.as_dict(private=True)))
    pem.write_bytes(key.as_pem(private=True))  # type: ignore[union-attr]
    public.write_bytes(key.as_pem(private=False))  # type: ignore[union-attr]
    for path in (jwk, pem):
        with pytest.raises(CannotRun, match="private"):
            await asyncio.to_thread(add, open_to_clients, client, path)
    assert await asyncio.to_thread(add, open_to_clients, client, public)


@pytest.mark.parametrize(
    ("asked", "registered", "given"),
    [
        ("system/*.rs", "system/Patient.rs system/Condition.r", "system/Patient.rs system/Condition.r"),
        ("system/Patient.r", "system/*.cruds", "system/Patient.r"),
        ("system/Patient.rs", "system/Patient.r", "system/Patient.r"),
        ("system/Patient.cud", "system/Patient.rs", ""),
        ("system/Patient.read", "system/*.rs", "system/Patient.read"),
        ("user/Patient.rs", "system/*.rs", ""),
        ("system/Observation.rs", "system/Observation.rs?category=a", "system/Observation.rs?category=a"),
        ("system/Observation.rs?category=a", "system/Observation.rs", "system/Observation.rs?category=a"),
        ("system/Observation.rs?category=b", "system/Observation.rs?category=a", ""),
        ("sens/HIV", "system/*.rs", ""),
        ("operation/reindex", "operation/*", "operation/reindex"),
        ("operation/*", "operation/reindex", "operation/reindex"),
        ("openid nonsense", "system/*.rs", ""),
    ],
)
def test_what_is_granted_is_never_more_than_asked_nor_than_registered(asked: str, registered: str, given: str) -> None:
    assert " ".join(granted(asked, registered)) == given
