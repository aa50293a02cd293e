"""From a resource to a draft that the store can write: checked, indexed and narrowed. Every write goes through here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from fhir_server.errors import FhirError, Issue, Kind, refuse_faults
from fhir_server.interactions.exchange import Context
from fhir_server.model.references import is_id, literal, references
from fhir_server.model.registry import UnknownSystems
from fhir_server.model.resources import Resource, content_of
from fhir_server.store.values import Draft, Indexed

TURN = 50  # resources of a bundle that are worked on before others have their turn: about 5 ms


log = structlog.get_logger("fhir_server.validation")


async def faults(context: Context, resource: Resource, type: str, path: str | None = None) -> list[Issue]:
    """Every fault of base R4 (Validating Resources) and of the profiles that are claimed; `path` stands in front of the
    places told.

    With the setting `validation=report` only what could not be stored or found again is left; the rest is logged.
    """
    validate = context.validator.validate
    issues = await context.terminology.ask(lambda known: validate(resource, type, path, known))
    if context.settings.validation == "refuse":
        return issues
    if issues:
        log.warning(
            "stored with faults", type=type, faults=len(issues), places=[issue.expression for issue in issues][:8]
        )
    place = f"{path or type}.id"
    return (
        [] if is_id(resource.get("id", "-")) else [Issue("error", "value", "this is not a logical id of R4", (place,))]
    )


async def check(context: Context, resource: Resource, type: str, path: str | None = None) -> None:
    """Raises FhirError with every fault."""
    refuse_faults(await faults(context, resource, type, path))


async def index(context: Context, resource: Resource) -> Indexed:
    """The search keys, giving numbers to code systems that are met for the first time."""
    while True:
        try:
            return context.search.index(resource, context.store.registry)
        except UnknownSystems as missing:
            await context.store.intern(sorted(missing.uris))


async def draft(context: Context, resource: Resource, id: str) -> Draft:
    """The draft of a resource that has been checked. The resource's own id, if any, is replaced."""
    placed = resource if resource.get("id") == id else {**resource, "id": id}
    context.search.refuse_unfit(placed)
    indexed = await index(context, placed)
    patients = [key[1:] for key in indexed.keys if key[0] == "@" and ":" not in key]
    if len(patients) > 1:
        patients = _in_order(placed, patients)
    content = content_of(placed)
    narrowing = context.rules.narrow(placed, id, patients, content)
    return Draft(placed["resourceType"], id, placed, content, indexed, narrowing)


def _in_order(resource: Resource, patients: Sequence[str]) -> list[str]:
    """Whose the resource is comes first: its subject, then as they stand in it. Keys have no order of their own."""
    places: dict[str, tuple[bool, int]] = {}
    for number, (path, text) in enumerate(references(resource)):
        target = literal(text)
        if target is not None and target.type == "Patient":
            place = (path.partition(".")[0] not in ("subject", "patient"), number)
            places[target.id] = min(places.get(target.id, place), place)
    return sorted(patients, key=lambda id: (places.get(id, (True, len(places))), id))


def writable_type(context: Context, type: str, interaction: str) -> None:
    """Raises FhirError unless the capability statement declares the interaction for the type."""
    declared = context.capability.types.get(type)
    if declared is None:
        raise FhirError(Kind.UNKNOWN_TYPE, f"this server has no resource type {type[:64]!r}")
    if interaction not in declared.interactions:
        raise FhirError(Kind.METHOD_NOT_ALLOWED, f"{interaction} is not declared for {type}")


async def let_others_run(number: int) -> None:
    """Between the parts of a large bundle, so that it does not hold up every other request of this process."""
    if number % TURN == TURN - 1:
        await asyncio.sleep(0)
