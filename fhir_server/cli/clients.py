"""`fhir-server clients`: the systems that get access tokens by their own keys (SMART Backend Services)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from fhir_server.cli.desk import Desk, at_desk
from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.config import DATA_ROOT, Settings
from fhir_server.interactions.narrowing import NarrowingRules
from fhir_server.model.references import is_id
from fhir_server.records.ids import facility_id
from fhir_server.security.clients import Client, Clients, UnfitKeys, checked_keys
from fhir_server.security.issuers import is_safe_url
from fhir_server.security.scopes import parse_scopes
from fhir_server.terminology.load import Terminology


def add(settings: Settings, client: Client, keys: Path | None) -> str:
    """Registers a system and gives its client id. Raises CannotRun."""

    _refuse_unfit(client, keys)
    made = _with_keys(client, keys)

    async def work(desk: Desk) -> str:
        id = str(uuid4())
        await desk.note("clients", (("client", id), ("added", made.scope)))
        await Clients(desk.store).add(id, made)
        return id

    return at_desk(settings, "clients add", work)


def organisation_of(id: str | None, facility: str | None) -> str | None:
    """The id of the Organization, also by the code of a facility. Raises CannotRun for both."""
    if id is not None and facility is not None:
        raise CannotRun("Give the Organization by its id or by its facility code, one of the two.", WRONG_USE)
    return facility_id(facility) if facility else id


def every(settings: Settings) -> dict[str, Client]:
    return at_desk(settings, "clients list", lambda desk: Clients(desk.store).all())


def disable(settings: Settings, id: str) -> None:
    """Raises CannotRun when there is no such client."""

    async def work(desk: Desk) -> None:
        await desk.note("clients", (("client", id), ("changed", "disabled")))
        if not await Clients(desk.store).change(id, disabled=True, changed=_now()):
            raise CannotRun(f"{id} is no client; `fhir-server clients list` tells all.", WRONG_USE)

    at_desk(settings, "clients disable", work)


def rotate(settings: Settings, id: str, keys: Path | None, keys_url: str | None, keep: bool) -> None:
    """New keys in place of the old ones, or beside them. Raises CannotRun."""

    async def work(desk: Desk) -> None:
        clients = Clients(desk.store)
        client = await clients.find(id)
        if client is None:
            raise CannotRun(f"{id} is no client; `fhir-server clients list` tells all.", WRONG_USE)
        if (keys is None) == (keys_url is None):
            raise CannotRun("Give the new keys as --keys FILE or as --keys-url URL, one of the two.", WRONG_USE)
        _refuse_url(keys_url)
        found = _read_keys(keys) if keys else None
        if found is not None and keep and client.keys is not None:
            found = _checked([*found["keys"], *client.keys["keys"]])
        changes = {"keys": found, "keys_url": keys_url, "disabled": False, "changed": _now()}
        await desk.note("clients", (("client", id), ("changed", "keys")))
        await clients.change(id, **changes)

    at_desk(settings, "clients rotate", work)


def shown(id: str, client: Client) -> str:
    """One line of JSON: all but the keys themselves, of which the names are told."""
    told = msgspec.to_builtins(client)
    keys = [row.get("kid") for row in (told.pop("keys") or {}).get("keys", ())]
    return json.dumps({"client_id": id, **told, "keys": keys}, ensure_ascii=False)


def _refuse_unfit(client: Client, keys: Path | None) -> None:
    """Raises CannotRun for what would let in nobody, or more than was meant."""
    bound = [client.organisation is not None, client.unit is not None, client.everything]
    scopes = parse_scopes(client.scope.split())
    if (keys is None) == (client.keys_url is None):
        raise CannotRun("Give the public keys as --keys FILE or as --keys-url URL, one of the two.", WRONG_USE)
    if sum(bound) != 1:
        text = "Say what it may see: one of --organisation ID (or --facility 38280), --unit ward:14797, --everything."
        raise CannotRun(text, WRONG_USE)
    if client.organisation is not None and not is_id(client.organisation):
        raise CannotRun(f"--organisation is the id of an Organization, not {client.organisation!r}.", WRONG_USE)
    if client.unit is not None and _unit(client.unit) is None:
        text = f"--unit {client.unit!r} is not known; write ward:14797, province:38, district-legacy:380 or country:VN."
        raise CannotRun(text, WRONG_USE)
    if any(scope.context != "system" for scope in scopes.grants) or not (scopes.grants or scopes.operations):
        raise CannotRun("--scope names what the system may do, such as 'system/*.rs'.", WRONG_USE)
    _refuse_url(client.keys_url)


def _unit(text: str) -> str | None:
    rules = NarrowingRules.load(DATA_ROOT / "profiles" / "vn_basic" / "narrowing.json", Terminology.load())
    return rules.residences.unit(text)


def _refuse_url(url: str | None) -> None:
    if url is not None and not is_safe_url(url):
        raise CannotRun("--keys-url must be https, or on this machine.", WRONG_USE)


def _with_keys(client: Client, keys: Path | None) -> Client:
    found = _read_keys(keys) if keys else None
    return msgspec.structs.replace(client, keys=found, added=_now(), changed=_now())


def _read_keys(path: Path) -> dict[str, Any]:
    """A JWK, a JWK Set or a public key in PEM. Raises CannotRun."""
    content = path.read_bytes()
    if content.lstrip().startswith(b"-----"):
        return _checked([_from_pem(path, content)])
    try:
        return _checked(json.loads(content))
    except json.JSONDecodeError:
        raise CannotRun(f"{path} is neither JSON nor PEM.", WRONG_USE) from None


def _from_pem(path: Path, content: bytes) -> dict[str, Any]:
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            key = kind.import_key(content)
        except (JoseError, ValueError, TypeError):
            continue
        if key.is_private:
            raise CannotRun(f"{path} holds a private key: give the public part alone, and replace the key.", WRONG_USE)
        key.ensure_kid()
        return dict(key.as_dict())
    raise CannotRun(f"{path} holds no public key of a kind that is known.", WRONG_USE)


def _checked(found: Any) -> dict[str, Any]:
    try:
        return checked_keys({"keys": found} if isinstance(found, list) else found)
    except UnfitKeys as fault:
        raise CannotRun(f"The keys cannot be used: {fault}.", WRONG_USE) from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
