"""Erasure by law: a person's whole record taken away for good, asked for by one officer and confirmed by another.

What is left is a tombstone of the Patient, so that the id is never given again, the entry of the register, and the
record of accesses. A record of care is kept for its legal time (`retention`); that goes before erasure, unless a
decision is named.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.model.references import literal
from fhir_server.model.resources import Resource, decode
from fhir_server.search.compartments import patient_key
from fhir_server.search.tree import Leaf, Or
from fhir_server.security.data_subjects import rules
from fhir_server.security.officers import NotAnOfficer, Officers, named
from fhir_server.security.retention import Kept, kept
from fhir_server.store.values import EVERYTHING, Filter, Find, Stored

REGISTER = "erasures"
_DAY_MS = 86_400_000
_STEP = 500
_CODE_BYTES = 5

Identity = tuple[str, str]


class NotErased(Exception):
    """The message says why, in one sentence. patient: whose record it is about, where that is known."""

    def __init__(self, why: str, patient: str | None = None) -> None:
        self.patient = patient
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Request:
    """What the officer who asks is told. code: for the officer who confirms, and not kept. kept: what has to be kept
    longest, None when nothing has."""

    id: str
    code: str
    kept: Kept | None


@dataclass(frozen=True, slots=True)
class Erasures:
    """The register of erasures, and what it takes to carry one out."""

    context: Context

    async def ask(self, patient: str, by: str, passphrase: str, reason: str) -> Request:
        """The first of two officers. Raises NotErased."""
        store, now = self.context.store, self.context.clock()
        officer = await self._officer(by, passphrase, patient)
        if await store.read("Patient", patient, EVERYTHING) is None:
            raise NotErased(f"Patient/{patient} is not stored", patient)
        id, code = self.context.new_id(), secrets.token_hex(_CODE_BYTES)
        entry = {"patient": patient, "asked_by": officer, "reason": reason, "asked": now, "code": _hash(id, code)}
        entry |= {"tries": 0, "confirmed_by": None, "despite_retention": None, "erased": None}
        await store.enter(REGISTER, id, entry)
        return Request(id, code, await self._longest(patient, now))

    async def confirm(
        self, id: str, code: str, by: str, passphrase: str, despite_retention: str | None
    ) -> Mapping[str, Any]:
        """The second of two officers: it is carried out. Run again, it completes what was cut off. Raises NotErased."""
        store, now = self.context.store, self.context.clock()
        before = await store.entry(REGISTER, id)
        if before is None:
            raise NotErased(f"{id} is no erasure that was asked for")
        patient = str(before["patient"])
        officer = await self._officer(by, passphrase, patient)
        if named(before["asked_by"]) == named(officer):
            raise NotErased("who asked for an erasure cannot confirm it", patient)
        await self._check(id, before, code, now)
        if before["erased"] is None and despite_retention is None:
            await self._refuse_kept(patient, now)
        confirmed = {**before, "confirmed_by": officer, "despite_retention": despite_retention}
        if not await store.replace(REGISTER, id, confirmed, before):
            raise NotErased("somebody else confirms it at this moment", patient)
        count, left = await self._erase(patient)
        count += (before["erased"] or {}).get("versions", 0)
        done = {**confirmed, "erased": {"at": now, "versions": count, "shared_files": left}}
        await store.replace(REGISTER, id, done, confirmed)
        return {name: value for name, value in done.items() if name not in ("code", "tries")}

    async def _officer(self, by: str, passphrase: str, patient: str) -> str:
        try:
            return await Officers(self.context.store).prove(by, passphrase, self.context.clock())
        except NotAnOfficer as fault:
            raise NotErased(str(fault), patient) from None

    async def _check(self, id: str, entry: Mapping[str, Any], code: str, now: int) -> None:
        """Raises NotErased for a request that is over and for a wrong code, which is counted."""
        law, patient = rules().erasure, str(entry["patient"])
        if now > entry["asked"] + law.days * _DAY_MS and entry["confirmed_by"] is None:
            raise NotErased(f"it was asked for more than {law.days} days ago; ask again", patient)
        if entry["tries"] >= law.tries:
            raise NotErased("too many wrong codes were given; ask again", patient)
        if not hmac.compare_digest(_hash(id, code.strip().lower()), entry["code"]):
            await self.context.store.replace(REGISTER, id, {**entry, "tries": entry["tries"] + 1}, entry)
            raise NotErased("this is not the code that was shown to the officer who asked", patient)

    # --- retention ---------------------------------------------------------------------------------------------------

    async def _refuse_kept(self, patient: str, now: int) -> None:
        longest = await self._longest(patient, now)
        if longest is not None:
            text = f"{longest.name} has to be kept until {longest.until} ({longest.why})"
            raise NotErased(f"{text}; a decision to erase it sooner is given with its number", patient)

    async def _longest(self, patient: str, now: int) -> Kept | None:
        law, today = rules().retention, datetime.fromtimestamp(now / 1000, UTC).date()
        found = await self.context.store.read("Patient", patient, EVERYTHING)
        deceased = _is_deceased(decode(found.raw)) if found is not None else False
        longest: Kept | None = None
        for one in await self._people(patient):
            for type in sorted(await self.context.store.types() - law.administrative):
                async for stored in self._members(type, one):
                    longest = _later(longest, kept(law, decode(stored.raw), stored.updated, deceased, today))
        return longest

    # --- what goes ---------------------------------------------------------------------------------------------------

    async def _erase(self, patient: str) -> tuple[int, list[str]]:
        """How many versions went, and the files that speak of other people too and so have stayed."""
        count, left = 0, []
        for one in sorted(await self._people(patient), key=lambda id: id == patient):
            own, shared = await self._files(one)
            count += await self.context.store.erase(one, [*await self._beside(one), *own])
            left += [f"{type}/{id}" for type, id in shared]
        return count, left

    async def _people(self, patient: str) -> list[str]:
        """The Patient, and those that were joined into it."""
        found = [
            decode(one.raw) for one in await self._referring("Patient", rules().erasure.beside["Patient"], patient)
        ]
        joined = [one["id"] for one in found if _is_replaced_by(one, patient)]
        return [patient, *joined]

    async def _beside(self, patient: str) -> list[Identity]:
        """What stands outside the compartment and is about this person."""
        return [
            (type, one.id)
            for type, codes in rules().erasure.beside.items()
            if type != "Patient"
            for one in await self._referring(type, codes, patient)
        ]

    async def _referring(self, type: str, codes: Sequence[str], patient: str) -> list[Stored]:
        params = self.context.search.parameters.of(type)
        leaves = tuple(Leaf(type, params[code], None, (f"Patient/{patient}",)) for code in codes if code in params)
        if not leaves or type not in await self.context.store.types():
            return []
        finder = Finder(self.context, view=EVERYTHING)
        return await finder.page(await finder.plan(type, Or(leaves)), _STEP)

    async def _files(self, patient: str) -> tuple[list[Identity], list[Identity]]:
        """What is kept of files: those of the person alone, and those that other people's records name too."""
        own: list[Identity] = []
        shared: list[Identity] = []
        async for stored in self._members("DocumentReference", patient):
            for file in _files_of(decode(stored.raw)):
                is_shared = await self._is_shared("DocumentReference", "location", file, patient)
                (shared if is_shared else own).append(file)
        for document in dict.fromkeys([one async for one in self._sources(patient)]):
            if await self._is_shared("Provenance", "entity", document, patient):
                shared.append(document)
            elif (found := await self.context.store.read(*document, EVERYTHING)) is not None:
                own += [document, *_files_of(decode(found.raw))]
        return own, shared

    async def _sources(self, patient: str) -> AsyncIterator[Identity]:
        """The received files from which the person's records came."""
        async for stored in self._members("Provenance", patient):
            for entity in decode(stored.raw).get("entity", ()):
                target = literal(entity.get("what", {}).get("reference", ""))
                if target is not None and target.type == "DocumentReference":
                    yield target.type, target.id

    async def _is_shared(self, type: str, code: str, file: Identity, patient: str) -> bool:
        """Whether a record of somebody else names a file."""
        param = self.context.search.parameters.of(type).get(code)
        if param is None:
            return True
        finder = Finder(self.context, view=EVERYTHING)
        found = await finder.page(await finder.plan(type, Leaf(type, param, None, ("/".join(file),))), _STEP)
        return any(one.patient != patient for one in found)

    async def _members(self, type: str, patient: str) -> AsyncIterator[Stored]:
        last = ""
        while True:
            filter: Filter = {"k": patient_key(patient), "p": patient, "_id": {"$gt": last}}
            page = await self.context.store.find(Find(type, filter, (("_id", 1),), _STEP), EVERYTHING)
            for stored in page:
                yield stored
            if len(page) < _STEP:
                return
            last = page[-1].id


def _files_of(document: Resource) -> list[Identity]:
    """The Binary resources that a DocumentReference names."""
    urls = (content.get("attachment", {}).get("url", "") for content in document.get("content", ()))
    targets = (literal(url) for url in urls)
    return [(one.type, one.id) for one in targets if one is not None and one.type == "Binary"]


def _hash(id: str, code: str) -> str:
    return hashlib.sha256(f"{id} {code}".encode()).hexdigest()


def _later(one: Kept | None, other: Kept | None) -> Kept | None:
    return max((each for each in (one, other) if each is not None), key=lambda each: each.until, default=None)


def _is_deceased(patient: Resource) -> bool:
    return bool(patient.get("deceasedBoolean") or patient.get("deceasedDateTime"))


def _is_replaced_by(patient: Resource, by: str) -> bool:
    links = patient.get("link", ())
    return any(one.get("type") == "replaced-by" and one["other"].get("reference") == f"Patient/{by}" for one in links)
