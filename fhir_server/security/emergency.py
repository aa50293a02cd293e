"""Break-glass: one patient's whole record, for a reason that is told, for a while, on record and listed.

`X-Break-Glass: Patient/12 unconscious in the emergency room` by a caller whose token has the scope `btg`. Consents and
restricted classes do not count then; what is written stays within the caller's own rights.
"""

from __future__ import annotations

import hashlib
import re

from msgspec.structs import replace

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.rights import Caller, Rights, insufficient
from fhir_server.model.personal import without_numbers
from fhir_server.security.callers import Identity
from fhir_server.security.sight import Sights, TypeLists, either
from fhir_server.store.values import Filter, View

HEADER = "x-break-glass"
REGISTER = "break-glass"
MINUTES = 60  # for which one entry of the list stands; a later request makes another
PURPOSE = "BTG"  # of v3-ActReason
_TOLD = re.compile(r"(?:Patient/)?(?P<patient>[A-Za-z0-9\-.]{1,64})[\s:;]+(?P<reason>(?=.{10,300}$)\S+\s.*\S)")


async def broken(context: Context, identity: Identity, rights: Rights, types: TypeLists, told: str) -> Context:
    """The context of an emergency. Raises FhirError FORBIDDEN, VALUE."""
    caller = identity.caller
    if not identity.scopes.break_glass or (caller.organisation is None and caller.unit is None):
        raise insufficient("this access token does not allow to break the glass; its scope would be btg")
    found = _TOLD.fullmatch(_text(told).strip())
    if found is None:
        text = "X-Break-Glass names one patient and the reason: Patient/12 unconscious in the emergency room"
        raise FhirError(Kind.VALUE, text, (HEADER,))
    patient, reason = found["patient"], without_numbers(found["reason"])
    await _list(context, caller, patient, reason)
    seen: Filter = {"p": patient}
    opened: Sights = dict.fromkeys(types.compartment - context.rules.apart, seen)
    views = {
        action: View(either(dict(view.by_type), opened), view.otherwise) if action in ("read", "search") else view
        for action, view in rights.views.items()
    }
    fingerprint = hashlib.sha256(f"{caller.fingerprint} {patient}".encode()).hexdigest()
    emergency = replace(caller, fingerprint=fingerprint, purposes=(PURPOSE,))
    origin = replace(context.origin, emergency=reason)
    return context.with_(caller=emergency, rights=replace(rights, views=views), origin=origin)


def _text(header: str) -> str:
    """A header as its sender wrote it: headers are bytes, and people write Vietnamese."""
    try:
        return header.encode("latin-1").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return header


async def _list(context: Context, caller: Caller, patient: str, reason: str) -> None:
    """One entry for each caller and patient an hour: who, whom, why, when."""
    hour = context.clock() // (MINUTES * 60_000)
    name = hashlib.sha256(f"{caller.key} {patient} {hour}".encode()).hexdigest()
    entry = {
        "at": context.clock(),
        "client": caller.client,
        "subject": without_numbers(caller.subject),
        "user": caller.user,
        "organisation": caller.organisation,
        "unit": caller.unit,
        "patient": patient,
        "reason": reason,
    }
    await context.store.enter(REGISTER, name, entry)
