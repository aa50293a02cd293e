"""Callers for tests: an authorization server of our own making, and a client that asks with its tokens."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

ISSUER = "https://login.example.vn"
ADMIN = "https://admin.example.vn"
AUDIENCE = "https://fhir.example.vn/fhir"
SENSITIVE = "conf/R sens/HIV sens/PSY"
EVERYTHING = f"system/*.cruds {SENSITIVE} operation/*"
WARD = "urn:vn-basic:CodeSystem:ward"


@dataclass
class Login:
    """An authorization server: its keys, and the tokens that it gives."""

    key: Key = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one", "alg": "ES256", "use": "sig"}))
    rsa: Key = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "two", "use": "sig"}))
    okp: Key = field(default_factory=lambda: OKPKey.generate_key("Ed25519", {"kid": "three", "use": "sig"}))

    def write(self, folder: Path) -> Path:
        """The file for FHIR_ISSUERS, its keys beside it."""
        keys = {"keys": [key.as_dict(private=False) for key in (self.key, self.rsa, self.okp)]}
        (folder / "keys.json").write_text(json.dumps(keys))
        bound = {"issuer": ISSUER, "audience": [AUDIENCE], "jwks": "keys.json"}
        free = {"issuer": ADMIN, "audience": [AUDIENCE], "jwks": "keys.json", "unbound": "everything"}
        path = folder / "issuers.json"
        path.write_text(json.dumps({"issuers": [bound, free]}))
        return path

    def claims(self, scope: str, **more: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "client_id": "app", "iat": now, "exp": now + 3600}
        return {**claims, "scope": scope, **more}

    def token(self, scope: str, **more: Any) -> str:
        return jwt.encode({"alg": "ES256", "kid": "one", "typ": "at+jwt"}, self.claims(scope, **more), self.key)


class Caller:
    """A client of few words, with one token."""

    def __init__(self, http: httpx.AsyncClient, token: str | None) -> None:
        self.http = http
        self.headers = {"authorization": f"Bearer {token}"} if token else {}

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        content = json.dumps(body).encode() if isinstance(body, dict | list) else body
        named.setdefault("content-type", "application/fhir+json")
        return await self.http.request(method, f"/fhir/{path}".rstrip("/"), content=content, headers=named)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.send("GET", path, **headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.send("POST", path, body, **headers)

    async def put(self, resource: dict[str, Any], **headers: str) -> httpx.Response:
        return await self.send("PUT", f"{resource['resourceType']}/{resource['id']}", resource, **headers)

    async def ids(self, path: str) -> set[str]:
        """`Type/id` of every entry on every page of a search."""
        found: set[str] = set()
        while path:
            answer = await self.get(path)
            assert answer.status_code == 200, answer.text
            bundle = answer.json()
            resources = [entry["resource"] for entry in bundle.get("entry", ()) if "resource" in entry]
            found |= {
                f"{one['resourceType']}/{one['id']}" for one in resources if one["resourceType"] != "OperationOutcome"
            }
            following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
            path = following[0].removeprefix("http://test/fhir").removeprefix("/") if following else ""
        return found


def living_in(ward: str, **more: Any) -> dict[str, Any]:
    """The address of a Patient."""
    coding = {"system": WARD, "code": ward}
    extension = {"url": "urn:vn-basic:StructureDefinition:ward", "valueCodeableConcept": {"coding": [coding]}}
    return {"use": "home", "extension": [extension], **more}
