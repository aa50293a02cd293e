"""`fhir-server audit`: prove the record of accesses, hand it out, look up a number in it, let go of what is old."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import AsyncIterator, Sequence

from fhir_server.audit.event import KINDS
from fhir_server.audit.hiding import SECRET, Hiding
from fhir_server.audit.telling import COLUMNS, page
from fhir_server.audit.verify import Kept, verify
from fhir_server.cli.desk import Desk, at_desk
from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.config import Settings
from fhir_server.model.dates import instant, range_of
from fhir_server.model.ids import now
from fhir_server.model.outcomes import ENGLISH
from fhir_server.model.resources import decode, encode
from fhir_server.operations.accesses import accesses_of, of_one, told_of, zone_of
from fhir_server.records.report_files import csv_line
from fhir_server.security.emergency import REGISTER
from fhir_server.store.ledger_contract import head_of
from fhir_server.store.values import EVERYTHING, LEDGER_TYPE, Filter, Find, Stored

_YEAR_MS = 365.25 * 24 * 3600 * 1000
MOST_TOLD = 50
_STEP = 500


def verify_record(settings: Settings, noted: Sequence[str]) -> bool:
    """Reads every seal and every event; True when nothing was changed, taken away or put in. noted: seals as an
    earlier run showed them (`12:9f86…`). Raises CannotRun."""
    kept = [_kept(text) for text in noted]

    async def work(desk: Desk) -> bool:
        found = await verify(desk.store.ledger, kept)
        print(f"{found.events} events in {found.pages} pages of {found.chains} chains, {found.unsealed} unsealed.")
        if found.late:
            print(f"{found.late} events were left behind by a process that was killed, and written by another.")
        anchor = await desk.store.ledger.anchor()
        if anchor.until:
            print(f"What was written before {instant(anchor.until)} was pruned.")
        if found.seal is not None:
            print(f"Last seal: {head_of(found.seal)} of {instant(found.seal.at)}")
        for fault in found.faults[:MOST_TOLD]:
            print(f"FAULT  {fault}")
        print(f"{len(found.faults)} faults" if found.faults else "No faults.")
        return not found.faults

    return at_desk(settings, "audit verify", work)


def _kept(text: str) -> Kept:
    number, _, hash = text.partition(":")
    if not number.isdigit() or len(hash) != 64:
        raise CannotRun(f"{text!r} is no seal; `audit verify` shows one as 12:9f86…", WRONG_USE)
    return Kept(int(number), hash)


def export(settings: Settings, since: str | None, until: str | None) -> int:
    """Writes the events of a time to stdout, a line each, the oldest first. Gives how many. Raises CannotRun."""
    low, high = _moment(settings, since), _moment(settings, until)

    async def work(desk: Desk) -> int:
        count = 0
        await desk.note("audit-export", tuple((n, v) for n, v in (("since", since), ("until", until)) if v))
        async for event in _events(desk, low, high):
            sys.stdout.buffer.write(event.raw + b"\n")
            count += 1
        return count

    return at_desk(settings, "audit export", work)


def emergencies(settings: Settings) -> list[str]:
    """Every time that the glass was broken, a line of JSON each, the oldest first. Raises CannotRun."""

    async def work(desk: Desk) -> list[str]:
        found = (await desk.store.entries(REGISTER)).values()
        await desk.note("audit-read", patients={str(entry["patient"]) for entry in found})
        ordered = sorted(found, key=lambda entry: int(entry["at"]))
        return [encode({**entry, "at": instant(entry["at"])}).decode() for entry in ordered]

    return at_desk(settings, "audit emergencies", work)


def consents(settings: Settings, patient: str) -> list[str]:
    """The evidence of a patient's consents, a line of JSON each, the latest first, and whether the version that is
    stored is still the one that was given: `unchanged`, null where it is not stored any more. Raises CannotRun."""

    async def work(desk: Desk) -> list[str]:
        await desk.note("audit-read", patients=(patient,))
        return [
            encode(await _evidence(desk, event)).decode()
            async for event in accesses_of(desk.store, patient, None)
            if decode(event.raw)["type"]["code"] == KINDS["consent"][0][1]
        ]

    return at_desk(settings, "audit consents", work)


async def _evidence(desk: Desk, event: Stored) -> dict[str, object]:
    told = decode(event.raw)
    reference = told["entity"][0]["what"]["reference"]
    details = {one["type"]: one["valueString"] for entity in told["entity"] for one in entity.get("detail", ())}
    type, id, _, version = reference.split("/")
    found = await desk.store.vread(type, id, int(version), EVERYTHING)
    unchanged = hashlib.sha256(found.raw).hexdigest() == details.get("sha256") if found and found.raw else None
    return {"recorded": told["recorded"], "consent": reference, **details, "unchanged": unchanged}


async def _events(desk: Desk, low: int | None, high: int | None) -> AsyncIterator[Stored]:
    span = {"$gte": low or 0} | ({"$lt": high} if high is not None else {})
    last = ""
    while True:
        filter: Filter = {"$and": [{"u": span}, {"_id": {"$gt": last}}]}
        found = await desk.store.find(Find(LEDGER_TYPE, filter, (("_id", 1),), _STEP), EVERYTHING)
        for event in found:
            yield event
        if len(found) < _STEP:
            return
        last = found[-1].id


def prune(settings: Settings) -> int:
    """Takes away the events whose time is over. Gives how many; raises CannotRun."""

    async def work(desk: Desk) -> int:
        until = int(now() - settings.audit_years * _YEAR_MS)
        await desk.note("prune", (("until", instant(until)),))
        return await desk.store.ledger.prune(until)

    return at_desk(settings, "audit prune", work)


def hashed(settings: Settings, number: str) -> str:
    """What stands for a personal number on record. Raises CannotRun."""

    async def work(desk: Desk) -> str:
        return Hiding(await desk.store.secret(SECRET)).hash(number)

    return at_desk(settings, "audit hash", work)


def who_looked(settings: Settings, patient: str, since: str | None, form: str, language: str) -> int:
    """Writes who looked at a patient's record, the latest first. Gives how many accesses; raises CannotRun.

    form: `csv`, in one language (`vi`, `en`), or `html`, a page in both.
    """
    low = _moment(settings, since)

    async def work(desk: Desk) -> int:
        await desk.note("audit-read", patients=(patient,))
        found = [
            of_one(decode(event.raw), f"Patient/{patient}") async for event in accesses_of(desk.store, patient, low)
        ]
        rows = await told_of(desk.store, found, patient, zone_of(settings))
        if form == "html":
            sys.stdout.buffer.write(page(rows, patient) + b"\n")
            return len(rows)
        english = language == ENGLISH
        for cells in (tuple(column[english] for column in COLUMNS), *(row.in_language(english) for row in rows)):
            sys.stdout.buffer.write(csv_line(cells))
        return len(rows)

    return at_desk(settings, "audit who-looked", work)


def _moment(settings: Settings, text: str | None) -> int | None:
    if text is None:
        return None
    span = range_of(text, settings.zone)
    if span is None:
        raise CannotRun(f"{text!r} is no date.", WRONG_USE)
    return span[0]
