"""The systems that are let in without another authorization server: registered by an operator, known by public keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from fhir_server.interactions.rights import Caller
from fhir_server.security.callers import Identity, marked
from fhir_server.security.keys import public_keys
from fhir_server.security.scopes import parse_scopes
from fhir_server.store.contract import Store

REGISTER = "clients"
MOST_KEYS = 20


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One registered system. It is bound to an organisation or an administrative unit, or it sees everything that its
    scopes name. keys: a JWK Set of public keys; keys_url: or where it is. added, changed: instants."""

    name: str
    scope: str
    keys: Mapping[str, Any] | None = None
    keys_url: str | None = None
    organisation: str | None = None
    unit: str | None = None
    everything: bool = False
    disabled: bool = False
    added: str = ""
    changed: str = ""

    def identity(self, id: str, scopes: tuple[str, ...]) -> Identity:
        """Who asks when this client does, with the scopes of one token."""
        key = f"clients\n{id}"
        caller = Caller(key, client=id, subject=id, organisation=self.organisation, unit=self.unit)
        return Identity(marked(caller, scopes), parse_scopes(scopes), self.everything)


class UnfitKeys(ValueError):
    """What was given is no set of public keys that can be used; the message says why."""


def checked_keys(found: Any) -> dict[str, Any]:
    """A JWK Set, or one key as a set. Raises UnfitKeys; a private key is refused, for it must never leave its owner."""
    rows = found.get("keys", [found]) if isinstance(found, Mapping) else None
    if not isinstance(rows, list) or not rows or len(rows) > MOST_KEYS:
        raise UnfitKeys("this is no JWK Set")
    if any(isinstance(row, Mapping) and {"d", "k", "p", "q"} & row.keys() for row in rows):
        raise UnfitKeys("this holds a private or symmetric key; give the public part alone, and replace the key")
    kids = [row.get("kid") for row in rows if isinstance(row, Mapping)]
    if len(public_keys({"keys": rows})) < len(rows):
        raise UnfitKeys("a key is neither RSA of 2048 bits or more, nor EC, nor Ed25519")
    if len(rows) > 1 and (None in kids or len(set(kids)) < len(kids)):
        raise UnfitKeys("each of several keys needs a kid of its own")
    return {"keys": rows}


@dataclass(frozen=True, slots=True)
class Clients:
    """The register of clients in the store."""

    store: Store

    async def find(self, id: str) -> Client | None:
        found = await self.store.entry(REGISTER, id)
        return msgspec.convert(found, Client) if found is not None else None

    async def all(self) -> dict[str, Client]:
        return {id: msgspec.convert(entry, Client) for id, entry in (await self.store.entries(REGISTER)).items()}

    async def add(self, id: str, client: Client) -> bool:
        """False when the id is taken."""
        return await self.store.enter(REGISTER, id, msgspec.to_builtins(client))

    async def change(self, id: str, **changes: Any) -> bool:
        """False when there is no such client, or somebody else changes it at this moment."""
        before = await self.store.entry(REGISTER, id)
        return before is not None and await self.store.replace(REGISTER, id, {**before, **changes}, before)
