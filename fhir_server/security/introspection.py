"""Opaque access tokens, told by the authorization server that made them (RFC 7662)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fhir_server.errors import FhirError, Kind
from fhir_server.security.fetch import Fetch, Unreachable
from fhir_server.security.issuers import Introspection, Issuer
from fhir_server.security.tokens import check_times, refused


class Introspections:
    """Asks each issuer that can be asked, in the order configured. clock: seconds since the epoch. skew: seconds."""

    def __init__(self, issuers: Iterable[Issuer], fetch: Fetch, clock: Callable[[], float], skew: float) -> None:
        self._asked = [(issuer, issuer.introspection) for issuer in issuers if issuer.introspection is not None]
        self._fetch = fetch
        self._clock = clock
        self._skew = skew

    async def verify(self, token: str) -> tuple[Issuer, Mapping[str, Any], float]:
        """The issuer, what it says of the token, and for how many seconds that counts. Raises FhirError LOGIN, and
        UNAVAILABLE when nobody who might know it answers."""
        silent = False
        for issuer, place in self._asked:
            try:
                told = await self._ask(place, token)
            except (Unreachable, OSError):
                silent = True
                continue
            if told.get("active") is True:
                return issuer, self._checked(issuer, told), place.seconds
        if silent:
            text = "the authorization server does not answer, so this token cannot be checked; try again"
            raise FhirError(Kind.UNAVAILABLE, text, headers={"Retry-After": "5"})
        raise refused("it is not active")

    async def _ask(self, place: Introspection, token: str) -> Mapping[str, Any]:
        secret = (await asyncio.to_thread(place.secret_file.read_text)).strip()
        form = {"token": token, "token_type_hint": "access_token"}
        return await self._fetch.json(place.url, form, (place.client_id, secret))

    def _checked(self, issuer: Issuer, told: Mapping[str, Any]) -> Mapping[str, Any]:
        """Audience and issuer where they are told; the times as in a JWT, but exp may be left out."""
        named = told.get("aud")
        if named is not None and not set(named if isinstance(named, list) else [named]) & set(issuer.audience):
            raise refused("it was issued for another audience")
        if told.get("iss", issuer.issuer) != issuer.issuer:
            raise refused("its issuer is not known here")
        check_times({"exp": self._clock() + 60, **told}, self._clock(), self._skew)
        return told
