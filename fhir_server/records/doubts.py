"""Doubts about who is who, kept for a human as Tasks (R4 Task) until somebody has settled them.

Two Patients who may be one person, or a newborn that stands under another person's number, are never joined by guess.
What was found is written once, whatever is sent again: a Task says which two, and why. Merging the two settles it, and
so does saying that they are different people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.audit.access import Touched
from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.finder import Finder
from fhir_server.interactions.integrity import holders
from fhir_server.interactions.matching import match
from fhir_server.interactions.planning import draft
from fhir_server.interactions.recording import accesses
from fhir_server.model.dates import instant
from fhir_server.model.resources import Resource, decode
from fhir_server.records.ids import named_id
from fhir_server.store.contract import Transaction
from fhir_server.store.ledger_contract import Event
from fhir_server.store.values import EVERYTHING, Put, Stored

TASK = "Task"
SYSTEM = "urn:vn-basic:CodeSystem:task"
CODE = "same-person"
_REASON = "urn:vn-basic:CodeSystem:identity-doubt"
_DECISION = "urn:vn-basic:CodeSystem:identity-decision"
MOST_OF_A_PAIR = 200  # doubts about one Patient that a merge looks at

# Reason -> what is told, in Vietnamese and in English.
REASONS = {
    "sex": ("Cùng một số nhưng khác giới tính", "They bear one number and differ in sex"),
    "birth year": ("Cùng một số nhưng khác năm sinh", "They bear one number and differ in year of birth"),
    "birth date": ("Cùng một số thẻ nhưng khác ngày sinh", "They bear one card and differ in birth date"),
    "number": ("Một số của người này đã thuộc về người kia", "A number of the one is borne by the other"),
    "newborn": ("Trẻ sơ sinh ghi theo số của người khác", "A newborn stands under the number of another person"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Doubt:
    """One that an import has found. other: id of the Patient who may be the same; of a newborn `RelatedPerson/id` of
    whoever bears its number. kind: of the number."""

    reason: str
    other: str
    kind: str


def doubt_id(patient: str, doubt: Doubt) -> str:
    """The same for the same two people and reason, whichever of them comes second."""
    about = (patient,) if doubt.reason == "newborn" else sorted((patient, doubt.other))
    return named_id(TASK, CODE, *about, doubt.reason)


def task(patient: str, doubt: Doubt, now: int) -> Resource:
    """now: ms since the epoch."""
    vi, en = REASONS[doubt.reason]
    moment = instant(now)
    return {
        "resourceType": TASK,
        "id": doubt_id(patient, doubt),
        "status": "requested",
        "intent": "proposal",
        "code": {"coding": [{"system": SYSTEM, "code": CODE}], "text": "Hai hồ sơ có phải của một người không?"},
        "description": f"{vi} ({doubt.kind}). {en}.",
        "focus": {"reference": doubt.other if "/" in doubt.other else f"Patient/{doubt.other}"},
        "for": {"reference": f"Patient/{patient}"},
        "authoredOn": moment,
        "lastModified": moment,
        "reasonCode": {"coding": [{"system": _REASON, "code": doubt.reason.replace(" ", "-")}], "text": vi},
    }


def is_open(doubt: Resource) -> bool:
    return doubt.get("status") == "requested"


def _is_doubt(resource: Resource) -> bool:
    codings = (resource.get("code") or {}).get("coding") or ()
    return any(one.get("system") == SYSTEM and one.get("code") == CODE for one in codings)


def settled(doubt: Resource, decision: str, by: str, now: int) -> Resource:
    """decision: `same-person` or `different-people`."""
    moment = instant(now)
    coding = {"system": _DECISION, "code": decision}
    note = {"authorString": by, "time": moment, "text": decision}
    notes = [*doubt.get("note", ()), note]
    return {
        **doubt, "status": "completed", "businessStatus": {"coding": [coding]}, "lastModified": moment, "note": notes
    }  # fmt: skip


async def doubts_between(context: Context, transaction: Transaction, both: Sequence[str]) -> list[Stored]:
    """The open doubts that end when the first of two Patients is joined into the second: about both, and about whose
    number the first bears as a newborn."""
    finder = Finder(context, transaction, EVERYTHING)
    found = await holders(finder, TASK, ("Patient", both[0]), MOST_OF_A_PAIR)
    wanted = {f"Patient/{id}" for id in both}
    return [one for one in found if _is_doubt(doubt := decode(one.raw)) and is_open(doubt) and _about(doubt) <= wanted]


def _about(doubt: Resource) -> set[str]:
    """The Patients that a doubt names."""
    named = {(doubt.get(name) or {}).get("reference", "") for name in ("for", "focus")}
    return {one for one in named if one.startswith("Patient/")}


async def open_doubts(context: Context, most: int) -> list[Resource]:
    """Those that wait for a human, the oldest first, as the caller may see them."""
    pairs = (("code", f"{SYSTEM}|{CODE}"), ("status", "requested"))
    return [decode(one.raw) for one in await match(context, TASK, pairs, context.store, most)]


def who(context: Context) -> str:
    """The caller's name for a note."""
    caller = context.caller
    return caller.user or caller.subject or caller.client or "unknown"


async def settle_as_different(context: Context, id: str) -> Resource:
    """Says that the two of a doubt are different people. Raises FhirError NOT_FOUND, BUSINESS_RULE."""
    context.rights.require("update", TASK)
    events: list[Event] = []

    async def run(transaction: Transaction) -> Resource:
        found = await transaction.read(TASK, id, context.view)
        doubt = {} if found is None or found.deleted else decode(found.raw)
        if found is None or not _is_doubt(doubt):
            raise FhirError(Kind.NOT_FOUND, f"{id} is no doubt about who is who")
        if not is_open(doubt):
            raise FhirError(Kind.BUSINESS_RULE, f"{id} was settled already")
        made = settled(doubt, "different-people", who(context), context.clock())
        (written,) = await transaction.apply([Put(await draft(context, made, id), found.version)])
        touched = Touched(TASK, id, written.stored.version)
        events[:] = await context.trail.write(transaction, accesses(context, [("PUT", 200, touched, None)]))
        stored: Resource = decode(written.stored.raw)
        return stored

    made = await context.store.transact(run, about=[f"{TASK}/{id}"])
    context.trail.committed(events)
    return made
