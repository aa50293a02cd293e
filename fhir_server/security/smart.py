"""What an app must know to get in: the SMART configuration (SMART App Launch 2, section "Conformance").

The endpoints are those of the first authorization server that is configured, by its own discovery. Where only
registered systems are let in, they are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

import structlog

from fhir_server.security.fetch import Fetch, Unreachable
from fhir_server.security.issuers import ALGORITHMS, Issuer, is_safe_url
from fhir_server.security.keys import discovered

log = structlog.get_logger("fhir_server.security")

FRESH_SECONDS = 600.0
RETRY_SECONDS = 30.0
# Of every way in, and of an authorization server, at which people log in, beside them.
CAPABILITIES = ("permission-v1", "permission-v2")
OF_PEOPLE = ("permission-patient", "permission-user", "context-standalone-patient")
SCOPES = (
    "openid",
    "fhirUser",
    "patient/*.cruds",
    "user/*.cruds",
    "system/*.cruds",
    "conf/R",
    "sens/HIV",
    "sens/PSY",
    "operation/*",
)
# What is taken over from the authorization server's own discovery document.
_OF_ISSUER = (
    "authorization_endpoint",
    "token_endpoint",
    "jwks_uri",
    "introspection_endpoint",
    "revocation_endpoint",
    "registration_endpoint",
)


class SmartConfiguration:
    """The document, kept for a while. clients: whether our own token endpoint serves registered systems; beside an
    authorization server they know it by the operator's word, for the document has room for one."""

    def __init__(self, issuers: Sequence[Issuer], clients: bool, fetch: Fetch) -> None:
        self._issuer = issuers[0] if issuers else None
        self._clients = clients
        self._fetch = fetch
        self._made: dict[str, Any] = {}
        self._until = 0.0

    async def document(self) -> dict[str, Any]:
        """Without the endpoints of an authorization server that does not answer."""
        if monotonic() >= self._until:
            found = await self._of_issuer()
            self._made = self._base(self._clients and "token_endpoint" not in found) | found
        return self._made

    def _base(self, serves_systems: bool) -> dict[str, Any]:
        capabilities = [*(OF_PEOPLE if self._issuer else ()), *CAPABILITIES]
        capabilities += ["client-confidential-asymmetric"] if serves_systems else []
        grants = ["authorization_code"] if self._issuer else []
        grants += ["client_credentials"] if serves_systems else []
        told: dict[str, Any] = {
            "capabilities": capabilities,
            "grant_types_supported": grants,
            "scopes_supported": list(SCOPES),
            "code_challenge_methods_supported": ["S256"],
        }
        if serves_systems:
            told["token_endpoint_auth_methods_supported"] = ["private_key_jwt"]
            told["token_endpoint_auth_signing_alg_values_supported"] = list(ALGORITHMS)
        return told

    async def _of_issuer(self) -> dict[str, Any]:
        self._until = monotonic() + FRESH_SECONDS
        if self._issuer is None:
            return {}
        told: dict[str, Any] = {"issuer": self._issuer.issuer}
        try:
            found = await discovered(self._fetch, self._issuer.issuer)
        except Unreachable as fault:
            self._until = monotonic() + RETRY_SECONDS
            log.warning("discovery failed", why=str(fault))
            return told
        return told | {name: found[name] for name in _OF_ISSUER if is_safe_url(str(found.get(name, "")))}
