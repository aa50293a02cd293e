"""Only a whole, fitting, signed token lets anybody in."""

from __future__ import annotations

import base64
import hmac
import json
import time
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from tests.security.callers import AUDIENCE, EVERYTHING, ISSUER, Caller, Login
from tests.security.conftest import Ask


async def test_who_brings_no_token_is_told_that_one_is_needed(http: httpx.AsyncClient) -> None:
    for path in ("Patient", "Patient/1", "_history", "Patient/1/_history/1", "nonsense"):
        answer = await Caller(http, None).get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="fhir"'
        assert answer.json()["issue"][0]["code"] == "login"
    assert (await http.post("/records", content=b"{}", headers={"content-type": "application/json"})).status_code == 401


async def test_what_the_server_can_do_is_told_to_everyone(http: httpx.AsyncClient) -> None:
    told = (await http.get("/fhir/metadata")).json()
    assert told["rest"][0]["security"]["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    answer = await http.get("/fhir/.well-known/smart-configuration")
    assert answer.headers["content-type"] == "application/json"
    assert "permission-v2" in answer.json()["capabilities"]


async def test_a_good_token_lets_in_by_every_algorithm(http: httpx.AsyncClient, login: Login) -> None:
    claims = login.claims("system/Organization.rs")
    for algorithm, kid, key in (
        ("ES256", "one", login.key),
        ("RS256", "two", login.rsa),
        ("EdDSA", "three", login.okp),
    ):
        with warnings.catch_warnings(action="ignore", category=SecurityWarning):
            token = jwt.encode({"alg": algorithm, "kid": kid}, claims, key, algorithms=[algorithm])
        answer = await Caller(http, token).get("Organization")
        assert answer.status_code in (200, 403), answer.text
        assert answer.status_code == 403  # this issuer lets nobody see anything who is bound to nothing


def _unsigned(header: dict[str, Any], claims: dict[str, Any], signature: str = "") -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    return ".".join((*parts, signature))


def _hmac(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    signed = _unsigned(header, claims).rstrip(".")
    signature = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _attacks(login: Login) -> dict[str, str]:
    now = int(time.time())
    good = login.claims(EVERYTHING)
    other = ECKey.generate_key("P-256", {"kid": "one"})
    es = {"alg": "ES256", "kid": "one"}
    public = login.rsa.as_pem(private=False)  # type: ignore[union-attr]

    def signed(**changes: Any) -> str:
        claims = {name: value for name, value in {**good, **changes}.items() if value is not None}
        return jwt.encode(es, claims, login.key)

    return {
        "alg none": _unsigned({"alg": "none"}, good),
        "alg NonE with a signature": _unsigned({"alg": "NonE", "kid": "one"}, good, "AAAA"),
        "public RSA key as HMAC secret": _hmac({"alg": "HS256", "kid": "two"}, good, public),
        "RSA key named for an EC algorithm": _unsigned({"alg": "ES256", "kid": "two"}, good, "A" * 86),
        "another's key under a known name": jwt.encode(es, good, other),
        "key in the header": jwt.encode({**es, "jwk": other.as_dict(private=False)}, good, other),
        "keys at an address in the header": jwt.encode({**es, "jku": "http://127.0.0.1:1/keys"}, good, other),
        "certificate at an address": jwt.encode({**es, "x5u": "http://127.0.0.1:1/cert"}, good, other),
        "kid that is a path": jwt.encode({"alg": "ES256", "kid": "../../keys.json"}, good, other),
        "kid that is a query": jwt.encode({"alg": "ES256", "kid": "' OR 1=1 --"}, good, other),
        "kid that is no text": _unsigned({"alg": "ES256", "kid": {"$ne": None}}, good, "A" * 86),
        "a header that must be understood": _unsigned({**es, "crit": ["b64"], "b64": False}, good, "A" * 86),
        "a logout token": jwt.encode({**es, "typ": "logout+jwt"}, good, login.key),
        "changed claims": _changed(jwt.encode(es, good, login.key)),
        "expired": signed(exp=now - 300),
        "never expires": signed(exp=None),
        "expiry that is no number": signed(exp="tomorrow"),
        "not valid yet": signed(nbf=now + 300),
        "issued in the future": signed(iat=now + 300),
        "another audience": signed(aud="https://other.example.vn"),
        "no audience": signed(aud=None),
        "another issuer": signed(iss="https://evil.example"),
        "issuer that is a longer name": signed(iss=ISSUER + ".evil.example"),
        "not three parts": "abc.def",
        "no base64": "!!!.???.###",
        "deep payload": _deep(es),
        "too long": signed(pad="x" * 20_000),
    }


def _changed(token: str) -> str:
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return _unsigned(json.loads(base64.urlsafe_b64decode(header + "==")), {**claims, "sub": "root"}, signature)


def _deep(header: dict[str, Any]) -> str:
    payload = base64.urlsafe_b64encode(b"[" * 9000).rstrip(b"=").decode()
    return _unsigned(header, {}).split(".")[0] + "." + payload + ".AAAA"


NAMES = tuple(_attacks(Login()))


@pytest.mark.parametrize("name", NAMES)
async def test_a_forged_or_foreign_token_lets_nobody_in(http: httpx.AsyncClient, login: Login, name: str) -> None:
    answer = await Caller(http, _attacks(login)[name]).get("Organization")
    assert answer.status_code == 401, answer.text
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_an_rsa_key_that_is_too_short_is_never_used(login: Login) -> None:
    from fhir_server.security.keys import public_keys

    with pytest.warns(UserWarning, match="2048"):
        short = RSAKey.generate_key(1024, {"kid": "short"})
    oct = {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}
    encryption = {**login.rsa.as_dict(private=False), "use": "enc"}
    assert public_keys({"keys": [short.as_dict(private=False), oct, encryption, "nonsense", {}]}) == ()


async def test_other_ways_to_bring_a_token_are_refused(http: httpx.AsyncClient, login: Login) -> None:
    token = login.token(EVERYTHING)
    for header in (f"Basic {token}", "Bearer", f"Bearer {token}, Bearer {token}", f"DPoP {token}"):
        answer = await http.get("/fhir/Patient", headers={"authorization": header})
        assert answer.status_code == 401
        assert 'error="invalid_request"' in answer.headers["www-authenticate"]
    assert (await http.get(f"/fhir/Patient?access_token={token}")).status_code == 401


async def test_a_type_that_no_scope_names_is_forbidden(ask: Ask, admin: Caller) -> None:
    answer = await ask("user/Patient.rs", organization="h1").get("Condition")
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert (await admin.get("Condition")).status_code == 200


async def test_the_audience_may_be_one_of_several(http: httpx.AsyncClient, login: Login) -> None:
    token = login.token("user/Patient.rs", aud=["https://a.example", AUDIENCE], organization="h1")
    assert (await Caller(http, token).get("Patient")).status_code == 200


async def test_clocks_may_differ_a_little(ask: Ask) -> None:
    now = int(time.time())
    late = ask("user/Patient.rs", exp=now - 5, iat=now + 5, nbf=now + 5, organization="h1")
    assert (await late.get("Patient")).status_code == 200


def _certificate() -> tuple[bytes, str]:
    """A self-signed client certificate in PEM, and its thumbprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hospital")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1)).sign(key, SHA256())
    digest = base64.urlsafe_b64encode(made.fingerprint(SHA256())).rstrip(b"=").decode()
    return made.public_bytes(Encoding.PEM), digest


async def test_a_bound_token_counts_with_its_certificate_from_a_trusted_proxy_alone(
    app: FastAPI, http: httpx.AsyncClient, login: Login
) -> None:
    pem, digest = _certificate()
    other, _ = _certificate()
    token = login.token("user/Patient.rs", organization="h1", cnf={"x5t#S256": digest})
    der = base64.b64encode(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)).decode()

    async def status(client: httpx.AsyncClient, certificate: str | None) -> int:
        headers = {"client-cert": certificate} if certificate else {}
        return (await Caller(client, token).get("Patient", **headers)).status_code

    proxied = httpx.ASGITransport(app, client=("10.0.0.7", 4000))
    async with httpx.AsyncClient(transport=proxied, base_url="http://test") as behind:
        assert await status(behind, quote(pem.decode())) == 200
        assert await status(behind, f":{der}:") == 200
        for wrong in (None, quote(other.decode()), "nonsense", ":nonsense:", "-----BEGIN"):
            assert await status(behind, wrong) == 401
        for cnf in ({"jkt": "x"}, {}, "x", {"x5t#S256": 1}, {"x5t#S256": digest, "jkt": "x"}):
            bound = login.token("user/Patient.rs", organization="h1", cnf=cnf)
            answer = await Caller(behind, bound).get("Patient", **{"client-cert": f":{der}:"})
            assert answer.status_code == 401
    assert await status(http, f":{der}:") == 401, "anyone may write a header"


async def test_every_answer_keeps_browsers_from_guessing_and_framing(http: httpx.AsyncClient) -> None:
    for path in ("/", "/docs", "/fhir/metadata", "/fhir/Patient", "/nothing", "/health"):
        headers = (await http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" not in headers, "it is not reached by https"
