"""Brings changed rules of access to what is stored: which classes are restricted, what names a facility or a unit,
which units there are.

`fhir-server migrate` does it while nothing is served. Until then nothing starts on the data: what was stored before a
class was restricted would be shown to everybody.
"""

from __future__ import annotations

from functools import partial

from fhir_server.interactions.consenting import TYPE as CONSENT
from fhir_server.interactions.consenting import settle
from fhir_server.interactions.exchange import Context
from fhir_server.model.resources import Resource, content_of, decode
from fhir_server.operations.reindex import Progress, rewritten
from fhir_server.search.compartments import PATIENT
from fhir_server.store.contract import Transaction
from fhir_server.store.values import EVERYTHING, LEDGER_TYPE, Narrowing, StartError

_REGISTER, _NAME = "narrowing", "rules"


async def require_rules(context: Context) -> None:
    """Raises StartError when the data were stored by other rules than those of now."""
    rules = {"fingerprint": context.rules.fingerprint}
    if not await context.store.enter(_REGISTER, _NAME, rules) and await _are_others(context):
        raise StartError(
            "The data were stored by other rules of who may see what (FHIR_RESTRICTED, narrowing.json, the lists of "
            "units); run `fhir-server migrate`, which brings those of now to every version."
        )


async def _are_others(context: Context) -> bool:
    known = await context.store.entry(_REGISTER, _NAME)
    return known is not None and known["fingerprint"] != context.rules.fingerprint


async def renarrow(context: Context, on_progress: Progress) -> int:
    """Writes anew what every version of every resource is narrowed by, where the rules have changed. Gives how many
    resources were looked at. Cut off and run again it completes the rest."""
    if not await _are_others(context):
        return 0
    types = sorted(await context.store.types() - {LEDGER_TYPE})
    total = sum([await context.store.count(type, {}, EVERYTHING) for type in types])
    done = 0
    for type in types:
        async for number in rewritten(context, type):
            done += number
            on_progress(done, total)
        await context.store.renarrow_versions(type, lambda resource, id: _narrow(context, resource, id))
    await _of_deleted_patients(context)
    await _of_consents(context)
    known = await context.store.entry(_REGISTER, _NAME) or {}
    await context.store.replace(_REGISTER, _NAME, {"fingerprint": context.rules.fingerprint}, known)
    return done


async def _of_deleted_patients(context: Context) -> None:
    """What is left of their compartments, by where their last versions say that they lived; no put reaches it."""
    async for _, gone in context.store.versions(PATIENT, deleted=True):
        last = await context.store.vread(PATIENT, gone.id, gone.version - 1, EVERYTHING)
        if last is not None:
            await context.store.transact(partial(_resettle, gone.id, _narrow(context, decode(last.raw), gone.id)))


async def _of_consents(context: Context) -> None:
    """What they say: the rules tell for which class a label stands."""
    async for consent in context.store.walk(CONSENT, EVERYTHING, raw=False):
        if consent.patient is not None:
            await settle(context, consent.patient)


async def _resettle(patient: str, narrowing: Narrowing, transaction: Transaction) -> None:
    await transaction.resettle(patient, narrowing)


def _narrow(context: Context, resource: Resource, id: str) -> Narrowing:
    return context.rules.narrow(resource, id, (), content_of(resource))
