"""All writes, from one create to a transaction of thousands, by one path: identities, links, drafts, one commit.

R4 section 3.1.0.11.2: conditions are resolved first, then links are rewritten, then everything is written or nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from fhir_server.audit.access import Touched
from fhir_server.definitions.links import uri_element_names
from fhir_server.errors import FhirError, Issue, Kind, refuse_faults, refuse_together
from fhir_server.interactions.consenting import TYPE as CONSENT
from fhir_server.interactions.consenting import settle_consents
from fhir_server.interactions.evidence import evidence
from fhir_server.interactions.exchange import Context, FhirResponse, Pairs, Shown
from fhir_server.interactions.guard import RightsGuard, refuse_strangers
from fhir_server.interactions.integrity import refuse_dangling, refuse_orphans
from fhir_server.interactions.matching import criterion, match, unique_match
from fhir_server.interactions.parameters import after_writing
from fhir_server.interactions.planning import check, draft, faults
from fhir_server.interactions.provenance import record
from fhir_server.interactions.recording import Outcome, accesses
from fhir_server.interactions.rights import ALL_RIGHTS, Action
from fhir_server.model.json_body import refuse_deep
from fhir_server.model.references import by_table, conditional, has_conditional, literal, references, rewriter
from fhir_server.model.resources import Resource, decode
from fhir_server.search.parse import query_pairs
from fhir_server.store.contract import ANY_VERSION, EVERYTHING, Draft, Op, Put, Remove, Stored, Transaction, Written
from fhir_server.store.ledger_contract import Event

T = TypeVar("T")
Change = Callable[[Resource], Resource]
TURN = 50  # resources of a bundle that are worked on before others have their turn: about 5 ms


class Write(msgspec.Struct, frozen=True):
    """One thing to write.

    method: POST | PUT | PATCH | DELETE. id: the logical id in the URL. criteria: search pairs of a conditional
    interaction. change: what a PATCH makes of the current resource. expected: version of If-Match. create_only:
    If-None-Match: *. full_url: the entry's fullUrl in a bundle. place: FHIRPath of the resource, "" outside a bundle.
    """

    method: str
    type: str
    id: str | None = None
    criteria: Pairs | None = None
    resource: Resource | None = None
    change: Change | None = None
    expected: int | None = None
    create_only: bool = False
    full_url: str | None = None
    place: str = ""

    def at(self) -> tuple[str, ...]:
        return (self.place,) if self.place else ()

    def located(self, fault: FhirError) -> FhirError:
        """The fault with the place of the entry, where it tells none in the bundle: then its condition is meant."""
        if not self.place:
            return fault
        asked = "ifNoneExist" if self.method == "POST" else "url"
        where = (f"{self.place.removesuffix('.resource')}.request.{asked}",)
        issues = [
            issue
            if issue.expression[:1] and issue.expression[0].startswith("Bundle")
            else replace(issue, expression=where)
            for issue in fault.all_issues()
        ]
        return FhirError(fault.kind, fault.diagnostics, issues=tuple(issues), headers=fault.headers)


class Done(msgspec.Struct, frozen=True):
    """What became of a Write. stored: the version now current (None when a delete found nothing). more: the other
    resources that a conditional delete of several has removed."""

    stored: Stored | None
    created: bool = False
    changed: bool = False
    more: tuple[Stored, ...] = ()


Respond = Callable[[Transaction, Sequence[Done]], Awaitable[FhirResponse]]


class _Target(msgspec.Struct, frozen=True):
    """The identity a Write settled on. found: the resource that a conditional create matched; nothing is written
    then."""

    write: Write
    id: str | None
    found: Stored | None = None
    more: tuple[str, ...] = ()  # further ids of a conditional delete of several

    @property
    def creates(self) -> bool:
        """True when a condition was satisfied by nothing, and so something new is written."""
        conditional = self.write.criteria is not None and self.found is None
        return conditional and (self.write.method == "POST" or (self.write.method == "PUT" and self.write.create_only))


async def perform(context: Context, write: Write, answer: Callable[[Done], FhirResponse]) -> FhirResponse:
    """Commits one write and answers with what became of it. Raises FhirError; nothing is written then."""

    async def respond(transaction: Transaction, done: Sequence[Done]) -> FhirResponse:
        return answer(done[0])

    return await perform_all(context, [write], respond)


async def perform_all(context: Context, writes: Sequence[Write], respond: Respond) -> FhirResponse:
    """Commits every write or none. `respond` makes the answer inside the transaction, after its writes, and may run
    more than once. Raises FhirError; nothing is written then."""
    for write in writes:
        _require(context, write)
    refuse_faults(await faults_of(context, writes))
    events: list[Event] = []

    async def finish(transaction: Transaction, done: Sequence[Done]) -> FhirResponse:
        changed = [one for became in done if became.changed for one in (became.stored, *became.more) if one is not None]
        told = (*accesses(context, _outcomes(writes, done)), *evidence(context, changed))
        events[:] = await context.trail.write(transaction, told)
        return await respond(transaction, done)

    fresh = [context.new_id() for _ in writes]
    if all(_is_settled(write) for write in writes):
        targets = [_Target(write, write.id or new) for write, new in zip(writes, fresh, strict=True)]
        _refuse_twins(targets)
        prepared = await _drafts(context, targets, {})

        async def commit(transaction: Transaction) -> FhirResponse:
            return await finish(transaction, await _apply(context, transaction, targets, prepared))
    else:

        async def commit(transaction: Transaction) -> FhirResponse:
            targets = await _each(zip(writes, fresh, strict=True), partial(_identify, context, transaction))
            _refuse_twins(targets)
            await _claim(context, transaction, targets)
            links = await _conditional_links(context, transaction, writes)
            found = [(target.write, target) for target in targets]
            targets = await _each(found, partial(_patched, context, transaction))
            drafts = await _drafts(context, targets, links)
            return await finish(transaction, await _apply(context, transaction, targets, drafts))

    guarded = context.once.guard(commit) if context.once else commit
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


def _is_settled(write: Write) -> bool:
    """True when identity and content are known without looking into the store."""
    if write.criteria is not None or write.change is not None:
        return False
    return write.resource is None or not has_conditional(write.resource)


async def faults_of(context: Context, writes: Sequence[Write], with_conditions: bool = False) -> list[Issue]:
    """Every fault of every resource. with_conditions: and those of conditions that can be told without looking into
    the store, as they are when something is refused already."""
    issues: list[Issue] = []
    for number, write in enumerate(writes):
        await _let_others_run(number)
        if write.resource is not None:
            issues += await _faults(context, write, write.resource)
    if with_conditions or any(issue.is_error for issue in issues):
        issues += [issue for write in writes for issue in _unusable(context, write)]
    return issues


def _unusable(context: Context, write: Write) -> Iterator[Issue]:
    """The faults of the conditions that a write holds, its own and those in its references."""
    try:
        if write.criteria is not None:
            criterion(context, write.type, write.criteria)
    except FhirError as fault:
        yield from write.located(fault).all_issues()
    for path, text in references(write.resource or {}):
        parts = conditional(text)
        try:
            if parts is not None:
                criterion(context, parts[0], query_pairs(parts[1]))
        except FhirError as fault:
            where = (f"{write.place or write.type}.{path}",)
            yield Issue("error", fault.kind.code, fault.diagnostics, where)


async def _let_others_run(number: int) -> None:
    """Between the parts of a large bundle, so that it does not hold up every other request of this process."""
    if number % TURN == TURN - 1:
        await asyncio.sleep(0)


async def _faults(context: Context, write: Write, resource: Resource) -> list[Issue]:
    place = write.place or write.type
    type = resource.get("resourceType")
    if type != write.type:
        text = f"the URL says {write.type} and the body {str(type)[:64]!r}"
        return [Issue("error", "invalid", text, (f"{place}.resourceType",))]
    issues = await faults(context, resource, write.type, write.place or None)
    if write.method == "PUT" and write.id is not None and resource.get("id") != write.id:
        text = f"the id in the body must be the id in the URL, {write.id!r} (R4 section 3.1.0.4)"
        issues = [*issues, Issue("error", "invalid", text, (f"{place}.id",))]
    return issues


async def _claim(context: Context, transaction: Transaction, targets: Iterable[_Target]) -> None:
    """Locks each condition that nothing satisfies and that creates, in one order for all callers.

    Whoever looked before another has committed for the same condition conflicts here and looks again; whoever looks
    afterwards finds what is there and waits for nobody.
    """
    first: dict[str, str] = {}
    issues = []
    for write in (target.write for target in targets if target.creates):
        text = criterion(context, write.type, write.criteria or ())
        if text in first:
            told = f"two entries create a {write.type} under one condition; the other is {first[text]}"
            issues.append(Issue("error", "invalid", told, write.at()))
        first.setdefault(text, write.place)
    refuse_faults(issues)
    for text in sorted(first):
        await transaction.claim(text)


async def _each(items: Iterable[tuple[Write, T]], work: Callable[[Write, T], Awaitable[_Target]]) -> list[_Target]:
    """What becomes of each write. Raises FhirError with the faults of all, each with its place."""
    targets, faults = [], []
    for write, item in items:
        try:
            targets.append(await work(write, item))
        except FhirError as fault:
            faults.append(write.located(fault))
    refuse_together(faults)
    return targets


async def _identify(context: Context, transaction: Transaction, write: Write, fresh: str) -> _Target:
    if write.criteria is None:
        return _Target(write, write.id or fresh)
    several = write.method == "DELETE" and context.capability.types[write.type].conditional_delete == "multiple"
    limit = context.settings.page_limit + 1 if several else 2
    if write.method in ("POST", "PUT"):
        matches = await unique_match(context, write.type, write.criteria, transaction)
    else:
        matches = await match(context, write.type, write.criteria, transaction, limit=limit)
    if len(matches) > 1 and not several:
        raise FhirError(Kind.MULTIPLE_MATCHES, f"the condition matches more than one {write.type}")
    if len(matches) > context.settings.page_limit:
        text = f"the condition matches more than {context.settings.page_limit} resources; nothing was deleted"
        raise FhirError(Kind.TOO_COSTLY, text)
    found = matches[0] if matches else None
    if write.method == "POST":
        return _Target(write, found.id if found else fresh, found)
    if write.method == "PUT":
        return await _identify_put(context, transaction, write, found, fresh)
    if found is None and write.method == "PATCH":
        raise FhirError(Kind.NOT_FOUND, f"the condition matches no {write.type}")
    return _Target(write, found.id if found else None, more=tuple(stored.id for stored in matches[1:]))


async def _identify_put(
    context: Context, transaction: Transaction, write: Write, found: Stored | None, fresh: str
) -> _Target:
    """R4 section 3.1.0.4.3, conditional update: the five cases of matches and an id in the body."""
    sent = (write.resource or {}).get("id")
    if found is not None:
        if sent is not None and sent != found.id:
            text = f"the id in the body, {sent!r}, is not that of the resource that matches"
            raise FhirError(Kind.INVALID, text, (f"{write.place or write.type}.id",))
        return _Target(write, found.id)
    if sent is not None and await _is_live(context, transaction, write.type, sent):
        text = f"{write.type}/{sent} exists and does not match the condition"
        raise FhirError(Kind.CONFLICT, text, (f"{write.place or write.type}.id",))
    if write.expected is not None:
        raise FhirError(Kind.PRECONDITION, f"a version was expected, and no {write.type} matches the condition")
    return _Target(replace(write, create_only=True), sent or fresh)


async def _is_live(context: Context, transaction: Transaction, type: str, id: str) -> bool:
    stored = await transaction.read(type, id, context.view)
    return stored is not None and not stored.deleted


def _refuse_twins(targets: Iterable[_Target]) -> None:
    """Two entries for one identity are refused (R4 section 3.1.0.11.2), never dropped in silence."""
    first: dict[tuple[str, str], str] = {}
    removed: set[tuple[str, str]] = set()
    issues = []
    # Those that were found last: they write nothing, so only a deletion is at odds with them.
    for target in sorted(targets, key=lambda target: target.found is not None):
        for id in (target.id, *target.more) if target.id is not None else ():
            name = (target.write.type, id)
            if name in (removed if target.found is not None else first):
                text = f"two entries are about {name[0]}/{name[1]}; the other is {first[name]}"
                issues.append(Issue("error", "invalid", text, target.write.at()))
            first.setdefault(name, target.write.place)
            if target.write.method == "DELETE":
                removed.add(name)
    refuse_faults(issues)


async def _conditional_links(context: Context, transaction: Transaction, writes: Iterable[Write]) -> dict[str, str]:
    """`Patient?identifier=…` in a reference to the one resource that matches. Raises FhirError PRECONDITION."""
    links: dict[str, str] = {}
    issues = []
    for write in writes:
        for path, text in references(write.resource or {}):
            parts = conditional(text)
            if parts is None or text in links:
                continue
            where = (f"{write.place or write.type}.{path}",)
            try:
                found = await match(context, parts[0], query_pairs(parts[1]), transaction, limit=2)
            except FhirError as fault:
                issues.append(Issue("error", fault.kind.code, fault.diagnostics, where))
                continue
            if len(found) == 1:
                links[text] = f"{parts[0]}/{found[0].id}"
            else:
                code = "multiple-matches" if found else "not-found"
                told = "more than one" if found else "no"
                issues.append(Issue("error", code, f"the conditional reference matches {told} {parts[0]}", where))
    refuse_faults(issues, Kind.PRECONDITION)
    return links


async def _patched(context: Context, transaction: Transaction, write: Write, target: _Target) -> _Target:
    """A PATCH becomes a PUT of what the change makes of the version that it read."""
    if write.change is None or target.id is None:
        return target
    current = await transaction.read(write.type, target.id, context.rights.view("read"))
    if current is None or current.deleted:
        kind = Kind.NOT_FOUND if current is None else Kind.DELETED
        raise FhirError(kind, f"{write.type}/{target.id} is not there to be patched", write.at())
    if write.expected not in (None, ANY_VERSION, current.version):
        raise FhirError(Kind.PRECONDITION, f"version {write.expected} is not the current one", write.at())
    changed = write.change(decode(current.raw))
    if changed.get("id") != target.id or changed.get("resourceType") != write.type:
        raise FhirError(Kind.UNPROCESSABLE, "a patch must not change the id or the type", write.at())
    refuse_deep(changed)
    await check(context, changed, write.type, write.place or None)
    return replace(target, write=replace(write, resource=changed, change=None, expected=current.version))


async def _drafts(context: Context, targets: Sequence[_Target], links: dict[str, str]) -> dict[int, Draft]:
    """The drafts by place in `targets`, links rewritten to the identities that were settled."""
    table = {**links, **_table(targets)}
    names = uri_element_names(context.definitions) if table else frozenset()
    linked = rewriter(by_table(table), names)
    drafts = {}
    for place, target in enumerate(targets):
        await _let_others_run(place)
        resource = target.write.resource
        if resource is not None and target.found is None and target.id is not None:
            made = linked(resource) if table else resource
            drafts[place] = await draft(context, context.rights.sign(made), target.id)
    return drafts


def _table(targets: Iterable[_Target]) -> dict[str, str]:
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


async def _apply(
    context: Context, transaction: Transaction, targets: Sequence[_Target], drafts: dict[int, Draft]
) -> list[Done]:
    ops: list[Op] = []
    owners: list[int] = []
    for place, target in enumerate(targets):
        for op in await _ops(context, transaction, target, drafts.get(place)):
            ops.append(op)
            owners.append(place)
    if context.settings.check_references:
        places = {target.write.place or target.write.type: drafts[n] for n, target in enumerate(targets) if n in drafts}
        await refuse_dangling(context, transaction, places)
        await refuse_orphans(context, transaction, ops)
    done = [Done(target.found) for target in targets]
    try:
        applied = await _written(context, transaction, targets, ops)
    except FhirError as fault:
        raise _at_entries(fault, targets) from None
    for place, written in zip(owners, applied, strict=True):
        first = done[place]
        done[place] = _done(written) if first.stored is None else replace(first, more=(*first.more, written.stored))
    return done


def _at_entries(fault: FhirError, targets: Iterable[_Target]) -> FhirError:
    """With the places of the entries in place of the identities that the store tells."""
    places = {f"{target.write.type}/{target.id}": target.write.at() for target in targets}
    issues = [
        replace(issue, expression=places.get("".join(issue.expression), issue.expression))
        for issue in fault.all_issues()
    ]
    return FhirError(fault.kind, fault.diagnostics, issues=tuple(issues), headers=fault.headers)


async def _written(
    context: Context, transaction: Transaction, targets: Sequence[_Target], ops: Sequence[Op]
) -> list[Written]:
    """Applies the ops within the caller's rights, and what follows from them. Raises FhirError FORBIDDEN."""
    consents = [op.draft.id for op in ops if isinstance(op, Put) and op.draft.type == CONSENT]
    before = await transaction.read_many(CONSENT, consents, EVERYTHING) if consents else {}
    written = await _applied(context, transaction, targets, ops)
    after = [one.stored for one in written if one.changed and one.stored.type == CONSENT]
    patients = {one.patient for one in (*before.values(), *after) if one.patient is not None}
    if after:
        await settle_consents(context, transaction, patients)
    return written


async def _applied(
    context: Context, transaction: Transaction, targets: Sequence[_Target], ops: Sequence[Op]
) -> list[Written]:
    written = await _within_rights(context, transaction, targets, ops)
    if context.rights.provenance or context.settings.provenance == "all":
        await record(context, transaction, written)
    return written


async def _within_rights(
    context: Context, transaction: Transaction, targets: Sequence[_Target], ops: Sequence[Op]
) -> list[Written]:
    if context.rights is ALL_RIGHTS:
        return await transaction.apply(ops)
    guard = RightsGuard(context.rights, _named(targets))
    written = await transaction.apply(ops, guard)
    await refuse_strangers(context.rights, transaction, guard.joined, written)
    return written


def _named(targets: Iterable[_Target]) -> set[tuple[str, str]]:
    """The identities that the request itself names, in the URL or in the body of a PUT."""
    return {
        (target.write.type, target.id)
        for target in targets
        if target.id is not None and target.write.method != "POST" and target.id == _named_id(target.write)
    }


def _named_id(write: Write) -> str | None:
    return write.id if write.id is not None else (write.resource or {}).get("id")


async def _ops(context: Context, transaction: Transaction, target: _Target, made: Draft | None) -> list[Op]:
    write = target.write
    if target.found is not None or target.id is None:
        return []
    if write.method == "DELETE":
        ids = (target.id, *target.more)
        return [Remove(write.type, id, write.expected) for id in ids]
    if made is None:
        raise FhirError(Kind.REQUIRED, f"{write.method} needs a resource", write.at())
    if write.method == "POST" or write.create_only:
        return [Put(made, 0, write.method)]
    if write.method == "PUT" and not context.settings.update_create and context.rights is ALL_RIGHTS:
        current = await transaction.read(write.type, target.id, EVERYTHING)
        if current is None:
            raise FhirError(Kind.METHOD_NOT_ALLOWED, "clients may not choose ids here (R4 section 3.1.0.4)", write.at())
    return [Put(made, write.expected, write.method)]


def _done(written: Written) -> Done:
    return Done(written.stored, written.created, written.changed)
