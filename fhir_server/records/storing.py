"""Planning a group of records against the store: who each person is, what is there already, what has to be written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import Context
from fhir_server.interactions.planning import draft
from fhir_server.model.resources import Resource, decode, same_content
from fhir_server.records.bearers import Bearers
from fhir_server.records.bundle import own_id, settle, stamp, unique
from fhir_server.records.doubts import TASK, Doubt, doubt_id, task
from fhir_server.records.filing import guard_of, hold
from fhir_server.records.formats import Formats
from fhir_server.records.groups import Group, Plan
from fhir_server.records.heads import head_of, is_stored, owned_before, patient_before, written_before
from fhir_server.records.identity import (
    Known,
    Number,
    apart_id,
    choose,
    contradicts,
    new_id,
    numbers,
    same_name,
    tell_apart,
)
from fhir_server.records.merging import add_numbers, merge
from fhir_server.records.newborns import claim, link_bearer, link_events, link_to_earlier, note, noted
from fhir_server.records.patient_links import replaced
from fhir_server.records.received import Received, received_of
from fhir_server.records.record import Record
from fhir_server.records.requests import conflict, request_name, used_otherwise
from fhir_server.records.scopes import Made
from fhir_server.records.source import Problem
from fhir_server.store.contract import Guard, Transaction
from fhir_server.store.values import EVERYTHING, Op, Put, Remove, Stored


class Stores:
    """Plans and operations of groups, with what they need of the store."""

    def __init__(self, context: Context, formats: Formats) -> None:
        self._context = context
        self._naming = formats.tools.naming
        self._bearers = Bearers(context, self._naming)
        self._claims = context.settings.record_validation == "profiles"
        # What this import has stored, or found stored, of resources that many records speak of: facilities, staff.
        self._shared: dict[tuple[str, ...], Resource] = {}
        self._sound: dict[tuple[str, ...], Resource] = {}  # as they came last and were without fault
        self.received: dict[str, Received] = {}  # path -> what is kept of the file

    def people(self, records: Iterable[Record]) -> frozenset[object]:
        """What two groups must not share while both are under way: numbers of people, records themselves, the messages
        they came in, and what all people share as long as it is not known to be stored."""
        found: set[object] = set()
        for record in records:
            found.update({record.id, request_name(record)} - {""})
            found.update(self._numbers(record))
            found.update(
                name
                for one in record.mapped.made
                if one.owner == "shared" and (name := _shared_name(one)) not in self._shared
            )
        return frozenset(found)

    def remember(self, group: Group) -> None:
        """What all people share of a group that is stored now: others need not look for it again."""
        self._shared.update(group.shared)

    async def plan(self, records: Sequence[Record], careful: bool) -> Group:
        """Settles every record of a group: ids, references, people. What is faulty is told in the record's problems."""
        heads = await self._context.store.read_many("Provenance", [record.id for record in records], EVERYTHING)
        plans = [Plan(record, _live(heads.get(record.id))) for record in records]
        for record in await used_otherwise(self._context.store, [one for one in records if not one.refused]):
            record.mapped.problems.append(conflict(record))
        waiting = [plan for plan in plans if not (plan.record.refused or _is_stored_already(plan))]
        wanted = {number for plan in waiting for number in self._numbers(plan.record)}
        ids = {id for plan in waiting if (id := patient_before(plan.head))}
        ids |= {own_id(plan.record, one) for plan in waiting for one in plan.record.others}
        by_number, people = await self._bearers.known(wanted, ids)
        if clashing := [plan.record for plan in waiting if self._is_of_another(plan, people)]:
            for record in clashing:
                record.id = apart_id(record)
            return await self.plan(records, careful)
        taken = await self._taken(waiting, people) if careful else frozenset()
        for plan in waiting:
            self._settle(plan, by_number, people, taken)
        for plan in waiting:
            self._doubt_newborn(plan, by_number)
        await self._find_what_the_joined_had(waiting)
        bearers = frozenset(one.id for several in by_number.values() for one in several)
        group = Group(plans, people, careful, self._naming, bearers)
        # Of numbers that somebody gains `confirm` tells whether a newborn came before.
        asked = {number for one in people.values() for number in one.borne} | (group.gained if careful else set())
        group.newborns = await noted(self._context.store, asked)
        await link_to_earlier(self._context, group.newborns, people.values(), self._naming)
        return group

    def _is_of_another(self, plan: Plan, people: Mapping[str, Known]) -> bool:
        """True where the key of a record is a person's number and somebody else's record is stored under it, which must
        stay. A contradiction under the same name is a correction of that record."""
        before, patient = people.get(patient_before(plan.head) or ""), plan.record.patient.resource
        if before is None or not contradicts(patient, before.resource):
            return False
        keys = plan.record.key.split("|")
        is_number = any(number.value in keys for number in numbers(patient, self._naming))
        return is_number and not same_name(patient, before.resource)

    def _numbers(self, record: Record) -> set[Number]:
        """All numbers that tell the people of a record, and those that its newborn bears of another."""
        found = {number for one in (record.patient, *record.others) for number in numbers(one.resource, self._naming)}
        return found.union(numbers({"identifier": [number for number, _ in record.holders]}, self._naming))

    async def confirm(self, group: Group, transaction: Transaction) -> None:
        """Inside the transaction: numbers that somebody gains, or stands under as a newborn, are claimed, so that of
        two imports that meet the same person by any of them, in whatever process, one waits for the other. Raises
        FhirError CONFLICT when somebody who bears one has been stored since the group was planned, or a newborn that
        stands under one."""
        gained, parents = group.gained, group.parents
        wanted = gained | parents.keys()
        await claim(transaction, wanted)
        if await self._bearers.among(transaction, wanted) - group.bearers:
            raise FhirError(Kind.CONFLICT, "a person of this import was stored meanwhile by another one")
        known = await noted(transaction, wanted)  # whoever claimed these numbers before has stored it
        if any(ids - group.newborns.get(number, set()) for number, ids in known.items() if number in gained):
            raise FhirError(Kind.CONFLICT, "a newborn came before under the number of a person of this import")
        await note(transaction, parents, known)

    async def _taken(self, plans: Sequence[Plan], people: Mapping[str, Known]) -> frozenset[str]:
        """Ids that newcomers would get and that somebody has who bears none of their numbers."""
        ids = {new_id(plan.record, False, self._naming) for plan in plans} - people.keys()
        stored = await self._context.store.read_many("Patient", sorted(ids), EVERYTHING)
        return frozenset(id for id, one in stored.items() if not one.deleted)

    def _settle(
        self, plan: Plan, by_number: dict[Number, list[Known]], people: dict[str, Known], taken: frozenset[str]
    ) -> None:
        record = plan.record
        before = people.get(patient_before(plan.head) or "")
        choice = choose(record.patient.resource, by_number, before, self._naming)
        tell_apart(record, choice)
        known = choice.known or self._newcomer(record, people, taken)
        plan.doubts = [(known.id, Doubt(reason, one.id, number.kind)) for number, reason, one in choice.apart]
        others = {own_id(record, one): self._other(record, one, by_number, people) for one in record.others}
        plan.stored_as = {id: one.id for id, one in others.items()}
        settle(record, known.id, plan.stored_as)
        stamp(record)
        self._check(record)
        if record.refused:
            return
        plan.is_older = bool(record.written) and record.written < written_before(plan.head)[: len(record.written)]
        if plan.is_older:
            _tell_older(record)
        plan.known = known
        plan.others = list(others.values())
        plan.identities = {(one.resource["resourceType"], one.id) for one in record.mapped.made}
        for one, made in zip((known, *plan.others), (record.patient, *record.others), strict=True):
            people[one.id] = one
            self._join(one, made.resource, plan)
            for number in numbers(one.resource, self._naming):
                if one not in by_number[number]:
                    by_number[number].append(one)

    def _other(
        self, record: Record, one: Made, by_number: dict[Number, list[Known]], people: Mapping[str, Known]
    ) -> Known:
        """A further person of a record, such as a newborn of its mother: who bears its number, else one of its own."""
        own = own_id(record, one)
        choice = choose(one.resource, by_number, people.get(own), self._naming)
        tell_apart(record, choice)
        return choice.known or Known(own, 0, {})

    def _newcomer(self, record: Record, people: Mapping[str, Known], taken: frozenset[str]) -> Known:
        id = new_id(record, False, self._naming)
        if id in people or id in taken:  # somebody else bears the number
            id = new_id(record, True, self._naming)
        return people.get(id) or Known(id, 0, {})

    def _doubt_newborn(self, plan: Plan, by_number: Mapping[Number, Sequence[Known]]) -> None:
        """A newborn under another's number is a doubt for a human; whoever is known to bear it is the one whom the
        RelatedPerson stands for (R4 Patient, link)."""
        if plan.known is None:
            return
        for number, relative in plan.record.holders:
            kind = next((one.kind for one in numbers({"identifier": [number]}, self._naming)), "")
            plan.doubts.append((plan.known.id, Doubt("newborn", f"RelatedPerson/{relative.id}", kind)))
            for told in numbers({"identifier": [number]}, self._naming):
                for holder in {one.lasting.id: one.lasting for one in by_number.get(told, ())}.values():
                    if holder is not plan.known:
                        link_bearer(holder, relative.id, plan.record.patient.resource)

    async def _find_what_the_joined_had(self, plans: Iterable[Plan]) -> None:
        """A card of somebody who was joined into this person stays the Coverage that it is."""
        for plan in plans:
            before = replaced(plan.known.resource) if plan.known is not None else []
            for former in before:
                await self._settle_as_former(plan, former)

    async def _settle_as_former(self, plan: Plan, former: str) -> None:
        record, known = plan.record, plan.known
        mine = [one for one in record.mapped.made if one.owner == "person" and one is not record.patient]
        if known is None or not mine:
            return
        by_type: dict[str, dict[str, str]] = defaultdict(dict)
        for one in mine:
            by_type[one.resource["resourceType"]][own_id(record, one, former)] = own_id(record, one, known.id)
        stored = dict(plan.stored_as)
        for type, ids in by_type.items():
            found = await self._context.store.read_many(type, sorted(ids), EVERYTHING)
            stored.update((ids[id], id) for id, one in found.items() if not one.deleted)
        settle(record, known.id, stored)
        plan.stored_as = stored
        plan.identities = {(one.resource["resourceType"], one.id) for one in record.mapped.made}

    def _join(self, known: Known, fresh: Resource, plan: Plan) -> None:
        """Brings what the record says of the person together with what is known."""
        if not known.resource:
            known.resource, known.changed = fresh, True
            return
        if known.hidden:
            return
        older = plan.is_older
        merged, differing = (add_numbers(known.resource, fresh), []) if older else merge(known.resource, fresh)
        if not known.fixed and not same_content(merged, known.resource):
            known.resource, known.changed = merged, True
        for name in differing:
            text = (
                f"{name}: the record says otherwise than what another sender said; that stays",
                f"{name}: hồ sơ ghi khác với dữ liệu đã có từ nơi khác; giữ dữ liệu đã có",
            )
            plan.record.mapped.problems.append(Problem("warning", "differs", text, name))

    def _check(self, record: Record) -> None:
        """Base R4 and, unless the setting says otherwise, the profiles that are claimed; each fault with the source
        fields that the element came from. What was found sound is not validated again when a group is planned anew,
        nor a facility when the next record says the same of it."""
        if record.sound:
            return
        told = len(record.mapped.problems)
        for one in record.mapped.made:
            type, name = one.resource["resourceType"], _shared_name(one)
            if one.owner == "shared" and self._sound.get(name) == one.resource:
                continue
            issues = self._context.validator.validate(one.resource, type, claims=self._claims)
            if one.owner == "shared" and not issues:
                self._sound[name] = one.resource
            for issue in issues:
                if issue.severity == "information":  # a guide that is not installed is no news of a record
                    continue
                severity = "error" if issue.is_error else "warning"
                path = ", ".join(issue.expression)
                text = (f"{path}: {issue.diagnostics}", f"{path}: {issue.vi or issue.diagnostics}")
                field = record.format.sources_of(one.group, path)
                record.mapped.problems.append(Problem(severity, "r4", text, field or one.group))
        record.sound = len(record.mapped.problems) == told

    async def ops(self, group: Group) -> list[Op]:
        """What has to be written for a group; nothing for records that are stored already or refused."""
        plans = [plan for plan in group.plans if plan.known is not None and not plan.record.refused]
        people = [one for one in group.people.values() if one.changed]
        ops: list[Op] = [await self._put(one.resource, one.id, one.version) for one in people]
        links = [event for one in people if one.linked for event in link_events(self._context, one)]
        ops += [await self._put(event, event["id"], None) for event in links]
        plans_of_today = [plan for plan in plans if not plan.is_older]
        ops += await self._common(plans_of_today, group.shared)
        for plan in plans_of_today:
            ops += await self._own(plan, group.careful)
        return ops + await self._doubts(plans)

    async def _doubts(self, plans: Iterable[Plan]) -> list[Op]:
        """Those that are not known yet, whatever was decided about them."""
        found = {doubt_id(patient, doubt): (patient, doubt) for plan in plans for patient, doubt in plan.doubts}
        known = await self._context.store.read_many(TASK, sorted(found), EVERYTHING) if found else {}
        now = self._context.clock()
        return [await self._put(task(*about, now), id, 0) for id, about in found.items() if id not in known]

    def guard(self, group: Group) -> Guard | None:
        """What holds the operations of a group against the rights of who sends it."""
        made = (one for plan in group.plans for one in plan.record.mapped.made)
        allowed = {(one.resource["resourceType"], one.id) for one in made if one.owner == "shared"}
        allowed.update((TASK, doubt_id(*one)) for plan in group.plans for one in plan.doubts)
        return guard_of(self._context, allowed)

    async def _put(self, resource: Resource, id: str, expected: int | None) -> Put:
        """What a record owns and what is new bears the mark of who sends it; of the rest the marks stay."""
        signed = resource if expected else self._context.rights.sign(resource)
        return Put(await draft(self._context, signed, id), expected)

    async def _common(self, plans: Iterable[Plan], shared: dict[tuple[str, ...], Resource]) -> list[Op]:
        """Facilities, coverages: what several records speak of, brought together with what is stored."""
        wanted: dict[str, dict[str, list[Made]]] = defaultdict(lambda: defaultdict(list))
        for plan in plans:
            for one in plan.record.mapped.made:
                type = one.resource["resourceType"]
                if one.owner != "record" and type != "Patient" and not self._says_nothing_new(one):
                    wanted[type][one.id].append(one)
        ops: list[Op] = []
        for type, by_id in sorted(wanted.items()):
            found = await self._context.store.read_many(type, sorted(by_id), EVERYTHING)
            stored = {id: _known(one) for id, one in found.items() if not one.deleted}
            await hold(self._context, type, stored)
            for id, several in sorted(by_id.items()):
                known = stored.get(id) or Known(id, 0, {})
                before = known.resource
                for one in several if not known.fixed else ():
                    known.resource = merge(known.resource, one.resource)[0] if known.resource else one.resource
                shared.update((_shared_name(one), known.resource) for one in several if one.owner == "shared")
                if not before or not same_content(before, known.resource):
                    ops.append(await self._put(known.resource, id, known.version))
        return ops

    def _says_nothing_new(self, one: Made) -> bool:
        """True for a shared resource that this import knows to be stored with all that this one says."""
        known = self._shared.get(_shared_name(one)) if one.owner == "shared" else None
        return known is not None and (
            known == one.resource or same_content(known, merge(known, one.resource)[0])  # the first is the usual case
        )

    async def _own(self, plan: Plan, careful: bool) -> list[Op]:
        """What the record alone owns, what of it is no more, and the head that says so."""
        own = [
            one for one in unique(plan.record) if one.owner == "record" and one.resource["resourceType"] != "Patient"
        ]
        is_new = plan.head is None and not careful
        ops: list[Op] = [await self._put(one.resource, one.id, 0 if is_new else None) for one in own]
        identities = {(one.resource["resourceType"], one.id) for one in own}
        ops += [Remove(type, id) for type, id in sorted(owned_before(plan.head) - identities)]
        people = [one.id for one in (plan.known, *plan.others) if one is not None]
        received = received_of(self.received, plan.record.source.place.file)
        head = head_of(plan.record, people, own, self._context.clock(), received)
        return [*ops, await self._put(head, head["id"], 0 if is_new else None)]


def _tell_older(record: Record) -> None:
    text = (
        "a later version of this record is stored; of this one only numbers of the person are added",
        "đã lưu phiên bản mới hơn của hồ sơ này; chỉ bổ sung số định danh từ bản cũ",
    )
    record.mapped.problems.append(Problem("warning", "older", text, found=record.written))


def _shared_name(one: Made) -> tuple[str, ...]:
    """What tells a shared resource from others, before it has an id."""
    return (one.resource["resourceType"], *one.key)


def _is_stored_already(plan: Plan) -> bool:
    return plan.head is not None and is_stored(plan.head, plan.record.format, plan.record.digest)


def _live(stored: Stored | None) -> Stored | None:
    return None if stored is None or stored.deleted else stored


def _known(stored: Stored) -> Known:
    return Known(stored.id, stored.version, decode(stored.raw))
