"""Writes whose identities are settled, applied inside a transaction: links rewritten, rights held, consents settled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from fhir_server.definitions.links import uri_element_names
from fhir_server.errors import Faults, FhirError, Kind
from fhir_server.interactions.consenting import TYPE as CONSENT
from fhir_server.interactions.consenting import settle_consents
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.guard import RightsGuard, refuse_links, refuse_strangers
from fhir_server.interactions.integrity import refuse_dangling, refuse_orphans
from fhir_server.interactions.planning import draft, let_others_run
from fhir_server.interactions.provenance import record
from fhir_server.interactions.rights import ALL_RIGHTS
from fhir_server.interactions.write import Done, Target, Write
from fhir_server.model.references import by_table, literal, rewriter
from fhir_server.store.contract import Transaction
from fhir_server.store.values import EVERYTHING, Draft, Op, Put, Remove, Written


async def drafted(
    context: Context, targets: Sequence[Target], links: dict[str, str], refused: Collection[int], faults: Faults
) -> dict[int, Draft]:
    """The drafts by place in `targets`, links rewritten to the identities that were settled. refused: the places of
    those whose content is no resource."""
    table = {**links, **_table(targets)}
    names = uri_element_names(context.definitions) if table else frozenset()
    linked = rewriter(by_table(table), names)
    drafts = {}
    for place, target in enumerate(targets):
        await let_others_run(place)
        resource = target.write.resource
        if resource is None or target.found is not None or target.id is None or place in refused:
            continue
        try:
            made = linked(resource) if table else resource
            drafts[place] = await draft(context, context.rights.sign(made), target.id)
        except FhirError as fault:
            faults.keep(fault, target.write.located)
    return drafts


def _table(targets: Iterable[Target]) -> dict[str, str]:
    """Each entry's fullUrl, and the relative form of a RESTful one, to the `Type/id` it was given."""
    table: dict[str, str] = {}
    for target in targets:
        url, identity = target.write.full_url, f"{target.write.type}/{target.id}"
        if url is None or target.id is None:
            continue
        restful = literal(url)
        if restful is not None and f"{restful.type}/{restful.id}" == identity:
            continue  # it keeps its identity, so links to it stay as they were sent
        table[url] = identity
        if restful is not None:
            table[f"{restful.type}/{restful.id}"] = identity
    return table


async def apply(
    context: Context, transaction: Transaction, targets: Sequence[Target], drafts: dict[int, Draft], faults: Faults
) -> list[Done]:
    """Writes the drafts and takes the removed away; what became of each target, in their order. Raises FhirError with
    the places of the entries, `faults` included: where there are any, nothing is tried but to tell them all."""
    ops: list[Op] = []
    owners: list[int] = []
    for place, target in enumerate(targets):
        try:
            made = await _ops(context, transaction, target, drafts.get(place), faults)
        except FhirError as fault:
            faults.keep(fault)
            continue
        ops += made
        owners += [place] * len(made)
    if context.settings.check_references:
        await _refuse_broken_links(context, transaction, targets, drafts, faults)
    guard = None if context.rights is ALL_RIGHTS else RightsGuard(context.rights, _named(targets))
    entered = _entered(targets, drafts) if guard is not None else {}
    with faults.gathering(partial(_at_entries, targets)):
        # Before anything is written, so that who is hidden by a Consent is looked for as who is unknown is.
        await refuse_strangers(context.rights, transaction, entered)
    applied: list[Written] = []
    with faults.gathering(partial(_at_entries, targets)):
        if faults:
            await transaction.examine(ops, guard)
        else:
            applied = await _written(context, transaction, ops, guard)
    if guard is not None:
        known = {*entered, *_patients(targets)}
        joined = {patient: members for patient, members in guard.joined.items() if patient not in known}
        with faults.gathering(partial(_at_entries, targets)):
            await refuse_strangers(context.rights, transaction, joined)
            await refuse_links(context.rights, transaction, applied)
    faults.refuse()
    done = [Done(target.found) for target in targets]
    for place, written in zip(owners, applied, strict=True):
        first = done[place]
        done[place] = _done(written) if first.stored is None else replace(first, more=(*first.more, written.stored))
    return done


def _patients(targets: Iterable[Target]) -> set[str | None]:
    """The Patients that are written themselves, and so held against the rights by themselves."""
    return {target.id for target in targets if target.write.type == "Patient"}


def _entered(targets: Sequence[Target], drafts: Mapping[int, Draft]) -> dict[str, list[str]]:
    """The patients whose compartments get what is new, with its identities."""
    own, entered = _patients(targets), defaultdict(list)
    for place, made in drafts.items():
        patient = made.narrowing.patient
        if targets[place].write.method == "POST" and patient is not None and patient not in own:
            entered[patient].append(f"{made.type}/{made.id}")
    return entered


async def _refuse_broken_links(
    context: Context, transaction: Transaction, targets: Sequence[Target], drafts: dict[int, Draft], faults: Faults
) -> None:
    places = {target.write.place or target.write.type: drafts[n] for n, target in enumerate(targets) if n in drafts}
    written = {(one.write.type, one.id) for one in targets if one.id and one.write.method != "DELETE" and not one.found}
    removed = {
        (target.write.type, id): target.write.place or target.write.type
        for target in targets
        if target.write.method == "DELETE"
        for id in (target.id, *target.more)
        if id is not None
    }
    with faults.gathering():
        urls = {target.write.full_url for target in targets}
        await refuse_dangling(context, transaction, places, written, removed, urls)
    with faults.gathering():
        await refuse_orphans(context, transaction, written, removed)


def _at_entries(targets: Iterable[Target], fault: FhirError) -> FhirError:
    """With the places of the entries in place of the identities that the store tells."""
    places = {f"{target.write.type}/{id}": target.write.at() for target in targets for id in (target.id, *target.more)}
    issues = [
        replace(issue, expression=places.get("".join(issue.expression), issue.expression))
        for issue in fault.all_issues()
    ]
    return FhirError(fault.kind, fault.diagnostics, issues=tuple(issues), headers=fault.headers)


async def _written(
    context: Context, transaction: Transaction, ops: Sequence[Op], guard: RightsGuard | None
) -> list[Written]:
    """Applies the ops, and what follows from them."""
    consents = [op.draft.id for op in ops if isinstance(op, Put) and op.draft.type == CONSENT]
    before = await transaction.read_many(CONSENT, consents, EVERYTHING) if consents else {}
    written = await transaction.apply(ops, guard)
    if context.rights.provenance or context.settings.provenance == "all":
        await record(context, transaction, written)
    after = [one.stored for one in written if one.changed and one.stored.type == CONSENT]
    patients = {one.patient for one in (*before.values(), *after) if one.patient is not None}
    if after:
        await settle_consents(context, transaction, patients)
    return written


def _named(targets: Iterable[Target]) -> set[tuple[str, str]]:
    """The identities that the request itself names, in the URL or in the body of a PUT."""
    return {
        (target.write.type, target.id)
        for target in targets
        if target.id is not None and target.write.method != "POST" and target.id == _named_id(target.write)
    }


def _named_id(write: Write) -> str | None:
    return write.id if write.id is not None else (write.resource or {}).get("id")


async def _ops(
    context: Context, transaction: Transaction, target: Target, made: Draft | None, faults: Faults
) -> list[Op]:
    write = target.write
    if target.found is not None or target.id is None:
        return []
    if write.method == "DELETE":
        ids = (target.id, *target.more)
        return [Remove(write.type, id, write.expected) for id in ids]
    if made is None:  # what was sent is at fault, which is told; its version is looked at, too, and nothing written
        is_examined = faults and write.method == "PUT" and write.expected and context.rights is ALL_RIGHTS
        return [Remove(write.type, target.id, write.expected)] if is_examined else []
    if write.method == "POST" or write.create_only:
        return [Put(made, 0, write.method)]
    if write.method == "PUT" and not context.settings.update_create and context.rights is ALL_RIGHTS:
        current = await transaction.read(write.type, target.id, EVERYTHING)
        if current is None:
            raise FhirError(Kind.METHOD_NOT_ALLOWED, "clients may not choose ids here (R4 RESTful API)", write.at())
    return [Put(made, write.expected, write.method)]


def _done(written: Written) -> Done:
    return Done(written.stored, written.created, written.changed)
