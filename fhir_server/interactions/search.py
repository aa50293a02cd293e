"""search of a type, a compartment or the whole system, by GET and POST _search. R4 RESTful API, search; R4 Search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

import msgspec
from msgspec.structs import replace

from fhir_server.errors import FhirError, Issue, Kind
from fhir_server.interactions.exchange import Context, FhirRequest, FhirResponse, Pairs
from fhir_server.interactions.finder import Finder
from fhir_server.interactions.headers import prefer
from fhir_server.interactions.includes import Inclusions
from fhir_server.interactions.joins import AT_FIRST, AT_ONCE
from fhir_server.interactions.planning import writable_type
from fhir_server.interactions.recording import shown_many
from fhir_server.interactions.unled import unled
from fhir_server.model.bundles import bundle, entry
from fhir_server.model.outcomes import outcome
from fhir_server.model.resources import encode
from fhir_server.search import page_links
from fhir_server.search.describe import describe
from fhir_server.search.page_links import LONGEST_QUERY, PARAMETER, Page, seal, unseal
from fhir_server.search.paging import BY_DATE, Cursor, Order, advance, key_of
from fhir_server.search.parse import Search, parse, query_pairs
from fhir_server.search.planned import Planned
from fhir_server.search.result_parameters import Results
from fhir_server.search.rewrite import rewrite
from fhir_server.search.tree import Contains, has_joins
from fhir_server.store.values import LEDGER_TYPE, Stored, View

_FORM = "application/x-www-form-urlencoded"
_MODES = {mode: b',"search":{"mode":"' + mode.encode() + b'"}}' for mode in ("match", "include")}
_FEW_TYPES = 3  # more are first asked for whether they have any resource
_MOST_AT_ONCE = 200  # matches of each of several types that one query finds, so that they fit into memory
ESTIMATE_CAP = 100_000  # an estimate counts this far and then tells only that there are more


class Match(msgspec.Struct, frozen=True):
    """A resource that matches, with the place of the part of the answer that it is in, and that part's order."""

    place: int
    order: Order
    stored: Stored


async def search(context: Context, request: FhirRequest) -> FhirResponse:
    """A searchset bundle: one page of matches, what they include, and an outcome entry for what was left out."""
    scope = _scope(context, request.segments)
    page = await asked_page(context, request, scope.path)
    text = (context.base, page.path, page.query, page.strict, _walked(context.view, scope.types))
    known = context.search.planned
    planned = known.get(text, context.store.registry)
    if planned is not None:
        return await _told(_Answer(context, planned, page, Finder(context)))
    turn, parsed = known.turn, _parsed(context, scope, page)
    if context.settings.unindexed_search == "refuse":
        await _refuse_unindexed(context, parsed)
    answer = await _Answer.make(context, parsed, page)
    known.keep(text, answer.planned, turn)
    return await _told(answer)


def _walked(view: View, types: Iterable[str]) -> str:
    """The patients that a View lets be walked, which are a part of the plan; "" where it names none."""
    named = [(type, walked) for type in types if (walked := view.walked(type))]
    return repr(named) if named else ""


async def searchset(context: Context, parsed: Search, page: Page) -> FhirResponse:
    """The bundle that answers a search: this page of it."""
    return await _told(await _Answer.make(context, parsed, page))


async def _told(answer: _Answer) -> FhirResponse:
    body, found = await answer.bundle()
    return FhirResponse(200, body, shown=shown_many(found, answer.page.query))


def _parsed(context: Context, scope: _Scope, page: Page) -> Search:
    return parse(
        context.search.parameters,
        _types(scope, page.query),
        page.query,
        strict=page.strict,
        page_size=context.settings.page_size,
        page_limit=context.settings.page_limit,
        compartment=scope.compartment,
    )


class _Scope(msgspec.Struct, frozen=True):
    """What a path searches: the types, and the compartment (code, id) if it is in one."""

    path: tuple[str, ...]
    types: tuple[str, ...]
    compartment: tuple[str, str] | None = None


def _scope(context: Context, segments: tuple[str, ...]) -> _Scope:
    path = segments[:-1] if segments[-1:] == ("_search",) else segments
    parameters = context.search.parameters
    if not path:
        return _Scope(path, parameters.types)
    if len(path) == 1:
        writable_type(context, path[0], "search-type")
        return _Scope(path, path)
    code, id, type = path
    members = parameters.compartment(code)
    if not members:
        raise FhirError(Kind.NOT_FOUND, f"R4 defines no compartment {code[:64]!r}")
    if type == "*":
        return _Scope(path, tuple(sorted(members)), (code, id))
    if type not in members:
        raise FhirError(Kind.NOT_FOUND, f"{type[:64]!r} is not part of the {code} compartment")
    return _Scope(path, (type,), (code, id))


def _types(scope: _Scope, query: Pairs) -> tuple[str, ...]:
    """FHIR: the record of accesses is left out of a search over all types, for each search would change it, unless
    _type names it."""
    if len(scope.types) == 1 or any(name == "_type" for name, _ in query):
        return scope.types
    return tuple(type for type in scope.types if type != LEDGER_TYPE)


async def asked_page(context: Context, request: FhirRequest, path: tuple[str, ...]) -> Page:
    """The page a request asks for: the first of its own query, or the one that a sealed link stands for."""
    pairs = request.query + _form(request)
    links = [value for name, value in pairs if name == PARAMETER]
    if not links:
        handling = prefer(request.headers).get("handling", context.settings.handling)
        return Page(path, pairs, strict=handling == "strict")
    page = unseal(links[0], await context.store.secret("page-links"), context.caller.fingerprint)
    if page.path != path:
        raise FhirError(Kind.VALUE, "this page link belongs to another path", (PARAMETER,))
    if page.query_hash is None:
        return page
    kept = await context.store.kept(page.query_hash)
    if kept is None:
        raise FhirError(Kind.NOT_FOUND, "the query of this page link is no longer kept; search again", (PARAMETER,))
    return replace(page, query=page_links.decode_query(kept))


def _form(request: FhirRequest) -> Pairs:
    """The parameters in the body of POST _search; those of the URL count with them (R4 RESTful API, search)."""
    if request.method != "POST" or not request.body.strip():
        return ()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _FORM:
        raise FhirError(Kind.MEDIA_TYPE, f"the body of _search is {_FORM}, not {media_type[:64]!r}")
    try:
        return query_pairs(request.body.decode())
    except UnicodeDecodeError:
        raise FhirError(Kind.INVALID, "the body of _search is not UTF-8") from None


async def _refuse_unindexed(context: Context, parsed: Search) -> None:
    """Raises FhirError TOO_COSTLY for a search that no index answers; what the caller's View names leads to few."""
    finder = Finder(context)
    for type, tree in parsed.trees:
        part = None if context.view.walked(type) else await unled(rewrite(tree), finder.compile)
        if part is not None:
            name = describe(part)
            text = (
                f"no index answers {name}, and this server is set to refuse such searches; give another parameter too"
            )
            raise FhirError(Kind.TOO_COSTLY, text, (name,))


def _among_contained(context: Context, parsed: Search) -> Search:
    """The search as `_contained` wants it: of resources that contain a match, too or only. Raises FhirError."""
    if parsed.results.contained == "false":
        return parsed
    if parsed.results.sort:
        raise FhirError(Kind.UNSUPPORTED_PARAMETER, "_sort has no meaning among contained resources", ("_sort",))
    if any(has_joins(tree) for _, tree in parsed.trees):
        text = "chains, _has, _list, _text and _content do not reach into contained resources"
        raise FhirError(Kind.UNSUPPORTED_PARAMETER, text, ("_contained",))
    types = context.search.parameters.types
    within = [
        (owner, Contains(owner, type, tree)) for type, tree in parsed.trees for owner in types if owner != "Bundle"
    ]
    return replace(parsed, trees=(*(parsed.trees if parsed.results.contained == "both" else ()), *within))


def _link(context: Context, page: Page, pairs: Pairs = ()) -> str:
    path = "/".join((context.base, *page.path))
    return f"{path}?{urlencode(pairs, safe='/:,|$*')}" if pairs else path


class _Answer(msgspec.Struct, frozen=True):
    """One search on its way to a bundle."""

    context: Context
    planned: Planned
    page: Page
    finder: Finder

    @classmethod
    async def make(cls, context: Context, parsed: Search, page: Page) -> _Answer:
        if LEDGER_TYPE in parsed.types:
            await context.trail.flush()  # what was done before is found
        finder = Finder(context)
        parsed = _among_contained(context, parsed)
        sort, registry = parsed.results.sort, context.store.registry
        reach = AT_ONCE if sort else AT_FIRST
        plans = tuple([await finder.plan(type, tree, reach, page.cursor) for type, tree in parsed.trees])
        merged = len(plans) > 1 and bool(sort)
        parts = tuple([part for plan in plans for part in context.search.parts(plan, sort, registry, merged)])
        link = _link(context, page, parsed.used)
        return cls(context, Planned(parsed, plans, parts, link), page, finder)

    @property
    def results(self) -> Results:
        return self.planned.search.results

    async def bundle(self) -> tuple[bytes, list[Stored]]:
        """The answer, and the resources that are in it."""
        if self.results.only_count:
            return bundle("searchset", self._outcome(()), total=await self._count(None), links=self._links(None)), []
        results = self.results
        found = await self._matches()
        told, more = found[: results.count], len(found) > results.count
        matches = [match.stored for match in told]
        inclusions = self._inclusions()
        included = await inclusions.gather(matches) if results.inclusions else []
        total, doubts = await self._total(matches, more)
        entries = [
            *await self._entries(told),
            *self._joined(included, "include"),
            *self._outcome((*inclusions.issues(), *doubts)),
        ]
        links = self._links(await self._next(told, total) if more else None)
        shown = None if results.total == "none" else total
        return bundle("searchset", entries, total=shown, links=links), [*matches, *included]

    def _inclusions(self) -> Inclusions:
        context = self.context
        parameters, limit = context.search.parameters, context.settings.include_limit
        return Inclusions(self.finder, parameters, self.results.inclusions, limit)

    async def _matches(self) -> list[Match]:
        """One more than a page, so that it shows whether another follows."""
        limit = self.results.count + 1
        merged = len(self.planned.plans) > 1 and self.results.sort
        return await (self._merged(limit) if merged else self._one_after_the_other(limit))

    async def _part(self, place: int, limit: int, cursor: Cursor | None) -> list[Match]:
        part = self.planned.parts[place]
        self.finder.go_on(part.plan)
        walk = await self.finder.walk_of(part, cursor)
        keys = bool(self.results.inclusions)
        found = await self.finder.page(part.plan, limit, walk, cursor, keys=keys)
        return [Match(place, walk.order, stored) for stored in found]

    async def _one_after_the_other(self, limit: int) -> list[Match]:
        """All of the first part, then all of the second."""
        places = await self._places(self.page.place)
        if len(places) > _FEW_TYPES and limit <= _MOST_AT_ONCE:
            asked = [self.planned.parts[place] for place in places]
            by_type = {part.plan.type: place for part, place in zip(asked, places, strict=True) if part.is_short}
            if len(asked) == len(by_type.keys() - {LEDGER_TYPE}):
                cursor = self.page.cursor if places[0] == self.page.place else None
                told = await self.finder.at_once(asked, limit, cursor, keys=bool(self.results.inclusions))
                return [Match(by_type[stored.type], BY_DATE, stored) for stored in told]
        found: list[Match] = []
        for place in places:
            cursor = self.page.cursor if place == self.page.place else None
            found += await self._part(place, limit - len(found), cursor)
            if len(found) == limit:
                break
        return found

    async def _places(self, first: int = 0) -> list[int]:
        """Of the parts from one on, those of types that have any resource."""
        places = list(range(first, len(self.planned.parts)))
        if len(self.planned.plans) <= _FEW_TYPES:
            return places
        present = await self.finder.present()
        return [place for place in places if self.planned.parts[place].plan.type in present]

    async def _merged(self, limit: int) -> list[Match]:
        """Several types in one order; entries with equal values stand in the order of the types."""
        found: list[Match] = []
        for place in await self._places():
            found += await self._part(place, limit, self._cursor_of(place))
        found.sort(key=lambda match: (key_of(match.order, match.stored), match.place))
        return found[:limit]

    def _cursor_of(self, place: int) -> Cursor | None:
        cursor = self.page.cursor
        if cursor is None or place == self.page.place:
            return cursor
        return Cursor(cursor.values, None if place < self.page.place else ())

    async def _next(self, told: Sequence[Match], total: int | None) -> str:
        """The sealed link to the page after these matches."""
        place = told[-1].place
        last = [match.stored for match in told if match.place == place]
        before = self.page.cursor if place == self.page.place else None
        cursor = advance(told[-1].order, last, before)
        page = replace(self.page, query=self.planned.search.used, cursor=cursor, place=place, total=total)
        content = page_links.encode_query(page.query)
        if len(content) > LONGEST_QUERY:
            page = replace(page, query=(), query_hash=await self.context.store.keep(content))
        else:
            page = replace(page, query_hash=None)
        key, reader = await self.context.store.secret("page-links"), self.context.caller.fingerprint
        return f"{_link(self.context, page)}?{PARAMETER}={seal(page, key, reader)}"

    def _links(self, following: str | None) -> list[tuple[str, str]]:
        links = [("self", self.planned.link)]
        if following is not None:
            links.append(("next", following))
        return links

    async def _total(self, matches: Sequence[Stored], more: bool) -> tuple[int | None, tuple[Issue, ...]]:
        """The number of matches where it is known for nothing or asked for, and what must be told about it."""
        if self.page.total is not None:
            return self.page.total, ()
        if self.page.cursor is None and not more:
            return len(matches), ()
        if self.results.total == "accurate":
            return await self._count(None), ()
        if self.results.total != "estimate":
            return None, ()
        try:
            total = await self._count(ESTIMATE_CAP)
            if total < ESTIMATE_CAP:
                return total, ()
            text = f"there are more than {ESTIMATE_CAP} matches; _total=accurate counts them"
        except FhirError as fault:
            if fault.kind is not Kind.TOO_COSTLY:
                raise
            text = fault.diagnostics
        return None, (Issue("information", "informational", text, ("_total",)),)

    async def _count(self, cap: int | None) -> int:
        total = 0
        for plan in self.planned.plans:
            if len(self.planned.plans) > _FEW_TYPES and plan.type not in await self.finder.present():
                continue
            total += await self.finder.count(plan, None if cap is None else cap - total)
            if total == cap:
                break
        return total

    async def _entries(self, told: Iterable[Match]) -> list[bytes]:
        """Of matches, or of the resources in them where those are told instead."""
        if self.results.contained_type == "container":
            return self._joined([match.stored for match in told], "match")
        entries: list[bytes] = []
        for match in told:
            inside = isinstance(self.planned.parts[match.place].plan.joins, Contains)
            entries += await self._within(match) if inside else self._joined([match.stored], "match")
        return entries

    async def _within(self, match: Match) -> list[bytes]:
        """The entries of the resources in a match that matched (R4 Search, Contained Resources)."""
        node = self.planned.parts[match.place].plan.joins
        assert isinstance(node, Contains)
        url = f"{self.context.base}/{match.stored.type}/{match.stored.id}"
        return [
            entry(full_url=f"{url}#{found.get('id', '')}", raw=self._cut(encode(found)), search={"mode": "match"})
            for found in await self.finder.contained(node, match.stored)
        ]

    def _cut(self, raw: bytes) -> bytes:
        return raw if self.results.is_whole else self.context.search.subsets.cut(raw, self.results)

    def _joined(self, found: Iterable[Stored], mode: str) -> list[bytes]:
        """Their entries, joined as all stands: an id needs no escapes in JSON (R4 Data Types, primitive types)."""
        start, end = '{"fullUrl":' + encode(self.context.base).decode()[:-1], _MODES[mode]
        cut = None if self.results.is_whole else self._cut
        parts: list[bytes] = []
        for one in found:
            parts += f'{start}/{one.type}/{one.id}","resource":'.encode(), cut(one.raw) if cut else one.raw, end, b","
        return [b"".join(parts[:-1])] if parts else []

    def _outcome(self, more: tuple[Issue, ...]) -> list[bytes]:
        """One entry for all that was left out, or none. R4 Search, Handling Errors."""
        issues = (*self.planned.search.ignored, *more)
        return [entry(raw=encode(outcome(issues)), search={"mode": "outcome"})] if issues else []
