"""The public keys of an authorization server: from a file or a URL, kept, and read again when they are rotated."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import structlog
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from fhir_server.errors import FhirError, Kind
from fhir_server.security.fetch import Fetch, Unreachable
from fhir_server.security.issuers import is_safe_url

log = structlog.get_logger("fhir_server.security")

PublicKey = RSAKey | ECKey | OKPKey

FRESH_SECONDS = 600.0  # after which keys are read again: a key that was withdrawn is refused from then on
COOLDOWN_SECONDS = 10.0  # between two readings: tokens with invented key ids do not make a flood of requests
STALE_SECONDS = 24 * 3600.0  # for which keys are used on while their source does not answer
LEAST_RSA_BITS = 2048
_FAMILY = {"RS": "RSA", "ES": "EC", "Ed": "OKP"}


class Keys:
    """The keys of one issuer or client. owner: its name; place: URL or file of the keys, None for those of an OpenID
    Connect issuer that says where they are. generation: grows whenever the set of keys is another one than before."""

    def __init__(self, owner: str, place: str | None, fetch: Fetch, clock: Callable[[], float] = monotonic) -> None:
        self._owner = owner
        self._place = place
        self._fetch = fetch
        self._clock = clock
        self._keys: tuple[PublicKey, ...] = ()
        self._set: Any = None
        self._read_at = -STALE_SECONDS
        self._tried_at = -STALE_SECONDS
        self._reading = asyncio.Lock()
        self.generation = 0

    async def find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """The key that a token names, None when there is none for it. Raises FhirError UNAVAILABLE when the keys have
        never been read."""
        if self._clock() - self._read_at > FRESH_SECONDS:
            await self._read()
        found = fitting(self._keys, kid, algorithm)
        if found is None and self._clock() - self._tried_at > COOLDOWN_SECONDS:
            await self._read()
            found = fitting(self._keys, kid, algorithm)
        return found

    async def _read(self) -> None:
        before = self._tried_at
        async with self._reading:
            if self._tried_at > before:  # somebody else has, meanwhile
                return
            self._tried_at = self._clock()
            try:
                self._take(await self._source())
            except (Unreachable, OSError, msgspec.DecodeError) as fault:
                log.warning("keys cannot be read", owner=self._owner, why=str(fault))
                if self._clock() - self._read_at > STALE_SECONDS:
                    self._keys = ()
                    raise FhirError(
                        Kind.UNAVAILABLE,
                        "the keys of the authorization server cannot be read, so nobody can be let in; try again",
                        headers={"Retry-After": str(int(COOLDOWN_SECONDS))},
                    ) from None

    async def _source(self) -> Mapping[str, Any]:
        place = self._place
        if place is None:
            place = str((await discovered(self._fetch, self._owner)).get("jwks_uri", ""))
            if not is_safe_url(place):
                raise Unreachable(f"{self._owner}: discovery names no keys at an https address")
        if "://" in place:
            return await self._fetch.json(place)
        content: Mapping[str, Any] = msgspec.json.decode(await asyncio.to_thread(Path(place).read_bytes), type=dict)
        return content

    def _take(self, found: Mapping[str, Any]) -> None:
        keys = public_keys(found)
        if not keys:
            raise Unreachable(f"{self._owner}: no key that can be used")
        self._read_at = self._clock()
        if found != self._set:
            self._set, self._keys = found, keys
            self.generation += 1


async def discovered(fetch: Fetch, issuer: str) -> dict[str, Any]:
    """What an issuer says of itself by OpenID Connect discovery. Raises Unreachable."""
    found = await fetch.json(issuer.rstrip("/") + "/.well-known/openid-configuration")
    if found.get("issuer") != issuer:
        raise Unreachable(f"{issuer}: discovery names another issuer")
    return found


def public_keys(found: Mapping[str, Any]) -> tuple[PublicKey, ...]:
    """The keys of a JWK Set that can verify: RSA from 2048 bits, EC and OKP; symmetric ones and others are left out."""
    listed = found.get("keys")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    return tuple(key for row in rows if (key := _public_key(row)) is not None)


def _public_key(row: Mapping[str, Any]) -> PublicKey | None:
    if row.get("kty") not in _FAMILY.values() or row.get("use", "sig") != "sig":
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of short keys, which are left out below
            key = JWKRegistry.import_key(dict(row))
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAKey) and key.public_key.key_size < LEAST_RSA_BITS:
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None


def fitting(keys: Iterable[PublicKey], kid: str | None, algorithm: str) -> PublicKey | None:
    """The key that is meant: the one with the id, which is a name to compare and nothing else; the only one without."""
    found = [key for key in keys if _fits(key, algorithm) and (kid is None or key.kid == kid)]
    return found[0] if len(found) == 1 or (found and kid is not None) else None


def _fits(key: PublicKey, algorithm: str) -> bool:
    """A key is used with its own family of algorithms, and with the one that it names if it names one."""
    return key.key_type == _FAMILY[algorithm[:2]] and key.alg in (None, algorithm)
