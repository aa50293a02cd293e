"""From the claims of a token that was verified to who asks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from fhir_server.interactions.rights import Caller
from fhir_server.model.references import Literal, is_id, literal
from fhir_server.security.issuers import Issuer
from fhir_server.security.scopes import Scopes, parse_scopes

LONGEST_CLAIM = 512  # characters
_USERS = frozenset({"Patient", "RelatedPerson", "Person", "Practitioner", "PractitionerRole"})


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller, what it was granted, and whether it sees everything although nothing binds it."""

    caller: Caller
    scopes: Scopes
    unbound: bool = False


def identity(issuer: Issuer, claims: Mapping[str, Any]) -> Identity:
    """Claims that are not of the form expected count as absent, which only takes rights away."""
    names = issuer.claims
    bases = tuple(audience.rstrip("/") for audience in issuer.audience)
    client = _text(claims, names.client) or _text(claims, "azp") or ""
    subject = _text(claims, "sub") or client
    scopes = _words(_at(claims, names.scope)) or _words(claims.get("scp"))
    caller = Caller(
        key="\n".join((issuer.issuer, client, subject)),
        client=client,
        subject=subject,
        user=_reference(_text(claims, names.user), bases),
        patient=_id(_text(claims, names.patient), "Patient", bases),
        organisation=_id(_text(claims, names.organisation), "Organization", bases),
        unit=_text(claims, names.unit),
        purposes=_words(_at(claims, names.purpose)),
    )
    return Identity(marked(caller, scopes), parse_scopes(scopes), issuer.unbound == "everything")


def marked(caller: Caller, scopes: tuple[str, ...]) -> Caller:
    """With the fingerprint of all that its rights come from."""
    parts = (caller.key, caller.user, caller.patient, caller.organisation, caller.unit, caller.purposes, sorted(scopes))
    return replace(caller, fingerprint=hashlib.sha256(repr(parts).encode()).hexdigest())


def _at(claims: Any, path: str) -> Any:
    """A claim by its name, or the member of an object by a path with dots."""
    if isinstance(claims, Mapping) and path in claims:
        return claims[path]
    head, dot, rest = path.partition(".")
    return _at(claims[head], rest) if dot and isinstance(claims, Mapping) and head in claims else None


def _text(claims: Mapping[str, Any], path: str) -> str | None:
    value = _at(claims, path)
    return value if isinstance(value, str) and value and len(value) <= LONGEST_CLAIM else None


def _words(value: Any) -> tuple[str, ...]:
    """A list of texts, or one text with spaces."""
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()


def _reference(text: str | None, bases: tuple[str, ...]) -> str | None:
    """`Practitioner/12` of a reference to it here; one on another server is nobody here."""
    found = _ours(text, bases)
    return f"{found.type}/{found.id}" if found and found.type in _USERS else None


def _id(text: str | None, type: str, bases: tuple[str, ...]) -> str | None:
    """The id of `12`, `Patient/12` or of the same as a URL of this server."""
    if text is not None and is_id(text):
        return text
    found = _ours(text, bases)
    return found.id if found and found.type == type else None


def _ours(text: str | None, bases: tuple[str, ...]) -> Literal | None:
    found = literal(text) if text else None
    return found if found and (found.base is None or found.base.rstrip("/") in bases) else None
