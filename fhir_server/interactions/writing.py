"""All writes, from one create to a transaction of thousands, by one path: identities, links, drafts, one commit.

Conditions are resolved first, then links are rewritten, then everything is written or nothing (R4 RESTful API,
transaction).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from fhir_server.audit.access import Touched
from fhir_server.errors import Faults, FhirError, Issue, refuse_faults
from fhir_server.interactions.applying import apply, drafted
from fhir_server.interactions.evidence import evidence
from fhir_server.interactions.exchange import Context, FhirResponse, Shown
from fhir_server.interactions.parameters import after_writing
from fhir_server.interactions.planning import faults, let_others_run
from fhir_server.interactions.recording import Outcome, accesses
from fhir_server.interactions.rights import Action
from fhir_server.interactions.targets import claim, conditional_links, each, identify, patched, refuse_twins
from fhir_server.interactions.write import Done, Target, Write
from fhir_server.model.references import has_conditional
from fhir_server.store.contract import Transaction
from fhir_server.store.ledger_contract import Event

Respond = Callable[[Transaction, Sequence[Done]], Awaitable[FhirResponse]]


async def perform(context: Context, write: Write, answer: Callable[[Done], FhirResponse]) -> FhirResponse:
    """Commits one write and answers with what became of it. Raises FhirError; nothing is written then."""

    async def respond(transaction: Transaction, done: Sequence[Done]) -> FhirResponse:
        return answer(done[0])

    _require(context, write)
    refuse_faults(await _faults(context, write))
    return await _commit(context, [write], respond, Faults(), ())


async def perform_all(
    context: Context, writes: Sequence[Write], respond: Respond, issues: Sequence[Issue] = ()
) -> FhirResponse:
    """Commits every write or none. `respond` makes the answer inside the transaction, after its writes, and may run
    more than once. issues: what speaks against the request already.

    Raises FhirError with all that speaks against any write, in its content and in the store; nothing is written then.
    """
    told, refused = list(issues), set()
    for number, write in enumerate(writes):
        await let_others_run(number)
        found = await _faults(context, write)
        told += found
        if any(issue.is_error for issue in found):
            refused.add(number)
    faults = Faults()
    with faults.gathering():
        refuse_faults(told)
    allowed = []
    for write in writes:
        try:
            _require(context, write)
            allowed.append(write)
        except FhirError as fault:
            faults.keep(fault, write.located)
            allowed.append(_bare(write))
    return await _commit(context, allowed, respond, faults, refused)


async def _commit(
    context: Context, writes: Sequence[Write], respond: Respond, told: Faults, refused: Collection[int]
) -> FhirResponse:
    """told: what speaks against the writes before the store is looked into. refused: the places of those whose content
    is no resource."""
    events: list[Event] = []

    async def finish(transaction: Transaction, done: Sequence[Done]) -> FhirResponse:
        changed = [one for became in done if became.changed for one in (became.stored, *became.more) if one is not None]
        record = (*accesses(context, _outcomes(writes, done)), *evidence(context, changed))
        events[:] = await context.trail.write(transaction, record)
        return await respond(transaction, done)

    fresh = [context.new_id() for _ in writes]
    if all(_is_settled(write) for write in writes):
        targets = [Target(write, write.id or new) for write, new in zip(writes, fresh, strict=True)]
        with told.gathering():
            refuse_twins(targets)
        prepared = await drafted(context, targets, {}, refused, told)

        async def commit(transaction: Transaction) -> FhirResponse:
            return await finish(transaction, await apply(context, transaction, targets, prepared, Faults(told)))
    else:

        async def commit(transaction: Transaction) -> FhirResponse:
            faults = Faults(told)
            targets = await each(zip(writes, fresh, strict=True), partial(identify, context, transaction), faults)
            with faults.gathering():
                refuse_twins(targets)
            with faults.gathering():
                await claim(context, transaction, targets)
            links = await conditional_links(context, transaction, writes, faults)
            found = [(target.write, target) for target in targets]
            targets = await each(found, partial(patched, context, transaction), faults)
            drafts = await drafted(context, targets, links, refused, faults)
            return await finish(transaction, await apply(context, transaction, targets, drafts, faults))

    guarded = context.once.guard(context, commit) if context.once else commit
    response = await context.store.transact(guarded, about=_names(context, writes))
    context.trail.committed(events)
    await after_writing(context, {write.type for write in writes})
    return replace(response, shown=Shown(is_recorded=True)) if events else response


def _outcomes(writes: Iterable[Write], done: Iterable[Done]) -> Iterator[Outcome]:
    for write, became in zip(writes, done, strict=True):
        status = 201 if became.created else 200
        if became.stored is None:
            yield write.method, status, Touched(write.type, write.id) if write.id else None, None
        for one in (became.stored, *became.more) if became.stored is not None else ():
            yield write.method, status, Touched(one.type, one.id, one.version or None), one.patient


def _names(context: Context, writes: Iterable[Write]) -> list[str]:
    """What others may be about to write too: resources by their id, conditions as they are spelt, and this request."""
    ids = [f"{write.type}/{write.id}" for write in writes if write.id is not None]
    conditions = [f"{write.type}?{write.criteria}" for write in writes if write.criteria is not None]
    return [*ids, *conditions, *([context.once.key] if context.once else ())]


_ACTIONS: Mapping[str, Action] = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}


def _require(context: Context, write: Write) -> None:
    """Raises FhirError FORBIDDEN when the type alone forbids it: a condition searches, a patch reads, too."""
    rights = context.rights
    action = _ACTIONS[write.method]
    if not (write.method == "PUT" and rights.may("create", write.type)):
        rights.require(action, write.type)
    if write.criteria is not None:
        rights.require("search", write.type)
    if write.change is not None:
        rights.require("read", write.type)


def _bare(write: Write) -> Write:
    """What is left of one that the caller may not make: an identity that others may link to. Nothing is looked up for
    it, so the caller learns nothing of what is stored."""
    return replace(write, method="PUT", criteria=None, resource=None, change=None)


def _is_settled(write: Write) -> bool:
    """True when identity and content are known without looking into the store."""
    if write.criteria is not None or write.change is not None:
        return False
    return write.resource is None or not has_conditional(write.resource)


async def _faults(context: Context, write: Write) -> list[Issue]:
    """Every fault of the content."""
    resource, place = write.resource, write.place or write.type
    if resource is None:
        return []
    type = resource.get("resourceType")
    if type != write.type:
        text = f"the URL says {write.type} and the body {str(type)[:64]!r}"
        return [Issue("error", "invalid", text, (f"{place}.resourceType",))]
    issues = await faults(context, resource, write.type, write.place or None)
    if write.method == "PUT" and write.id is not None and resource.get("id") != write.id:
        text = f"the id in the body must be the id in the URL, {write.id!r} (R4 RESTful API, update)"
        issues = [*issues, Issue("error", "invalid", text, (f"{place}.id",))]
    return issues
