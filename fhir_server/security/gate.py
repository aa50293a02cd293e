"""The way in: from a request's Authorization header to the context in which it is answered, or 401."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.config import Settings
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.security.callers import Identity, identity
from fhir_server.security.certificates import check_binding, is_within, networks
from fhir_server.security.emergency import HEADER, broken
from fhir_server.security.fetch import Fetch
from fhir_server.security.grants import OWN_TOKEN, Denied, Granted, Grants
from fhir_server.security.introspection import Introspections
from fhir_server.security.issuers import Issuer, load_issuers
from fhir_server.security.keys import Keys
from fhir_server.security.policy import Given, Policy
from fhir_server.security.smart import SmartConfiguration
from fhir_server.security.tokens import Tokens, refused
from fhir_server.store.contract import Store

MOST_KEPT = 10_000  # tokens that were verified and are remembered
CLIENT_SECONDS = 10.0  # for which a registered client is let in without looking whether it has been disabled
KEPT_SECONDS = 60.0  # for which a verified token is not verified again, and rights that cannot change are kept
# What is told to everyone: what the server can do, and how to be let in.
PUBLIC = (("metadata",), (".well-known", "smart-configuration"))


@dataclass(slots=True)
class _Kept:
    """A token that was verified. until: seconds since the epoch. generation: of the keys that it was verified with."""

    identity: Identity
    claims: Mapping[str, Any]
    until: float
    keys: Keys | None
    generation: int
    given: Given | None = None


class Gate:
    """Lets callers in. One for the process."""

    def __init__(
        self, settings: Settings, policy: Policy, store: Store, clock: Callable[[], float] = time.time
    ) -> None:
        """Raises IssuersError, and ValueError for FHIR_TRUSTED_PROXIES."""
        self._fetch = Fetch()
        self._policy = policy
        self._clock = clock
        self._header = settings.certificate_header
        self._proxies = networks(settings.trusted_proxies)
        issuers = load_issuers(settings.issuers) if settings.issuers else ()
        self._keys: dict[str, tuple[Issuer, Keys]] = {
            issuer.issuer: (issuer, Keys(issuer.issuer, issuer.jwks, self._fetch)) for issuer in issuers
        }
        self._tokens = Tokens(self._keys, clock, settings.token_skew)
        self._introspections = Introspections(issuers, self._fetch, clock, settings.token_skew)
        self._grants = Grants(store, self._fetch, clock, settings.token_skew) if settings.clients else None
        self._smart = SmartConfiguration(issuers, settings.clients, self._fetch)
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    async def admit(
        self,
        context: Context,
        segments: tuple[str, ...],
        headers: Mapping[str, str],
        peer: str | None,
        certificate: str | None,
    ) -> Context:
        """The context of this caller. peer: address of who is connected. certificate: of whom TLS of our own let in, as
        in a header. Raises FhirError LOGIN with a challenge."""
        if segments in PUBLIC:
            return context
        sent = headers.get("authorization", "")
        kept = self._remembered(sent) or await self._verified(sent)
        if "cnf" in kept.claims:
            is_proxy = is_within(peer, self._proxies)
            check_binding(kept.claims, headers.get(self._header) if is_proxy else certificate)
        given = kept.given
        if given is None or not given.lasts:
            given = kept.given = await self._policy.given(context, kept.identity, given)
        if HEADER in headers:
            return await broken(context, kept.identity, given.rights, self._policy.types, headers[HEADER])
        return context.with_(caller=kept.identity.caller, rights=given.rights)

    def _remembered(self, sent: str) -> _Kept | None:
        """What was verified of this very header, as long as that counts. sent: the whole of it."""
        kept = self._kept.get(_name(sent))
        if kept is None or self._clock() >= kept.until:
            return None
        return kept if kept.keys is None or kept.keys.generation == kept.generation else None

    async def _verified(self, sent: str) -> _Kept:
        kept = self._kept[_name(sent)] = await self._verify(_bearer(sent))
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return kept

    async def _verify(self, token: str) -> _Kept:
        now = self._clock()
        if token.count(".") == 2:
            issuer, claims = await self._tokens.verify(token)
            keys = self._keys[issuer.issuer][1]
            until = min(now + KEPT_SECONDS, float(claims["exp"]))
            return _Kept(identity(issuer, claims), claims, until, keys, keys.generation)
        if self._grants is not None and token.startswith(OWN_TOKEN):
            return await self._of_client(self._grants, token)
        issuer, claims, seconds = await self._introspections.verify(token)
        until = min(now + seconds, float(claims.get("exp", now + seconds)))
        return _Kept(identity(issuer, claims), claims, until, None, 0)

    async def _of_client(self, grants: Grants, token: str) -> _Kept:
        found, expires = await grants.identity(token)
        return _Kept(found, {}, min(self._clock() + CLIENT_SECONDS, expires), None, 0)

    async def grant(self, form: Mapping[str, str], endpoint: str) -> Granted:
        """An access token for a registered client. Raises Denied."""
        if self._grants is None:
            raise Denied("unsupported_grant_type", "no clients are registered here")
        return await self._grants.grant(form, endpoint)

    async def configuration(self) -> Mapping[str, Any]:
        """What an app must know to be let in; see security.smart."""
        return await self._smart.document()

    async def close(self) -> None:
        await self._fetch.close()


def _name(sent: str) -> bytes:
    """Under which a header is remembered: memory holds no token."""
    return hashlib.sha256(sent.encode()).digest()


def _bearer(sent: str) -> str:
    """The token of RFC 6750 section 2.1; the other two ways put it where logs are made. Raises FhirError LOGIN."""
    scheme, _, token = sent.partition(" ")
    token = token.strip()
    if not scheme:
        challenge = {"WWW-Authenticate": 'Bearer realm="fhir"'}
        raise FhirError(Kind.LOGIN, "an access token is needed: Authorization: Bearer …", headers=challenge)
    if scheme.lower() != "bearer" or not token or not token.isascii() or "," in token:
        raise refused("only one Bearer token is understood", "invalid_request")
    return token


async def open_gate(settings: Settings, context: Context, lists: Mapping[str, Any]) -> Gate:
    """lists: profiles/vn_basic/access.json. Raises IssuersError, ValueError."""
    return Gate(settings, await Policy.open(lists, context), context.store)
