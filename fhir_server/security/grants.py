"""The token endpoint for registered systems: SMART Backend Services, RFC 6749 section 4.4 with RFC 7523 assertions.

A client proves itself by a JWT that it signs with its own key, good once and for five minutes at most. What it gets is
an opaque token, sealed with a key that never leaves the store, good for five minutes, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from fhir_server.errors import FhirError, Kind
from fhir_server.model.sealing import seal, unseal
from fhir_server.security.callers import Identity
from fhir_server.security.clients import Client, Clients
from fhir_server.security.fetch import Fetch
from fhir_server.security.issuers import ALGORITHMS
from fhir_server.security.keys import Keys, PublicKey, fitting, public_keys
from fhir_server.security.scopes import parse_scopes
from fhir_server.security.tokens import Claims, check_times, decoded, refused, unproven
from fhir_server.store.contract import Store

TOKEN_SECONDS = 300
ASSERTION_SECONDS = 300  # SMART Backend Services: exp is no more than five minutes in the future
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
OWN_TOKEN = "fhir_"  # noqa: S105  # with which our tokens begin; base64url follows, so none of them is taken for a JWT
_PURPOSE = b"fhir access token 1"


class Denied(Exception):
    """An error of RFC 6749 section 5.2. error: its code; the message: error_description. client: who has proven to be
    that client."""

    def __init__(self, error: str, why: str, client: str = "") -> None:
        self.error = error
        self.client = client
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Granted:
    """What a client is given. response: as RFC 6749 section 5.1 has it, with the token."""

    client: str
    scope: str
    response: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Sealed:
    """What an access token says. expires: seconds since the epoch."""

    client: str
    scopes: tuple[str, ...]
    expires: float


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Sealed)


class Grants:
    """Gives access tokens to registered clients and knows them again. clock: seconds since the epoch; skew: seconds."""

    def __init__(self, store: Store, fetch: Fetch, clock: Callable[[], float], skew: float) -> None:
        self._store = store
        self._clients = Clients(store)
        self._fetch = fetch
        self._clock = clock
        self._skew = skew
        self._keys: dict[str, Keys] = {}

    async def grant(self, form: Mapping[str, str], endpoint: str) -> Granted:
        """An access token. endpoint: URL of the token endpoint, which assertions are for. Raises Denied."""
        if form.get("grant_type") != "client_credentials":
            raise Denied("unsupported_grant_type", "the grant_type is client_credentials")
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise Denied("invalid_request", f"the client_assertion_type is {ASSERTION_TYPE}")
        try:
            id, client = await self._client(form.get("client_assertion", ""), endpoint)
        except FhirError as fault:
            if fault.kind is not Kind.LOGIN:
                raise
            raise Denied("invalid_client", fault.diagnostics) from None
        scopes = tuple(granted(form.get("scope", ""), client.scope))
        if not scopes:
            raise Denied("invalid_scope", "none of the scopes asked for is registered for this client", id)
        sealed = _Sealed(id, scopes, self._clock() + TOKEN_SECONDS)
        response: dict[str, Any] = {
            "access_token": OWN_TOKEN + seal(_encode(sealed), await self._store.secret("access-tokens"), _PURPOSE),
            "token_type": "bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": " ".join(scopes),
        }
        return Granted(id, response["scope"], response)

    async def _client(self, assertion: str, endpoint: str) -> tuple[str, Client]:
        """The client that an assertion proves. Raises FhirError LOGIN; it tells nobody which clients there are."""
        header, claims = unproven(assertion)
        id, algorithm, kid = str(claims.get("iss")), header.get("alg"), header.get("kid")
        client = await self._clients.find(id) if claims.get("sub") == id and "/" not in id else None
        key = await self._key(id, client, kid, algorithm) if client is not None else None
        if client is None or client.disabled or key is None or header.get("crit") is not None:
            raise refused("the client is not known, or its key is not")
        proven = decoded(assertion, key, str(algorithm))
        await self._check(id, proven, endpoint)
        return id, client

    async def _key(self, id: str, client: Client, kid: Any, algorithm: Any) -> PublicKey | None:
        if algorithm not in ALGORITHMS or not (kid is None or isinstance(kid, str)):
            return None
        if client.keys_url is not None:
            place = f"{id}\n{client.keys_url}"
            keys = self._keys.setdefault(place, Keys(id, client.keys_url, self._fetch))
            return await keys.find(kid, algorithm)
        return fitting(public_keys(client.keys or {}), kid, algorithm)

    async def _check(self, id: str, claims: Claims, endpoint: str) -> None:
        now = self._clock()
        named = claims.get("aud")
        if endpoint not in (named if isinstance(named, list) else [named]):
            raise refused("the assertion is for another audience")
        check_times(claims, now, self._skew)
        if claims["exp"] > now + ASSERTION_SECONDS + self._skew:
            raise refused("the assertion is good for more than five minutes")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= 255:
            raise refused("the assertion has no jti")
        mine = os.urandom(16)
        if await self._store.agree(f"assertion/{id}/{jti.encode().hex()}", mine) != mine:
            raise refused("the assertion was used before")

    async def identity(self, token: str) -> tuple[Identity, float]:
        """Who asks with an access token of ours, and until when it counts. Raises FhirError LOGIN."""
        opened = unseal(token.removeprefix(OWN_TOKEN), await self._store.secret("access-tokens"), _PURPOSE)
        if opened is None:
            raise refused("it is not active")
        sealed = _decoder.decode(opened)
        if sealed.expires <= self._clock():
            raise refused("it is not active")
        client = await self._clients.find(sealed.client)
        if client is None or client.disabled:
            raise refused("its client is not let in any more")
        return client.identity(sealed.client, sealed.scopes), sealed.expires


def granted(asked: str, registered: str) -> Iterator[str]:
    """The scopes of both: each asked for that a registered one covers, and each registered one within what is asked."""
    own = registered.split()
    for text in dict.fromkeys(asked.split()):
        if text in own or any(_covers(one, text) for one in own):
            yield text
        else:
            yield from (one for one in own if _covers(text, one))


def _covers(wide: str, narrow: str) -> bool:
    wider, narrower = parse_scopes([wide]).grants, parse_scopes([narrow]).grants
    if not wider or not narrower:
        return wide == narrow or (wide == "operation/*" and narrow.startswith("operation/"))
    one, other = wider[0], narrower[0]
    same = one.context == other.context and one.type in (None, other.type)
    return same and one.actions >= other.actions and set(one.constraints) <= set(other.constraints)
