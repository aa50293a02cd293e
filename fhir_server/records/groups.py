"""A group of records that share a transaction, as it is planned: what each comes to, and the people they speak of."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from fhir_server.model.resources import Resource
from fhir_server.records.doubts import Doubt
from fhir_server.records.filing import Identity
from fhir_server.records.identity import Known, Number, numbers
from fhir_server.records.newborns import Noted
from fhir_server.records.record import Record
from fhir_server.store.values import Stored
from fhir_server.terminology.naming import NamingSystems


@dataclass(slots=True)
class Plan:
    """What one record comes to. others: further people whom it speaks of. identities: what it writes to, for telling
    whether it changed anything. is_older: a later version of the record is stored already. doubts: about the person of
    the id. stored_as: ids that are taken in place of those that follow from the record."""

    record: Record
    head: Stored | None
    known: Known | None = None
    others: list[Known] = field(default_factory=list)
    identities: set[Identity] = field(default_factory=set)
    is_older: bool = False
    doubts: list[tuple[str, Doubt]] = field(default_factory=list)
    stored_as: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Group:
    """The plans of records that share a transaction, and the people they speak of by id.

    bearers: ids of the stored people who bore a number of these records when it was planned. newborns: those that came
    before under a number that somebody of these bears. shared: what all people share, as it will be stored with this
    group.
    """

    plans: list[Plan]
    people: dict[str, Known]
    careful: bool
    naming: NamingSystems
    bearers: frozenset[str] = frozenset()
    newborns: Noted = field(default_factory=dict)
    shared: dict[tuple[str, ...], Resource] = field(default_factory=dict)

    @property
    def gained(self) -> set[Number]:
        """Numbers that are written to somebody who did not bear them yet."""
        changed = [one for one in self.people.values() if one.changed]
        return {number for one in changed for number in numbers(one.resource, self.naming) if number not in one.borne}

    @property
    def parents(self) -> Noted:
        """The numbers of others under which newborns of the group stand, with who stands for whoever bears each."""
        told: dict[Number, set[str]] = defaultdict(set)
        for plan in self.plans:
            for number, relative in plan.record.holders if plan.known is not None else ():
                for one in numbers({"identifier": [number]}, self.naming):
                    told[one].add(relative.id)
        return told
