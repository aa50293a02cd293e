"""The OAuth 2 authorization servers whose access tokens are accepted, as an operator writes them in one JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

# No symmetric algorithm and no `none`: what verifies a token can never make one.
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where a token says what; `realm_access.patient` is the member of an object. An absent claim says nothing."""

    scope: str = "scope"
    client: str = "client_id"
    patient: str = "patient"
    user: str = "fhirUser"
    organisation: str = "organization"
    unit: str = "administrative_unit"
    purpose: str = "purpose_of_use"


class Introspection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where opaque tokens are asked for (RFC 7662). secret_file: holds the password of client_id there, in a file that
    only the server can read. seconds: for how long an answer counts."""

    url: str
    client_id: str
    secret_file: Path
    seconds: float = 30.0


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One authorization server.

    issuer: the exact `iss`. audience: one of these must be in `aud`. jwks: URL or file of its public keys; absent: by
    OpenID Connect discovery. unbound: `everything` lets callers see all that their scopes name although no claim ties
    them to a patient, an organisation or an administrative unit; `nothing` lets them see nothing.
    """

    issuer: str
    audience: tuple[str, ...]
    jwks: str | None = None
    algorithms: tuple[str, ...] = ALGORITHMS
    introspection: Introspection | None = None
    claims: Claims = Claims()
    unbound: str = "nothing"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    issuers: tuple[Issuer, ...]


class IssuersError(Exception):
    """The file cannot be used; the message is one sentence for the operator."""


def load_issuers(path: Path) -> tuple[Issuer, ...]:
    """Raises IssuersError that names what is wrong and where."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File, dec_hook=_path).issuers
    except (OSError, msgspec.DecodeError) as fault:
        raise IssuersError(f"FHIR_ISSUERS={path}: {fault}.") from None
    for issuer in found:
        _refuse_unsafe(path, issuer)
    if not found or len({issuer.issuer for issuer in found}) < len(found):
        raise IssuersError(f"FHIR_ISSUERS={path}: name at least one issuer, and each once.")
    return tuple(_beside(path, issuer) for issuer in found)


def _path(type: type, value: Any) -> Any:
    return type(value)


def _refuse_unsafe(path: Path, issuer: Issuer) -> None:
    where = f"FHIR_ISSUERS={path}: {issuer.issuer}"
    if not issuer.audience or not all(issuer.audience):
        raise IssuersError(f"{where}: audience is missing; without one, tokens meant for others would be accepted.")
    if unknown := set(issuer.algorithms) - set(ALGORITHMS):
        raise IssuersError(f"{where}: {', '.join(sorted(unknown))}: only {', '.join(ALGORITHMS)} can be used.")
    if issuer.unbound not in ("everything", "nothing"):
        raise IssuersError(f"{where}: unbound is everything or nothing.")
    introspection = issuer.introspection.url if issuer.introspection else None
    for url in (issuer.issuer if issuer.jwks is None else issuer.jwks, introspection):
        if url is not None and "://" in url and not is_safe_url(url):
            raise IssuersError(f"{where}: {url} must be https, or on this machine.")


def is_safe_url(url: str) -> bool:
    """True for https, and for plain http to this very machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"))


def _beside(path: Path, issuer: Issuer) -> Issuer:
    """File names are taken from the folder of the file that names them."""
    jwks, introspection = issuer.jwks, issuer.introspection
    if jwks is not None and "://" not in jwks:
        jwks = str(path.parent / jwks)
    if introspection is not None:
        introspection = msgspec.structs.replace(introspection, secret_file=path.parent / introspection.secret_file)
    return msgspec.structs.replace(issuer, jwks=jwks, introspection=introspection)
