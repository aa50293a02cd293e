"""A real OpenID Connect provider beside the server: its tokens let in, by its own discovery, keys and introspection."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pymongo import MongoClient

from fhir_server.app import build_app
from fhir_server.config import Settings
from tests.security.callers import AUDIENCE, Caller

FOLDER = Path(__file__).parent / "oidc"
SECRET = "of-the-app"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The issuer of a provider that runs beside the test."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node is not installed")
    if not (FOLDER / "node_modules" / ".package-lock.json").exists():
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=FOLDER, check=True, capture_output=True, timeout=170)
    command = [node, "provider.mjs", AUDIENCE, json.dumps({"patient": "an"})]
    with subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield next(line.strip() for line in process.stdout if line.startswith("http"))
        process.terminate()


@pytest.fixture(scope="module")
async def host(
    provider: str, mongodb_uri: str, mongodb: MongoClient[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("provider")
    (folder / "secret").write_text(SECRET + "\n")
    introspection = {"url": f"{provider}/token/introspection", "clientId": "app", "secretFile": "secret"}
    issuer = {"issuer": provider, "audience": [AUDIENCE], "introspection": introspection}
    (folder / "issuers.json").write_text(json.dumps({"issuers": [issuer]}))
    name = f"test_{uuid4().hex}"
    app = build_app(Settings(mongodb_uri=mongodb_uri, mongodb_database=name, issuers=folder / "issuers.json"))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        yield client
    mongodb.drop_database(name)


async def token(provider: str, resource: str) -> str:
    form = {"grant_type": "client_credentials", "scope": "patient/*.rs", "resource": resource}
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{provider}/token", data=form, auth=("app", SECRET))
    given: str = answer.json()["access_token"]
    return given


@pytest.mark.parametrize("resource", [AUDIENCE, "urn:opaque"])
async def test_its_tokens_let_in_whether_signed_or_opaque(
    host: httpx.AsyncClient, provider: str, resource: str
) -> None:
    given = await token(provider, resource)
    assert (given.count(".") == 2) == (resource == AUDIENCE)
    caller = Caller(host, given)
    assert (await caller.get("Organization")).status_code == 200
    assert (await caller.get("Condition")).status_code == 403, "its patient is not stored here"
    assert (await caller.post("Organization", {"resourceType": "Organization"})).status_code == 403


async def test_what_it_did_not_make_lets_nobody_in(host: httpx.AsyncClient, provider: str) -> None:
    given = await token(provider, AUDIENCE)
    for forged in (given[:-4] + "AAAA", "made-up-and-opaque"):
        assert (await Caller(host, forged).get("Condition")).status_code == 401


async def test_apps_are_told_where_it_is(host: httpx.AsyncClient, provider: str) -> None:
    told = (await host.get("/.well-known/smart-configuration")).json()
    assert told["issuer"] == provider
    assert told["authorization_endpoint"] == f"{provider}/auth"
    assert told["token_endpoint"] == f"{provider}/token"
    security = (await host.get("/fhir/metadata")).json()["rest"][0]["security"]
    assert {"url": "authorize", "valueUri": f"{provider}/auth"} in security["extension"][0]["extension"]
