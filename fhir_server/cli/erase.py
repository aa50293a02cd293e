"""`fhir-server erase`: a person's whole record taken away for good, by two officers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fhir_server.cli.desk import Desk, at_desk
from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.cli.person import act, on_record
from fhir_server.config import Settings
from fhir_server.interactions.exchange import Context
from fhir_server.model.ids import now
from fhir_server.security.erasure import REGISTER, Erasures, NotErased
from fhir_server.security.officers import NotAnOfficer, Officers


def add_officer(settings: Settings, name: str, passphrase: str) -> None:
    """Raises CannotRun."""

    async def work(desk: Desk) -> None:
        await desk.note("clients", (("erasure officer", name), ("changed", "passphrase")))
        try:
            await Officers(desk.store).add(name, passphrase, now())
        except NotAnOfficer as fault:
            raise CannotRun(f"{fault}.", WRONG_USE) from None

    at_desk(settings, "erase add-officer", work)


def remove_officer(settings: Settings, name: str) -> None:
    """Raises CannotRun when there is none of that name."""

    async def work(desk: Desk) -> None:
        await desk.note("clients", (("erasure officer", name), ("changed", "removed")))
        if not await Officers(desk.store).remove(name):
            raise CannotRun(f"{name} is no officer.", WRONG_USE)

    at_desk(settings, "erase remove-officer", work)


def officers(settings: Settings) -> list[str]:
    """Their names. Raises CannotRun."""
    return at_desk(settings, "erase officers", lambda desk: Officers(desk.store).names())


def ask(settings: Settings, patient: str, by: str, passphrase: str, reason: str) -> str:
    """A line of JSON: the id and the code by which another officer confirms. Raises CannotRun."""

    async def work(opened: Context) -> dict[str, Any]:
        found = await Erasures(opened).ask(patient, by, passphrase, reason)
        await on_record(opened, "erase-ask", (("erasure", found.id), ("officer", by)), (patient,))
        told: dict[str, Any] = {"id": found.id, "code": found.code}
        if found.kept is not None:
            told |= {"kept": found.kept.name, "until": found.kept.until.isoformat(), "why": found.kept.why}
        return told

    return _act(settings, "erase ask", "erase-ask", work)


def confirm(settings: Settings, id: str, code: str, by: str, passphrase: str, despite_retention: str | None) -> str:
    """A line of JSON that tells what was done. Raises CannotRun."""

    async def work(opened: Context) -> dict[str, Any]:
        entry = await opened.store.entry(REGISTER, id) or {}
        patients = (entry["patient"],) if entry else ()
        about = (("erasure", id), ("officer", by))
        await on_record(opened, "erase-confirm", about, patients)
        done = await Erasures(opened).confirm(id, code, by, passphrase, despite_retention)
        versions = str(done["erased"]["versions"])
        await on_record(opened, "erase", (*about, ("versions", versions)), patients)
        return {"id": id, **done}

    return _act(settings, "erase confirm", "erase-confirm", work)


def _act(settings: Settings, command: str, kind: str, work: Callable[[Context], Awaitable[Mapping[str, Any]]]) -> str:
    async def run(opened: Context) -> str:
        try:
            return json.dumps(await work(opened), ensure_ascii=False)
        except NotErased as fault:
            about = (fault.patient,) if fault.patient is not None else ()
            await on_record(opened, kind, (("refused", str(fault)),), about, status=403)
            raise CannotRun(f"Nothing was erased: {fault}.", WRONG_USE) from None

    return act(settings, command, run)
