"""Tokens that only the holder of a client certificate may use (RFC 8705 section 3): TLS is ended here or by a proxy."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fhir_server.security.tokens import refused

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(text: str) -> tuple[Network, ...]:
    """`10.0.0.7, 192.168.0.0/24` as networks. Raises ValueError."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_within(host: str | None, trusted: tuple[Network, ...]) -> bool:
    """True for an address of a trusted proxy."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return any(address in network for network in trusted)


def check_binding(claims: Mapping[str, Any], certificate: str | None) -> None:
    """A token with `cnf` counts only together with what it names. certificate: what TLS, or the trusted proxy, says of
    the client, None without one. Raises FhirError LOGIN."""
    confirmation = claims.get("cnf")
    if confirmation is None:
        return
    wanted = confirmation.get("x5t#S256") if isinstance(confirmation, dict) else None
    if not isinstance(wanted, str) or len(confirmation) != 1:
        raise refused("it is bound in a way that is not served here")
    if certificate is None:
        raise refused("it is bound to a client certificate, and none was presented")
    if not hmac.compare_digest(thumbprint(certificate).encode(), wanted.rstrip("=").encode()):
        raise refused("it is bound to another client certificate")


def thumbprint(certificate: str) -> str:
    """x5t#S256 of a certificate in a header: RFC 9440 (`:base64:`), or PEM with or without URL escapes (nginx)."""
    try:
        digest = hashlib.sha256(_der(certificate.strip())).digest()
    except (binascii.Error, ValueError):
        raise refused("the client certificate cannot be read") from None
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def as_header(certificate: bytes) -> str:
    """DER as in a header of RFC 9440."""
    return f":{base64.b64encode(certificate).decode()}:"


def _der(text: str) -> bytes:
    if text.startswith(":") and text.endswith(":"):
        return base64.b64decode(text[1:-1], validate=True)
    pem = unquote(text)
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
