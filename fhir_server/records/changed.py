"""Who has changed since a moment: each person once, at the last change, in the order of commits, page by page.

A token says how far a reader is: `NAME.SEQ` all changes up to SEQ are read; `NAME.SEQ.END` a walk to END is under way;
`NAME.all.ID.END` everybody is being read, as a first reader does, up to the Patient ID, before the walk from END on.
Readers get it sealed: it tells how many changes there were in all, which is more than a narrowed caller sees.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.model.dates import range_of
from fhir_server.model.sealing import seal, unseal
from fhir_server.store.values import ChangeSpan, Find

SCAN = 1_000  # changes looked at together
_SECRET, _PURPOSE = "page-links", b"records changed"  # its name, not the secret
_MARK = "c_"  # begins each token: without it one in 64 would look like an option on a command line
_BLOCK = 32  # bytes that a token is filled up to, so that its length tells nothing
_TOKEN = re.compile(r"([0-9a-f]{8})\.(?:(\d{1,18})(?:\.(\d{1,18}))?|all\.([A-Za-z0-9\-]{0,64})\.(\d{1,18}))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader is. after: the last change read. end: of the walk under way, None before one. last: the last
    Patient read of everybody, None in a walk through changes."""

    after: int
    end: int | None = None
    last: str | None = None


@dataclass(frozen=True, slots=True)
class ChangedPeople:
    """One page. people: patient ids in order. gone: patient id -> `Type/id` of its resources that were deleted. token:
    where to go on. more: whether there is more now. is_whole: everybody is read, not only who changed."""

    people: tuple[str, ...]
    gone: Mapping[str, tuple[str, ...]]
    token: str
    more: bool
    is_whole: bool


async def changed_people(context: Context, since: str, count: int, types: frozenset[str]) -> ChangedPeople:
    """At most `count` people whose resources of `types` changed.

    since: a token, an instant of R4, or "" for everybody. An instant before the sequence begins gives everybody too.
    Raises FhirError VALUE for what is neither, DELETED for a token of another sequence or of changes no longer kept,
    UNAVAILABLE while nobody numbers changes.
    """
    span = await context.store.change_span()
    if span is None:
        raise FhirError(Kind.UNAVAILABLE, "changes are not numbered yet", headers={"Retry-After": "2"})
    place = await _place(context, since, span)
    if place.last is not None:
        page = await _everybody(context, place, span, count)
    else:
        page = await _walk(context, place, span, count, types)
    plain = page.token.encode()
    filled = plain.ljust(-(-len(plain) // _BLOCK) * _BLOCK)
    return replace(page, token=_MARK + seal(filled, await context.store.secret(_SECRET), _PURPOSE))


async def _place(context: Context, since: str, span: ChangeSpan) -> Place:
    if not since:
        return Place(span.last, span.last, "")
    opened = unseal(since.removeprefix(_MARK), await context.store.secret(_SECRET), _PURPOSE)
    token = _TOKEN.fullmatch(since if opened is None else opened.decode().rstrip())
    if token is None:
        return await _place_in_time(context, since, span)
    after = int(token[2] or token[5])
    # What was not sealed is a token of an earlier version of this program.
    if opened is None or token[1] != span.name or after > span.last or (after < span.first - 1 and token[4] is None):
        text = "what changed since this token is no longer known; begin anew without _since"
        raise FhirError(Kind.DELETED, text, ("_since",))
    if token[4] is not None:
        return Place(after, after, token[4])
    return Place(after, int(token[3]) if token[3] else None)


async def _place_in_time(context: Context, since: str, span: ChangeSpan) -> Place:
    moment = range_of(since.replace(" ", "+"), context.settings.zone)  # a plus in a query that nobody encoded
    if moment is None:
        raise FhirError(Kind.VALUE, "_since is an instant (2026-03-02T08:00:00+07:00) or a token", ("_since",))
    after = await context.store.changes_before(moment[0])
    return Place(span.last, span.last, "") if after is None else Place(after)


async def _everybody(context: Context, place: Place, span: ChangeSpan, count: int) -> ChangedPeople:
    """People by id; who changes meanwhile comes again in the walk that follows."""
    query = Find("Patient", {"_id": {"$gt": place.last}}, (("_id", 1),), count + 1, raw=False)
    found = [one.id for one in await context.store.find(query, context.view)]
    people = tuple(found[:count])
    more = len(found) > count
    token = f"{span.name}.all.{people[-1]}.{place.after}" if more else f"{span.name}.{place.after}"
    return ChangedPeople(people, {}, token, more, True)


async def _walk(context: Context, place: Place, span: ChangeSpan, count: int, types: frozenset[str]) -> ChangedPeople:
    """A person comes at the last of its changes before the end that was fixed when the walk began. Only whom the caller
    sees, or saw when they were there, counts for the page."""
    end = min(place.end or span.last, span.last)
    people: list[str] = []
    after = place.after
    while len(people) < count and after < end:
        changes = await context.store.changes(after, end, SCAN)
        if not changes:
            after = end
            break
        changed = {one.patient for one in changes if one.type in types and one.patient}
        last = await _last_of(context, await _seen(context, "Patient", changed), (after, end), types)
        for one in changes:
            after = one.seq
            if one.patient and one.type in types and last.get(one.patient) == one.seq:
                people.append(one.patient)
                if len(people) == count:
                    break
    token = f"{span.name}.{after}" if after >= end else f"{span.name}.{after}.{end}"
    gone = await _gone(context, people, (place.after, end), types)
    return ChangedPeople(tuple(people), gone, token, after < span.last, False)


async def _seen(context: Context, type: str, ids: Collection[str]) -> set[str]:
    if context.view.of(type) is None:
        return set(ids)
    return set(await context.store.read_many(type, sorted(ids), context.view)) if ids else set()


async def _last_of(
    context: Context, patients: Collection[str], within: tuple[int, int], types: frozenset[str]
) -> dict[str, int]:
    return await context.store.latest_changes(sorted(patients), *within, sorted(types)) if patients else {}


async def _gone(
    context: Context, people: Sequence[str], within: tuple[int, int], types: frozenset[str]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    by_type: dict[str, dict[str, str]] = {}
    for one in await context.store.deleted_of(people, *within) if people else ():
        if one.type in types and one.patient:
            by_type.setdefault(one.type, {})[one.id] = one.patient
    for type, patients in by_type.items():
        for id in sorted(await _seen(context, type, patients)):
            found.setdefault(patients[id], []).append(f"{type}/{id}")
    return {patient: tuple(names) for patient, names in found.items()}
