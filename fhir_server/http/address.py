"""The address that a request comes from: the peer's own, or what a trusted proxy says of the one behind it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache

from starlette.types import Scope

from fhir_server.security.certificates import is_within, networks

AddressOf = Callable[[Scope], str | None]
_FORWARDED = b"x-forwarded-for"
_MOST = 32  # proxies in a row


def addresses(trusted_proxies: str) -> AddressOf:
    """A function that tells the caller's address of an ASGI scope; None when it is not known.

    trusted_proxies: `10.0.0.7, 192.168.0.0/24`. X-Forwarded-For is read from its end for as long as trusted proxies
    have written it; what somebody else wrote before is not believed. Raises ValueError.
    """
    trusted = networks(trusted_proxies)

    @lru_cache(maxsize=4_096)
    def is_trusted(host: str) -> bool:
        return is_within(host, trusted)

    def address_of(scope: Scope) -> str | None:
        peer = scope.get("client")
        if peer is None:
            return None
        host = str(peer[0])
        if not trusted or not is_trusted(host):
            return host
        told = b",".join(value for name, value in scope["headers"] if name == _FORWARDED)
        for text in reversed(told.decode("latin-1").split(",")[-_MOST:]):
            found = _host(text.strip())
            if found is None:
                return host
            host = found
            if not is_trusted(host):
                return host
        return host

    return address_of


def _host(text: str) -> str | None:
    """`10.0.0.1`, `[2001:db8::1]:443` or `10.0.0.1:80` as an address, None for anything else."""
    bare = text[1:].partition("]")[0] if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return None
