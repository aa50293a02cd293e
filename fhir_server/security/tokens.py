"""Access tokens as signed JWTs (RFC 7519, RFC 9068, best practice RFC 8725): checked in full before a claim is used.

Which key verifies a token is the operator's choice: the issuer's, by the name `kid`. What a header says of keys or of
their places (`jwk`, `jku`, `x5u`, `x5c`) is never looked at.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning

from fhir_server.errors import FhirError, Kind
from fhir_server.security.issuers import Issuer
from fhir_server.security.keys import Keys, PublicKey

LONGEST = 16 * 1024  # characters of a token
_TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
Claims = Mapping[str, Any]


def refused(why: str, error: str = "invalid_token") -> FhirError:
    """401 as RFC 6750 section 3 has it. why: without anything of the token."""
    challenge = f'Bearer error="{error}", error_description="{why}"'
    return FhirError(Kind.LOGIN, f"the access token was refused: {why}", headers={"WWW-Authenticate": challenge})


class Tokens:
    """Verifies tokens of the issuers that were configured. clock: seconds since the epoch. skew: seconds."""

    def __init__(self, keys: Mapping[str, tuple[Issuer, Keys]], clock: Callable[[], float], skew: float) -> None:
        self._keys = keys
        self._clock = clock
        self._skew = skew

    async def verify(self, token: str) -> tuple[Issuer, Claims]:
        """The issuer and the claims. Raises FhirError LOGIN."""
        header, claims = unproven(token)
        issuer, keys = self._keys.get(str(claims.get("iss")), (None, None))
        if issuer is None or keys is None:
            raise refused("its issuer is not known here")
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in issuer.algorithms:
            raise refused("its algorithm is not accepted")
        if header.get("crit") is not None or not (kid is None or isinstance(kid, str)):
            raise refused("its header is not understood")
        type = header.get("typ")
        if (type.lower() if isinstance(type, str) else type) not in _TYPES:
            raise refused("it is no access token")
        key = await keys.find(kid, algorithm)
        if key is None:
            raise refused("its key is not known")
        claims = decoded(token, key, algorithm)
        check_claims(claims, issuer.issuer, issuer.audience, self._clock(), self._skew)
        return issuer, claims


def decoded(token: str, key: PublicKey, algorithm: str) -> Claims:
    """The claims, the signature verified. Raises FhirError LOGIN."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of the older name of Ed25519, which providers still send
            claims: Claims = jwt.decode(token, key, algorithms=[algorithm]).claims
    except (JoseError, ValueError, TypeError):
        raise refused("its signature is not valid") from None
    return claims


def check_claims(claims: Claims, issuer: str, audience: tuple[str, ...], now: float, skew: float) -> None:
    """Issuer, audience and times. Raises FhirError LOGIN."""
    if claims.get("iss") != issuer:
        raise refused("its issuer is not known here")
    named = claims.get("aud")
    if not set(named if isinstance(named, list) else [named]).intersection(audience):
        raise refused("it was issued for another audience")
    check_times(claims, now, skew)


def check_times(claims: Claims, now: float, skew: float) -> None:
    """exp is required; nbf and iat count where they are. Raises FhirError LOGIN."""
    expires = _seconds(claims, "exp")
    if expires is None:
        raise refused("it never expires")
    if expires + skew <= now:
        raise refused("it has expired")
    for name in ("nbf", "iat"):
        begins = _seconds(claims, name)
        if begins is not None and begins - skew > now:
            raise refused("it is not valid yet")


def _seconds(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused(f"{name} is no number")
    return float(value)


def unproven(token: str) -> tuple[Mapping[str, Any], Claims]:
    """Header and claims before anything is verified: good for choosing the key, and for nothing else."""
    if len(token) > LONGEST:
        raise refused("it is too long")
    try:
        parts = jws.extract_compact(token.encode("ascii"))
        claims = msgspec.json.decode(parts.payload)
    except (JoseError, ValueError, TypeError, msgspec.DecodeError, RecursionError):
        raise refused("it is no signed JWT") from None
    header = parts.headers()
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise refused("it is no signed JWT")
    return header, claims
