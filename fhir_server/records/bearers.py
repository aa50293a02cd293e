"""The stored people whom records may speak of: those who bear their numbers, and those whom these were joined into."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from fhir_server.interactions.exchange import Context
from fhir_server.model.resources import decode
from fhir_server.records.filing import hold
from fhir_server.records.identity import Known, Number, numbers
from fhir_server.records.patient_links import replaced_by
from fhir_server.search.tree import Leaf
from fhir_server.store.contract import Transaction
from fhir_server.store.values import EVERYTHING, INDEX_KEYS, NOTHING, Find, Stored
from fhir_server.terminology.naming import NamingSystems

# People found by one look-up of a group's numbers, at most; a number that thousands bear identifies nobody.
PEOPLE_LIMIT = 5_000
_SPECIAL = re.compile(r"[,$|\\]")
_ESCAPE = r"\\\g<0>"


class Bearers:
    """Looks up people by their numbers."""

    def __init__(self, context: Context, naming: NamingSystems) -> None:
        self._context = context
        self._naming = naming

    async def known(
        self, wanted: set[Number], ids: Iterable[str]
    ) -> tuple[dict[Number, list[Known]], dict[str, Known]]:
        """The stored Patients that bear a number or have one of the ids, by number and by id."""
        query = await self._query(wanted, raw=True)
        found = await self._context.store.find(query, EVERYTHING) if query else []
        people = {one.id: self._known(one) for one in found if not one.deleted}
        await self._add_people(set(ids), people)
        await self._follow(people)
        await hold(self._context, "Patient", people)
        by_number: dict[Number, list[Known]] = defaultdict(list)
        for one in people.values():
            for number in one.borne:
                by_number[number].append(one)
        return by_number, people

    def _known(self, stored: Stored) -> Known:
        resource = decode(stored.raw)
        return Known(stored.id, stored.version, resource, borne=frozenset(numbers(resource, self._naming)))

    async def _add_people(self, ids: set[str], people: dict[str, Known]) -> None:
        wanted = sorted(ids - people.keys())
        stored = await self._context.store.read_many("Patient", wanted, EVERYTHING) if wanted else {}
        people.update((id, self._known(one)) for id, one in stored.items() if not one.deleted)

    async def _follow(self, people: dict[str, Known]) -> None:
        """Tells of each whom it was joined into, and adds those."""
        followed: set[str] = set()
        while waiting := [one for id, one in people.items() if id not in followed]:
            into = {one.id: other for one in waiting if (other := replaced_by(one.resource)) is not None}
            await self._add_people(set(into.values()), people)
            for one in waiting:
                followed.add(one.id)
                stands_for_it = people.get(into.get(one.id, ""))
                if stands_for_it is not None and one not in _chain(stands_for_it):
                    one.into = stands_for_it

    async def among(self, transaction: Transaction, wanted: set[Number]) -> set[str]:
        """The ids of those who bear a number, as a transaction sees it."""
        query = await self._query(wanted, raw=False)
        return {one.id for one in await transaction.find(query, EVERYTHING)} if query else set()

    async def _query(self, wanted: set[Number], raw: bool) -> Find | None:
        """The look-up of the people who bear any of the numbers; None where nobody can."""
        if not wanted:
            return None
        context = self._context
        param = context.search.parameters.of("Patient")["identifier"]
        leaf = Leaf("Patient", param, None, tuple(sorted(_token(number) for number in wanted)))
        filter = await context.search.filter(leaf, context.store, context.base, context.clock())
        return Find("Patient", filter, (), PEOPLE_LIMIT, raw=raw, hint=INDEX_KEYS) if filter != NOTHING else None


def _token(number: Number) -> str:
    """The number as a value of a token search (R4 Search, token)."""
    return f"{_SPECIAL.sub(_ESCAPE, number.system)}|{_SPECIAL.sub(_ESCAPE, number.value)}"


def _chain(known: Known) -> Iterator[Known]:
    """It and whom it was joined into, step by step."""
    found: Known | None = known
    while found is not None:
        yield found
        found = found.into
