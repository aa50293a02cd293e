"""Who may ask for an erasure or confirm one: people with a passphrase of their own, registered a day before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fhir_server.model.passwords import fits, hashed
from fhir_server.security.data_subjects import rules
from fhir_server.store.contract import Store

REGISTER = "erasure-officers"
LEAST_LETTERS = 12
_HOUR_MS = 3_600_000


class NotAnOfficer(Exception):
    """The message says why, in one sentence."""


@dataclass(frozen=True, slots=True)
class Officers:
    """The register in the store, by name without case. Times: ms since the epoch."""

    store: Store

    async def add(self, name: str, passphrase: str, now: int) -> None:
        """A new officer, or a new passphrase of one: both wait their time. Raises NotAnOfficer."""
        if not named(name):
            raise NotAnOfficer("an officer needs a name")
        if len(passphrase) < LEAST_LETTERS:
            raise NotAnOfficer(f"a passphrase has {LEAST_LETTERS} letters or more")
        secret = await asyncio.to_thread(hashed, passphrase)
        entry = {"name": name.strip(), "secret": secret, "since": now}
        if not await self.store.enter(REGISTER, named(name), entry):
            before = await self.store.entry(REGISTER, named(name)) or {}
            if not await self.store.replace(REGISTER, named(name), entry, before):
                raise NotAnOfficer(f"somebody else changes {name.strip()} at this moment")

    async def prove(self, name: str, passphrase: str, now: int) -> str:
        """The name of the officer. Raises NotAnOfficer, alike for an unknown name and a wrong passphrase."""
        found = await self.store.entry(REGISTER, named(name))
        if not await asyncio.to_thread(fits, found["secret"] if found else None, passphrase) or found is None:
            raise NotAnOfficer(f"{name.strip()} is no officer, or this is not the passphrase")
        hours = rules().erasure.officer_hours
        if now < found["since"] + hours * _HOUR_MS:
            raise NotAnOfficer(f"{found['name']} was registered, or given a passphrase, within the last {hours} hours")
        return str(found["name"])

    async def names(self) -> list[str]:
        return [str(entry["name"]) for entry in (await self.store.entries(REGISTER)).values()]

    async def remove(self, name: str) -> bool:
        """False when there is none of that name."""
        there = await self.store.entry(REGISTER, named(name)) is not None
        await self.store.withdraw(REGISTER, named(name))
        return there


def named(name: str) -> str:
    return " ".join(name.split()).casefold()
