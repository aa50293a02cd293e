"""_include and _revinclude: what stands on top of a page of matches. R4 Search, Managing Returned Resources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir_server.errors import Issue
from fhir_server.interactions.finder import Finder
from fhir_server.interactions.joins import chunks
from fhir_server.search.compile import one_of
from fhir_server.search.paging import BY_DATE, Cursor, advance
from fhir_server.search.parameters import Parameters
from fhir_server.search.plan import Plan
from fhir_server.search.result_parameters import Inclusion
from fhir_server.store.values import LEDGER_TYPE, Filter, Stored

Name = tuple[str, str]  # (type, id)
_AT_ONCE = 200


class Inclusions:
    """Gathers what a page includes, each resource once, up to a limit that is told when it is met."""

    def __init__(self, finder: Finder, parameters: Parameters, wanted: Sequence[Inclusion], limit: int) -> None:
        self._finder = finder
        self._parameters = parameters
        self._wanted = wanted
        self._limit = limit
        self._seen: set[Name] = set()
        self._found: list[Stored] = []
        self._is_full = False

    async def gather(self, matches: Sequence[Stored]) -> list[Stored]:
        """The included resources; `matches` were found with their keys. Iterated ones follow until nothing is new."""
        self._seen = {(stored.type, stored.id) for stored in matches}
        wanted, front = self._wanted, list(matches)
        while front and wanted and not self._is_full:
            found: list[Stored] = []
            for inclusion in wanted:
                found += await (self._reverse if inclusion.reverse else self._forward)(inclusion, front)
            front = found
            wanted = [inclusion for inclusion in wanted if inclusion.iterate]
        return self._found

    def issues(self) -> tuple[Issue, ...]:
        if not self._is_full:
            return ()
        text = (
            f"this page includes more than {self._limit} resources; the others were left out: ask for a smaller _count"
        )
        return (Issue("warning", "too-costly", text, ("_include",)),)

    async def _forward(self, inclusion: Inclusion, front: Sequence[Stored]) -> list[Stored]:
        pointed: dict[str, dict[str, None]] = {}
        for stored in front:
            if inclusion.source in ("*", stored.type):
                for type, id in self._finder.pointers(stored, inclusion.param):
                    wanted = inclusion.target in (None, type) and type not in inclusion.besides
                    if wanted and (type, id) not in self._seen:
                        pointed.setdefault(type, {})[id] = None
        found: list[Stored] = []
        for type, ids in pointed.items():
            for some in chunks(ids, _AT_ONCE):
                found += self._take(await self._all(type, one_of("_id", some)))
        return found

    async def _reverse(self, inclusion: Inclusion, front: Sequence[Stored]) -> list[Stored]:
        found: list[Stored] = []
        every = await self._finder.present() - {LEDGER_TYPE}
        sources = sorted(every) if inclusion.source == "*" else [inclusion.source]
        names = [f"{stored.type}/{stored.id}" for stored in front if inclusion.target in (None, stored.type)]
        for source in sources:
            params = self._parameters.references(source, inclusion.param)
            for some in chunks(names, _AT_ONCE) if params else ():
                found += self._take(await self._all(source, await self._finder.pointing_at(source, params, some)))
        return found

    async def _all(self, type: str, query: Filter) -> list[Stored]:
        """Every match, page after page, as far as the limit has room."""
        found: list[Stored] = []
        cursor: Cursor | None = None
        while True:
            room = self._limit - len(self._found) + len(self._seen) + 1
            told = await self._finder.page(Plan(type, rest=query), min(room, 1000), None, cursor, keys=True)
            self._finder.work.spend(len(told), "_include")
            found += told
            if len(told) < 1000 or len(found) >= room:
                return found
            cursor = advance(BY_DATE, told, cursor)

    def _take(self, candidates: Iterable[Stored]) -> list[Stored]:
        """Those not in the bundle yet, which are from now on."""
        fresh: list[Stored] = []
        for stored in candidates:
            name = (stored.type, stored.id)
            if name in self._seen:
                continue
            if len(self._found) >= self._limit:
                self._is_full = True
                break
            self._seen.add(name)
            self._found.append(stored)
            fresh.append(stored)
        return fresh
