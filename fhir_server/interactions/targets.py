"""Which resource each write is about: conditions answered, ids given, patches made. R4 RESTful API, transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from fhir_server.errors import Faults, FhirError, Issue, Kind, refuse_faults
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.matching import criterion, match, unique_match
from fhir_server.interactions.planning import check
from fhir_server.interactions.write import Target, Write
from fhir_server.model.json_body import refuse_deep
from fhir_server.model.personal import without_quotes
from fhir_server.model.references import conditional, is_id, references
from fhir_server.model.resources import decode
from fhir_server.search.parse import query_pairs
from fhir_server.store.contract import Transaction
from fhir_server.store.values import ANY_VERSION, Stored

T = TypeVar("T")


async def claim(context: Context, transaction: Transaction, targets: Iterable[Target]) -> None:
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


async def each(
    items: Iterable[tuple[Write, T]], work: Callable[[Write, T], Awaitable[Target]], faults: Faults
) -> list[Target]:
    """What becomes of each write; of one that is at fault the id alone that its URL names."""
    targets = []
    for write, item in items:
        target = Target(write, write.id)
        with faults.gathering(write.located):
            target = await work(write, item)
        targets.append(target)
    return targets


async def identify(context: Context, transaction: Transaction, write: Write, fresh: str) -> Target:
    """The identity that its URL names or its condition finds, or `fresh`, a new one. Raises FhirError MULTIPLE_MATCHES,
    TOO_COSTLY, NOT_FOUND, INVALID, CONFLICT or PRECONDITION."""
    if write.criteria is None:
        return Target(write, write.id or fresh)
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
        raise FhirError(Kind.MULTIPLE_MATCHES, text)
    found = matches[0] if matches else None
    if write.method == "POST":
        return Target(write, found.id if found else fresh, found)
    if write.method == "PUT":
        return await _identify_put(context, transaction, write, found, fresh)
    if found is None and write.method == "PATCH":
        raise FhirError(Kind.NOT_FOUND, f"the condition matches no {write.type}")
    return Target(write, found.id if found else None, more=tuple(stored.id for stored in matches[1:]))


async def _identify_put(
    context: Context, transaction: Transaction, write: Write, found: Stored | None, fresh: str
) -> Target:
    """R4 RESTful API, conditional update: the five cases of matches and an id in the body."""
    sent = (write.resource or {}).get("id")
    sent = sent if is_id(sent) else None  # of any other it is told already
    if found is not None:
        if sent is not None and sent != found.id:
            text = f"the id in the body, {sent!r}, is not that of the resource that matches"
            raise FhirError(Kind.INVALID, text, (f"{write.place or write.type}.id",))
        return Target(write, found.id)
    if sent is not None and await _is_live(context, transaction, write.type, sent):
        text = f"{write.type}/{sent} exists and does not match the condition"
        raise FhirError(Kind.CONFLICT, text, (f"{write.place or write.type}.id",))
    if write.expected is not None:
        raise FhirError(Kind.PRECONDITION, f"a version was expected, and no {write.type} matches the condition")
    return Target(replace(write, create_only=True), sent or fresh)


async def _is_live(context: Context, transaction: Transaction, type: str, id: str) -> bool:
    stored = await transaction.read(type, id, context.view)
    return stored is not None and not stored.deleted


def refuse_twins(targets: Iterable[Target]) -> None:
    """Two entries for one identity are refused (R4 RESTful API, transaction), never dropped in silence."""
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


async def conditional_links(
    context: Context, transaction: Transaction, writes: Iterable[Write], faults: Faults
) -> dict[str, str]:
    """`Patient?identifier=…` in a reference to the one resource that matches. The faults are PRECONDITION."""
    places: dict[str, list[str]] = defaultdict(list)
    for write in writes:
        for path, text in references(write.resource or {}):
            if conditional(text) is not None:
                places[text].append(f"{write.place or write.type}.{path}")
    links: dict[str, str] = {}
    for text, where in places.items():
        with faults.gathering(partial(_unmet, where)):
            links[text] = await _linked(context, transaction, text)
    return links


def _unmet(places: Iterable[str], fault: FhirError) -> FhirError:
    """The fault of a conditional reference at each of its places."""
    issues = tuple(Issue("error", fault.kind.code, fault.diagnostics, (place,)) for place in places)
    return FhirError(Kind.PRECONDITION, fault.diagnostics, issues=issues)


async def _linked(context: Context, transaction: Transaction, text: str) -> str:
    type, _, query = text.partition("?")
    found = await match(context, type, query_pairs(query), transaction, limit=2)
    if len(found) == 1:
        return f"{type}/{found[0].id}"
    kind, told = (Kind.MULTIPLE_MATCHES, "more than one") if found else (Kind.NOT_FOUND, "no")
    raise FhirError(kind, f"the conditional reference matches {told} {type}")


async def patched(context: Context, transaction: Transaction, write: Write, target: Target) -> Target:
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
    try:
        await check(context, changed, write.type, write.place or None)
    except FhirError as fault:
        raise _of_patched(fault) from None
    return replace(target, write=replace(write, resource=changed, change=None, expected=current.version))


def _of_patched(fault: FhirError) -> FhirError:
    """Without the values that it quotes: most of them were stored, and not sent."""
    told = [
        replace(issue, diagnostics=without_quotes(issue.diagnostics), vi=issue.vi and without_quotes(issue.vi))
        for issue in fault.all_issues()
    ]
    return FhirError(fault.kind, without_quotes(fault.diagnostics), issues=tuple(told), headers=fault.headers)
