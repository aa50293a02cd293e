"""transaction: all entries or none, in R4's order DELETE, POST, PUT and PATCH, GET. R4 RESTful API, transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from fhir_server.errors import Faults, FhirError, Issue, Kind
from fhir_server.interactions.content import answer
from fhir_server.interactions.delete import deleted
from fhir_server.interactions.entries import answered, asks, entries_of, outline, placed
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse
from fhir_server.interactions.headers import if_match, is_create_only
from fhir_server.interactions.inside import Inside
from fhir_server.interactions.patch import change_of_entry
from fhir_server.interactions.planning import faults, writable_type
from fhir_server.interactions.write import Done, Write
from fhir_server.interactions.writing import perform_all
from fhir_server.model.bundles import bundle
from fhir_server.model.references import is_id
from fhir_server.model.resources import Resource
from fhir_server.search.parse import query_pairs
from fhir_server.store.contract import Transaction

_ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2}


async def transaction(context: Context, request: FhirRequest, received: Resource) -> FhirResponse:
    """200 with a transaction-response in the order of the request, or one outcome that tells every fault."""
    requests, issues = entries_of(received, context.base, request.headers)
    issues += _same_urls(received["entry"])
    if all(isinstance(item, dict) for item in received["entry"]):
        issues += _further(await faults(context, outline(received), "Bundle"), issues)
    writes = _writes(context, requests, received["entry"], issues)
    ordered = sorted(writes, key=lambda place: _ORDER[writes[place].method])
    reads = [place for place in requests if place not in writes]

    async def respond(inside: Transaction, done: Sequence[Done]) -> FhirResponse:
        within = context.with_(store=Inside(context.store, inside)) if reads else context
        faults = Faults()
        answers = await _read(within, requests, reads, faults)
        faults.refuse()
        for place, outcome in zip(ordered, done, strict=True):
            answers[place] = _written(context, request, writes[place], outcome)
        told = [answered(answers[place], asked, request.headers) for place, asked in requests.items()]
        return FhirResponse(200, bundle("transaction-response", told))

    try:
        return await perform_all(context, [writes[place] for place in ordered], respond, issues)
    except FhirError as fault:
        raise await _refusal(context, requests, writes, fault) from None


async def _refusal(
    context: Context, requests: Mapping[int, FhirRequest], writes: Mapping[int, Write], fault: FhirError
) -> FhirError:
    """The fault in the order of the entries, with the faults of the reads that what is written cannot change."""
    told = {_number(issue) for issue in fault.all_issues()}
    if told != {_NO_ENTRY}:
        written = {(write.type, write.id or (write.resource or {}).get("id")) for write in writes.values()}
        apart = [place for place, asked in requests.items() if asks(asked) and asked.segments[:2] not in written]
        faults = Faults([fault])
        await _read(context, requests, (place for place in apart if place not in told), faults)
        whole = faults.together()
        fault = FhirError(
            whole.kind, whole.diagnostics, issues=tuple(sorted(whole.all_issues(), key=_number)), headers=whole.headers
        )
    fault.about = tuple(_named(requests.values()))
    return fault


_ENTRY = re.compile(r"Bundle\.entry\[(\d+)\]")
_NO_ENTRY = -1


def _number(issue: Issue) -> int:
    """Of the entry that an issue is about."""
    found = _ENTRY.match("".join(issue.expression[:1]))
    return int(found[1]) if found else _NO_ENTRY


def _writes(
    context: Context, requests: Mapping[int, FhirRequest], items: Sequence[Resource], issues: list[Issue]
) -> dict[int, Write]:
    """What is to be written, by the number of the entry; the faults join `issues`."""
    writes: dict[int, Write] = {}
    for place, asked in requests.items():
        if asks(asked):
            continue
        try:
            writes[place] = _write(context, asked, items[place].get("fullUrl"), f"Bundle.entry[{place}]")
        except FhirError as fault:
            issues += placed(fault.all_issues(), f"Bundle.entry[{place}]")
    return writes


def _named(requests: Iterable[FhirRequest]) -> Iterator[tuple[str, str]]:
    """What the entries name, for the record of a transaction that was refused."""
    for asked in requests:
        if len(asked.segments) >= 2 and is_id(asked.segments[1]):
            yield asked.segments[0], asked.segments[1]


def _same_urls(items: Sequence[object]) -> list[Issue]:
    """A fullUrl that stands twice: links to it would mean either (R4's bdl-7, which tells no place)."""
    first: dict[str, int] = {}
    issues = []
    for place, item in enumerate(items):
        url = item.get("fullUrl") if isinstance(item, dict) else None
        if isinstance(url, str) and first.setdefault(url, place) != place:
            text = f"the fullUrl of Bundle.entry[{first[url]}] stands here again"
            issues.append(Issue("error", "invalid", text, (f"Bundle.entry[{place}].fullUrl",)))
    return issues


def _further(found: Sequence[Issue], told: Sequence[Issue]) -> list[Issue]:
    """The faults of a bundle's outline that are not told of its entries already."""
    places = {place for issue in told for place in issue.expression}
    places |= {place.removesuffix(".request") for place in places}  # nothing is left of an entry without one
    rules = _OF_ENTRIES if told else frozenset()
    return [issue for issue in found if places.isdisjoint(issue.expression) and issue.diagnostics[:5] not in rules]


# Told of each entry by itself, while these rules are told of the bundle as a whole.
_OF_ENTRIES = frozenset({"bdl-3", "bdl-5", "bdl-7", "bdl-8"})


async def _read(
    context: Context, requests: Mapping[int, FhirRequest], places: Iterable[int], faults: Faults
) -> dict[int, FhirResponse]:
    answers = {}
    for place in places:
        with faults.gathering(partial(_at_entry, place)):
            answers[place] = await context.dispatch(context, requests[place])
    return answers


def _at_entry(place: int, fault: FhirError) -> FhirError:
    issues = tuple(placed(fault.all_issues(), f"Bundle.entry[{place}]"))
    return FhirError(fault.kind, fault.diagnostics, issues=issues)


def _written(context: Context, request: FhirRequest, write: Write, done: Done) -> FhirResponse:
    if write.method == "DELETE":
        return deleted(request, write.type, done)
    return answer(context, request, write.type, done)


_INTERACTIONS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def _write(context: Context, asked: FhirRequest, full_url: str | None, place: str) -> Write:
    if not 1 <= len(asked.segments) <= 2 or any(part.startswith(("$", "_")) for part in asked.segments):
        text = f"{asked.method} {'/'.join(asked.segments)[:80]} is not an interaction that a transaction can hold"
        raise FhirError(Kind.INVALID, text, ("request.url",))
    type, id = asked.segments[0], asked.segments[1] if len(asked.segments) == 2 else None
    writable_type(context, type, _INTERACTIONS[asked.method])
    if id is not None and not is_id(id):
        raise FhirError(Kind.VALUE, "this is not a logical id of R4", ("request.url",))
    if (asked.method == "POST") == (id is not None):
        needed = "a type alone" if asked.method == "POST" else "an id or search criteria"
        if asked.method == "POST" or not asked.query:
            raise FhirError(Kind.INVALID, f"the url of {asked.method} names {needed}", ("request.url",))
    criteria = asked.query if id is None and asked.method != "POST" else _if_none_exist(asked)
    return Write(
        asked.method,
        type,
        id=id,
        criteria=criteria,
        resource=asked.resource if asked.method in ("POST", "PUT") else None,
        change=change_of_entry(context, asked.resource) if asked.method == "PATCH" else None,
        expected=if_match(asked.headers),
        create_only=is_create_only(asked.headers),
        full_url=full_url,
        place=f"{place}.resource" if asked.resource is not None else place,
    )


def _if_none_exist(asked: FhirRequest) -> tuple[tuple[str, str], ...] | None:
    text = asked.headers.get("if-none-exist")
    return query_pairs(text.partition("?")[2] or text) if text is not None else None
